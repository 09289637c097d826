//! Reading a body: sdp-types has the syntax, RFC 6193 the meaning.

use super::{
    FINGERPRINTS_MAX, FMT_PLAIN, FMT_UDPENCAP, IkeMedia, IkeSetup, MEDIA_MAX, SdpError, SessionDescription,
};
use sdp_types::{Attribute, Connection, Media, Session};
use sipsec_net::fingerprint::FingerprintError;
use sipsec_net::{Fingerprint, Kbps};
use std::net::{IpAddr, SocketAddr};

impl SessionDescription {
    /// # Errors
    /// If it is no SDP, or has not exactly one IKE media that can be used.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.is_empty() {
            return Err(SdpError::NoBody);
        }
        // The grammar wants CRLF; LF alone is common and harmless. A backslash at a line's end is a device of printed
        // documents (RFC 6193 §6.1 note), not a continuation.
        let session = Session::parse(body).map_err(|_| SdpError::Syntax)?;
        if session.medias.len() > MEDIA_MAX {
            return Err(SdpError::TooLong);
        }
        let (index, media) = ike_media(&session.medias)?;
        if media.port == 0 {
            return Err(SdpError::Refused);
        }
        let connection =
            media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::BadConnection)?;
        let level = Levels { media: &media.attributes, session: &session.attributes };
        Ok(Self {
            session_id: session.origin.sess_id.parse().unwrap_or(0),
            version: session.origin.sess_version,
            ike: IkeMedia {
                addr: SocketAddr::new(address(connection)?, media.port),
                bandwidth: bandwidth(media, &session)?,
                setup: setup(&level.values("ike-setup"))?,
                fingerprints: fingerprints(&level.values("fingerprint"))?,
                psk_fingerprints: fingerprints(&level.values("psk-fingerprint"))?,
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
}

fn ike_media(medias: &[Media]) -> Result<(usize, &Media), SdpError> {
    let ike = |fmt: &'static str| {
        medias.iter().enumerate().filter(move |(_, m)| {
            m.media.eq_ignore_ascii_case("application")
                && m.proto.eq_ignore_ascii_case("udp")
                && m.fmt.split_ascii_whitespace().any(|f| f.eq_ignore_ascii_case(fmt))
        })
    };
    let mut found = ike(FMT_UDPENCAP);
    match (found.next(), found.next()) {
        (Some(media), None) => Ok(media),
        (Some(_), Some(_)) => Err(SdpError::SeveralIkeMedia),
        (None, _) if ike(FMT_PLAIN).next().is_some() => Err(SdpError::PlainEsp),
        (None, _) => Err(SdpError::NoIkeMedia),
    }
}

fn address(c: &Connection) -> Result<IpAddr, SdpError> {
    // A suffix (`/ttl`) belongs to multicast, which is none of ours.
    let ip: IpAddr = c.connection_address.parse().map_err(|_| SdpError::BadConnection)?;
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let usable = !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255; 4]);
    let named = c.nettype.to_string().eq_ignore_ascii_case("IN")
        && c.addrtype.to_string().eq_ignore_ascii_case(family);
    if usable && named { Ok(ip) } else { Err(SdpError::BadConnection) }
}

/// RFC 8866 §5.8: at either level; unknown types are ignored.
fn bandwidth(media: &Media, session: &Session) -> Result<Option<Kbps>, SdpError> {
    let found =
        media.bandwidths.iter().chain(&session.bandwidths).find(|b| b.bwtype.eq_ignore_ascii_case("AS"));
    let Some(b) = found else { return Ok(None) };
    let kbps = u32::try_from(b.bandwidth).ok().filter(|k| *k > 0).ok_or(SdpError::BadBandwidth)?;
    Ok(Some(Kbps(kbps)))
}

/// RFC 8122 §5, RFC 6193 §5.1: media level first, session level for media without their own.
struct Levels<'a> {
    media: &'a [Attribute],
    session: &'a [Attribute],
}

impl<'a> Levels<'a> {
    fn values(&self, name: &str) -> Vec<&'a str> {
        let at = |list: &'a [Attribute]| -> Vec<&'a str> {
            list.iter()
                .filter(|a| a.attribute.eq_ignore_ascii_case(name))
                .map(|a| a.value.as_deref().unwrap_or_default())
                .collect()
        };
        let own = at(self.media);
        if own.is_empty() { at(self.session) } else { own }
    }
}

fn setup(values: &[&str]) -> Result<Option<IkeSetup>, SdpError> {
    let mut chosen = None;
    for value in values {
        let bad = || SdpError::BadSetup(crate::message::printable(value, 32));
        let setup = IkeSetup::from_token(value).ok_or_else(bad)?;
        if chosen.is_some_and(|c| c != setup) {
            return Err(bad());
        }
        chosen = Some(setup);
    }
    Ok(chosen)
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
