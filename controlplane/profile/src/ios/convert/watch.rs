//! Operations and tracks.

use super::Work;
use crate::ios::document::{Address, Block, Probe, Target, Threshold, Track, Watched};
use crate::ios::names;
use crate::ios::report::{At, Class, Verdict};
use crate::model::{Damping, Operation, Probe as Kind, Start, Times, TrackEntry, Watch, Weight};
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// IOS's values of what is not written.
const FREQUENCY_MS: u64 = 60_000;
const TIMEOUT_MS: u64 = 5000;
const IDS_MAX: usize = 20_000;

impl Work<'_> {
    /// The device that takes the place of an interface; a placeholder, and a question, if none was named.
    pub(super) fn device(&mut self, interface: &str, at: At) -> String {
        if let Some(device) = self.options.interfaces.get(interface) {
            return device.clone();
        }
        let message = format!("{interface} is named here, and no device of the gateway takes its place yet");
        self.report.warn(&[at], message, format!("name it: --ifmap {interface}=DEVICE"));
        self.report.ask(
            format!("the device of {interface}"),
            format!("the device that takes the place of {interface}: --ifmap {interface}=DEVICE"),
        );
        format!("<the device of {interface}>")
    }

    pub(super) fn operations(&mut self) {
        let doc = self.doc;
        for probe in doc.probes.iter() {
            if self.out.sla.len() == IDS_MAX {
                return;
            }
            if let Some(operation) = self.operation(probe) {
                self.out.sla.push(operation);
            }
        }
    }

    /// `None`: it was said why.
    fn operation(&mut self, probe: &Probe) -> Option<Operation> {
        let name = &probe.name;
        let left_out = |work: &mut Self, lines: &[At], message: String, hint: &str| {
            work.report.warn(lines, message, hint);
            work.report.ignore(&probe.lines, Class::System, "of an operation that is left out");
            None
        };
        let Some(said) = &probe.target else {
            let failed = probe.lines.iter().any(|at| self.report.verdict(*at) == Some(Verdict::Error));
            if !failed {
                let message = format!("ip sla {name} does not say what it probes; it is left out");
                return left_out(self, probe.head(), message, "import the lines below it, too");
            }
            return None;
        };
        if let Some(vrf) = &probe.vrf {
            let message = format!("ip sla {name} probes in a VRF; it is left out");
            return left_out(self, &[vrf.at], message, "give the VRF a gateway of its own");
        }
        let (target, kind) = match kind(&said.value) {
            Ok(found) => found,
            Err((message, hint)) => {
                let message = format!("ip sla {name} {message}; it is left out");
                return left_out(self, &[said.at], message, hint);
            }
        };
        let (source, device) = self.source_of(&said.value, said.at);
        let frequency = probe.frequency_ms.as_ref().map_or(FREQUENCY_MS, |f| f.value);
        let mut capped =
            |value: Option<&crate::ios::document::Said<u64>>, absent: u64, max: u64, what: [&str; 2]| {
                let Some(said) = value else { return absent.min(max) };
                if said.value > max {
                    let message = format!(
                        "the {} of ip sla {name}, {} ms, is longer than its {}, {max} ms",
                        what[0], said.value, what[1]
                    );
                    self.report.warn(&[said.at], message, format!("{max} ms was taken"));
                }
                said.value.clamp(1, max)
            };
        let timeout = capped(probe.timeout_ms.as_ref(), TIMEOUT_MS, frequency, ["timeout", "frequency"]);
        let threshold = capped(probe.threshold_ms.as_ref(), TIMEOUT_MS, timeout, ["threshold", "timeout"]);
        let ms = Duration::from_millis;
        if let Kind::IcmpJitter { packets, interval } = &kind {
            let takes = interval.saturating_mul(u32::from(*packets)).saturating_add(ms(timeout));
            if takes > ms(frequency) {
                let message = format!("a series of ip sla {name} takes longer than its frequency");
                return left_out(self, &[said.at], message, "write a longer frequency or fewer packets");
            }
        }
        let schedule = probe.scheduled.as_ref();
        if let Some(said) = schedule.filter(|s| s.value.at_a_time) {
            let message =
                format!("ip sla {name} starts at a time of its own; here it starts with the gateway");
            self.report.warn(&[said.at], message, "see whether that is meant");
        }
        if schedule.is_some_and(|s| s.value.starts && s.value.life_s.is_some()) {
            let life = schedule.and_then(|s| s.value.life_s).unwrap_or_default();
            let lines: Vec<At> = schedule.iter().map(|s| s.at).collect();
            let message = format!("ip sla {name} ends after {life} s, and its tracks are down from then on");
            self.report.warn(&lines, message, "write `life forever` if it is to watch for good");
        }
        Some(Operation {
            id: name.parse().ok()?,
            name: probe.tag.as_ref().map(|t| t.value.clone()),
            probe: kind,
            target,
            source,
            device,
            times: Some(Times { frequency: ms(frequency), timeout: ms(timeout), threshold: ms(threshold) }),
            // Each probe counts on the router.
            up_count: 1,
            down_count: 1,
            start: if schedule.is_some_and(|s| s.value.starts) { Start::Now } else { Start::Pending },
            lifetime: schedule
                .and_then(|s| s.value.life_s.filter(|_| s.value.starts))
                .map(Duration::from_secs),
        })
    }

    /// The source of the probes. On the router an interface lends its address; it does not decide the way.
    fn source_of(&mut self, target: &Target, at: At) -> (Option<IpAddr>, Option<String>) {
        if let Some(source) = &target.source {
            return (source.parse().ok(), None);
        }
        let Some(name) = &target.interface else { return (None, None) };
        if let Some(device) = self.options.interfaces.get(name) {
            return (None, Some(device.clone()));
        }
        let address = self.doc.interfaces.get(name).and_then(|i| i.address.as_ref()).map(|a| &a.value);
        match address {
            Some(Address::Fixed(ip, _)) => (Some((*ip).into()), None),
            _ => (None, Some(self.device(name, at))),
        }
    }

    pub(super) fn tracks(&mut self) {
        let doc = self.doc;
        let operations: HashSet<u32> = self.out.sla.iter().map(|o| o.id).collect();
        let ids: HashSet<u32> = doc.tracks.names().filter_map(|n| n.parse().ok()).collect();
        // Numbers for the negations of members, which are tracks of their own here.
        let mut free = ids.iter().max().copied().unwrap_or_default().saturating_add(1000);
        for track in doc.tracks.iter() {
            if self.out.track.len() >= IDS_MAX {
                return;
            }
            if let Some(made) = self.track(track, &operations, &ids, &mut free) {
                self.out.track.extend(made);
            }
        }
        self.without_members();
        let made: HashSet<String> = self.out.track.iter().map(|t| t.id.to_string()).collect();
        for track in doc.tracks.iter().filter(|t| !made.contains(&t.name)) {
            for at in &track.lines {
                if self.report.verdict(*at) == Some(Verdict::Converted) {
                    self.report.ignore(&[*at], Class::System, "of a track that is left out");
                }
            }
        }
    }

    fn track(
        &mut self,
        track: &Track,
        operations: &HashSet<u32>,
        ids: &HashSet<u32>,
        free: &mut u32,
    ) -> Option<Vec<TrackEntry>> {
        let name = &track.name;
        let id: u32 = name.parse().ok()?;
        let said = track.watched.as_ref()?;
        let mut made = Vec::new();
        let entry = |id, watch, track: &Track| TrackEntry {
            id,
            watch,
            delay_up: Duration::from_millis(track.delay_up_ms),
            delay_down: Duration::from_millis(track.delay_down_ms),
            damping: None::<Damping>,
        };
        let watch = match &said.value {
            Watched::Operation(operation, of) => {
                let sla: u32 = operation.parse().ok()?;
                self.unscheduled(track, operation, said.at);
                if !operations.contains(&sla) {
                    return None;
                }
                Watch::Sla { sla, of: *of }
            }
            Watched::Interface(interface) if self.out.tunnels.iter().any(|t| t.name == *interface) => {
                let message = format!(
                    "track {name} watches {interface}, which is always up here: its traffic starts the call"
                );
                self.report.warn(&[said.at], message, "it is left out: watch the primary instead");
                return None;
            }
            Watched::Interface(interface) => Watch::Device { device: self.device(interface, said.at) },
            Watched::Route(route) => Watch::Route { route: *route },
            Watched::Other(what) => {
                let message =
                    format!("track {name} watches {what}, which the gateway does not; it is left out");
                self.report.warn(&[said.at], message, "let it watch an operation");
                return None;
            }
            Watched::And | Watched::Or | Watched::Weight | Watched::Percentage => {
                let mut members = Vec::new();
                for member in &track.members {
                    if !ids.contains(&member.id) {
                        let message =
                            format!("track {}, a member of track {name}, is not defined here", member.id);
                        self.report.error(&[member.at], message, "define it, or correct the number");
                        continue;
                    }
                    if !member.not {
                        members.push((member.id, member.weight));
                        continue;
                    }
                    let not = Watch::Not { not: member.id };
                    // A list of one negation is that negation.
                    if track.members.len() == 1 && matches!(said.value, Watched::And | Watched::Or) {
                        return Some(vec![entry(id, not, track)]);
                    }
                    *free = free.saturating_add(1);
                    made.push(entry(*free, not, &Track::default()));
                    members.push((*free, member.weight));
                }
                if members.is_empty() {
                    let message = format!("track {name} is a list without members; it is left out");
                    self.report.warn(&[said.at], message, "add `object N` lines");
                    return None;
                }
                let list: Vec<u32> = members.iter().map(|(id, _)| *id).collect();
                let threshold = track.threshold.as_ref().map(|t| t.value).unwrap_or_default();
                match said.value {
                    Watched::And => Watch::And { and: list },
                    Watched::Or => Watch::Or { or: list },
                    Watched::Weight => {
                        let sum = members.iter().map(|(_, weight)| *weight).fold(0, u32::saturating_add);
                        let weight = members.iter().map(|(id, weight)| Weight { id: *id, weight: *weight });
                        let (up, down) = self.limits(track, threshold, sum, said.at)?;
                        Watch::Weight { weight: weight.collect(), up, down }
                    }
                    _ => {
                        let (up, down) = self.limits(track, threshold, 100, said.at)?;
                        Watch::Percentage { percentage: list, up, down }
                    }
                }
            }
        };
        made.push(entry(id, watch, track));
        Some(made)
    }

    /// What `up` and `down` are where one of them is not written.
    fn limits(&mut self, track: &Track, threshold: Threshold, max: u32, at: At) -> Option<(u32, u32)> {
        let (up, down) = match (threshold.up, threshold.down) {
            (Some(up), Some(down)) => (up, down),
            (Some(up), None) => (up, up.saturating_sub(1)),
            (None, Some(down)) => (down.saturating_add(1), down),
            (None, None) => (0, 0),
        };
        if up == 0 || up > max || down >= up {
            let message = format!(
                "the thresholds of track {} are up {up} and down {down}, and its members reach {max}; it is left out",
                track.name
            );
            let at = track.threshold.as_ref().map_or(at, |t| t.at);
            self.report.warn(&[at], message, format!("`up` is 1 to {max}, and `down` is below it"));
            return None;
        }
        Some((up, down))
    }

    fn unscheduled(&mut self, track: &Track, operation: &str, at: At) {
        let doc = self.doc;
        match doc.probes.get(operation) {
            None => {
                let message = format!(
                    "track {} watches ip sla {operation}, which is not defined here; it is left out",
                    track.name
                );
                self.report.warn(&[at], message, "import the file that defines it, too");
            }
            Some(probe) if !probe.scheduled.as_ref().is_some_and(|s| s.value.starts) => {
                let message = format!(
                    "ip sla {} has no schedule that starts it: it never runs, and track {} stays down",
                    probe.name, track.name
                );
                let lines: Vec<At> = probe.head().iter().copied().chain([at]).collect();
                let hint = "add `ip sla schedule N life forever start-time now`, or write `start: now` in the profile";
                self.report.warn(&lines, message, hint);
            }
            Some(_) => {}
        }
    }

    /// Lists whose members were left out are left out, too, until none is left.
    fn without_members(&mut self) {
        loop {
            let ids: HashSet<u32> = self.out.track.iter().map(|t| t.id).collect();
            let lost = self.out.track.iter().find_map(|t| {
                let member = t.watch.members().into_iter().find(|m| !ids.contains(m))?;
                Some((t.id, member))
            });
            let Some((id, member)) = lost else { return };
            self.out.track.retain(|t| t.id != id);
            let head: Vec<At> =
                self.doc.tracks.get(&id.to_string()).map(|t| t.head().to_vec()).unwrap_or_default();
            let message = format!("track {id} is left out: its member, track {member}, is");
            self.report.warn(&head, message, "see that track");
        }
    }
}

