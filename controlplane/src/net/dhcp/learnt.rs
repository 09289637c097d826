//! What DHCP has said of the line so far.

use super::Change;
use crate::api::model::{DhcpFamily, DhcpView};
use sipsec_dhcp::{SipData, VendorData, v4, v6};
use sipsec_net::prefix::PrefixError;
use sipsec_net::{Instant, IpPrefix, TelNumber};
use sipsec_profile::Profile;
use sipsec_profile::model::wan::{WanIpv4, WanIpv6};
use sipsec_profile::model::{Host, Server, SipSection};
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
    pub fn registrars(&self, profile: &Profile, sip: &SipSection) -> Result<Vec<Server>, String> {
        if let Some(servers) = sip.registrar.given() {
            return Ok(servers.clone());
        }
        let by_v6 = profile.wan.sip_by_v6();
        let mut all = servers(self.sip(by_v6)?);
        // A line whose calls are of another IP version names the servers of each by its own DHCP.
        if sip.call_family != sip.registration_family
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
    pub fn domain(&self, profile: &Profile, sip: &SipSection) -> Result<String, String> {
        match sip.domain.given() {
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

    /// The number that the profile leaves to DHCP.
    ///
    /// # Errors
    /// What is still missing, and why.
    pub fn number(&self, profile: &Profile) -> Result<TelNumber, String> {
        let named = self.vendor(profile, |vendor| vendor.number.clone())?.ok_or_else(|| {
            "DHCP names no number: write it under `lines`, or `wan.vendor_class: ntt` if the line wants it".to_owned()
        })?;
        let number: TelNumber =
            named.parse().map_err(|_| format!("DHCP names the number {named}, which is none"))?;
        if profile.all_carriers().any(|(_, sip)| sip.lines.iter().any(|line| line.number == number)) {
            return Err(format!("DHCP names the number {number}, which the profile has as another line"));
        }
        Ok(number)
    }

    /// What is wrong if the line has other numbers than the profile.
    #[must_use]
    pub fn other_number(&self, profile: &Profile) -> Option<String> {
        if profile.learns_number().is_some() {
            return self.number(profile).err().filter(|_| self.v4.is_some() || self.v6.is_some());
        }
        let v4 = self.v4.iter().flatten().map(|lease| &lease.sip.vendor);
        let v6 = self.v6.iter().flatten().map(|lease| &lease.sip.vendor);
        let of = |v: &VendorData| v.number.iter().chain(&v.additional_numbers).cloned().collect::<Vec<_>>();
        let named: Vec<String> = v4.chain(v6).flat_map(of).collect();
        let ours = |n: &String| {
            n.parse::<TelNumber>().is_ok_and(|n| {
                profile.all_carriers().any(|(_, sip)| sip.lines.iter().any(|line| line.number == n))
            })
        };
        let other = named.first().filter(|_| !named.iter().any(ours))?;
        Some(format!("DHCP names the number {other}, which is none of `sip.lines`"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use sipsec_dhcp::SipServers;

    fn profile(wan: &str, sip: &str) -> Profile {
        let text = format!(
            "version: 1\ngateway: test\nwan: {{ {wan}, vendor_class: ntt }}\n\
             sip: {{ interface: wan0, registrar: dhcp, domain: dhcp{sip}, lines: [{{ number: '0388881001' }}] }}\n\
             ike: {{ keyring: [{{ number: '0388882001', psk: '0x9d1f0a93b7c4e58261b7f9c03e6a2d84' }}] }}\n\
             tunnels: [{{ name: T1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 512 }}]\n\
             dataplane: {{ outside: {{ device: wan0 }}, inside: {{ mode: host, device: svti0 }} }}\n"
        );
        config::parse("test.yaml", &text).expect("a profile").profile
    }

    fn sip(server: &str, number: &str, domain: Option<&str>) -> SipData {
        let addresses = vec![server.parse().expect("an address")];
        let vendor = VendorData {
            number: Some(number.to_owned()),
            sip_domain: domain.map(str::to_owned),
            ..VendorData::default()
        };
        SipData { servers: SipServers { addresses, names: Vec::new() }, vendor }
    }

    fn v4_lease(sip: SipData) -> Change {
        let address = "192.0.2.7".parse().expect("an address");
        Change::V4(Ok(Box::new(v4::Lease {
            address,
            prefix_len: 24,
            server: address,
            routes: Vec::new(),
            dns: Vec::new(),
            mtu: None,
            sip,
            obtained: Instant::ZERO,
            renews: None,
            rebinds: None,
            expires: None,
        })))
    }

    fn v6_lease(sip: SipData, prefixes: &[(&str, u8)]) -> Change {
        let prefix = |(prefix, len): &(&str, u8)| v6::Prefix {
            prefix: prefix.parse().expect("an address"),
            len: *len,
            preferred_until: Instant::MAX,
            valid_until: Instant::MAX,
        };
        Change::V6(Ok(Box::new(v6::Lease {
            server: Vec::new(),
            addresses: Vec::new(),
            prefixes: prefixes.iter().map(prefix).collect(),
            dns: Vec::new(),
            sip,
            obtained: Instant::ZERO,
            renews: Instant::MAX,
            rebinds: Instant::MAX,
            expires: Instant::MAX,
        })))
    }

    #[test]
    fn calls_of_another_ip_version_have_the_servers_of_its_dhcp() {
        let apart = profile(
            "ipv4: dhcp, ipv6: prefix",
            ", carrier: ntt-hgw, registration_family: ipv4, call_family: ipv6",
        );
        let mut learnt = Learnt::default();
        learnt.take(v4_lease(sip("198.51.100.1", "3", None)));
        let hosts = |learnt: &Learnt, profile: &Profile| {
            let servers = learnt.registrars(profile, &profile.sip).expect("known");
            servers.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(hosts(&learnt, &apart), ["198.51.100.1"]);
        assert!(learnt.domain(&apart, &apart.sip).is_err_and(|why| why.contains("domain")));
        // The domain of either counts.
        learnt.take(v6_lease(sip("2001:db8::1", "3", Some("ntt-east.ne.jp")), &[]));
        assert_eq!(hosts(&learnt, &apart), ["198.51.100.1", "2001:db8::1"]);
        assert_eq!(learnt.domain(&apart, &apart.sip).as_deref(), Ok("ntt-east.ne.jp"));
        let alike = profile("ipv4: dhcp, ipv6: prefix", ", carrier: ntt-direct");
        assert_eq!(hosts(&learnt, &alike), ["198.51.100.1"], "one IP version, one list");
        learnt.take(Change::V4(Err("the link went down".into())));
        assert!(learnt.registrars(&apart, &apart.sip).is_err_and(|why| why.contains("link")));
    }

    #[test]
    fn without_a_prefix_there_is_no_address() {
        let any = profile("ipv4: dhcp", "");
        assert_eq!(Learnt::default().delegated(&any), None, "any address will do");
        let prefix = profile("ipv6: prefix", "");
        let mut learnt = Learnt::default();
        let why = |learnt: &Learnt| learnt.delegated(&prefix).expect("asked for").expect_err("none");
        assert!(why(&learnt).contains("not answered"));
        learnt.take(v6_lease(sip("2001:db8::1", "3", None), &[]));
        assert!(why(&learnt).contains("no prefix"));
        // Bits behind the length are the server's mistake.
        learnt.take(v6_lease(sip("2001:db8::1", "3", None), &[("2001:db8:1:ff00::1", 56)]));
        let expected = "2001:db8:1:ff00::/56".parse().expect("a prefix");
        assert_eq!(learnt.delegated(&prefix), Some(Ok(vec![expected])));
        learnt.take(Change::V6(Err(v6::LostBecause::Expired.to_string())));
        assert!(why(&learnt).contains("the lease expired"), "{}", why(&learnt));
    }

    #[test]
    fn a_number_that_the_profile_does_not_have_is_told() {
        let profile = profile("ipv4: dhcp", "");
        let mut learnt = Learnt::default();
        assert_eq!(learnt.other_number(&profile), None);
        learnt.take(v4_lease(sip("198.51.100.1", "0388889999", None)));
        assert!(learnt.other_number(&profile).is_some_and(|why| why.contains("0388889999")));
        let mut several = sip("198.51.100.1", "0388889999", None);
        several.vendor.additional_numbers.push("0388881001".to_owned());
        learnt.take(v4_lease(several));
        assert_eq!(learnt.other_number(&profile), None, "an additional number is the line's, too");
    }
}
