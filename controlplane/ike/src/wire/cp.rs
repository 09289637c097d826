//! Configuration (RFC 7296 §3.15), as far as it has to be understood in order to be refused.

use super::ParseError;
use super::reader::Reader;

const CFG_REQUEST: u8 = 1;
const INTERNAL_IP4_ADDRESS: u16 = 1;
const INTERNAL_IP6_ADDRESS: u16 = 8;
/// The first bit of an attribute's type is reserved.
const TYPE_MASK: u16 = 0x7fff;

/// Whether the peer asks for an address inside our network.
pub(crate) fn asks_for_address(body: &[u8]) -> Result<bool, ParseError> {
    let mut r = Reader::new(body, "configuration");
    let kind = r.u8()?;
    r.take(3)?;
    let mut address = false;
    while !r.is_empty() {
        let attribute = r.u16()? & TYPE_MASK;
        let len = usize::from(r.u16()?);
        r.take(len)?;
        address |= matches!(attribute, INTERNAL_IP4_ADDRESS | INTERNAL_IP6_ADDRESS);
    }
    Ok(kind == CFG_REQUEST && address)
}
