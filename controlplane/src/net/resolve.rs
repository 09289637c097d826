//! The carrier's servers as the name servers have them now (RFC 3263). A task looks the names up again when their records
//! expire; while that fails, the last good answer stays.

mod by_device;

use crate::entropy::KernelEntropy;
use by_device::ByDevice;
use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::proto::rr::{RData, RecordType};
use sipsec_net::Entropy;
use sipsec_profile::model::{Family, Host, Server, SipSection, SipTransport};
use sipsec_sip::locate::{self, HostPort, Naptr, Srv};
use sipsec_sip::target::TARGETS_MAX;
use sipsec_sip::{Target, Transport};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// A record is believed for this long at least, and at most.
const TTL_MIN: Duration = Duration::from_secs(30);
const TTL_MAX: Duration = Duration::from_secs(3600);
/// After a failure; doubled up to the second.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// One question to the name servers, and everything for all servers.
const QUESTION_MAX: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;
const ALL_MAX: Duration = Duration::from_secs(20);
const DNS_PORT: u16 = 53;
/// Addresses of one host that are looked at.
const ADDRESSES_MAX: usize = 32;

/// The servers of one role, and which of their addresses it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleServers {
    pub servers: Vec<Server>,
    pub family: Family,
}

/// What to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub transport: Transport,
    pub registrars: RoleServers,
    /// No servers if the registrars take everything, by the same family.
    pub proxies: RoleServers,
    /// Empty if those of the system are asked.
    pub dns: Vec<SocketAddr>,
    /// Questions leave by this device, or by those of its VRF; without one, as the kernel routes them.
    pub dns_device: Option<String>,
}

impl Wanted {
    /// What a carrier of the profile wants, with the registrars of DHCP where it says so.
    #[must_use]
    pub fn new(sip: &SipSection, registrars: Vec<Server>, dns: Vec<IpAddr>) -> Self {
        // Calls of another family than registrations have targets of their own, of the same servers.
        let apart = sip.call_family != sip.registration_family;
        let proxies = match sip.outbound_proxy.as_slice() {
            [] if apart => registrars.clone(),
            proxies => proxies.to_vec(),
        };
        Self {
            transport: transport(sip.transport),
            registrars: RoleServers { servers: registrars, family: sip.registration_family },
            proxies: RoleServers { servers: proxies, family: sip.call_family },
            dns: if sip.dns.is_empty() { &dns } else { &sip.dns }
                .iter()
                .map(|ip| SocketAddr::new(*ip, DNS_PORT))
                .collect(),
            dns_device: sip.dns_device.clone(),
        }
    }

    /// Whether a name server has to be asked.
    fn has_names(&self) -> bool {
        let mut all = self.registrars.servers.iter().chain(&self.proxies.servers);
        all.any(|s| s.host.ip().is_none())
    }
}

#[must_use]
pub const fn transport(of: SipTransport) -> Transport {
    match of {
        SipTransport::Udp => Transport::Udp,
        SipTransport::Tcp => Transport::Tcp,
        SipTransport::Tls => Transport::Tls,
    }
}

/// The targets of both roles. `trouble` is what could not be looked up, if the rest is enough to go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub registrars: Vec<Target>,
    pub proxies: Vec<Target>,
    pub trouble: Option<String>,
}

/// The targets that the profile itself names, without asking anyone.
#[must_use]
pub fn literal(wanted: &Wanted) -> Found {
    let role = |role: &RoleServers| {
        let servers = role.servers.iter().filter_map(|s| Some((s.host.ip()?, s.port)));
        let usable = servers.filter(|(ip, _)| role.family.takes(*ip));
        let target = |(ip, port): (IpAddr, Option<u16>)| {
            let addr = SocketAddr::new(ip, port.unwrap_or_else(|| wanted.transport.default_port()));
            Target { transport: wanted.transport, addr, name: None }
        };
        usable.map(target).collect()
    };
    Found { registrars: role(&wanted.registrars), proxies: role(&wanted.proxies), trouble: None }
}

/// One look-up, for commands that run without a gateway.
///
/// # Errors
/// If no server is found.
pub async fn once(wanted: &Wanted) -> Result<Found, String> {
    match timeout(ALL_MAX, look_up(wanted, &mut KernelEntropy::new())).await {
        Ok((found, _)) => found,
        Err(_) => Err("the name servers take too long".to_owned()),
    }
}

/// The loop's end. The task ends with it.
#[derive(Debug)]
pub struct Resolve {
    wanted: watch::Sender<(Wanted, u64)>,
    found: mpsc::Receiver<Result<Found, String>>,
    _task: JoinSet<()>,
}

impl Resolve {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(wanted: Wanted) -> Self {
        let (wanted, changes) = watch::channel((wanted, 0));
        let (sender, found) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(run(changes, sender));
        Self { wanted, found, _task: task }
    }

