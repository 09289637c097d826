//! Reading a body: what RFC 6193 makes of its lines.

use super::lines::{Lines, MediaLines, Section};
use super::{FINGERPRINTS_MAX, FMT_PLAIN, FMT_UDPENCAP, IkeMedia, IkeSetup, SdpError, SessionDescription};
use sipsec_net::fingerprint::FingerprintError;
use sipsec_net::{Fingerprint, HashFunc, Kbps};
use std::net::{IpAddr, SocketAddr};

impl SessionDescription {
    /// # Errors
    /// If it is no SDP, or has not exactly one IKE media that can be used.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.is_empty() {
            return Err(SdpError::NoBody);
        }
        // Free text (s=, i=) may be in any character set.
        let text = String::from_utf8_lossy(body);
        let lines = Lines::read(&text)?;
        let (index, media) = ike_media(&lines.media)?;
        let port = media.port().ok_or(SdpError::Syntax)?;
        let level = Levels { media: &media.section, session: &lines.session };
        let connection = level.connection().ok_or(SdpError::BadConnection)?;
        let (session_id, version) = lines.origin();
        let others = lines.media.iter().enumerate().filter(|(i, _)| *i != index);
        Ok(Self {
            session_id,
            version,
            ike: IkeMedia {
                addr: SocketAddr::new(address(connection)?, port),
                bandwidth: bandwidth(&level)?,
                setup: setup(&level.values("ike-setup"))?,
                fingerprints: fingerprints(&level.values("fingerprint"))?,
                psk_fingerprints: fingerprints(&level.values("psk-fingerprint"))?,
            },
            index,
            others: others.map(|(_, m)| m.refused()).collect(),
        })
    }
}

fn ike_media<'m, 'a>(medias: &'m [MediaLines<'a>]) -> Result<(usize, &'m MediaLines<'a>), SdpError> {
    let ike =
        |fmt: &'static str| medias.iter().enumerate().filter(move |(_, m)| m.is("application", "udp", fmt));
    // RFC 3264 §5.1, §8.2: a line with port 0 stands for media that are not wanted, or not any more.
    let mut live = ike(FMT_UDPENCAP).filter(|(_, m)| m.port() != Some(0));
    match (live.next(), live.next()) {
        (Some(media), None) => Ok(media),
        (Some(_), Some(_)) => Err(SdpError::SeveralIkeMedia),
        (None, _) if ike(FMT_UDPENCAP).next().is_some() => Err(SdpError::Refused),
        (None, _) if ike(FMT_PLAIN).next().is_some() => Err(SdpError::PlainEsp),
        (None, _) => Err(SdpError::NoIkeMedia),
    }
}

/// `IN IP4 ADDRESS`.
fn address(connection: &str) -> Result<IpAddr, SdpError> {
    let words: Vec<_> = connection.split_ascii_whitespace().collect();
    let [net, family, address, ..] = words[..] else { return Err(SdpError::BadConnection) };
    // A suffix (`/ttl`) belongs to multicast (RFC 8866 §5.7); behind another address it says nothing.
    let address = address.split('/').next().unwrap_or_default();
    let ip: IpAddr = address.parse().map_err(|_| SdpError::BadConnection)?;
    let own = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let plain = ip.to_canonical();
    let usable = !plain.is_unspecified() && !plain.is_multicast() && plain != IpAddr::from([255; 4]);
    let named = net.eq_ignore_ascii_case("IN") && family.eq_ignore_ascii_case(own);
    // RFC 5118 §4.9: an IPv4 address in the form of IPv6 is reached over IPv4.
    if usable && named { Ok(plain) } else { Err(SdpError::BadConnection) }
}

/// RFC 8866 §5.8: at either level.
fn bandwidth(level: &Levels<'_, '_>) -> Result<Option<Kbps>, SdpError> {
    let Some(value) = level.media.bandwidth("AS").or_else(|| level.session.bandwidth("AS")) else {
        return Ok(None);
    };
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let kbps = value.parse().ok().filter(|k| digits && *k > 0).ok_or(SdpError::BadBandwidth)?;
    Ok(Some(Kbps(kbps)))
}

/// RFC 8122 §5, RFC 6193 §5.1: media level first, session level for media without their own.
struct Levels<'s, 'a> {
    media: &'s Section<'a>,
    session: &'s Section<'a>,
}

impl<'a> Levels<'_, 'a> {
    fn values(&self, name: &str) -> Vec<&'a str> {
        let own = self.media.attributes(name);
        if own.is_empty() { self.session.attributes(name) } else { own }
    }

    fn connection(&self) -> Option<&'a str> {
        self.media.connection.or(self.session.connection)
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
    let (mut out, mut bad): (Vec<Fingerprint>, Vec<_>) = (Vec::new(), Vec::new());
    for value in values {
        let words: Vec<_> = value.split_ascii_whitespace().collect();
        let why = match words.join(" ").parse() {
            Ok(f) => {
                out.push(f);
                continue;
            }
            // RFC 8122 §5: md5, md2 and unknown functions are not verified; a stronger one may stand beside them.
            Err(FingerprintError::UnsupportedHash) => continue,
            Err(FingerprintError::Syntax) => "syntax",
            Err(FingerprintError::Length) => "length",
        };
        bad.push((words.first().copied().and_then(HashFunc::from_token), why));
    }
    // One that would not be checked decides nothing. The set that is checked must not become a weaker one.
    let strongest = out.iter().map(Fingerprint::hash).max();
    if let Some((_, why)) = bad.into_iter().find(|(hash, _)| strongest.is_none() || *hash > strongest) {
        return Err(SdpError::BadFingerprint(why));
    }
    if out.is_empty() && !values.is_empty() {
        return Err(SdpError::BadFingerprint("only hash functions that must not be used"));
    }
    Ok(out)
}
