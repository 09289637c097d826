//! From a profile to a running gateway.

use crate::adjacency::Adjacencies;
use crate::api::{self, ApiError};
use crate::carriers::{CarrierIo, CarrierIos};
use crate::change::Changer;
use crate::change::resume::Resumed;
use crate::change::run::Changes;
use crate::clock;
use crate::compute::{self, Compute};
use crate::config::{self, LoadError};
use crate::crash_secret;
use crate::dataplane::DataplaneLink;
use crate::entropy::KernelEntropy;
use crate::events::Events;
use crate::files;
use crate::harden;
use crate::journal::{Journal, JournalError};
use crate::logging::{Format, LogControl};
use crate::net::dhcp::{self, Dhcp, Learnt};
use crate::net::drain;
use crate::net::netlink::{self, Netlink, Routed, TunnelDevice, TunnelDevices, Watch};
use crate::net::primary::{Primary, Rules, TUNNEL_DEVICES_MAX};
use crate::net::resolve::Wanted;
use crate::net::track::{self, StartError, Track};
use crate::net::wan::Wan;
use crate::rates::RateMeter;
use crate::runtime::{Running, Runtime};
use crate::setup::{self, SetupError};
use crate::signals::Signals;
use crate::supervise::Supervisor;
use sipsec_profile::model::wan::{VendorClass, WanIpv4, WanIpv6};
use sipsec_profile::model::{RouteTo, StaticRoute};
use sipsec_session::{Core, Input};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// Questions of the API that may wait for the loop.
const REQUESTS: usize = 64;

