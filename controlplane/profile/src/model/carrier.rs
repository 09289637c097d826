//! `sip.carrier`: what an access line expects of a gateway and what it sends, as one set of values. A key of the profile
//! overrides the value of the same name.

use super::Word;
use super::wan::VendorClass;
use super::words::words;
use serde::{Serialize, Serializer};
use sipsec_net::Kbps;
use std::fmt::{self, Display};

words! {
    /// A set of values for one kind of access line.
    pub enum CarrierKind {
        Generic = "generic", "a carrier that keeps to RFC 3261 and RFC 3325";
        NttDirect = "ntt-direct", "NTT data connect with the gateway on the ONU";
        NttHgw = "ntt-hgw", "NTT data connect behind the home gateway";
        Cisco = "cisco", "a SIP server whose clients are IOS routers";
        Yamaha = "yamaha", "a SIP server whose clients are Yamaha routers";
    }
}

words! {
    /// What an INVITE says of its caller.
    pub enum Identity {
        Preferred = "ppi", "From and P-Preferred-Identity (RFC 3325)";
        From = "from", "From alone";
        Withheld = "none", "an anonymous From; the carrier knows the line by its access";
    }
}

words! {
    /// A header field that names the caller.
    pub enum CallerSource {
        Asserted = "pai", "P-Asserted-Identity";
        Preferred = "ppi", "P-Preferred-Identity";
        From = "from", "From; everything comes from the registrar's address, but a caller may write what it likes";
    }
}

words! {
    /// A part of the INVITE that names the called line.
    pub enum CalledSource {
        CalledParty = "p-called-party-id", "P-Called-Party-ID (RFC 7315)";
        RequestUri = "request-uri", "the Request-URI";
        To = "to", "To";
    }
}

words! {
    /// A SIP method of `Allow`.
    pub enum Method {
        Invite = "INVITE", "calls";
        Ack = "ACK", "calls";
        Cancel = "CANCEL", "calls";
        Bye = "BYE", "calls";
        Options = "OPTIONS", "questions (RFC 3261 §11)";
        Update = "UPDATE", "session refreshes (RFC 3311)";
        Prack = "PRACK", "reliable provisional responses (RFC 3262)";
    }
}

words! {
    /// An option tag of `Supported`.
    pub enum OptionTag {
        None = "none", "no `Supported` header field";
        Reliable = "100rel", "reliable provisional responses (RFC 3262)";
        Timer = "timer", "session timers (RFC 4028)";
        Path = "path", "Path header fields (RFC 3327)";
    }
}

words! {
    /// Whose packets a media port takes.
    pub enum PeerPort {
        Strict = "strict", "from the address and port of SDP";
        LearnOnce = "learn-once", "from the address of SDP; the source port is that of SDP, or the first other one whose packet proves itself";
    }
}

/// The user part of Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactUser {
    Number,
    Absent,
    Random,
    Token(String),
}

impl Display for ContactUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Absent => "none",
            Self::Random => "random",
            Self::Token(token) => token,
        })
    }
}

impl Serialize for ContactUser {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// DSCP of media packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaDscp {
    /// The inner packet's (RFC 2983 uniform model); IKE has none.
    Copy,
    Fixed(u8),
}

impl Display for MediaDscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("copy"),
            Self::Fixed(dscp) => dscp.fmt(f),
        }
    }
}

impl Serialize for MediaDscp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The keys of `sip` that override values of the carrier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SipOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expires_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rport: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_user: Option<ContactUser>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Method>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub register_supported: Vec<OptionTag>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invite_supported: Vec<OptionTag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caller_from: Vec<CallerSource>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub called_from: Vec<CalledSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delayed_offers: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bandwidths_kbps: Vec<u32>,
}

/// The keys of `media` that do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaOverrides {
    pub even_ports: Option<bool>,
    pub peer_port: Option<PeerPort>,
    pub dscp: Option<MediaDscp>,
    /// 0: an SDP without `b=AS` is refused.
    pub assumed_kbps: Option<u32>,
}

/// The values in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    pub kind: CarrierKind,
    /// RFC 3581 `rport` in Via.
    pub rport: bool,
    pub contact_user: ContactUser,
    pub allow: Vec<Method>,
    pub register_supported: Vec<OptionTag>,
    pub invite_supported: Vec<OptionTag>,
    pub identity: Identity,
    pub caller_from: Vec<CallerSource>,
    pub called_from: Vec<CalledSource>,
    /// An INVITE without an offer is answered with one.
    pub delayed_offers: bool,
    pub user_agent: bool,
    /// The session interval to ask for (RFC 4028); 0 for none.
    pub session_expires_s: u32,
    pub sip_dscp: u8,
    pub vendor_class: VendorClass,
    /// The bandwidths that the carrier sets up; empty for any.
    pub bandwidths_kbps: Vec<u32>,
    pub media_dscp: MediaDscp,
    pub even_ports: bool,
    pub peer_port: PeerPort,
    /// Bandwidth of an SDP without `b=AS`; `None` refuses the call.
    pub assumed: Option<Kbps>,
}

