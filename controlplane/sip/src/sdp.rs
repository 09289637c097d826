//! SDP with an IKE media description (RFC 6193): `m=application PORT udp ike-esp-udpencap` with `b=AS`.

use sdp_types::Session;
use sipsec_net::fingerprint::FingerprintError;
use sipsec_net::{Fingerprint, Kbps};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// RFC 6193 §4: the media formats.
pub const FMT_UDPENCAP: &str = "ike-esp-udpencap";
pub const FMT_PLAIN: &str = "ike-esp";
/// Bounds on what a peer may send.
pub const MEDIA_MAX: usize = 16;
pub const FINGERPRINTS_MAX: usize = 8;

/// RFC 6193 §4: who starts IKE. `holdconn` does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IkeSetup {
    Active,
    Passive,
    Actpass,
}

impl IkeSetup {
    const fn token(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
        }
    }

    fn from_token(token: &str) -> Option<Self> {
        // RFC 5234 §2.3: literal strings are case-insensitive.
        [Self::Active, Self::Passive, Self::Actpass]
            .into_iter()
            .find(|s| token.trim().eq_ignore_ascii_case(s.token()))
    }
}

/// The part that we play, once negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We start IKE.
    Active,
    /// We wait for it.
    Passive,
}

/// The IKE media of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeMedia {
    pub addr: SocketAddr,
    /// `None`: there was no `b=AS`.
    pub bandwidth: Option<Kbps>,
    /// `None`: there was no `a=ike-setup`; RFC 6193 §4 gives the default by offer or answer.
    pub setup: Option<IkeSetup>,
    /// `a=fingerprint` (RFC 8122): the certificate's.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=psk-fingerprint` (RFC 6193 §8.2).
    pub psk_fingerprints: Vec<Fingerprint>,
}

/// A body that we send or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=` session id and version; the same body again keeps both (RFC 3264 §8).
    pub session_id: u64,
    pub version: u64,
    pub ike: IkeMedia,
    /// Position of the IKE media among all, and the others' media, protocol and formats for an answer that refuses them.
    pub index: usize,
    pub others: Vec<String>,
}

/// Why a description cannot be used. Each has a cure and a SIP status.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    #[error("the SDP is malformed")]
    Syntax,
    #[error("the SDP has no media `application … udp {FMT_UDPENCAP}`")]
    NoIkeMedia,
    #[error("the peer refused the VPN media (port 0)")]
    Refused,
    #[error("the SDP has more than one IKE media")]
    SeveralIkeMedia,
    #[error("the SDP has no usable c= address")]
    BadConnection,
    #[error("the SDP has no b=AS line, which this service requires on both sides")]
    MissingBandwidth,
    #[error("the SDP's b=AS is not a number from 1")]
    BadBandwidth,
    #[error("the SDP's a=ike-setup `{0}` is not active, passive or actpass")]
    BadSetup(String),
    #[error("offer and answer both want to be IKE {0}")]
    SetupConflict(&'static str),
    #[error("a fingerprint in the SDP is malformed ({0})")]
    BadFingerprint(&'static str),
    #[error("the SDP has too many lines")]
    TooLong,
    #[error("the answer's media lines are not those of the offer")]
    MediaMismatch,
}

impl SdpError {
    /// RFC 3261 §21.4.26: 488 for a description that cannot be met.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Syntax | Self::TooLong => 400,
            _ => 488,
        }
    }

    #[must_use]
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::MissingBandwidth | Self::BadBandwidth => "have the peer send b=AS:<kbps> in its SDP",
            Self::Refused | Self::NoIkeMedia => {
                "the peer does not offer a VPN under this number: check the number and its vpn-sip configuration"
            }
            Self::BadSetup(_) | Self::SetupConflict(_) => {
                "RFC 6193 section 4: active answers passive and the reverse"
            }
            Self::BadFingerprint(_) => "RFC 8122 section 5: hash function, space, hex pairs joined by colons",
            _ => "compare the SDP with RFC 6193 section 4",
        }
    }
}

