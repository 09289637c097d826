//! Messages in a byte stream (RFC 3261 §18.3): the head ends with an empty line, and Content-Length says how much follows.
//!
//! A stream has no place at which reading could begin anew after an error, so that every error is the end of the connection.

use thiserror::Error;

/// Start line and header fields of one message.
pub const HEAD_MAX: usize = 16 * 1024;
/// The body of one message. SDP of this service has less than 2 KiB.
pub const BODY_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("the head of a message is longer than {HEAD_MAX} bytes")]
    HeadTooLong,
    #[error("the body of a message is longer than {BODY_MAX} bytes")]
    BodyTooLong,
    #[error("a message has no Content-Length, which RFC 3261 §18.3 demands of streams")]
    NoLength,
    #[error("the Content-Length of a message is no number, or there are two that differ")]
    BadLength,
    #[error("what came is no SIP")]
    NotSip,
}

/// What a stream has next.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed {
    Message(Vec<u8>),
    /// RFC 5626 §3.5.1: the second empty line in a row; the answer is one empty line.
    Ping,
    /// An empty line: the answer to a ping of ours, or the first half of theirs.
    Pong,
}

/// Cuts one stream into messages. It holds one unfinished message at most.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// How much of the buffer has no end of a head.
    searched: usize,
    /// The last that came was one empty line: another makes it a ping.
    half: bool,
    failed: Option<FrameError>,
}

impl Framer {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        // After an error nothing is kept.
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// What comes next; `None` if more has to be read first.
    ///
    /// # Errors
    /// If the stream is no SIP, or too much for one message. The connection is of no use any more.
    pub fn cut(&mut self) -> Result<Option<Framed>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = self.read();
        if let Err(error) = next {
            self.failed = Some(error);
            self.buffer = Vec::new();
        }
        next
    }

    fn read(&mut self) -> Result<Option<Framed>, FrameError> {
        match self.buffer.as_slice() {
            [] | [b'\r'] => return Ok(None),
            // RFC 3261 §7.5: empty lines before a message are passed over.
            [b'\r', b'\n', ..] => {
                self.buffer.drain(..2);
                self.half = !self.half;
                return Ok(Some(if self.half { Framed::Pong } else { Framed::Ping }));
            }
            [first, ..] if !first.is_ascii_alphabetic() => return Err(FrameError::NotSip),
            _ => {}
        }
        first_line(&self.buffer)?;
        let from = self.searched.saturating_sub(3);
        let Some(end) = find(&self.buffer[from..], b"\r\n\r\n").map(|at| from + at + 4) else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > HEAD_MAX { Err(FrameError::HeadTooLong) } else { Ok(None) };
        };
        if end > HEAD_MAX {
            return Err(FrameError::HeadTooLong);
        }
        let length = content_length(&self.buffer[..end])?;
        if length > BODY_MAX {
            return Err(FrameError::BodyTooLong);
        }
        let whole = end + length;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let rest = self.buffer.split_off(whole);
        (self.searched, self.half) = (0, false);
        Ok(Some(Framed::Message(std::mem::replace(&mut self.buffer, rest))))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// The first line names SIP at its begin or its end; anything else would fill the buffer for nothing.
fn first_line(head: &[u8]) -> Result<(), FrameError> {
    let end = find(head, b"\r\n");
    let line = &head[..end.unwrap_or(head.len())];
    if line.iter().any(|b| b.is_ascii_control() && !matches!(b, b'\t' | b'\r')) {
        return Err(FrameError::NotSip);
    }
    let sip = b"SIP/";
    let begins = line.get(..sip.len()).is_some_and(|b| b.eq_ignore_ascii_case(sip));
    let ends = line.windows(sip.len() + 1).any(|w| w[0] == b' ' && w[1..].eq_ignore_ascii_case(sip));
    if end.is_none() || begins || ends { Ok(()) } else { Err(FrameError::NotSip) }
}