/// DSCP EF (RFC 3246) and CS1 (RFC 2474 §4.2.2).
const EF: u8 = 46;
const CS1: u8 = 8;

impl CarrierKind {
    /// The values of the kind. [`SEEN`] says where each was observed.
    #[must_use]
    pub fn values(self) -> Carrier {
        use Method::{Ack, Bye, Cancel, Invite, Options, Prack, Update};
        let generic = Carrier {
            kind: self,
            rport: true,
            contact_user: ContactUser::Number,
            allow: vec![Invite, Ack, Cancel, Bye, Options, Update, Prack],
            register_supported: vec![OptionTag::Path],
            invite_supported: vec![OptionTag::Reliable, OptionTag::Timer],
            identity: Identity::Preferred,
            caller_from: vec![CallerSource::Asserted],
            called_from: vec![CalledSource::CalledParty, CalledSource::RequestUri, CalledSource::To],
            delayed_offers: false,
            user_agent: true,
            session_expires_s: 300,
            sip_dscp: 0,
            vendor_class: VendorClass::None,
            bandwidths_kbps: Vec::new(),
            media_dscp: MediaDscp::Copy,
            even_ports: false,
            peer_port: PeerPort::Strict,
            assumed: None,
        };
        let ntt = Carrier {
            user_agent: false,
            sip_dscp: EF,
            vendor_class: VendorClass::Ntt,
            media_dscp: MediaDscp::Fixed(CS1),
            even_ports: true,
            peer_port: PeerPort::LearnOnce,
            ..generic.clone()
        };
        match self {
            Self::Generic => generic,
            Self::NttDirect => Carrier {
                rport: false,
                called_from: vec![CalledSource::CalledParty, CalledSource::To],
                ..ntt
            },
            Self::NttHgw => Carrier {
                contact_user: ContactUser::Random,
                allow: vec![Invite, Cancel, Ack, Bye, Update, Prack],
                ..ntt
            },
            Self::Cisco => Carrier {
                identity: Identity::From,
                caller_from: vec![CallerSource::Asserted, CallerSource::From],
                user_agent: false,
                bandwidths_kbps: vec![64, 512, 1000],
                ..generic
            },
            Self::Yamaha => Carrier {
                invite_supported: vec![OptionTag::None],
                caller_from: vec![CallerSource::Asserted, CallerSource::Preferred, CallerSource::From],
                user_agent: false,
                session_expires_s: 0,
                ..generic
            },
        }
    }
}

impl Carrier {
    /// The kind's values with the profile's own in their places.
    #[must_use]
    pub fn new(
        kind: CarrierKind,
        sip: &SipOverrides,
        media: &MediaOverrides,
        class: Option<VendorClass>,
    ) -> Self {
        fn list<T: Clone>(own: &[T], value: Vec<T>) -> Vec<T> {
            if own.is_empty() { value } else { own.to_vec() }
        }
        let v = kind.values();
        Self {
            kind,
            rport: sip.rport.unwrap_or(v.rport),
            contact_user: sip.contact_user.clone().unwrap_or(v.contact_user),
            allow: list(&sip.allow, v.allow),
            register_supported: list(&sip.register_supported, v.register_supported),
            invite_supported: list(&sip.invite_supported, v.invite_supported),
            identity: sip.identity.unwrap_or(v.identity),
            caller_from: list(&sip.caller_from, v.caller_from),
            called_from: list(&sip.called_from, v.called_from),
            delayed_offers: sip.delayed_offers.unwrap_or(v.delayed_offers),
            user_agent: sip.user_agent.unwrap_or(v.user_agent),
            session_expires_s: sip.session_expires_s.unwrap_or(v.session_expires_s),
            sip_dscp: sip.dscp.unwrap_or(v.sip_dscp),
            vendor_class: class.unwrap_or(v.vendor_class),
            bandwidths_kbps: list(&sip.bandwidths_kbps, v.bandwidths_kbps),
            media_dscp: media.dscp.unwrap_or(v.media_dscp),
            even_ports: media.even_ports.unwrap_or(v.even_ports),
            peer_port: media.peer_port.unwrap_or(v.peer_port),
            assumed: match media.assumed_kbps {
                Some(kbps) => (kbps > 0).then_some(Kbps(kbps)),
                None => v.assumed,
            },
        }
    }

