//! IPv6: prefixes alone (RFC 6296), without state. Checksums above IP stay right by themselves, those of ICMP errors and of
//! what they quote too.

use crate::space::Space;
use crate::tcp::Way;
use core::net::Ipv6Addr;
use sipsec_net::ipv6::{self, Ipv6Header};
use sipsec_net::nat::NatSide;
use sipsec_net::{DropReason, icmp};

const SOURCE_AT: usize = 8;
const DESTINATION_AT: usize = 24;

impl Space {
    pub(crate) fn translate_v6(&self, data: &mut [u8], way: Way) -> Result<bool, DropReason> {
        let (near, far) = match way {
            Way::Out => (SOURCE_AT, DESTINATION_AT),
            Way::Back => (DESTINATION_AT, SOURCE_AT),
        };
        let mut changed = self.change(data, near, NatSide::Inside, way)?;
        changed |= self.change(data, far, NatSide::Outside, way)?;
        // RFC 6296 §6: what an error quotes is translated too. There the ends have changed places.
        if let Some(at) = quoted_at(data)
            && let Some(quoted) = data.get_mut(at..)
        {
            changed |= self.change(quoted, far, NatSide::Inside, way)?;
            changed |= self.change(quoted, near, NatSide::Outside, way)?;
        }
        Ok(changed)
    }

    fn change(&self, data: &mut [u8], at: usize, side: NatSide, way: Way) -> Result<bool, DropReason> {
        let Some(place) = data.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<16>) else {
            return Ok(false);
        };
        let address = Ipv6Addr::from(*place);
        let new = self.networks(side).iter().find_map(|n| match way {
            Way::Out => n.v6_to_global(address),
            Way::Back => n.v6_to_local(address),
        });
        let Some(new) = new else { return Ok(false) };
        *place = new?.octets();
        Ok(true)
    }
}

/// Where the packet begins that an ICMPv6 error quotes.
fn quoted_at(data: &[u8]) -> Option<usize> {
    let upper = Ipv6Header::parse(data).ok()?.upper_layer(data).ok()?;
    let at = usize::from(upper.offset);
    let is_error = upper.protocol == icmp::PROTOCOL_V6
        && !upper.later_fragment
        && icmp::is_error(icmp::PROTOCOL_V6, *data.get(at)?);
    let at = at + icmp::HEADER_LEN;
    (is_error && data.len() >= at + ipv6::HEADER_LEN && data[at] >> 4 == 6).then_some(at)
}