impl SessionDescription {
    #[must_use]
    pub const fn new(session_id: u64, ike: IkeMedia) -> Self {
        Self { session_id, version: session_id, ike, index: 0, others: Vec::new() }
    }

    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        // The grammar wants CRLF; LF alone is common and harmless. A backslash at a line's end is a device of printed
        // documents (RFC 6193 §6.1 note), not a continuation.
        let session = Session::parse(body).map_err(|_| SdpError::Syntax)?;
        if session.medias.len() > MEDIA_MAX {
            return Err(SdpError::TooLong);
        }
        let is_ike = |m: &sdp_types::Media| {
            m.media.to_string().eq_ignore_ascii_case("application")
                && m.proto.to_string().eq_ignore_ascii_case("udp")
                && m.fmt.split_whitespace().any(|f| f == FMT_UDPENCAP || f == FMT_PLAIN)
        };
        let mut found = session.medias.iter().enumerate().filter(|(_, m)| is_ike(m));
        let (index, media) = found.next().ok_or(SdpError::NoIkeMedia)?;
        if found.next().is_some() {
            return Err(SdpError::SeveralIkeMedia);
        }
        if media.port == 0 {
            return Err(SdpError::Refused);
        }
        let connection =
            media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::BadConnection)?;
        let ip: IpAddr = connection
            .connection_address
            .split('/')
            .next()
            .and_then(|a| a.parse().ok())
            .filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())
            .ok_or(SdpError::BadConnection)?;
        // RFC 8866 §5.8: at either level; unknown types are ignored.
        let bandwidth = media
            .bandwidths
            .iter()
            .chain(&session.bandwidths)
            .find(|b| b.bwtype.to_string().eq_ignore_ascii_case("AS"))
            .map(|b| {
                u32::try_from(b.bandwidth).ok().filter(|k| *k > 0).map(Kbps).ok_or(SdpError::BadBandwidth)
            })
            .transpose()?;
        let attributes = |name: &'static str| -> Vec<&str> {
            let pick = |list: &'_ [sdp_types::Attribute]| {
                list.iter().any(|a| a.attribute.eq_ignore_ascii_case(name))
            };
            // RFC 8122 §5: media level first, session level for media without their own.
            let list = if pick(&media.attributes) { &media.attributes } else { &session.attributes };
            list.iter()
                .filter(|a| a.attribute.eq_ignore_ascii_case(name))
                .map(|a| a.value.as_deref().unwrap_or_default())
                .collect()
        };
        let setup = match attributes("ike-setup").first() {
            Some(token) => Some(
                IkeSetup::from_token(token)
                    .ok_or_else(|| SdpError::BadSetup((*token).chars().take(32).collect()))?,
            ),
            None => None,
        };
        Ok(Self {
            session_id: session.origin.sess_id.parse().unwrap_or(0),
            version: session.origin.sess_version,
            ike: IkeMedia {
                addr: SocketAddr::new(ip, media.port),
                bandwidth,
                setup,
                fingerprints: fingerprints(&attributes("fingerprint"))?,
                psk_fingerprints: fingerprints(&attributes("psk-fingerprint"))?,
            },
            index,
            others: session
                .medias
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != index)
                .map(|(_, m)| format!("m={} 0 {} {}", m.media, m.proto, m.fmt))
                .collect(),
        })
    }

    /// RFC 3264 §6: our answer has the offer's media lines in their order, foreign ones refused with port 0.
    #[must_use]
    pub fn answering(mut self, offer: &Self) -> Self {
        self.index = offer.index;
        self.others.clone_from(&offer.others);
        self
    }
}