    /// Each value by the key that overrides it, as a profile would have it, in the order of [`SEEN`].
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        fn words<T: Word>(values: &[T]) -> String {
            values.iter().map(|v| v.word()).collect::<Vec<_>>().join(", ")
        }
        let bandwidths: Vec<_> = self.bandwidths_kbps.iter().map(ToString::to_string).collect();
        let any = if bandwidths.is_empty() { "any".to_owned() } else { bandwidths.join(", ") };
        vec![
            ("sip.rport", self.rport.to_string()),
            ("sip.contact_user", self.contact_user.to_string()),
            ("sip.allow", words(&self.allow)),
            ("sip.register_supported", words(&self.register_supported)),
            ("sip.invite_supported", words(&self.invite_supported)),
            ("sip.identity", self.identity.word().to_owned()),
            ("sip.caller_from", words(&self.caller_from)),
            ("sip.called_from", words(&self.called_from)),
            ("sip.delayed_offers", self.delayed_offers.to_string()),
            ("sip.user_agent", self.user_agent.to_string()),
            ("sip.session_expires_s", self.session_expires_s.to_string()),
            ("sip.dscp", self.sip_dscp.to_string()),
            ("sip.bandwidths_kbps", any),
            ("wan.vendor_class", self.vendor_class.word().to_owned()),
            ("media.dscp", self.media_dscp.to_string()),
            ("media.even_ports", self.even_ports.to_string()),
            ("media.peer_port", self.peer_port.word().to_owned()),
            ("media.assumed_kbps", self.assumed.map_or(0, |k| k.0).to_string()),
        ]
    }
}

/// Where the values of the two NTT kinds were observed, and what is not known. `ngntun` and `ftth-sip` are public programs
/// that ran on such lines; no specification of the interface is published.
pub const SEEN: [(&str, &str); 18] = [
    ("sip.rport", "`ftth-sip` on the ONU must not send it; `ngntun` sends it to the home gateway"),
    (
        "sip.contact_user",
        "the home gateway refuses calls whose Contact has the extension (`ngntun`); on the ONU `ftth-sip` has no user part and IOS has the number, both work",
    ),
    ("sip.allow", "the home gateway answers 488 without these methods (`ngntun`); on the ONU unknown"),
    (
        "sip.register_supported",
        "the home gateway answers later INVITEs 488 without `path` (`ngntun`); `ftth-sip` uses Path and Service-Route",
    ),
    ("sip.invite_supported", "`ngntun`; off by default in Yamaha's manual"),
    ("sip.identity", "`ftth-sip` and `ngntun`; Cisco and Yamaha: assumed"),
    (
        "sip.caller_from",
        "P-Asserted-Identity on calls from the carrier (`ftth-sip`); behind the home gateway unknown; Cisco and Yamaha: assumed",
    ),
    ("sip.called_from", "P-Called-Party-ID decides, To stands in for it (`ftth-sip`)"),
    (
        "sip.delayed_offers",
        "calls without an offer were not observed; whether the carrier passes them on is unknown",
    ),
    ("sip.user_agent", "optional; Yamaha sends none by default"),
    (
        "sip.session_expires_s",
        "`ngntun` asks for 300 and gets `refresher=uas`; Yamaha: 60 to 540, off by default",
    ),
    ("sip.dscp", "EF (`ngntun`); Yamaha gives DHCP and SIP the highest priority"),
    ("sip.bandwidths_kbps", "IOS takes 64, 512 and 1000 alone; Yamaha takes any on NTT's lines"),
    (
        "wan.vendor_class",
        "option 124 of enterprise 210 with the hardware address (`ftth-dhcp`); the home gateway wants option 16 and does not look into it (`ngntun`)",
    ),
    ("media.dscp", "CS1 sent, CS4 received (`ngntun`)"),
    ("media.even_ports", "odd ports of `m=audio` were answered 500; of `m=application` unknown"),
    ("media.peer_port", "the source port may differ from that of SDP (`ngntun`)"),
    ("media.assumed_kbps", "IOS sets up no call without `b=AS`; whether the carrier does is unknown"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_source_and_an_own_value_replaces_it() {
        let names: Vec<_> = CarrierKind::Generic.values().rows().into_iter().map(|(key, _)| key).collect();
        assert_eq!(names, SEEN.map(|(key, _)| key));
        assert!(names.iter().all(|key| crate::schema::find(key).is_some()), "each is a key of the profile");
        let sip = SipOverrides { rport: Some(true), allow: vec![Method::Invite], ..SipOverrides::default() };
        let media = MediaOverrides { assumed_kbps: Some(64), ..MediaOverrides::default() };
        let own = Carrier::new(CarrierKind::NttDirect, &sip, &media, Some(VendorClass::None));
        let pairs = own.rows().into_iter().zip(CarrierKind::NttDirect.values().rows());
        let changed: Vec<_> = pairs.filter(|(a, b)| a != b).map(|(a, _)| a.0).collect();
        assert_eq!(changed, ["sip.rport", "sip.allow", "wan.vendor_class", "media.assumed_kbps"]);
    }
}
