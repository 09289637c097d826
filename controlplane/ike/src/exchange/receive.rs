//! From a datagram to a message that may be acted on: window, ICV, fragments, duplicates.

use super::ike_sa::IkeSa;
use super::octets::{HEAD_LEN, Head, octets};
use super::reassembly::Whole;
use crate::ctx::Ctx;
use crate::path::Answered;
use crate::task::Task;
use crate::wire::header::HEADER_LEN;
use crate::wire::payload::Payloads;
use crate::wire::skf::{SKF_FIELDS_LEN, SkfFields};
use crate::wire::{Exchange, Header, Message, ParseError, PayloadType};
use sipsec_net::Instant;

/// A message that passed its ICV and the window.
pub(crate) struct Incoming {
    pub exchange: Exchange,
    pub id: u32,
    head: Head,
    pub first: PayloadType,
    pub plaintext: Vec<u8>,
    /// For a response: what was asked.
    pub answers: Option<Task>,
}

impl Incoming {
    pub fn message(&self) -> Result<Message<'_>, ParseError> {
        Message::parse(self.first, &self.plaintext)
    }

    /// The message as it was before encryption and fragmentation (RFC 9242 §3.3.2): of fragments, the flags and the
    /// RESERVED field are those of the first.
    pub fn octets(&self) -> Option<Vec<u8>> {
        Some(octets(self.head?, self.first, &self.plaintext))
    }
}

impl IkeSa {
    /// The response that an initiator waits for. Its responder has nothing to ask before the IKE SA is up.
    pub fn receive_response(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> Option<Incoming> {
        if !self.is(header) {
            ctx.counters.dropped_spi += 1;
            return None;
        }
        if !header.response {
            ctx.counters.dropped_state += 1;
            return None;
        }
        self.receive(ctx, now, header, bytes)
    }

    /// A message with our SPIs. `None`: it was dropped (and counted), a duplicate, or a fragment of a message that is
    /// not whole yet.
    pub fn receive(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> Option<Incoming> {
        let duplicate = match self.check_window(header) {
            Window::Wanted => false,
            Window::Answered => true,
            Window::Answering => {
                ctx.counters.duplicates_in += 1;
                return None;
            }
            Window::Outside => {
                ctx.counters.dropped_window += 1;
                return None;
            }
        };
        let last =
            Payloads::new(header.first, bytes.get(HEADER_LEN..)?).try_fold(None, |_, raw| raw.map(Some));
        let raw = match last {
            Ok(Some(raw)) if raw.kind == PayloadType::SK || raw.kind == PayloadType::SKF => raw,
            Ok(_) => {
                // RFC 7296 §2.21.4: nothing outside an Encrypted payload changes the state of this SA.
                ctx.counters.dropped_clear_text += 1;
                return None;
            }
            Err(_) => {
                ctx.counters.dropped_malformed += 1;
                return None;
            }
        };
        let fields = if raw.kind == PayloadType::SKF {
            match SkfFields::parse(raw.body) {
                Ok(f) => Some(f),
                Err(_) => {
                    ctx.counters.dropped_malformed += 1;
                    return None;
                }
            }
        } else {
            None
        };
        // The Encrypted payload is the last of the message, so its body ends where the message does.
        let skip = fields.map_or(0, |_| SKF_FIELDS_LEN);
        let (before, sealed) = bytes.split_at(bytes.len() - raw.body.len() + skip);
        if duplicate {
            self.replay(ctx, before, sealed, fields);
            return None;
        }
        let reassembly =
            if header.response { &mut self.reassembly_responses } else { &mut self.reassembly_requests };
        if fields.is_some_and(|f| !reassembly.wants(header.id, f)) {
            ctx.counters.duplicates_in += 1;
            return None;
        }
        let Ok(plaintext) = self.cipher_in.open(before, sealed) else {
            ctx.counters.dropped_integrity += 1;
            return None;
        };
        ctx.last_heard = ctx.last_heard.max(now);
        ctx.proofs += 1;
        let head = before.first_chunk().filter(|_| before.len() == HEAD_LEN + skip).copied();
        let Whole { first, head, plaintext, largest: fragment_len } = match fields {
            None => Whole { first: raw.next, head, plaintext, largest: None },
            Some(f) => match reassembly.add(header.id, f, (raw.next, head), plaintext, bytes.len()) {
                Some(whole) => whole,
                None => {
                    ctx.counters.fragments_in += 1;
                    return None;
                }
            },
        };
        reassembly.clear();
        let answers = if header.response {
            ctx.counters.responses_in += 1;
            let o = self.outstanding.take()?;
            let (largest, refused) = (o.sent.largest(), o.sent.refused());
            ctx.path.answered(now, Answered { largest, refused, probe: o.probe });
            Some(o.task)
        } else {
            ctx.counters.requests_in += 1;
            self.answering = Some(header.exchange);
            self.request_bytes = fragment_len;
            // The peer has our response to the request before, which had to be cut.
            if let Some(sent) = self.cached.as_ref().filter(|sent| sent.refused().is_some()) {
                ctx.path.learn(sent.largest());
            }
            None
        };
        Some(Incoming { exchange: header.exchange, id: header.id, head, first, plaintext, answers })
    }

    fn check_window(&self, header: &Header) -> Window {
        if header.response {
            return match &self.outstanding {
                Some(o) if o.id() == header.id && o.exchange() == header.exchange => Window::Wanted,
                _ => Window::Outside,
            };
        }
        if header.id == self.expected {
            if self.answering.is_some() { Window::Answering } else { Window::Wanted }
        } else if header.id.checked_add(1) == Some(self.expected) && self.cached.is_some() {
            Window::Answered
        } else {
            Window::Outside
        }
    }

    /// RFC 7296 §2.1: a request that was answered before gets the same response again. RFC 7383 §2.6.1: of its
    /// fragments only the first one does that. Its ICV is checked, so that only the peer can make us send; it is no sign of
    /// life, since any host can repeat it (RFC 7296 §2.4 wants a fresh message).
    fn replay(&mut self, ctx: &mut Ctx, before: &[u8], sealed: &[u8], fields: Option<SkfFields>) {
        let first = fields.is_none_or(|f| f.number == 1);
        let cipher = self.cached_keys.as_ref().map_or(&self.cipher_in, |keys| &keys.inbound);
        if first && cipher.open(before, sealed).is_err() {
            ctx.counters.dropped_integrity += 1;
            return;
        }
        ctx.counters.duplicates_in += 1;
        if first {
            let len = fields.filter(|f| f.total > 1).map(|_| before.len() + sealed.len());
            self.respond_again(ctx, len);
        }
    }
}

enum Window {
    Wanted,
    /// Its response is in the cache.
    Answered,
    /// Its response is being made.
    Answering,
    Outside,
}