/// The body. RFC 8866 §5: v,o,s,c,t, then for each media m,b,a.
impl std::fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ip = self.ike.addr.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut ike = format!("m=application {} udp {FMT_UDPENCAP}\r\n", self.ike.addr.port());
        if let Some(Kbps(kbps)) = self.ike.bandwidth {
            let _ = write!(ike, "b=AS:{kbps}\r\n");
        }
        if let Some(setup) = self.ike.setup {
            let _ = write!(ike, "a=ike-setup:{}\r\n", setup.token());
        }
        for p in &self.ike.fingerprints {
            let _ = write!(ike, "a=fingerprint:{p}\r\n");
        }
        for p in &self.ike.psk_fingerprints {
            let _ = write!(ike, "a=psk-fingerprint:{p}\r\n");
        }
        write!(f, "v=0\r\no=- {} {} IN {family} {ip}\r\n", self.session_id, self.version)?;
        write!(f, "s=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")?;
        let mut others = self.others.iter();
        for other in others.by_ref().take(self.index) {
            write!(f, "{other}\r\n")?;
        }
        f.write_str(&ike)?;
        for other in others {
            write!(f, "{other}\r\n")?;
        }
        Ok(())
    }
}

fn fingerprints(values: &[&str]) -> Result<Vec<Fingerprint>, SdpError> {
    if values.len() > FINGERPRINTS_MAX {
        return Err(SdpError::TooLong);
    }
    let mut out = Vec::new();
    for value in values {
        match value.parse() {
            Ok(f) => out.push(f),
            // RFC 8122 §5: md5, md2 and unknown functions are not verified; a stronger one may stand beside them.
            Err(FingerprintError::UnsupportedHash) => {}
            Err(FingerprintError::Syntax) => return Err(SdpError::BadFingerprint("syntax")),
            Err(FingerprintError::Length) => return Err(SdpError::BadFingerprint("length")),
        }
    }
    if out.is_empty() && !values.is_empty() {
        return Err(SdpError::BadFingerprint("only hash functions that must not be used"));
    }
    Ok(out)
}

/// What offer and answer agree on, from our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    pub remote: SocketAddr,
    /// min(offer, answer), for both directions.
    pub rate: Kbps,
    pub role: Role,
    pub fingerprints: Vec<Fingerprint>,
    pub psk_fingerprints: Vec<Fingerprint>,
}

/// Our offer and their answer.
pub fn negotiate_offered(offer: &IkeMedia, answer: &IkeMedia) -> Result<Negotiated, SdpError> {
    // RFC 6193 §4: active in the offer, passive in the answer, unless said.
    let ours = offer.setup.unwrap_or(IkeSetup::Active);
    let role = match (ours, answer.setup.unwrap_or(IkeSetup::Passive)) {
        (IkeSetup::Active | IkeSetup::Actpass, IkeSetup::Passive) => Role::Active,
        (IkeSetup::Passive | IkeSetup::Actpass, IkeSetup::Active) => Role::Passive,
        (_, IkeSetup::Actpass) => return Err(SdpError::BadSetup("actpass".into())),
        (_, IkeSetup::Active) => return Err(SdpError::SetupConflict("active")),
        (_, IkeSetup::Passive) => return Err(SdpError::SetupConflict("passive")),
    };
    agree(offer, answer, role)
}

/// Their offer and our configuration; gives what our answer must say.
pub fn negotiate_answering(offer: &IkeMedia, ours: &IkeMedia) -> Result<Negotiated, SdpError> {
    let role = match offer.setup.unwrap_or(IkeSetup::Active) {
        IkeSetup::Active | IkeSetup::Actpass => Role::Passive,
        IkeSetup::Passive => Role::Active,
    };
    agree(ours, offer, role)
}

fn agree(ours: &IkeMedia, theirs: &IkeMedia, role: Role) -> Result<Negotiated, SdpError> {
    let (Some(a), Some(b)) = (ours.bandwidth, theirs.bandwidth) else {
        return Err(SdpError::MissingBandwidth);
    };
    Ok(Negotiated {
        remote: theirs.addr,
        rate: a.min(b),
        role,
        fingerprints: theirs.fingerprints.clone(),
        psk_fingerprints: theirs.psk_fingerprints.clone(),
    })
}

impl Role {
    /// What our answer says.
    #[must_use]
    pub const fn setup(self) -> IkeSetup {
        match self {
            Self::Active => IkeSetup::Active,
            Self::Passive => IkeSetup::Passive,
        }
    }
}
