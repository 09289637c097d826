//! Traffic selectors, both ways (RFC 4301 §5.1 and §5.2).

use crate::parse::Info;
use core::net::IpAddr;
use sipsec_net::dp::{Selector, Selectors};

/// Out: the source is local.
pub(crate) fn allows_out(selectors: &Selectors, info: &Info) -> bool {
    let (source, destination) = split(info);
    side(&selectors.local, info.source, info.protocol, source)
        && side(&selectors.remote, info.destination, info.protocol, destination)
}

/// In: the source is remote. RFC 4301 §5.2 step 4: the inner packet must be what this very SA was negotiated for,
/// else a peer could speak for another's network.
pub(crate) fn allows_in(selectors: &Selectors, info: &Info) -> bool {
    let (source, destination) = split(info);
    side(&selectors.remote, info.source, info.protocol, source)
        && side(&selectors.local, info.destination, info.protocol, destination)
}

const fn split(info: &Info) -> (Option<u16>, Option<u16>) {
    match info.ports {
        Some((source, destination)) => (Some(source), Some(destination)),
        None => (None, None),
    }
}

fn side(selectors: &[Option<Selector>], addr: IpAddr, protocol: u8, port: Option<u16>) -> bool {
    selectors.iter().flatten().any(|s| s.matches(addr, protocol, port))
}
