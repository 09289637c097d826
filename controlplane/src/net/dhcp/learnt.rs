//! What DHCP has said of the line so far.

use super::Change;
use crate::api::model::{DhcpFamily, DhcpView};
use sipsec_dhcp::{SipData, VendorData, v4, v6};
use sipsec_net::prefix::PrefixError;
use sipsec_net::{Instant, IpPrefix};
use sipsec_profile::Profile;
use sipsec_profile::model::wan::{WanIpv4, WanIpv6};
use sipsec_profile::model::{Host, Server};
use std::net::IpAddr;

/// The newest word of each family.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    v4: Option<Result<Box<v4::Lease>, String>>,
    v6: Option<Result<Box<v6::Lease>, String>>,
}

impl Learnt {
    pub fn take(&mut self, change: Change) {
        match change {
            Change::V4(lease) => self.v4 = Some(lease),
            Change::V6(lease) => self.v6 = Some(lease),
        }
    }

    /// For `show vpn-sip sip dhcp`.
    #[must_use]
    pub fn view(&self, profile: &Profile, now: Instant) -> DhcpView {
        const WAITS: &str = "waiting for a server";
        let ipv4 = (profile.wan.ipv4 != WanIpv4::System).then(|| {
            family(self.v4.clone().unwrap_or_else(|| Err(WAITS.to_owned())), |lease, out| {
                v4_options(lease, now, out)
            })
        });
        let ipv6 = (profile.wan.ipv6 != WanIpv6::System).then(|| {
            family(self.v6.clone().unwrap_or_else(|| Err(WAITS.to_owned())), |lease, out| {
                v6_options(lease, now, out)
            })
        });
        DhcpView { interface: profile.sip.interface.clone(), ipv4, ipv6 }
    }

    /// The registrars: those of the profile, or of DHCP where the profile says so.
    ///
    /// # Errors
    /// What is still missing, and why.
    pub fn registrars(&self, profile: &Profile) -> Result<Vec<Server>, String> {
        if let Some(servers) = profile.sip.registrar.given() {
            return Ok(servers.clone());
        }
        let by_v6 = profile.wan.sip_by_v6();
        let mut all = servers(self.sip(by_v6)?);
        // A line whose calls are of another IP version names the servers of each by its own DHCP.
        if profile.sip.call_family != profile.sip.registration_family
            && let Ok(other) = self.sip(!by_v6)
        {
            all.extend(servers(other));
        }
        if all.is_empty() {
            return Err("DHCP names no SIP server: write `sip.registrar`".to_owned());
        }
        Ok(all)
    }

    /// The domain: that of the profile, or of DHCP where the profile says so.
    ///
    /// # Errors
    /// What is still missing, and why.
    pub fn domain(&self, profile: &Profile) -> Result<String, String> {
        match profile.sip.domain.given() {
            Some(domain) => Ok(domain.clone()),
            None => self.vendor(profile, |vendor| vendor.sip_domain.clone())?.ok_or_else(|| {
                "DHCP names no SIP domain: write `sip.domain`, or `wan.vendor_class: ntt` if the line wants it"
                    .to_owned()
            }),
        }
    }

    /// The prefixes inside which the WAN's IPv6 address must be, or why there is none; `None` if any address will do.
    #[must_use]
    pub fn delegated(&self, profile: &Profile) -> Option<Result<Vec<IpPrefix>, String>> {
        if profile.wan.ipv6 != WanIpv6::Prefix {
            return None;
        }
        let lease = match &self.v6 {
            None => return Some(Err("DHCPv6 has not answered yet".to_owned())),
            Some(Err(reason)) => return Some(Err(format!("DHCPv6 has delegated no prefix: {reason}"))),
            Some(Ok(lease)) => lease,
        };
        let prefix = |p: &v6::Prefix| match IpPrefix::new(p.prefix.into(), p.len) {
            Ok(prefix) | Err(PrefixError::HostBits(prefix)) => Some(prefix),
            Err(_) => None,
        };
        let all: Vec<_> = lease.prefixes.iter().filter_map(prefix).collect();
        Some(if all.is_empty() { Err("DHCPv6 has delegated no prefix".to_owned()) } else { Ok(all) })
    }

