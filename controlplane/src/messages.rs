//! SIP and IKE messages as they come and go, one line each, for who turns these targets on. Nothing of a body and nothing
//! that authenticates.

use sipsec_ike::Outline;
use sipsec_net::MediaPort;
use std::net::SocketAddr;
use tracing::{Level, debug, enabled};

const SIP: &str = "sipsec::sip";
const IKE: &str = "sipsec::ike";
/// Of a first line; somebody may write a longer one.
const LINE_MAX: usize = 200;

#[derive(Clone, Copy, Debug)]
pub enum Way {
    In,
    Out,
}

impl Way {
    const fn arrow(self) -> &'static str {
        match self {
            Self::In => "<-",
            Self::Out => "->",
        }
    }
}

pub fn sip(way: Way, peer: SocketAddr, bytes: &[u8]) {
    if enabled!(target: SIP, Level::DEBUG) {
        let (line, call_id, cseq) = outline(bytes);
        debug!(target: SIP, %peer, bytes = bytes.len(), call_id, cseq, "{} {line}", way.arrow());
    }
}

pub fn ike(way: Way, media_port: MediaPort, bytes: &[u8]) {
    if enabled!(target: IKE, Level::DEBUG)
        && let Some(line) = summary(bytes)
    {
        debug!(target: IKE, %media_port, bytes = bytes.len(), "{} {line}", way.arrow());
    }
}

/// First line, Call-ID and CSeq.
fn outline(bytes: &[u8]) -> (String, String, String) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let shown = |s: &str| s.chars().take(LINE_MAX).flat_map(char::escape_debug).collect::<String>();
    let first = shown(lines.next().unwrap_or_default());
    let (mut call_id, mut cseq) = (String::new(), String::new());
    for (name, value) in lines.take_while(|l| !l.is_empty()).filter_map(|l| l.split_once(':')) {
        match name.trim().to_ascii_lowercase().as_str() {
            // RFC 3261 §20.8: i is its compact form.
            "call-id" | "i" => call_id = shown(value.trim()),
            "cseq" => cseq = shown(value.trim()),
            _ => {}
        }
    }
    (first, call_id, cseq)
}

fn summary(bytes: &[u8]) -> Option<String> {
    let Outline { exchange, response, id, fragment } = Outline::of(bytes)?;
    let kind = if response { "response" } else { "request" };
    let fragment = if fragment { ", a fragment" } else { "" };
    Some(format!("{exchange} {kind} {id}{fragment}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_it_is_and_no_credentials() {
        let message = b"REGISTER sip:carrier.example SIP/2.0\r\nI: abc@host\r\nCSeq: 2 REGISTER\r\n\
            Authorization: Digest response=\"5f\"\r\n\r\nCSeq: 9 BODY";
        let (line, call_id, cseq) = outline(message);
        assert_eq!(
            (line.as_str(), call_id.as_str(), cseq.as_str()),
            ("REGISTER sip:carrier.example SIP/2.0", "abc@host", "2 REGISTER")
        );
        assert_eq!(outline(b"\x1b[2J\xff").0, "\\u{1b}[2J\u{fffd}");
        let mut ike = [0; 28];
        (ike[16], ike[18], ike[19], ike[23]) = (53, 35, 0x28, 1);
        assert_eq!(summary(&ike).as_deref(), Some("IKE_AUTH response 1, a fragment"));
        assert_eq!(summary(&ike[1..]), None);
    }
}
