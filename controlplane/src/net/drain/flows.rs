//! Remembered flows, as the kernel lists them.

use super::rules::{FAMILY, FLOWS_V4, FLOWS_V6};
use crate::net::netfilter::{DUMP, Netfilter};
use sipsec_abi::nfnetlink::{Message, NFTABLES, REQUEST, TABLE, attributes, find};
use sipsec_net::IpPrefix;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

const GET_SET_ELEMENTS: u16 = NFTABLES << 8 | 13;
/// `NFTA_SET_ELEM_LIST_…`, `NFTA_SET_ELEM_KEY`, `NFTA_DATA_VALUE`
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const KEY: u16 = 1;
const VALUE: u16 = 1;

/// How many flows the kernel remembers to addresses of each prefix.
pub fn count(table: &str, prefixes: &[IpPrefix]) -> io::Result<BTreeMap<IpPrefix, u32>> {
    let mut counts: BTreeMap<IpPrefix, u32> = prefixes.iter().map(|prefix| (*prefix, 0)).collect();
    let mut netfilter = Netfilter::open()?;
    for (set, v6) in [(FLOWS_V4, false), (FLOWS_V6, true)] {
        if !prefixes.iter().any(|prefix| prefix.addr().is_ipv6() == v6) {
            continue;
        }
        let mut request = Message::new(GET_SET_ELEMENTS, REQUEST | DUMP, 1, FAMILY, 0);
        request.text(TABLE, table).text(SET, set);
        netfilter.dump(request.finish(), |message| {
            let list = find(message.attributes(), ELEMENTS).map(|list| list.value).unwrap_or_default();
            for element in attributes(list) {
                let key = find(element.value, KEY).and_then(|key| find(key.value, VALUE));
                let Some(to) = key.and_then(|key| destination(key.value, v6)) else { continue };
                counts.iter_mut().filter(|(prefix, _)| prefix.contains(to)).for_each(|(_, n)| *n += 1);
            }
            true
        })?;
    }
    Ok(counts)
}

/// The second field of a key.
fn destination(key: &[u8], v6: bool) -> Option<IpAddr> {
    Some(match v6 {
        false => IpAddr::from(<[u8; 4]>::try_from(key.get(4..8)?).ok()?),
        true => IpAddr::from(<[u8; 16]>::try_from(key.get(16..32)?).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_is_the_second_field() {
        let v4 = [10, 1, 0, 2, 10, 2, 0, 2, 6, 0, 0, 0];
        assert_eq!(destination(&v4, false), Some(IpAddr::from([10, 2, 0, 2])));
        let v6: Vec<u8> = (0..44).collect();
        assert_eq!(
            destination(&v6, true),
            Some("1011:1213:1415:1617:1819:1a1b:1c1d:1e1f".parse().expect("v6"))
        );
        assert_eq!((destination(&v4[..6], false), destination(&v4, true)), (None, None));
    }
}