/// RFC 3261 §20.14, in its long and its compact form.
fn content_length(head: &[u8]) -> Result<usize, FrameError> {
    let mut found = None;
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = line[..colon].trim_ascii();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let text = std::str::from_utf8(line[colon + 1..].trim_ascii()).map_err(|_| FrameError::BadLength)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FrameError::BadLength);
        }
        // More digits than a number can have are a length that is too large.
        let length = text.parse().unwrap_or(usize::MAX);
        if found.is_some_and(|other: usize| other != length) {
            return Err(FrameError::BadLength);
        }
        found = Some(length);
    }
    found.ok_or(FrameError::NoLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(framer: &mut Framer) -> Vec<Framed> {
        std::iter::from_fn(|| framer.cut().expect("SIP")).collect()
    }

    fn message(body: &str) -> Vec<u8> {
        format!("OPTIONS sip:x SIP/2.0\r\nVia: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    #[test]
    fn messages_are_cut_wherever_the_reads_end() {
        let (one, two) = (message("v=0\r\n\r\n"), b"SIP/2.0 200 OK\r\nl : 3\r\n\r\nabc".to_vec());
        let stream = [one.clone(), two.clone(), one.clone()].concat();
        for size in 1..=stream.len() {
            let mut framer = Framer::default();
            let mut got = Vec::new();
            for part in stream.chunks(size) {
                framer.push(part);
                got.extend(all(&mut framer));
            }
            let want = [one.clone(), two.clone(), one.clone()].map(Framed::Message);
            assert_eq!(got, want, "{size}");
            assert_eq!(framer.held(), 0);
        }
    }

    #[test]
    fn keep_alives_are_told_apart() {
        let mut framer = Framer::default();
        for ping in [&[b"\r\n\r\n".as_slice()][..], &[b"\r", b"\n\r", b"\n"]] {
            let mut got = Vec::new();
            for part in ping {
                framer.push(part);
                got.extend(all(&mut framer));
            }
            assert_eq!(got, [Framed::Pong, Framed::Ping]);
        }
        framer.push(&message(""));
        assert_eq!(all(&mut framer).len(), 1);
        framer.push(b"\r\n");
        assert_eq!(all(&mut framer), [Framed::Pong]);
        // RFC 3261 §7.5: empty lines before a start line.
        framer.push(&message(""));
        framer.push(&[b"\r\n".as_slice(), &message("")].concat());
        let got = all(&mut framer);
        assert!(matches!(&got[..], [Framed::Message(_), Framed::Pong, Framed::Message(_)]), "{got:?}");
    }

    #[test]
    fn a_stream_that_is_no_sip_ends() {
        let long = "x".repeat(HEAD_MAX);
        for (bytes, error) in [
            ("GET / HTTP/1.1\r\n".to_owned(), FrameError::NotSip),
            ("\u{16}\u{3}\u{1}".to_owned(), FrameError::NotSip),
            ("A\u{0}\u{1}".to_owned(), FrameError::NotSip),
            (long.clone() + "x", FrameError::HeadTooLong),
            (format!("SIP/2.0 200 OK\r\nA: {long}\r\n"), FrameError::HeadTooLong),
            (format!("SIP/2.0 200 OK\r\nl: 0\r\nA: {long}\r\n\r\n"), FrameError::HeadTooLong),
            ("SIP/2.0 200 OK\r\nVia: a\r\n\r\n".to_owned(), FrameError::NoLength),
            ("SIP/2.0 200 OK\r\nl: 3\r\nContent-Length: 4\r\n\r\n".to_owned(), FrameError::BadLength),
            ("SIP/2.0 200 OK\r\nl: -3\r\n\r\n".to_owned(), FrameError::BadLength),
            ("SIP/2.0 200 OK\r\nl: \r\n\r\n".to_owned(), FrameError::BadLength),
            ("SIP/2.0 200 OK\r\nl: 65537\r\n\r\n".to_owned(), FrameError::BodyTooLong),
            (format!("SIP/2.0 200 OK\r\nl: {}\r\n\r\n", "9".repeat(40)), FrameError::BodyTooLong),
        ] {
            let mut framer = Framer::default();
            framer.push(bytes.as_bytes());
            assert_eq!(framer.cut(), Err(error), "{bytes:.40}");
            framer.push(&message(""));
            assert_eq!((framer.cut(), framer.held()), (Err(error), 0), "it stays ended");
        }
    }

    proptest! {
        /// Any bytes in any parts: no panic, no more held than one message, and the same result as in one part.
        #[test]
        fn any_bytes(parts in prop::collection::vec(prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"SIP/2.0 200 OK\r\n".to_vec()),
            Just(b"l: 4\r\n".to_vec()),
            Just(b"Content-Length: 0\r\n\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..50),
        ], 0..20)) {
            let run = |parts: &[Vec<u8>]| {
                let (mut framer, mut messages, mut error) = (Framer::default(), Vec::new(), None);
                for part in parts {
                    framer.push(part);
                    loop {
                        match framer.cut() {
                            Ok(Some(Framed::Message(m))) => messages.push(m),
                            Ok(Some(_)) => {}
                            Ok(None) => break,
                            Err(e) => { error = Some(e); break }
                        }
                    }
                    assert!(framer.held() <= HEAD_MAX + BODY_MAX);
                }
                (messages, error)
            };
            let whole = run(&[parts.concat()]);
            let (messages, error) = run(&parts);
            prop_assert_eq!(&messages, &whole.0);
            prop_assert_eq!(error, whole.1);
        }
    }
}
