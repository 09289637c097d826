//! The agreed descriptions of a call, and the check that a later description does not change them.

use super::negotiate::preferred;
use super::{
    IkeSetup, Negotiated, SdpError, SessionDescription, SetupRole, negotiate_answering, negotiate_offered,
};
use sipsec_net::Fingerprint;

/// The descriptions of a call.
#[derive(Clone, Debug)]
pub enum Descriptions {
    /// It is only to be hung up.
    None,
    /// Their offer, which we have not answered.
    Offered(SessionDescription),
    /// Ours, to which there is no answer that could be used.
    Ours(SessionDescription),
    Agreed(Box<Agreement>),
}

/// RFC 6193 §5.2: a re-INVITE does not maintain the VPN. What was agreed on holds until the call ends.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// As last sent.
    ours: SessionDescription,
    /// As last taken.
    theirs: SessionDescription,
    agreed: Negotiated,
}

impl Descriptions {
    /// The body of an INVITE, of a 200, and of what refreshes the session.
    pub fn body(&self) -> Option<String> {
        match self {
            Self::None | Self::Offered(_) => None,
            Self::Ours(ours) => Some(ours.to_string()),
            Self::Agreed(a) => Some(a.ours.to_string()),
        }
    }

    /// Leaves out of our offer what the other side can do without: all fingerprints but those of the strongest hash
    /// function, which are the ones that it checks (RFC 8122 §5.1). `false` if there is nothing to leave out.
    pub fn shorten(&mut self) -> bool {
        let Self::Ours(ours) = self else { return false };
        let fingerprints = preferred(&ours.ike.fingerprints);
        let psk_fingerprints = preferred(&ours.ike.psk_fingerprints);
        let before = ours.ike.fingerprints.len() + ours.ike.psk_fingerprints.len();
        if fingerprints.len() + psk_fingerprints.len() == before {
            return false;
        }
        (ours.ike.fingerprints, ours.ike.psk_fingerprints) = (fingerprints, psk_fingerprints);
        // RFC 3264 §8: another body has another version.
        ours.version += 1;
        true
    }

    /// We accept their offer.
    pub fn accept(&mut self, ours: &SessionDescription) {
        let agreed = match self {
            Self::Offered(theirs) => negotiate_answering(&theirs.ike, &ours.ike).ok().zip(Some(&*theirs)),
            _ => None,
        };
        *self = Self::of(ours, agreed);
    }

    /// They accept ours.
    pub fn accepted(&mut self, theirs: &SessionDescription) {
        if let Self::Ours(ours) = self {
            let agreed = negotiate_offered(&ours.ike, &theirs.ike).ok().zip(Some(theirs));
            *self = Self::of(ours, agreed);
        }
    }

    fn of(ours: &SessionDescription, agreed: Option<(Negotiated, &SessionDescription)>) -> Self {
        let ours = ours.clone();
        match agreed {
            Some((agreed, theirs)) => {
                Self::Agreed(Box::new(Agreement { ours, theirs: theirs.clone(), agreed }))
            }
            None => Self::Ours(ours),
        }
    }

    /// Their offer inside the dialog, with our answer to it.
    ///
    /// # Errors
    /// If it would change what was agreed on.
    pub fn answer(&self, offer: &SessionDescription) -> Result<Self, SdpError> {
        let Self::Agreed(a) = self else { return Err(SdpError::Changed("session")) };
        // RFC 6193 §4: active is the default of an offer.
        a.same(offer, IkeSetup::Active)?;
        // RFC 3264 §8: every media line keeps its place; those that are new are refused like the others (§6).
        if offer.index != a.ours.index || offer.others.len() < a.ours.others.len() {
            return Err(SdpError::Changed("place among the media"));
        }
        let mut ours = a.ours.clone().answering(offer);
        ours.ike.setup = Some(a.agreed.role.setup());
        // More in the offer than before would raise the rate, if our own limit let it.
        if ours.ike.bandwidth.min(offer.ike.bandwidth) != Some(a.agreed.rate) {
            ours.ike.bandwidth = Some(a.agreed.rate);
        }
        // RFC 3264 §8: another body has the next version.
        if ours != a.ours {
            ours.version += 1;
        }
        Ok(Self::Agreed(Box::new(Agreement { ours, theirs: offer.clone(), agreed: a.agreed.clone() })))
    }

    /// Their answer to our offer inside the dialog.
    ///
    /// # Errors
    /// If it changes what was agreed on.
    pub fn confirm(&self, answer: &SessionDescription) -> Result<(), SdpError> {
        let Self::Agreed(a) = self else { return Err(SdpError::Changed("session")) };
        if answer.index != a.ours.index || answer.others.len() != a.ours.others.len() {
            return Err(SdpError::MediaMismatch);
        }
        a.same(answer, IkeSetup::Passive)
    }
}

impl Agreement {
    fn same(&self, theirs: &SessionDescription, default: IkeSetup) -> Result<(), SdpError> {
        let ike = &theirs.ike;
        if ike.addr != self.agreed.remote {
            return Err(SdpError::Changed("address"));
        }
        if ike.bandwidth.ok_or(SdpError::MissingBandwidth)? < self.agreed.rate {
            return Err(SdpError::Changed("bandwidth"));
        }
        let equal = |all: &[Fingerprint], before: &[Fingerprint]| {
            let now = preferred(all);
            now.len() == before.len() && now.iter().all(|f| before.contains(f))
        };
        if !equal(&ike.fingerprints, &self.agreed.fingerprints)
            || !equal(&ike.psk_fingerprints, &self.agreed.psk_fingerprints)
        {
            return Err(SdpError::Changed("fingerprint"));
        }
        // The same value as before means the same, even if it stood in an answer then and stands in an offer now.
        let fits = match (self.agreed.role, ike.setup.unwrap_or(default)) {
            _ if ike.setup == self.theirs.ike.setup => true,
            (_, IkeSetup::Actpass) => true,
            (SetupRole::Active, setup) => setup == IkeSetup::Passive,
            (SetupRole::Passive, setup) => setup == IkeSetup::Active,
        };
        if fits { Ok(()) } else { Err(SdpError::Changed("role in IKE")) }
    }
}
