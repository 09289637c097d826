//! A message's payloads by name. Order carries no meaning (RFC 7296 §2.5: a receiver SHOULD NOT insist on it).

use super::auth::Auth;
use super::delete::Delete;
use super::ke::{Ke, parse_nonce};
use super::payload::Payloads;
use super::sa::Proposal;
use super::{Notify, NotifyType, ParseError, PayloadType, id, sa, ts};
use super::{cert, cp};
use crate::identity::Identity;
use sipsec_net::dp::Selector;

/// An ID payload with the octets that AUTH covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IdPayload<'a> {
    pub id: Identity,
    pub octets: &'a [u8],
}

#[derive(Default, Debug)]
pub(crate) struct Message<'a> {
    pub sa: Option<Vec<Proposal>>,
    pub ke: Option<Ke<'a>>,
    pub nonce: Option<&'a [u8]>,
    pub idi: Option<IdPayload<'a>>,
    pub idr: Option<IdPayload<'a>>,
    pub auth: Option<Auth<'a>>,
    /// X.509 certificates in DER, the peer's own first (RFC 7296 §3.6).
    pub certs: Vec<&'a [u8]>,
    pub tsi: Option<Vec<Selector>>,
    pub tsr: Option<Vec<Selector>>,
    pub notifies: Vec<Notify<'a>>,
    pub deletes: Vec<Delete>,
    /// A CFG_REQUEST for an address.
    pub asks_for_address: bool,
}

fn once<T>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), ParseError> {
    if slot.is_some() {
        return Err(ParseError::Duplicate(what));
    }
    *slot = Some(value);
    Ok(())
}

impl<'a> Message<'a> {
    pub fn parse(first: PayloadType, bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut m = Self::default();
        // RFC 7296 §2.5: a message with an unsupported critical payload is rejected as a whole, so this error comes
        // before any other that the contents of its payloads may have.
        for raw in Payloads::new(first, bytes) {
            let raw = raw?;
            if raw.critical && !raw.kind.is_understood() {
                return Err(ParseError::UnsupportedCritical(raw.kind.0));
            }
        }
        for raw in Payloads::new(first, bytes) {
            let raw = raw?;
            match raw.kind {
                PayloadType::SA => once(&mut m.sa, sa::parse(raw.body)?, "SA")?,
                PayloadType::KE => once(&mut m.ke, Ke::parse(raw.body)?, "KE")?,
                PayloadType::NONCE => once(&mut m.nonce, parse_nonce(raw.body)?, "Nonce")?,
                PayloadType::IDI => {
                    once(&mut m.idi, IdPayload { id: id::parse(raw.body)?, octets: raw.body }, "IDi")?;
                }
                PayloadType::IDR => {
                    once(&mut m.idr, IdPayload { id: id::parse(raw.body)?, octets: raw.body }, "IDr")?;
                }
                PayloadType::CERT => m.certs.extend(cert::parse(raw.body)?),
                PayloadType::AUTH => once(&mut m.auth, Auth::parse(raw.body)?, "AUTH")?,
                PayloadType::TSI => once(&mut m.tsi, ts::parse(raw.body)?, "TSi")?,
                PayloadType::TSR => once(&mut m.tsr, ts::parse(raw.body)?, "TSr")?,
                PayloadType::NOTIFY => m.notifies.push(Notify::parse(raw.body)?),
                PayloadType::DELETE => m.deletes.push(Delete::parse(raw.body)?),
                PayloadType::CP => m.asks_for_address |= cp::asks_for_address(raw.body)?,
                // Vendor IDs: nothing that we act on. Certificate requests too: RFC 6193 §7 has both
                // sides present a certificate in any case.
                _ => {}
            }
        }
        Ok(m)
    }

    pub fn notify(&self, kind: NotifyType) -> Option<&Notify<'a>> {
        self.notifies.iter().find(|n| n.kind == kind)
    }

    /// The first error that the peer reports.
    pub fn error(&self) -> Option<&Notify<'a>> {
        self.notifies.iter().find(|n| n.kind.is_error())
    }
}