type Fault = (String, &'static str);

/// Target and kind, as the profile has them.
fn kind(target: &Target) -> Result<(IpAddr, Kind), Fault> {
    const NAMES: &str = "write the address: names are not resolved";
    let address =
        || target.address.parse().map_err(|_| (format!("probes the name {}", target.address), NAMES));
    Ok(match target.kind {
        "icmp-echo" => (address()?, Kind::IcmpEcho),
        "icmp-jitter" => {
            let packets = target.packets.unwrap_or(10).clamp(2, 1000);
            let interval = Duration::from_millis(target.interval_ms.unwrap_or(20).clamp(1, 60_000));
            (address()?, Kind::IcmpJitter { packets, interval })
        }
        "tcp-connect" => (address()?, Kind::TcpConnect { port: target.port.unwrap_or_default() }),
        "udp-echo" => (address()?, Kind::UdpEcho { port: target.port.unwrap_or_default() }),
        "dns" => {
            let query = target.query.clone().unwrap_or_default();
            if !crate::read::is_host_name(query.trim_end_matches('.')) {
                return Err(("asks for a name that is none".to_owned(), "correct the name"));
            }
            (address()?, Kind::Dns { port: 53, query })
        }
        "http" => url(target.url.as_deref().unwrap_or_default())?,
        _ => {
            const HINT: &str = "the gateway has icmp-echo, icmp-jitter, tcp-connect, udp-echo, dns and http";
            return Err(("is of a kind that the gateway does not have".to_owned(), HINT));
        }
    })
}

/// `http://ADDRESS[:PORT][/PATH]`
fn url(url: &str) -> Result<(IpAddr, Kind), Fault> {
    const HINT: &str = "write http://ADDRESS/PATH: names are not resolved, and https is not probed";
    let fault = || ("has a URL without an address".to_owned(), HINT);
    let rest = url.strip_prefix("http://").ok_or_else(fault)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if !path.chars().all(|c| c.is_ascii_graphic()) || path.len() > 1024 {
        return Err(fault());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let (address, port) = match (bare.parse::<IpAddr>(), host.rsplit_once(':')) {
        (Ok(address), _) => (address, 80),
        (_, Some((host, port))) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            (host.parse().map_err(|_| fault())?, port.parse().map_err(|_| fault())?)
        }
        _ => return Err(fault()),
    };
    Ok((address, Kind::Http { port, path: path.to_owned() }))
}

/// Whether the interface drops what is sent to it.
pub(super) fn discards(interface: &str) -> bool {
    interface.starts_with("Null") && !names::is_tunnel(interface)
}
