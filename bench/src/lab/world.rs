//! Network, carrier and gateways together.

use super::carrier::relay::{Plan, Relay};
use super::carrier::{Access, Account, Config, Kind, Knobs, Rules, Server};
use super::error::LabError;
use super::gateway::{Gateway, Programs};
use super::interrupt::wait_for;
use super::ladder::Event;
use super::observe::{Observer, Sinks, SipTap, Tally};
use super::peer::dnsmasq::Pool;
use super::peer::kea::Lifetime;
use super::peer::{Dnsmasq, Kea};
use super::profile::Profile;
use super::topology::{
    BRANCH_DELEGATED, BRANCH_PREFIX, CARRIER_BRANCH_SIDE, CARRIER_BRANCH_SIDE6, CENTRE_PREFIX, DELEGATED,
    HEADEND_DELEGATED, Options, RELAY, RELAY6, TO_BRANCH, TO_HEADEND, Topology,
};
use sipsec_net::IpPrefix;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub const BRANCH_NUMBER: &str = "0388881001";
pub const HEADEND_NUMBER: &str = "0388882001";
pub const DOMAIN: &str = "carrier.example";
const SIP_PORT: u16 = 5060;
const RELAY_PORT: u16 = 30_000;
const RELAY_CALLS: u16 = 4;
/// All packets from these prefixes belong to that line.
const LINES: [(&str, [&str; 3]); 2] = [
    (BRANCH_NUMBER, ["198.51.100.0/24", "2001:db8:51::/64", BRANCH_DELEGATED]),
    (HEADEND_NUMBER, ["203.0.113.0/24", "2001:db8:113::/64", HEADEND_DELEGATED]),
];
/// Numbers, which are their user names too, and passwords; the profiles have the same.
pub const SUBSCRIBERS: [(&str, &str); 2] =
    [(BRANCH_NUMBER, "lab-only-branch-81f4c2"), (HEADEND_NUMBER, "lab-only-headend-5d20b7")];
const SIGHTINGS_MAX: usize = 65_536;
const REGISTER_LIMIT: Duration = Duration::from_secs(20);

/// Where the carrier's SIP is.
#[must_use]
pub fn carrier_address() -> SocketAddr {
    SocketAddr::new(CARRIER_BRANCH_SIDE.parse::<Ipv4Addr>().expect("a constant address").into(), SIP_PORT)
}

/// The same over IPv6.
#[must_use]
pub fn carrier_address6() -> SocketAddr {
    SocketAddr::new(CARRIER_BRANCH_SIDE6.parse::<Ipv6Addr>().expect("a constant address").into(), SIP_PORT)
}

fn prefixes(line: usize) -> Vec<IpPrefix> {
    LINES[line].1.iter().map(|p| p.parse().expect("a constant prefix")).collect()
}

/// The access line from which an address is: 0 is the branch's.
#[must_use]
pub fn line_of(ip: IpAddr) -> Option<usize> {
    (0..LINES.len()).find(|line| prefixes(*line).iter().any(|p| p.contains(ip)))
}

/// Where the lab finds what it runs.
#[derive(Clone, Debug)]
pub struct Places {
    pub programs: Programs,
    pub profiles: PathBuf,
    /// Configurations of foreign programs.
    pub peers: PathBuf,
    /// Where our own programs are.
    pub target: PathBuf,
}

impl Places {
    /// From the checkout's top.
    #[must_use]
    pub fn in_checkout(root: &Path, target: &Path) -> Self {
        Self {
            programs: Programs::in_dir(target),
            profiles: root.join("deploy/profiles"),
            peers: root.join("bench/peers"),
            target: target.to_owned(),
        }
    }

    #[must_use]
    pub fn standin(&self) -> PathBuf {
        self.target.join("sip-standin")
    }
}

/// What plays the carrier's SIP.
pub trait Exchange {
    /// Numbers with a live registration.
    fn registered(&self) -> Vec<String>;
    /// An error once it has ended.
    fn check(&mut self) -> Result<(), LabError>;
}

impl Exchange for Server {
    fn registered(&self) -> Vec<String> {
        Self::registered(self)
    }

    fn check(&mut self) -> Result<(), LabError> {
        Ok(())
    }
}