    /// Other servers, or other name servers.
    pub fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|(now, _)| {
            let differs = *now != wanted;
            *now = wanted;
            differs
        });
    }

    /// Looks up at once: the WAN has changed, or no server answers.
    pub fn again(&self) {
        self.wanted.send_modify(|(_, round)| *round += 1);
    }

    /// The next change: the servers, or why none is known. May be cancelled at any time.
    pub async fn next(&mut self) -> Result<Found, String> {
        match self.found.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }
}

async fn run(mut wanted: watch::Receiver<(Wanted, u64)>, sender: mpsc::Sender<Result<Found, String>>) {
    let mut entropy = KernelEntropy::new();
    let (mut told, mut failures) = (None, 0);
    loop {
        let wants = wanted.borrow_and_update().0.clone();
        let (found, ttl) = match timeout(ALL_MAX, look_up(&wants, &mut entropy)).await {
            Ok((found, ttl)) => (found, ttl),
            Err(_) => (Err("the name servers take too long".to_owned()), TTL_MIN),
        };
        // A set that differs in the order alone, by chance of equal weights, is no news.
        let failed = found.as_ref().map_or(true, |f| f.trouble.is_some());
        let again = if failed { (RETRY_MIN * 2u32.pow(failures)).min(RETRY_MAX) } else { ttl };
        failures = if failed { (failures + 1).min(6) } else { 0 };
        let good = matches!(&told, Some((w, Ok(_))) if *w == wants);
        let news = match &found {
            // The last good answer of the same names stays.
            Err(reason) if good => {
                tracing::warn!(
                    reason,
                    "the carrier's names cannot be looked up; the addresses of before stay in use"
                );
                false
            }
            found => !matches!(&told, Some((w, before)) if *w == wants && same(before, found)),
        };
        if news {
            told = Some((wants.clone(), found.clone()));
            if sender.send(found).await.is_err() {
                return;
            }
        }
        let names = wants.has_names();
        let timer = async {
            if names { sleep_until(Instant::now() + again).await } else { std::future::pending().await }
        };
        tokio::select! {
            () = timer => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

fn same(a: &Result<Found, String>, b: &Result<Found, String>) -> bool {
    let sorted = |f: &Found| {
        let (mut r, mut p) = (f.registrars.clone(), f.proxies.clone());
        r.sort();
        p.sort();
        (r, p, f.trouble.clone())
    };
    match (a, b) {
        (Ok(a), Ok(b)) => sorted(a) == sorted(b),
        (Err(a), Err(b)) => a == b,
        _ => false,
    }
}

/// How long until the first record expires, too.
async fn look_up(wanted: &Wanted, entropy: &mut dyn Entropy) -> (Result<Found, String>, Duration) {
    let mut lookup = Lookup { resolver: None, entropy, ttl: TTL_MAX, trouble: None };
    if wanted.has_names() {
        match resolver(wanted) {
            Ok(resolver) => lookup.resolver = Some(resolver),
            Err(reason) => return (Err(reason), TTL_MIN),
        }
    }
    let registrars = lookup.role(&wanted.registrars, wanted.transport).await;
    let proxies = lookup.role(&wanted.proxies, wanted.transport).await;
    let missing = registrars.is_empty() || (proxies.is_empty() && !wanted.proxies.servers.is_empty());
    let found = match lookup.trouble.clone() {
        trouble if missing => {
            Err(trouble.unwrap_or_else(|| "no server has an address of the wanted IP version".to_owned()))
        }
        trouble => Ok(Found { registrars, proxies, trouble }),
    };
    (found, lookup.ttl.clamp(TTL_MIN, TTL_MAX))
}

fn resolver(Wanted { dns, dns_device, .. }: &Wanted) -> Result<Resolver<ByDevice>, String> {
    let provider = ByDevice::new(dns_device.as_deref());
    let mut builder = if dns.is_empty() {
        Resolver::builder(provider).map_err(|e| format!("/etc/resolv.conf cannot be used: {e}"))?
    } else {
        let server = |addr: &SocketAddr| {
            let mut server = NameServerConfig::udp_and_tcp(addr.ip());
            server.connections.iter_mut().for_each(|c| c.port = addr.port());
            server
        };
        let servers = dns.iter().map(server).collect();
        Resolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), provider)
    };
    let options = builder.options_mut();
    (options.timeout, options.attempts) = (QUESTION_MAX, ATTEMPTS);
    // The task remembers by itself how long an answer counts; after a change of the WAN it must ask anew.
    options.cache_size = 0;
    // Names of the profile are whole.
    options.ndots = 0;
    builder.build().map_err(|e| e.to_string())
}

struct Lookup<'a> {
    resolver: Option<Resolver<ByDevice>>,
    entropy: &'a mut dyn Entropy,
    ttl: Duration,
    trouble: Option<String>,
}