    /// What the line's vendor options say; those of the other IP version stand in.
    fn vendor<T>(
        &self,
        profile: &Profile,
        value: impl Fn(&VendorData) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let by_v6 = profile.wan.sip_by_v6();
        let first = self.sip(by_v6).map(|sip| value(&sip.vendor));
        match (first, self.sip(!by_v6)) {
            (Ok(Some(found)), _) => Ok(Some(found)),
            (first, Ok(other)) => value(&other.vendor).map_or(first, |found| Ok(Some(found))),
            (first, Err(_)) => first,
        }
    }

    /// Name servers of both families.
    #[must_use]
    pub fn dns(&self) -> Vec<IpAddr> {
        let v4 = self.v4.iter().flatten().flat_map(|lease| lease.dns.iter().map(|ip| IpAddr::from(*ip)));
        let v6 = self.v6.iter().flatten().flat_map(|lease| lease.dns.iter().map(|ip| IpAddr::from(*ip)));
        v4.chain(v6).collect()
    }

    fn sip(&self, by_v6: bool) -> Result<&SipData, String> {
        let waits = || "DHCP has not answered yet".to_owned();
        if by_v6 {
            self.v6.as_ref().ok_or_else(waits)?.as_ref().map(|lease| &lease.sip).map_err(Clone::clone)
        } else {
            self.v4.as_ref().ok_or_else(waits)?.as_ref().map(|lease| &lease.sip).map_err(Clone::clone)
        }
    }
}

fn servers(sip: &SipData) -> Vec<Server> {
    let addresses = sip.servers.addresses.iter().map(|ip| Host::Address(*ip));
    let names = sip.servers.names.iter().map(|name| Host::Name(name.trim_end_matches('.').to_owned()));
    addresses.chain(names).map(|host| Server { host, port: None }).collect()
}

fn family<T>(lease: Result<Box<T>, String>, options: impl FnOnce(&T, &mut DhcpFamily)) -> DhcpFamily {
    let mut out = DhcpFamily::default();
    match lease {
        Ok(lease) => {
            "bound".clone_into(&mut out.state);
            options(&lease, &mut out);
        }
        Err(reason) => out.state = reason,
    }
    out
}

fn v4_options(lease: &v4::Lease, now: Instant, out: &mut DhcpFamily) {
    out.addresses = vec![format!("{}/{}", lease.address, lease.prefix_len)];
    out.server = Some(lease.server.to_string());
    out.expires_s = lease.remaining(now).map(|d| d.as_secs());
    out.renews_s = lease.renews.map(|at| at.saturating_duration_since(now).as_secs());
    let route = |r: &v4::Route| format!("{}/{} via {}", r.destination, r.prefix_len, r.gateway);
    out.routes = lease.routes.iter().map(route).collect();
    out.dns = lease.dns.iter().map(ToString::to_string).collect();
    sip_options(&lease.sip, out);
}

fn v6_options(lease: &v6::Lease, now: Instant, out: &mut DhcpFamily) {
    let seconds = |at: Instant| (at != Instant::MAX).then(|| at.saturating_duration_since(now).as_secs());
    out.addresses = lease.addresses.iter().map(|a| a.address.to_string()).collect();
    out.prefixes = lease.prefixes.iter().map(|p| format!("{}/{}", p.prefix, p.len)).collect();
    let duid: Vec<_> = lease.server.iter().map(|byte| format!("{byte:02x}")).collect();
    out.server = Some(duid.join(":"));
    (out.expires_s, out.renews_s) = (seconds(lease.expires), seconds(lease.renews));
    out.dns = lease.dns.iter().map(ToString::to_string).collect();
    sip_options(&lease.sip, out);
}

fn sip_options(sip: &SipData, out: &mut DhcpFamily) {
    let address = |a: &IpAddr| format!("{}:{a}", if a.is_ipv4() { "ipv4" } else { "ipv6" });
    let names = sip.servers.names.iter().map(|name| format!("dns:{name}"));
    out.sip_servers = sip.servers.addresses.iter().map(address).chain(names).collect();
    out.number.clone_from(&sip.vendor.number);
    out.additional_numbers.clone_from(&sip.vendor.additional_numbers);
    out.sip_domain.clone_from(&sip.vendor.sip_domain);
    out.update_host.clone_from(&sip.vendor.update_host);
    out.unreadable = sip.vendor.unreadable.iter().map(ToString::to_string).collect();
}
