//! Identification (RFC 7296 §3.5).

use super::ParseError;
use super::reader::Reader;
use crate::identity::Identity;

const ID_IPV4_ADDR: u8 = 1;
const ID_FQDN: u8 = 2;
const ID_RFC822_ADDR: u8 = 3;
const ID_IPV6_ADDR: u8 = 5;
const ID_DER_ASN1_DN: u8 = 9;
const ID_KEY_ID: u8 = 11;

/// The body of an ID payload; RFC 7296 §2.15 signs exactly these bytes (RestOfIDPayload), reserved ones included.
pub(crate) fn parse(body: &[u8]) -> Result<Identity, ParseError> {
    let mut r = Reader::new(body, "identification");
    let kind = r.u8()?;
    r.take(3)?;
    let data = r.rest();
    // RFC 7296 §3.5 wants ASCII. An identity in another encoding is none that we know, and no malformed message.
    let text = |named: fn(String) -> Identity| match core::str::from_utf8(data) {
        Ok(text) => named(text.to_owned()),
        Err(_) => Identity::Other(kind, data.to_vec()),
    };
    Ok(match kind {
        ID_IPV4_ADDR => Identity::Ipv4(r.array::<4>()?.into()),
        ID_IPV6_ADDR => Identity::Ipv6(r.array::<16>()?.into()),
        ID_FQDN => text(Identity::Fqdn),
        ID_RFC822_ADDR => text(Identity::Rfc822),
        ID_DER_ASN1_DN => Identity::DerAsn1Dn(data.to_vec()),
        ID_KEY_ID => Identity::KeyId(data.to_vec()),
        other => Identity::Other(other, data.to_vec()),
    })
}

pub(crate) fn encode(id: &Identity) -> Vec<u8> {
    let (kind, data): (u8, &[u8]) = match id {
        Identity::Ipv4(a) => (ID_IPV4_ADDR, &a.octets()),
        Identity::Ipv6(a) => (ID_IPV6_ADDR, &a.octets()),
        Identity::Fqdn(s) => (ID_FQDN, s.as_bytes()),
        Identity::Rfc822(s) => (ID_RFC822_ADDR, s.as_bytes()),
        Identity::DerAsn1Dn(d) => (ID_DER_ASN1_DN, d),
        Identity::KeyId(d) => (ID_KEY_ID, d),
        Identity::Other(t, d) => (*t, d),
    };
    let mut out = vec![kind, 0, 0, 0];
    out.extend_from_slice(data);
    out
}
