//! Configuration (RFC 7296 §3.15), as far as it has to be understood in order to be refused.

use super::ParseError;
use super::reader::Reader;

const CFG_REQUEST: u8 = 1;
const INTERNAL_IP4_ADDRESS: u16 = 1;
const INTERNAL_IP6_ADDRESS: u16 = 8;
/// The first bit of an attribute's type is reserved.
const TYPE_MASK: u16 = 0x7fff;
/// Most attributes read; requests of clients have about ten.
const ATTRIBUTES_MAX: usize = 64;

/// Whether the peer asks for an address inside our network.
pub(crate) fn asks_for_address(body: &[u8]) -> Result<bool, ParseError> {
    let mut r = Reader::new(body, "configuration");
    let kind = r.u8()?;
    r.take(3)?;
    let mut address = false;
    for _ in 0..ATTRIBUTES_MAX {
        if r.is_empty() {
            return Ok(kind == CFG_REQUEST && address);
        }
        let attribute = r.u16()? & TYPE_MASK;
        let len = usize::from(r.u16()?);
        r.take(len)?;
        address |= matches!(attribute, INTERNAL_IP4_ADDRESS | INTERNAL_IP6_ADDRESS);
    }
    if r.is_empty() { Ok(kind == CFG_REQUEST && address) } else { Err(ParseError::TooMany("attribute")) }
}
