//! The SIP messages of the last calls, for a ladder when something went wrong. Header fields that authenticate are masked.

use super::messages::{Direction, Outline};
use crate::api::model::{CallMessage, CallMessages};
use std::collections::VecDeque;

/// Calls, messages of each, and octets of each message that are kept: at most 10 MB.
const CALLS_MAX: usize = 64;
const MESSAGES_MAX: usize = 40;
const MESSAGE_BYTES_MAX: usize = 4096;
/// Credentials and challenges: they authenticate, or help to guess a password.
const MASKED: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
    "identity",
];

#[derive(Debug, Default)]
pub struct Trace {
    calls: VecDeque<CallMessages>,
}

impl Trace {
    pub fn message(&mut self, time_us: u64, way: Direction, bytes: &[u8]) {
        let outline = Outline::of(bytes);
        if outline.call_id.is_empty()
            || outline.cseq.ends_with("REGISTER")
            || outline.cseq.ends_with("OPTIONS")
        {
            return;
        }
        let is_invite = outline.first_line.starts_with("INVITE ");
        let at = self.calls.iter().rposition(|c| c.call_id == outline.call_id);
        let call = match at.and_then(|at| self.calls.get_mut(at)) {
            Some(call) => call,
            None if is_invite => {
                if self.calls.len() >= CALLS_MAX {
                    self.calls.pop_front();
                }
                self.calls.push_back(CallMessages { call_id: outline.call_id, ..CallMessages::default() });
                let Some(call) = self.calls.back_mut() else { return };
                call
            }
            // The call began before this process, or is one that is no longer kept.
            None => return,
        };
        if call.messages.len() >= MESSAGES_MAX {
            call.left_out += 1;
            return;
        }
        call.messages.push(CallMessage {
            time_us,
            sent: matches!(way, Direction::Out),
            first_line: outline.first_line,
            text: masked(bytes),
        });
    }

    /// By the Call-ID or the beginning of it; the latest.
    pub fn call(&self, call_id: &str) -> Option<CallMessages> {
        self.calls.iter().rev().find(|c| c.call_id.starts_with(call_id)).cloned()
    }
}

fn masked(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MESSAGE_BYTES_MAX).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let (mut secret, mut body) = (false, false);
    for line in text.lines() {
        body |= line.is_empty();
        // A folded line belongs to the field before it (RFC 3261 §7.3.1).
        let folded = line.starts_with([' ', '\t']);
        if !body && folded && secret {
            continue;
        }
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        secret = !body && MASKED.contains(&name.as_str());
        // SDP's k= is a key in clear (RFC 8866 §5.12).
        if body && line.starts_with("k=") {
            out.push_str("k=***");
        } else if secret {
            let shown = line.split(':').next().unwrap_or_default();
            out.extend(shown.chars().flat_map(plain));
            out.push_str(": ***");
        } else {
            out.extend(line.chars().flat_map(plain));
        }
        out.push('\n');
    }
    out
}

/// Control characters would reach the operator's terminal.
fn plain(c: char) -> impl Iterator<Item = char> {
    let shown = if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    std::iter::once(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(call_id: &str, number: &str) -> Vec<u8> {
        format!(
            "INVITE sip:{number}@carrier.example SIP/2.0\r\nFrom: <sip:0388881001@carrier.example>;tag=1\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nProxy-Authorization: Digest username=\"u\",\r\n response=\"5f\"\r\n\
             X: \u{1b}[2J\r\n\r\nv=0\r\nk=clear:secret\r\na=fingerprint:sha-256 AB\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_call_is_kept_without_secrets_and_found_by_id() {
        let mut trace = Trace::default();
        trace.message(1, Direction::Out, &invite("abc@host", "0388882001"));
        trace.message(2, Direction::In, b"SIP/2.0 486 Busy Here\r\ni: abc@host\r\nCSeq: 1 INVITE\r\n\r\n");
        trace.message(3, Direction::In, b"SIP/2.0 200 OK\r\nCall-ID: reg@host\r\nCSeq: 1 REGISTER\r\n\r\n");
        trace.message(4, Direction::In, b"BYE sip:x SIP/2.0\r\nCall-ID: other\r\nCSeq: 1 BYE\r\n\r\n");
        let call = trace.call("abc").expect("kept");
        assert_eq!(call.messages.len(), 2);
        let text = &call.messages[0].text;
        for secret in ["Digest", "response", "clear:secret", "\u{1b}"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(
            text.contains("Proxy-Authorization: ***\nX: ") && text.contains("k=***\na=fingerprint"),
            "{text}"
        );
        assert!(trace.call("other").is_none() && trace.call("reg").is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let mut trace = Trace::default();
        for n in 0..2 * CALLS_MAX {
            for _ in 0..2 * MESSAGES_MAX {
                trace.message(1, Direction::Out, &invite(&format!("call-{n}"), "0388882001"));
            }
        }
        assert_eq!(trace.calls.len(), CALLS_MAX);
        assert!(trace.calls.iter().all(|c| c.messages.len() == MESSAGES_MAX && c.left_out == 40));
        assert!(trace.call("call-0").is_none());
        let long = [invite("long", "1"), vec![b'x'; 60_000]].concat();
        trace.message(1, Direction::Out, &long);
        assert!(trace.call("long").expect("kept").messages[0].text.len() <= MESSAGE_BYTES_MAX);
    }
}
