//! What a carrier wants to see in header fields, and which of its header fields are believed. RFC 3261 and RFC 3325 leave
//! these to the operator of the trust domain; [`Dialect::default`] is a carrier that keeps to both.

use sipsec_net::{Entropy, Kbps, TelNumber};
use std::fmt::Write as _;

/// The methods that the user agent takes, as `Allow` has them.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub contact_user: ContactUser,
    /// Value of `Allow`.
    pub allow: String,
    /// Value of `Supported` in REGISTER; empty for none. RFC 3327 §5.1: some registrars refuse the calls of those who do not
    /// name `path`.
    pub register_supported: String,
    /// Value of `Supported` in INVITE and UPDATE; empty for none.
    pub invite_supported: String,
    pub identity: Identity,
    /// Where the caller of an incoming call is read, in this order.
    pub caller_from: Vec<CallerSource>,
    /// Where the called line is read, in this order.
    pub called_from: Vec<CalledSource>,
    /// INVITEs without an offer are answered with ours, and their ACK has the answer (RFC 3264 §5); otherwise they are refused.
    pub delayed_offers: bool,
    /// The bandwidth of an SDP without `b=AS`; `None` refuses it.
    pub assumed_bandwidth: Option<Kbps>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            contact_user: ContactUser::Number,
            allow: ALLOW.to_owned(),
            register_supported: "path".to_owned(),
            invite_supported: "100rel, timer".to_owned(),
            identity: Identity::Preferred,
            caller_from: vec![CallerSource::Asserted],
            called_from: vec![CalledSource::CalledParty, CalledSource::RequestUri, CalledSource::To],
            delayed_offers: false,
            assumed_bandwidth: None,
        }
    }
}

/// The user part of Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactUser {
    /// The line's number.
    Number,
    /// No user part: `sip:ADDRESS`.
    Absent,
    /// 12 hexadecimal digits for each line, drawn at start.
    Random,
    /// One word for all lines.
    Token(String),
}

impl ContactUser {
    pub(crate) fn of(&self, number: TelNumber, entropy: &mut dyn Entropy) -> String {
        match self {
            Self::Number => number.to_string(),
            Self::Absent => String::new(),
            Self::Token(token) => token.clone(),
            Self::Random => {
                let mut bytes = [0; 6];
                entropy.fill(&mut bytes);
                bytes.iter().fold(String::with_capacity(12), |mut out, byte| {
                    let _ = write!(out, "{byte:02x}");
                    out
                })
            }
        }
    }
}

/// What an INVITE says of its caller. P-Asserted-Identity is the proxy's alone (RFC 3325 §9.1) and never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// From and P-Preferred-Identity (RFC 3325 §9.2).
    Preferred,
    /// From alone.
    From,
    /// Neither: From is anonymous (RFC 3261 §8.1.1.3). The carrier knows the line by its access.
    Withheld,
}

/// A header field that names the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerSource {
    /// P-Asserted-Identity.
    Asserted,
    /// P-Preferred-Identity: what the caller's gateway said, if the carrier passes it on.
    Preferred,
    /// From: believed only because everything comes from the trusted proxy.
    From,
}

/// A part of the INVITE that names the called line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledSource {
    /// P-Called-Party-ID (RFC 7315 §4.2).
    CalledParty,
    RequestUri,
    To,
}