/// A network with its carrier; gateways are started into it.
#[derive(Debug)]
pub struct World<C: Exchange = Server> {
    options: Options,
    places: Places,
    pub branch: Option<Gateway>,
    pub headend: Option<Gateway>,
    dirs: Vec<PathBuf>,
    pub carrier: C,
    pub tally: Arc<Tally>,
    /// Answered calls and their end, as seen on the wire.
    pub tap: Arc<Mutex<SipTap>>,
    _observers: Vec<Observer>,
    sightings: Mutex<Option<Receiver<super::observe::Sighting>>>,
    /// The lines' DHCP server.
    pub dhcp: Option<Dnsmasq>,
    /// The home gateways' DHCPv6 server.
    pub dhcp6: Option<Kea>,
    pub topology: Topology,
}

impl World {
    pub fn up(places: Places, options: Options, knobs: Knobs) -> Result<Self, LabError> {
        Self::up_at(places, options, knobs, Vec::new())
    }

    /// The same with a carrier of further IPv4 addresses.
    pub fn up_at(
        places: Places,
        options: Options,
        knobs: Knobs,
        more: Vec<SocketAddr>,
    ) -> Result<Self, LabError> {
        let (line, ipv6) = (options.line, options.has_ipv6());
        let knobs = match line {
            Kind::Generic => knobs,
            kind => {
                // A home gateway takes calls from the prefix alone that it has delegated.
                let invite_from = (kind == Kind::NttHgw).then(|| DELEGATED.parse().expect("a prefix"));
                let rules = Rules { invite_from, ..kind.rules() };
                Knobs { authenticate_register: false, rules, ..knobs }
            }
        };
        let tag = options.tag.clone();
        let mut world = Self::with(places, options, |topology| {
            let address = carrier_address();
            let others = if ipv6 { vec![carrier_address6()] } else { more };
            let bound = std::iter::once(address).chain(others.iter().copied());
            let sockets = bound.map(|a| topology.carrier.run(|| UdpSocket::bind(a)));
            let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
            let account = |(number, password): (&str, &str)| Account {
                number: number.into(),
                username: number.into(),
                password: password.into(),
            };
            let accounts = SUBSCRIBERS.map(account).to_vec();
            let plan = Plan {
                address: RELAY.parse().expect("a constant address"),
                address6: ipv6.then(|| RELAY6.parse().expect("a constant address")),
                first_port: RELAY_PORT,
                calls_max: RELAY_CALLS,
                other_source: true,
            };
            let relay = (line != Kind::Generic).then_some(plan);
            let media = relay.map(|plan| topology.carrier.run(|| Relay::bind(plan))).transpose()?;
            let access = |i: usize| Access { number: LINES[i].0.into(), prefixes: prefixes(i) };
            let lines = vec![access(0), access(1)];
            let config = Config { address, others, domain: DOMAIN.into(), accounts, lines, relay, knobs };
            Server::start(sockets, media, config).map_err(LabError::io("carrier"))
        })?;
        if line != Kind::Generic {
            world.dhcp = Some(Dnsmasq::start(&world.topology.carrier, &tag, Pool::FIRST)?);
        }
        if line == Kind::NttHgw {
            world.dhcp6 = Some(Kea::start(&world.topology.carrier, &tag, Lifetime::SHORT)?);
        }
        Ok(world)
    }

    /// The line's server gives other addresses from now on.
    pub fn renumber(&mut self, pool: Pool) -> Result<(), LabError> {
        self.dhcp = None;
        self.dhcp = Some(Dnsmasq::start(&self.topology.carrier, &self.options.tag, pool)?);
        Ok(())
    }

    /// Until no answered call is left.
    pub fn wait_hung_up(&mut self, limit: Duration) -> Result<(), LabError> {
        wait_for("the end of all calls", limit, || Ok((self.carrier.calls_up() == 0).then_some(())))
    }

    /// SIP as the carrier sees it, IKE and ESP as its lines see them. Can be taken once.
    pub fn take_events(&mut self) -> Option<Events> {
        Some(Events {
            sip: self.carrier.take_trace()?,
            wire: self.sightings.get_mut().unwrap_or_else(PoisonError::into_inner).take()?,
        })
    }
}

