//! Security Association: proposals, transforms, attributes (RFC 7296 §3.3).

use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};

pub(crate) const TYPE_ENCR: u8 = 1;
pub(crate) const TYPE_PRF: u8 = 2;
pub(crate) const TYPE_INTEG: u8 = 3;
pub(crate) const TYPE_KE: u8 = 4;
pub(crate) const TYPE_ESN: u8 = 5;
/// Additional Key Exchange 1 (RFC 9370 §2.2.1), and the last of seven.
pub(crate) const TYPE_ADDKE1: u8 = 6;
pub(crate) const TYPE_ADDKE7: u8 = 12;

const ATTRIBUTE_KEY_LENGTH: u16 = 14;
const ATTRIBUTE_SHORT: u16 = 0x8000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Transform {
    pub kind: u8,
    pub id: u16,
    pub key_bits: Option<u16>,
    /// Has an attribute that we do not know. RFC 7296 §3.3.6: such a transform is not chosen.
    pub strange: bool,
}

impl Transform {
    pub const fn new(kind: u8, id: u16) -> Self {
        Self { kind, id, key_bits: None, strange: false }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proposal {
    pub number: u8,
    pub protocol: u8,
    pub spi: Vec<u8>,
    pub transforms: Vec<Transform>,
}

impl Proposal {
    pub fn of_kind(&self, kind: u8) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |t| t.kind == kind && !t.strange)
    }

    pub fn has_kind(&self, kind: u8) -> bool {
        self.transforms.iter().any(|t| t.kind == kind)
    }

    /// The SPI of an ESP proposal.
    pub fn esp_spi(&self) -> Option<u32> {
        self.spi.as_slice().try_into().ok().map(u32::from_be_bytes)
    }

    /// The SPI of an IKE proposal in a rekey.
    pub fn ike_spi(&self) -> Option<u64> {
        self.spi.as_slice().try_into().ok().map(u64::from_be_bytes)
    }
}

/// The payload's length bounds what it holds; neither proposals nor transforms have a limit of ours, for peers offer all that
/// they have (RFC 7296 §3.3).
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Proposal>, ParseError> {
    let mut r = Reader::new(body, "proposal");
    let mut out = Vec::new();
    // RFC 7296 §3.3.1: whether it is the last one is known from the length; the field for it decides nothing.
    while !r.is_empty() {
        r.u16()?;
        let len = usize::from(r.u16()?);
        let body = r.take(len.checked_sub(4).ok_or(ParseError::Length("proposal"))?)?;
        out.push(parse_proposal(body)?);
    }
    if out.is_empty() { Err(ParseError::Length("proposal")) } else { Ok(out) }
}

fn parse_proposal(body: &[u8]) -> Result<Proposal, ParseError> {
    let mut r = Reader::new(body, "proposal");
    let number = r.u8()?;
    let protocol = r.u8()?;
    let spi_len = usize::from(r.u8()?);
    let count = usize::from(r.u8()?);
    let spi = r.take(spi_len)?.to_vec();
    let mut transforms = Vec::with_capacity(count);
    for _ in 0..count {
        // RFC 7296 §3.3.2: the number of transforms says which is the last one.
        r.u16()?;
        let len = usize::from(r.u16()?);
        let body = r.take(len.checked_sub(4).ok_or(ParseError::Length("transform"))?)?;
        transforms.push(parse_transform(body)?);
    }
    r.end()?;
    Ok(Proposal { number, protocol, spi, transforms })
}

fn parse_transform(body: &[u8]) -> Result<Transform, ParseError> {
    let mut r = Reader::new(body, "transform");
    let kind = r.u8()?;
    r.u8()?;
    let mut out = Transform::new(kind, r.u16()?);
    while !r.is_empty() {
        let head = r.u16()?;
        let value = r.u16()?;
        if head == ATTRIBUTE_SHORT | ATTRIBUTE_KEY_LENGTH && out.key_bits.is_none() {
            out.key_bits = Some(value);
        } else {
            out.strange = true;
            if head & ATTRIBUTE_SHORT == 0 {
                r.take(usize::from(value))?;
            }
        }
    }
    Ok(out)
}

impl Chain {
    pub fn sa(&mut self, proposals: &[Proposal]) -> &mut Self {
        let mut body = Vec::new();
        for (i, p) in proposals.iter().enumerate() {
            let start = body.len();
            let last = i + 1 == proposals.len();
            body.extend_from_slice(&[if last { 0 } else { 2 }, 0, 0, 0]);
            let spi_len = u8::try_from(p.spi.len()).expect("SPIs have 0, 4 or 8 bytes");
            let count = u8::try_from(p.transforms.len()).expect("the table has fewer than 256 transforms");
            body.extend_from_slice(&[p.number, p.protocol, spi_len, count]);
            body.extend_from_slice(&p.spi);
            for (j, t) in p.transforms.iter().enumerate() {
                let last = j + 1 == p.transforms.len();
                let len: u16 = if t.key_bits.is_some() { 12 } else { 8 };
                body.extend_from_slice(&[if last { 0 } else { 3 }, 0]);
                body.extend_from_slice(&len.to_be_bytes());
                body.extend_from_slice(&[t.kind, 0]);
                body.extend_from_slice(&t.id.to_be_bytes());
                if let Some(bits) = t.key_bits {
                    body.extend_from_slice(&(ATTRIBUTE_SHORT | ATTRIBUTE_KEY_LENGTH).to_be_bytes());
                    body.extend_from_slice(&bits.to_be_bytes());
                }
            }
            let len = u16::try_from(body.len() - start).expect("proposals are far below 64 KiB");
            body[start + 2..start + 4].copy_from_slice(&len.to_be_bytes());
        }
        self.push(PayloadType::SA, &body)
    }
}
