//! Bytes of messages (RFC 7296 §3). Decoders take untrusted bytes, never panic, allocate no more than the input's
//! length allows, and say what is wrong; encoders are only given what we made.

pub(crate) mod auth;
pub(crate) mod cert;
pub(crate) mod cp;
pub(crate) mod delete;
pub(crate) mod header;
pub(crate) mod id;
pub(crate) mod ke;
pub(crate) mod message;
pub(crate) mod notify;
pub(crate) mod payload;
pub(crate) mod reader;
pub(crate) mod sa;
pub(crate) mod skf;
pub(crate) mod ts;

pub(crate) use header::{Exchange, Header};
pub(crate) use message::Message;
pub(crate) use notify::{Notify, NotifyType};
pub(crate) use payload::{Chain, PayloadType};

/// Why bytes are no IKE message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// Fewer bytes than a length says, or bytes left over.
    Length(&'static str),
    /// A field with a value that has no meaning.
    Value(&'static str),
    /// A payload that may be there once came twice.
    Duplicate(&'static str),
    /// RFC 7296 §2.5: critical, and unknown to us.
    UnsupportedCritical(u8),
}

impl ParseError {
    /// The answer to a request that cannot be parsed (RFC 7296 §2.5, §2.21.2).
    pub(crate) fn refusal(self) -> Chain {
        let mut chain = Chain::new();
        match self {
            Self::UnsupportedCritical(payload) => {
                chain.notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[payload]);
            }
            _ => {
                chain.notify(NotifyType::INVALID_SYNTAX, &[]);
            }
        }
        chain
    }
}
