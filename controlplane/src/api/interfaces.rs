//! `/v1/interfaces`: the devices of the gateway's network namespace, and its tunnels.

use super::model::Session;
use futures_util::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The kernel walks its devices within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One line of `show ip interface brief`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// IPv4 addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// `manual`, `DHCP` (an address with a lifetime), `unset`, or `SIP` for a tunnel.
    pub method: String,
    pub admin_up: bool,
    /// The line protocol; of a tunnel, whether its session is up.
    pub line_up: bool,
    pub tunnel: bool,
    /// Of a device that is a tunnel of the kernel: its kind, as `xfrm` or `gre`. vpn-sip is not configured on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_tunnel: Option<String>,
}

/// Names of the devices that the kernel makes by itself with each kind of tunnel.
const FALLBACK: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0"];

/// The kind of a tunnel of the kernel that was configured.
fn kernel_tunnel(name: &str, info: &[LinkInfo]) -> Option<String> {
    let kind = info.iter().find_map(|i| match i {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    let is_tunnel = matches!(
        kind,
        InfoKind::Tun
            | InfoKind::IpIp
            | InfoKind::Ip6Tnl
            | InfoKind::SitTun
            | InfoKind::GreTun
            | InfoKind::GreTun6
            | InfoKind::GreTap
            | InfoKind::GreTap6
            | InfoKind::Vti
            | InfoKind::Vti6
            | InfoKind::Xfrm
            | InfoKind::Wireguard
    );
    (is_tunnel && !FALLBACK.contains(&name)).then(|| kind.to_string())
}

/// Devices by their index.
///
/// # Errors
/// If the kernel does not answer.
pub async fn devices() -> std::io::Result<Vec<Interface>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let found = tokio::time::timeout(TIMEOUT, walk(&handle)).await;
    connection.abort();
    match found {
        Ok(found) => found.map_err(std::io::Error::other),
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

async fn walk(handle: &rtnetlink::Handle) -> Result<Vec<Interface>, rtnetlink::Error> {
    let mut out: BTreeMap<u32, Interface> = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        let name = link.attributes.iter().find_map(|a| match a {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
        let info = link.attributes.iter().find_map(|a| match a {
            LinkAttribute::LinkInfo(info) => Some(info.as_slice()),
            _ => None,
        });
        let name = name.unwrap_or_default();
        let flags = link.header.flags;
        out.insert(
            link.header.index,
            Interface {
                kernel_tunnel: kernel_tunnel(&name, info.unwrap_or_default()),
                name,
                method: "unset".to_owned(),
                admin_up: flags.contains(LinkFlags::Up),
                line_up: flags.contains(LinkFlags::Running | LinkFlags::LowerUp),
                ..Interface::default()
            },
        );
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let Some(interface) = out.get_mut(&message.header.index) else { continue };
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(ip @ IpAddr::V4(_)) => Some(*ip),
            _ => None,
        });
        let Some(ip) = local else { continue };
        let permanent = message.header.flags.contains(AddressHeaderFlags::Permanent);
        interface.method = if permanent { "manual" } else { "DHCP" }.to_owned();
        interface.addresses.push(format!("{ip}/{}", message.header.prefix_len));
    }
    Ok(out.into_values().collect())
}

/// A tunnel among them: always there, and up while its session is.
#[must_use]
pub fn tunnel(session: &Session) -> Interface {
    Interface {
        name: session.interface.clone(),
        addresses: Vec::new(),
        method: "SIP".to_owned(),
        admin_up: true,
        line_up: session.status == "SESSION_UP",
        tunnel: true,
        kernel_tunnel: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_of_the_kernel_are_told_from_other_devices() {
        let kind = |name, kind| kernel_tunnel(name, &[LinkInfo::Kind(kind)]);
        assert_eq!(kind("ipsec0", InfoKind::Xfrm).as_deref(), Some("xfrm"));
        assert_eq!(kind("Tunnel9", InfoKind::GreTun).as_deref(), Some("gre"));
        assert_eq!(kind("gre0", InfoKind::GreTun), None, "the kernel's own");
        assert_eq!(kind("svti0", InfoKind::Veth), None);
        assert_eq!(kernel_tunnel("lo", &[]), None);
    }
}