impl<C: Exchange> World<C> {
    /// A network whose carrier is started into it.
    pub fn with(
        places: Places,
        options: Options,
        carrier: impl FnOnce(&Topology) -> Result<C, LabError>,
    ) -> Result<Self, LabError> {
        let topology = Topology::up(&options)?;
        let carrier = carrier(&topology)?;
        let tally = Arc::new(Tally::default());
        let tap = Arc::new(Mutex::new(SipTap::default()));
        let spis = Arc::new(Mutex::new(HashSet::new()));
        let (tx, rx) = sync_channel(SIGHTINGS_MAX);
        let observe = |device, line: usize, v6: bool| {
            let sinks = Sinks {
                tally: Arc::clone(&tally),
                tap: Arc::clone(&tap),
                spis: Arc::clone(&spis),
                sightings: tx.clone(),
            };
            Observer::start(&topology.carrier, device, &prefixes(line), v6, sinks)
        };
        let mut observers = Vec::new();
        for (line, device) in [TO_BRANCH, TO_HEADEND].into_iter().enumerate() {
            for v6 in [false, true] {
                if !options.unobserved && (!v6 || options.has_ipv6()) {
                    observers.push(observe(device, line, v6)?);
                }
            }
        }
        Ok(Self {
            options,
            places,
            branch: None,
            headend: None,
            dirs: Vec::new(),
            carrier,
            tally,
            tap,
            _observers: observers,
            sightings: Mutex::new(Some(rx)),
            dhcp: None,
            dhcp6: None,
            topology,
        })
    }

    /// The gateway's profile, for the world's kind of line.
    pub fn profile(&self, gateway: &'static str) -> Result<Profile, LabError> {
        let profile = Profile::load(&self.places.profiles, gateway, &self.options.tag)?;
        match self.options.line {
            Kind::Generic => Ok(profile),
            line => profile.on_line(line),
        }
    }

    pub fn start_branch(&mut self, profile: &Profile) -> Result<(), LabError> {
        self.fresh_dir(profile)?;
        let route = self.options.backups_only().then_some(CENTRE_PREFIX);
        let gateway = Gateway::start(&self.topology.branch, &self.places.programs, profile, route)?;
        self.branch = Some(gateway);
        Ok(())
    }

    pub fn start_headend(&mut self, profile: &Profile) -> Result<(), LabError> {
        self.fresh_dir(profile)?;
        let route = self.options.backups_only().then_some(BRANCH_PREFIX);
        let gateway = Gateway::start(&self.topology.headend, &self.places.programs, profile, route)?;
        self.headend = Some(gateway);
        Ok(())
    }

    /// Both with profiles whose tunnels the lab's routes do not name.
    pub fn start_unrouted(&mut self, branch: &Profile, headend: &Profile) -> Result<(), LabError> {
        self.fresh_dir(headend)?;
        self.headend = Some(Gateway::start(&self.topology.headend, &self.places.programs, headend, None)?);
        self.fresh_dir(branch)?;
        self.branch = Some(Gateway::start(&self.topology.branch, &self.places.programs, branch, None)?);
        Ok(())
    }

    /// Both with their own profiles, registered.
    pub fn start_gateways(&mut self) -> Result<(), LabError> {
        let (branch, headend) = (self.profile("branch")?, self.profile("headend")?);
        self.start_headend(&headend)?;
        self.start_branch(&branch)?;
        self.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])
    }

    pub fn wait_registered(&mut self, numbers: &[&str]) -> Result<(), LabError> {
        wait_for(&format!("registration of {}", numbers.join(", ")), REGISTER_LIMIT, || {
            self.check()?;
            let registered = self.carrier.registered();
            Ok(numbers.iter().all(|n| registered.iter().any(|r| r == n)).then_some(()))
        })
    }

    /// An error once anything that should run has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.carrier.check()?;
        for gateway in [&mut self.branch, &mut self.headend].into_iter().flatten() {
            gateway.check()?;
        }
        Ok(())
    }

    /// Logs and profile of an earlier run would be read as this one's.
    fn fresh_dir(&mut self, profile: &Profile) -> Result<(), LabError> {
        let dir = profile.dir().to_owned();
        if !self.dirs.contains(&dir) {
            if dir.exists() {
                std::fs::remove_dir_all(&dir).map_err(LabError::io(dir.display().to_string()))?;
            }
            self.dirs.push(dir);
        }
        Ok(())
    }

    /// Leaves the gateways' directories for reading after the end.
    pub fn keep_logs(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.dirs)
    }
}

impl<C: Exchange> Drop for World<C> {
    fn drop(&mut self) {
        // In order: calls are hung up while the carrier still answers.
        self.branch = None;
        self.headend = None;
        for dir in &self.dirs {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

#[derive(Debug)]
pub struct Events {
    sip: Receiver<super::carrier::Hop>,
    wire: Receiver<super::observe::Sighting>,
}

impl Events {
    /// What has come since the last call, in order of time.
    pub fn drain(&self) -> Vec<Event> {
        let mut out: Vec<_> =
            self.sip.try_iter().map(Event::Sip).chain(self.wire.try_iter().map(Event::Wire)).collect();
        out.sort_by_key(Event::at);
        out
    }
}