/// Why the gateway does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("{0}")]
    Profile(#[from] LoadError),
    #[error("the log filter: {0}")]
    Log(String),
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Owner(#[from] harden::OtherOwner),
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{0}")]
    Track(#[from] StartError),
    #[error("{what}: {error}")]
    System { what: &'static str, error: std::io::Error },
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// If it cannot start. What only comes later (an address, a dataplane, a registrar) is waited for.
pub fn run(path: &Path, log: Option<&str>, format: Format) -> Result<(), BootError> {
    // Before the first secret is read.
    let mut protected = vec![harden::forbid_core_dumps(), harden::lock_memory()];
    let loaded = config::load_to_run(path)?;
    harden::is_own(&loaded.profile.state_dir)?;
    // Before there are other threads, which would keep theirs.
    protected.push(harden::keep_needed_capabilities());
    let log = LogControl::start(log.unwrap_or(&loaded.profile.log), format).map_err(BootError::Log)?;
    for error in protected.into_iter().filter_map(Result::err) {
        tracing::warn!("{error}");
    }
    for finding in &loaded.findings.list {
        let at = format!("{}:{}:{}", finding.file, finding.line, finding.column);
        tracing::warn!(at, path = finding.path, cure = finding.hint, "{}", finding.message);
    }
    let system = |what| move |error| BootError::System { what, error };
    // One thread for the loop, its sockets and the API; blocking threads compute and write.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        // Threads that compute stay: each new one would pay for its first random number again.
        .thread_keep_alive(Duration::from_secs(86_400))
        .enable_all()
        .build()
        .map_err(system("cannot start the runtime"))?;
    let ended = runtime.block_on(async {
        let resumed = Resumed::new(loaded.profile);
        discard_first(&resumed.profile).await;
        // The first use of the random generator and of signatures costs 0.1 s on each thread: not during the first call.
        let warm_up = compute::warm_up();
        let mut gateway = start_with(resumed, log).await?;
        gateway.set_profile_path(path);
        warm_up.finished().await;
        // On a worker of its own: the main thread is none of the runtime's.
        tokio::spawn(gateway.run()).await.map_err(|e| BootError::System {
            what: "the event loop has failed",
            error: std::io::Error::other(e),
        })
    });
    if !files::flush(FILES_WAIT) {
        tracing::warn!("not all files of state are on the disk");
    }
    ended
}

/// The end of the process waits for no disk for longer.
const FILES_WAIT: Duration = Duration::from_secs(2);

/// Discarding routes for every tunnel prefix, before anything that could take time: until there is a tunnel, its packets are
/// dropped and do not leave in clear. What fails here is tried again, and shown, by the netlink task.
async fn discard_first(profile: &config::Profile) {
    match netlink::discard_at_boot(&watch(profile)).await {
        Ok(refused) => {
            for (prefix, reason) in refused {
                tracing::warn!(prefix, reason, "no discarding route");
            }
        }
        Err(error) => tracing::warn!(%error, "discarding routes cannot be installed now"),
    }
}

/// Installs the discarding routes of a profile and ends: for the start of the machine, before its network is up.
///
/// # Errors
/// If the profile cannot be read, or a route cannot be installed.
pub fn install_discard_routes(path: &Path) -> Result<(), BootError> {
    let loaded = config::load(path)?;
    let system = |what| move |error| BootError::System { what, error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("cannot start the runtime"))?;
    let refused = runtime
        .block_on(netlink::discard_at_boot(&watch(&loaded.profile)))
        .map_err(system("cannot talk to the kernel's routing"))?;
    match refused.first() {
        None => Ok(()),
        Some((prefix, reason)) => {
            let error = std::io::Error::other(format!("{prefix}: {reason}"));
            Err(BootError::System { what: "no discarding route", error })
        }
    }
}

/// Everything but the loop.
///
/// # Errors
/// As [`run`].
pub async fn start(profile: config::Profile, log: LogControl) -> Result<Runtime, BootError> {
    start_with(Resumed::new(profile), log).await
}

async fn start_with(mut resumed: Resumed, log: LogControl) -> Result<Runtime, BootError> {
    let profile = resumed.profile.clone();
    let signals =
        Signals::new().map_err(|error| BootError::System { what: "cannot handle signals", error })?;
    // The journal first: it is locked, and so tells for certain whether another control plane of this gateway runs.
    let (journal, found) = Journal::open(&profile.journal())?;
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    // Now that no other control plane of this gateway can run.
    resumed.begin();
    let listener = api::listen(&profile.control_socket()).await?;
    let mut carriers = CarrierIos::default();
    let mut sockets = BTreeMap::new();
    for (name, sip) in profile.all_carriers() {
        sockets.insert(name.to_owned(), setup::transports(&profile, sip)?);
    }
    let mut config = setup::core_config(&profile)?;
    config.ike.crash_detection = crash_secret::load(&profile);
    let mut core = Core::new(config, || Box::new(KernelEntropy::new()));
    // Calls of an earlier run come first: they cost money.
    core.handle_input(clock::now(), Input::WallClock { unix_time_s: clock::unix_time_s() });
    core.handle_input(clock::now(), Input::RecoveredBrakes(found.brakes));
    core.handle_input(clock::now(), Input::Recovered(found.calls));
    let dhcp = match dhcp_config(&profile) {
        Some(config) => Some(
            Dhcp::start(config).map_err(|error| BootError::System { what: "cannot start DHCP", error })?,
        ),
        None => None,
    };
    let netlink = Netlink::start(watch(&profile));
    let primary = Primary::start(primary_rules(&profile));
    netlink.set_inside(Learnt::default().delegated(&profile));
    let policy = track::Setup {
        policy: policy(&profile),
        svti: svti(&profile),
        drain_table: sipsec_profile::model::drain_table(&profile.gateway),
    };
    let track = Track::start(policy, netlink.routes())?;
    let (change_sender, change_requests) = mpsc::channel(REQUESTS);
    let changer = Changer::new(change_sender, resumed.history);
    let mut changes = Changes::new(change_requests, changer.clone(), &profile);
    if let Some((left, back)) = resumed.unconfirmed {
        changes.wait(left, back);
    }
    for (id, name) in core.carriers() {
        if let (Some(sip), Some(setup)) = (profile.sip_named(name), sockets.remove(name)) {
            let registrars = Learnt::default().registrars(&profile, sip).unwrap_or_default();
            carriers.insert(id, CarrierIo::start(name, setup, Wanted::new(sip, registrars, Vec::new())));
        }
    }
    let (request_sender, requests) = mpsc::channel(REQUESTS);
    let (watchers, _) = broadcast::channel(api::EVENTS_MAX);
    tokio::spawn({
        let (gateway, events, log) = (profile.gateway.clone(), watchers.clone(), log.clone());
        let primary = primary.view();
        async move { api::serve(listener, &gateway, request_sender, changer, events, log, primary).await }
    });
    let mut events = Events::new(watchers, &profile);
    if let Err(error) = events.keep_history(&profile.state_dir) {
        tracing::warn!("{error}; it is shown until the next start only");
    }
    tracing::info!(gateway = profile.gateway, version = crate::version::line(), "started");
    Ok(Runtime {
        carriers,
        link: DataplaneLink::new(&profile.dataplane_socket()),
        core,
        adjacencies: Adjacencies::new(netlink.routes()),
        netlink,
        primary,
        track,
        dhcp,
        learnt: Learnt::default(),
        other_number: None,
        journal,
        compute: Compute::new(),
        requests,
        changes,
        events,
        log,
        rates: RateMeter::default(),
        nat: crate::views::NatPages::default(),
        signals,
        supervisor: Supervisor::from_env(),
        wan: Wan::new(&profile.sip.interface, profile.sip_families()),
        routes: BTreeMap::new(),
        started: clock::now(),
        booted_at_s: 0,
        profile_path: None,
        state: Running::Yes,
        netlink_failed: false,
        profile: Arc::new(profile),
    })
}

/// What DHCP is asked for on the WAN, if anything.
pub(crate) fn dhcp_config(profile: &config::Profile) -> Option<dhcp::Config> {
    let wan = &profile.wan;
    let class = profile.carrier(&profile.sip).vendor_class;
    let vendor_class = || (class == VendorClass::Ntt).then_some(dhcp::VendorClass::Ntt);
    let v4 = (wan.ipv4 != WanIpv4::System).then(|| dhcp::V4 {
        address: wan.ipv4 == WanIpv4::Dhcp,
        vendor_class: vendor_class(),
        host_name: None,
    });
    let v6 = (wan.ipv6 != WanIpv6::System).then(|| dhcp::V6 {
        address: wan.ipv6 == WanIpv6::Address,
        prefix: wan.ipv6 == WanIpv6::Prefix,
        vendor_class: vendor_class(),
    });
    wan.uses_dhcp().then(|| dhcp::Config {
        device: profile.sip.interface.clone(),
        v4,
        v6,
        store: profile.dhcp_store(),
    })
}

/// The kernel's end of the sVTI. In router mode the dataplane steers by prefix, and the kernel has no part in it.
pub(crate) fn svti(profile: &config::Profile) -> Option<String> {
    profile.dataplane.inside.svti().map(str::to_owned)
}

/// The devices of tunnels that have their own.
fn tunnel_devices(profile: &config::Profile) -> TunnelDevices {
    let own = profile.tunnels.iter().filter_map(|tunnel| {
        let device = TunnelDevice {
            id: tunnel.id,
            device: tunnel.device.clone()?,
            mtu: profile.tunnel_mtu(tunnel),
            unnumbered: tunnel.unnumbered.clone(),
        };
        Some((tunnel.name.clone(), device))
    });
    own.collect()
}

/// What the profile says of routes.
pub(crate) fn policy(profile: &config::Profile) -> track::Policy {
    let devices = tunnel_devices(profile).into_iter().map(|(tunnel, own)| (tunnel, own.device));
    let devices: BTreeMap<String, String> = devices.collect();
    let drain = svti(profile).filter(|_| profile.keeps_flows()).map(|svti| drain::Rules {
        table: sipsec_profile::model::drain_table(&profile.gateway),
        devices: std::iter::once(svti).chain(devices.values().cloned()).collect(),
        quiet: setup::drain_quiet(profile),
    });
    let into_tunnel = |r: &StaticRoute| matches!(r.to, RouteTo::Tunnel { .. });
    let taken = match svti(profile) {
        Some(_) => (BTreeSet::new(), String::new()),
        None => {
            let prefixes = profile.static_routes().filter(into_tunnel).map(|r| r.prefix).collect();
            (prefixes, profile.dataplane.inside.device().to_owned())
        }
    };
    track::Policy { config: setup::track_config(profile), devices, taken, drain }
}

pub(crate) fn primary_rules(profile: &config::Profile) -> Rules {
    let own = profile.tunnels.iter().filter_map(|tunnel| tunnel.device.clone());
    Rules {
        table: sipsec_profile::model::primary_nat::table(&profile.gateway),
        tunnels: svti(profile).into_iter().chain(own).take(TUNNEL_DEVICES_MAX).collect(),
        primary: profile.nat.primary.clone(),
    }
}

pub(crate) fn watch(profile: &config::Profile) -> Watch {
    let into_tunnel = |r: &StaticRoute| matches!(r.to, RouteTo::Tunnel { .. });
    Watch {
        wan: profile.sip.interface.clone(),
        families: profile.sip_families(),
        svti: svti(profile),
        routed: Routed {
            tunnels: profile.static_routes().filter(into_tunnel).map(|r| r.prefix).collect(),
            elsewhere: profile.static_routes().filter(|r| !into_tunnel(r)).map(|r| r.prefix).collect(),
            devices: tunnel_devices(profile),
        },
        ledger: Some(profile.state_dir.join("static-routes")),
    }
}
