//! SIP and IKE messages as they come and go, one log line each if their targets are turned on. Nothing of a body and nothing
//! that authenticates.

use sipsec_ike::Outline as IkeOutline;
use sipsec_net::MediaPort;
use std::net::SocketAddr;
use tracing::{Level, debug, enabled};

const SIP: &str = "sipsec::sip";
const IKE: &str = "sipsec::ike";
/// Characters that are shown of a line.
const LINE_MAX: usize = 200;

#[derive(Clone, Copy, Debug)]
pub enum Direction {
    In,
    Out,
}

impl Direction {
    const fn arrow(self) -> &'static str {
        match self {
            Self::In => "<-",
            Self::Out => "->",
        }
    }
}

/// Whether SIP messages are wanted in the log.
pub fn sip_is_logged() -> bool {
    enabled!(target: SIP, Level::DEBUG)
}

/// `left_out` messages before this one were not logged.
pub fn log_sip(way: Direction, peer: SocketAddr, bytes: &[u8], left_out: u32) {
    let Outline { first_line, call_id, cseq } = Outline::of(bytes);
    let left_out = (left_out > 0).then_some(left_out);
    debug!(target: SIP, %peer, bytes = bytes.len(), call_id, cseq, left_out, "{} {first_line}", way.arrow());
}

pub fn ike(way: Direction, media_port: MediaPort, bytes: &[u8]) {
    if enabled!(target: IKE, Level::DEBUG)
        && let Some(line) = summary(bytes)
    {
        debug!(target: IKE, %media_port, bytes = bytes.len(), "{} {line}", way.arrow());
    }
}

/// What of a SIP message says which it is. Read without regard to its validity, which is the core's to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    pub first_line: String,
    pub call_id: String,
    pub cseq: String,
}

impl Outline {
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let shown = |s: &str| s.chars().take(LINE_MAX).flat_map(char::escape_debug).collect::<String>();
        let mut out = Self { first_line: shown(lines.next().unwrap_or_default()), ..Self::default() };
        for (name, value) in lines.take_while(|l| !l.is_empty()).filter_map(|l| l.split_once(':')) {
            let field = match name.trim().to_ascii_lowercase().as_str() {
                // RFC 3261 §20.8, §20.20: the compact forms.
                "call-id" | "i" => &mut out.call_id,
                "cseq" => &mut out.cseq,
                _ => continue,
            };
            if field.is_empty() {
                *field = shown(value.trim());
            }
        }
        out
    }
}

fn summary(bytes: &[u8]) -> Option<String> {
    let IkeOutline { exchange, response, id, fragment } = IkeOutline::of(bytes)?;
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
        let Outline { first_line, call_id, cseq } = Outline::of(message);
        assert_eq!(
            (first_line.as_str(), call_id.as_str(), cseq.as_str()),
            ("REGISTER sip:carrier.example SIP/2.0", "abc@host", "2 REGISTER")
        );
        assert_eq!(Outline::of(b"\x1b[2J\xff").first_line, "\\u{1b}[2J\u{fffd}");
        let mut ike = [0; 28];
        (ike[16], ike[18], ike[19], ike[23]) = (53, 35, 0x28, 1);
        assert_eq!(summary(&ike).as_deref(), Some("IKE_AUTH response 1, a fragment"));
        assert_eq!(summary(&ike[1..]), None);
    }
}
