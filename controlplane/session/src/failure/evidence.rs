//! What was seen while a session waited for IKE.

use std::fmt;
use std::net::SocketAddr;

/// What was seen while waiting for IKE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The media port was open in the dataplane.
    pub port_open: bool,
    pub next_hop_known: bool,
    pub ike_messages_in: u64,
    /// IKE or ESP came from here instead of the address in SDP.
    pub wrong_source: Option<SocketAddr>,
    pub expected_source: Option<SocketAddr>,
    /// An offer in clear that we refused.
    pub refused: Option<(String, String)>,
    /// The last IKE message that we sent.
    pub sent: Option<SentIke>,
}

/// An IKE message of ours and how often it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentIke {
    exchange: u8,
    response: bool,
    id: u32,
    /// The whole message, in one datagram or in several fragments (RFC 7383).
    bytes: usize,
    fragments: u32,
    times: u32,
    answered: bool,
}

impl Evidence {
    /// An IKE message leaves (RFC 7296 §3.1: exchange type, flags and message ID; RFC 7383 §2.5: fragment number).
    pub(crate) fn sends(&mut self, message: &[u8]) {
        let Some(header) = IkeHeader::read(message) else { return };
        let last = self.sent.take_if(|s| (s.exchange, s.response, s.id) == header.key());
        let mut sent = last.unwrap_or(SentIke {
            exchange: header.exchange,
            response: header.response,
            id: header.id,
            bytes: 0,
            fragments: 0,
            times: 0,
            answered: false,
        });
        if header.fragment.is_none_or(|n| n == 1) {
            (sent.bytes, sent.fragments) = (0, 0);
            sent.times = sent.times.saturating_add(1);
        }
        sent.bytes += message.len();
        sent.fragments += u32::from(header.fragment.is_some());
        self.sent = Some(sent);
    }

    /// An IKE message comes.
    pub(crate) fn hears(&mut self, message: &[u8]) {
        self.ike_messages_in += 1;
        if let (Some(header), Some(sent)) = (IkeHeader::read(message), &mut self.sent) {
            sent.answered |= header.response && !sent.response && header.id == sent.id;
        }
    }
}

struct IkeHeader {
    exchange: u8,
    response: bool,
    id: u32,
    fragment: Option<u16>,
}

impl IkeHeader {
    /// Encrypted Fragment payload.
    const SKF: u8 = 53;
    const RESPONSE: u8 = 0x20;

    fn read(message: &[u8]) -> Option<Self> {
        let (header, payloads) = message.split_first_chunk::<28>()?;
        let id = u32::from_be_bytes([header[20], header[21], header[22], header[23]]);
        let fragment = match payloads {
            [_, _, _, _, a, b, ..] if header[16] == Self::SKF => Some(u16::from_be_bytes([*a, *b])),
            _ => None,
        };
        Some(Self { exchange: header[18], response: header[19] & Self::RESPONSE != 0, id, fragment })
    }

    const fn key(&self) -> (u8, bool, u32) {
        (self.exchange, self.response, self.id)
    }
}

impl SentIke {
    /// A request of ours that got no answer.
    pub(super) const fn unanswered(&self) -> bool {
        !self.response && !self.answered
    }

    /// Larger than what passes a path without IP fragmentation.
    pub(super) const fn is_large(&self) -> bool {
        self.fragments == 0 && self.bytes > 1400
    }
}

impl fmt::Display for SentIke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exchange {
            34 => f.write_str("IKE_SA_INIT")?,
            35 => f.write_str("IKE_AUTH")?,
            36 => f.write_str("CREATE_CHILD_SA")?,
            37 => f.write_str("INFORMATIONAL")?,
            43 => f.write_str("IKE_INTERMEDIATE")?,
            other => write!(f, "IKE exchange {other}")?,
        }
        write!(f, " {} ({} bytes", if self.response { "response" } else { "request" }, self.bytes)?;
        if self.fragments > 0 {
            write!(f, " in {} fragments", self.fragments)?;
        }
        match self.times {
            1 => f.write_str(") was sent once")?,
            n => write!(f, ") was sent {n} times")?,
        }
        if self.unanswered() { f.write_str(", no answer came") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::SessionFailure;

    fn message(exchange: u8, flags: u8, id: u32, len: usize, fragment: Option<u16>) -> Vec<u8> {
        let mut m = vec![0; len];
        m[16] = if fragment.is_some() { 53 } else { 46 };
        (m[18], m[19]) = (exchange, flags);
        m[20..24].copy_from_slice(&id.to_be_bytes());
        if let Some(n) = fragment {
            m[32..34].copy_from_slice(&n.to_be_bytes());
        }
        m
    }

    #[test]
    fn what_was_sent_without_an_answer_is_told() {
        let mut e = Evidence::default();
        e.sends(&message(34, 0x08, 0, 300, None));
        e.hears(&message(34, 0x20, 0, 300, None));
        assert_eq!(
            e.sent.as_ref().expect("sent").to_string(),
            "IKE_SA_INIT request (300 bytes) was sent once"
        );
        for _ in 0..7 {
            e.sends(&message(35, 0x08, 1, 2084, None));
        }
        let sent = e.sent.clone().expect("sent");
        assert_eq!(sent.to_string(), "IKE_AUTH request (2084 bytes) was sent 7 times, no answer came");
        let failure = SessionFailure::PeerHungUp { said: None, evidence: Some(Box::new(e)) };
        assert!(failure.cure().contains("fragment"));
        assert!(failure.to_string().ends_with("was sent 7 times, no answer came"), "{failure}");

        let mut e = Evidence::default();
        for _ in 0..2 {
            for n in 1..=3 {
                e.sends(&message(35, 0x08, 1, 700, Some(n)));
            }
        }
        let sent = e.sent.expect("sent").to_string();
        assert_eq!(sent, "IKE_AUTH request (2100 bytes in 3 fragments) was sent 2 times, no answer came");
        let mut e = Evidence::default();
        e.sends(&[0; 27]);
        e.hears(&[]);
        assert_eq!((e.sent, e.ike_messages_in), (None, 1));
    }
}