impl Lookup<'_> {
    async fn role(&mut self, role: &RoleServers, transport: Transport) -> Vec<Target> {
        let mut all: Vec<Target> = Vec::new();
        for server in &role.servers {
            for target in self.server(server, role.family, transport).await {
                if all.len() < TARGETS_MAX && !all.contains(&target) {
                    all.push(target);
                }
            }
        }
        all
    }

    async fn server(&mut self, server: &Server, family: Family, transport: Transport) -> Vec<Target> {
        let default = transport.default_port();
        let name = match &server.host {
            Host::Address(ip) => {
                let addr = SocketAddr::new(*ip, server.port.unwrap_or(default));
                let usable = family.takes(*ip);
                return usable.then_some(Target { transport, addr, name: None }).into_iter().collect();
            }
            Host::Name(name) => name.as_str(),
        };
        let hosts = match server.port {
            // RFC 3263 §4.2: with a port there is no SRV look-up.
            Some(port) => vec![HostPort { host: name.to_owned(), port }],
            None => self.hosts(name, transport).await,
        };
        let mut addresses = Vec::new();
        for HostPort { host, port } in &hosts {
            addresses.push((*port, self.addresses(host, family).await));
        }
        locate::targets(Some(name), transport, &addresses)
    }

    async fn hosts(&mut self, name: &str, transport: Transport) -> Vec<HostPort> {
        let naptrs = self.ask(name, RecordType::NAPTR, |data| match data {
            RData::NAPTR(n) => Some(Naptr {
                order: n.order,
                preference: n.preference,
                flags: n.flags.to_vec(),
                services: n.services.to_vec(),
                regexp: n.regexp.to_vec(),
                replacement: n.replacement.to_ascii(),
            }),
            _ => None,
        });
        // Name servers that know nothing of NAPTR refuse it; SRV is asked for all the same.
        let naptrs = naptrs.await.unwrap_or_default();
        let mut srvs = Vec::new();
        for srv_name in locate::srv_names(name, transport, naptrs) {
            let found = self.ask(&srv_name, RecordType::SRV, |data| match data {
                RData::SRV(s) => Some(Srv {
                    priority: s.priority,
                    weight: s.weight,
                    port: s.port,
                    target: s.target.to_ascii(),
                }),
                _ => None,
            });
            match found.await {
                Ok(found) => srvs.extend(locate::hosts(found, self.entropy)),
                Err(reason) => self.trouble = Some(reason),
            }
        }
        if srvs.is_empty() {
            srvs.push(HostPort { host: name.to_owned(), port: transport.default_port() });
        }
        srvs
    }

    /// IPv6 first, as RFC 6724 prefers it.
    async fn addresses(&mut self, host: &str, family: Family) -> Vec<IpAddr> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return family.takes(ip).then_some(ip).into_iter().collect();
        }
        let mut all = Vec::new();
        let mut failed = None;
        for (kind, wanted) in
            [(RecordType::AAAA, family != Family::Ipv4), (RecordType::A, family != Family::Ipv6)]
        {
            if !wanted {
                continue;
            }
            let found = self.ask(host, kind, |data| match data {
                RData::A(a) => Some(IpAddr::V4(a.0)),
                RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                _ => None,
            });
            match found.await {
                Ok(found) => all.extend(found),
                Err(reason) => failed = Some(reason),
            }
        }
        all.truncate(ADDRESSES_MAX);
        if all.is_empty() {
            self.trouble = Some(failed.unwrap_or_else(|| format!("{host} has no address")));
        }
        all
    }

    /// No record of the kind is no error.
    async fn ask<T>(
        &mut self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let Some(resolver) = &self.resolver else { return Ok(Vec::new()) };
        // With the last dot no search list of the system is tried.
        let whole = format!("{}.", name.trim_end_matches('.'));
        match resolver.lookup(whole, kind).await {
            Ok(lookup) => {
                let left = lookup.valid_until().saturating_duration_since(std::time::Instant::now());
                self.ttl = self.ttl.min(left);
                Ok(lookup.answers().iter().filter_map(|r| read(&r.data)).collect())
            }
            Err(e) if e.is_no_records_found() && !e.is_nx_domain() => Ok(Vec::new()),
            Err(e) if e.is_nx_domain() => match kind {
                RecordType::A | RecordType::AAAA => Err(format!("{name} does not exist")),
                _ => Ok(Vec::new()),
            },
            Err(e) => Err(format!("no answer about {name} ({kind}) from the name servers: {e}")),
        }
    }
}

#[cfg(test)]
mod tests;
