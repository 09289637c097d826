//! One ping opens a tunnel by telephone number; this shows it.

use super::carrier::{Kind, Knobs};
use super::clock;
use super::error::LabError;
use super::gateway::Gateway;
use super::interrupt::{check, wait_for};
use super::iperf;
use super::ladder::{Event, Ladder};
use super::netns::run;
use super::process::{LogReader, Process};
use super::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, Options};
use super::world::{BRANCH_NUMBER, Events, Exchange, HEADEND_NUMBER, Places, World};
use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

const PING_LIMIT: Duration = Duration::from_secs(10);
const IPERF_SECONDS: &str = "5";
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// What `show` prints, on which gateway.
const SHOWS: [(bool, &[&str]); 5] = [
    (true, &["show", "vpn-sip", "registration-status"]),
    (true, &["show", "vpn-sip", "session", "detail"]),
    (false, &["show", "vpn-sip", "session"]),
    (true, &["show", "vpn-sip", "sip", "registrar"]),
    (true, &["show", "ip", "nat", "translations"]),
];
/// What is worth seeing once there was traffic.
const SHOWS_OF_TRAFFIC: [(bool, &[&str]); 2] =
    [(true, &["show", "crypto", "session", "detail"]), (true, &["show", "dataplane"])];

pub fn demo(places: Places, keep: bool, line: Kind) -> Result<(), LabError> {
    let color = std::io::stdout().is_terminal();
    let what = match line {
        Kind::Generic => String::new(),
        line => format!(
            " of {}: addresses, routes, SIP server and domain by DHCP, media through a relay",
            line.word()
        ),
    };
    title(color, &format!("network namespaces, carrier and gateways{what}"));
    let world = World::up(places, Options { line, ..Options::default() }, Knobs::default())?;
    finish(world, keep, |world| show(world, color))
}

/// Shows, takes everything down, and says what is left for reading: the logs if `keep` says so or something failed.
pub(super) fn finish(
    mut world: World,
    keep: bool,
    show: impl FnOnce(&mut World) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let result = show(&mut world);
    let failed = result.as_ref().is_err_and(|e| !matches!(e, LabError::Interrupted));
    if failed {
        say!("{}", logs(&world));
    }
    let kept = if keep || failed { world.keep_logs() } else { Vec::new() };
    drop(world);
    for dir in &kept {
        say!("kept for reading: {}", dir.display());
    }
    say!("the namespaces, the devices and the processes are gone");
    result
}

fn show(world: &mut World, color: bool) -> Result<(), LabError> {
    let events = world.take_events().expect("not taken before");
    let ladder = Ladder::new(clock::now(), color);
    say!("{}", ladder.heading());
    let mut screen = Screen::new(ladder, events);

    let headend = world.profile("headend")?;
    world.start_headend(&headend)?;
    screen.follow(world.headend.as_ref());
    let branch = world.profile("branch")?;
    world.start_branch(&branch)?;
    screen.follow(world.branch.as_ref());
    screen.until("both registrations", Duration::from_secs(20), || {
        let registered = world.carrier.registered();
        for gateway in [&mut world.branch, &mut world.headend].into_iter().flatten() {
            gateway.check()?;
        }
        Ok([BRANCH_NUMBER, HEADEND_NUMBER].iter().all(|n| registered.iter().any(|r| r == n)))
    })?;

    if let Some(dhcp) = &world.dhcp {
        title(color, "what the lines' DHCP server has said");
        exchange(&dhcp.log());
        if let Some(kea) = &world.dhcp6 {
            exchange6(&kea.log());
        }
        commands(world, &[(true, &["show", "vpn-sip", "sip", "dhcp"])], color)?;
    }
    title(color, &format!("one ping from {BRANCH_LAN_HOST} to {CENTRE_LAN_HOST}; there is no tunnel yet"));
    screen.ladder = Ladder::new(clock::now(), color);
    say!("{}", screen.ladder.heading());
    let dir = branch.dir().to_owned();
    let started = Instant::now();
    let (mut ping, log) = in_branch_lan(world, &dir, "ping", &["-c", "1", "-W", "8", CENTRE_LAN_HOST])?;
    let mut status = None;
    screen.until("the answer to the ping", PING_LIMIT, || {
        status = ping.wait(Duration::ZERO).ok();
        Ok(status.is_some())
    })?;
    let took = started.elapsed();
    screen.print(clock::now());
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    if !status.is_some_and(|s| s.success()) {
        return Err(LabError::failed("the ping was not answered", text + &logs(world)));
    }
    for line in text.lines().filter(|l| l.contains("bytes from") || l.contains("packet loss")) {
        say!("    {line}");
    }
    say!(
        "    {:.0} ms from the start of `ping` to its end, the call and the key exchange included",
        took.as_secs_f64() * 1e3
    );

    commands(world, &SHOWS, color)?;

    title(color, &format!("iperf3 for {IPERF_SECONDS} s at the negotiated rate"));
    let _server = iperf::serve_once(&world.topology.centre_lan, dir.join("iperf3-server.log"))?;
    let mut client = world.topology.branch_lan.command("iperf3");
    let report = run(client.args(["-c", CENTRE_LAN_HOST, "-t", IPERF_SECONDS, "-i", "1"]))?;
    // The sender's own lines count what waits for its turn.
    for line in report.lines().filter(|l| l.contains("bits/sec") && l.contains("receiver")) {
        say!("    {line}");
    }
    check()?;
    commands(world, &SHOWS_OF_TRAFFIC, color)?;

    title(color, "idle: the branch says BYE, because the carrier charges by time");
    screen.print(clock::now());
    screen.until("the BYE", IDLE_LIMIT, || Ok(world.carrier.calls_up() == 0))?;
    // What follows the BYE on the wire.
    let settled = Instant::now() + Duration::from_millis(300);
    screen.until("the end of the call", Duration::from_secs(2), || Ok(Instant::now() >= settled))?;

    if let Some(relay) = world.carrier.relayed() {
        let count =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        say!(
            "    the relay has passed {} packets and dropped {} above the negotiated rate",
            count(&relay.packets),
            count(&relay.policed)
        );
    }
    title(color, "the carrier's bill");
    say!("{}", world.carrier.bill_text().trim_end());
    let order = std::sync::atomic::Ordering::Relaxed;
    say!(
        "the carrier's lines carried {} ESP packets ({} bytes), {} IKE messages and {} packets in clear",
        world.tally.esp.load(order),
        world.tally.esp_bytes.load(order),
        world.tally.ike.load(order),
        world.tally.clear_text.load(order)
    );
    Ok(())
}

/// The exchanges in dnsmasq's log, with the options that make a line of it.
fn exchange(log: &str) {
    for line in log.lines() {
        let text = line.split_once("dnsmasq-dhcp[").map_or(line, |(_, rest)| rest);
        let text = text.split_once("]: ").map_or(text, |(_, text)| text);
        let shown = ["DHCPDISCOVER", "DHCPOFFER", "DHCPREQUEST", "DHCPACK", "sent size"];
        let options =
            ["router", "classless-static-route", "sip-server", "vi-encap", "option:125", "option:120"];
        let option = text.contains("sent size");
        if shown.iter().any(|w| text.contains(w)) && (!option || options.iter().any(|w| text.contains(w))) {
            say!("    {}", text.chars().take(100).collect::<String>());
        }
    }
}

/// The same of Kea's log: which prefix each line was offered and given.
fn exchange6(log: &str) {
    for line in
        log.lines().filter(|l| l.contains("DHCP6_PD_LEASE_ADVERT") || l.contains("DHCP6_PD_LEASE_ALLOC"))
    {
        let text = line.split_once("DHCP6_PD_").map_or(line, |(_, rest)| rest);
        say!("    {}", text.chars().take(100).collect::<String>());
    }
}

/// Runs the commands, at the branch or at the head-end, as an operator would.
pub(super) fn commands(world: &World, list: &[(bool, &[&str])], color: bool) -> Result<(), LabError> {
    for (at_branch, args) in list {
        let gateway = if *at_branch { &world.branch } else { &world.headend };
        let Some(gateway) = gateway else { continue };
        title(color, &format!("{}# sipsec {}", gateway.name, args.join(" ")));
        print!("{}", gateway.cli(args)?);
    }
    Ok(())
}

/// How long an event may wait for one that was earlier and is told later: a log is read after it is written.
const REORDER: Duration = Duration::from_millis(40);

struct Screen {
    ladder: Ladder,
    events: Events,
    logs: Vec<(&'static str, LogReader)>,
    pending: Vec<Event>,
}

impl Screen {
    fn new(ladder: Ladder, events: Events) -> Self {
        Self { ladder, events, logs: Vec::new(), pending: Vec::new() }
    }

    fn follow(&mut self, gateway: Option<&Gateway>) {
        if let Some(gateway) = gateway {
            self.logs.push((gateway.name, gateway.events()));
        }
    }

    /// Prints what happened before `until`.
    fn print(&mut self, until: sipsec_net::Instant) {
        self.pending.extend(self.events.drain());
        let now = (clock::now(), clock::time_of_day());
        for (gateway, log) in &mut self.logs {
            for line in log.lines() {
                if let Some((at, text)) = session_event(&line, now) {
                    self.pending.push(Event::Gateway { at, gateway, text });
                }
            }
        }
        self.pending.sort_by_key(Event::at);
        let late = self.pending.partition_point(|e| e.at() <= until);
        for event in self.pending.drain(..late) {
            say!("{}", self.ladder.render(&event));
        }
        let _ = std::io::stdout().flush();
    }

    /// Prints what happens until something is true.
    fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut() -> Result<bool, LabError>,
    ) -> Result<(), LabError> {
        let result = wait_for(what, limit, || {
            let now = clock::now();
            self.print(sipsec_net::Instant::from_nanos(now.as_nanos() - REORDER.as_nanos() as u64));
            Ok(done()?.then_some(()))
        });
        self.print(clock::now());
        result
    }
}

/// A session event in a line of the control plane's log: `…T15:51:05.936757Z  INFO sipsec::event: WORDS event="NAME" …`.
/// `now` is this moment by both clocks.
fn session_event(line: &str, now: (sipsec_net::Instant, Duration)) -> Option<(sipsec_net::Instant, String)> {
    const DAY_US: u64 = 86_400_000_000;
    let (head, text) = line.split_once("sipsec::event: ")?;
    let text = text.split(" event=\"").next().unwrap_or(text);
    let (hours, rest) = head.split_once('T')?.1.split_once(':')?;
    let (minutes, rest) = rest.split_once(':')?;
    let seconds: f64 = rest.split_once('Z')?.0.parse().ok()?;
    let minutes = hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?;
    let written_us = minutes * 60_000_000 + (seconds * 1e6) as u64;
    // Midnight may have passed since.
    let ago_us = (now.1.as_micros() as u64 + DAY_US - written_us) % DAY_US;
    let at = now.0.as_nanos().saturating_sub(ago_us * 1000);
    Some((sipsec_net::Instant::from_nanos(at), text.to_owned()))
}

fn in_branch_lan(
    world: &World,
    dir: &Path,
    program: &str,
    args: &[&str],
) -> Result<(Process, std::path::PathBuf), LabError> {
    let log = dir.join(format!("{program}.log"));
    let args: Vec<_> = args.iter().map(OsStr::new).collect();
    let process =
        Process::start(program, &world.topology.branch_lan, Path::new(program), &args, log.clone())?;
    Ok((process, log))
}

/// The ends of all logs, for an error.
#[must_use]
pub fn logs<C: Exchange>(world: &World<C>) -> String {
    let mut out = String::new();
    for gateway in [&world.branch, &world.headend].into_iter().flatten() {
        for what in ["controlplane", "dataplane"] {
            let tail = super::process::log_tail(&gateway.log(what));
            out.push_str(&format!("\n--- {} {what}\n{tail}", gateway.name));
        }
    }
    out
}

pub(super) fn title(color: bool, text: &str) {
    if color {
        say!("\n\x1b[1;36m▌ {text}\x1b[0m");
    } else {
        say!("\n▌ {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_events_are_found_and_dated() {
        let now = (sipsec_net::Instant::from_nanos(9_000_000_000), Duration::from_secs(1));
        let line = "2026-11-23T23:59:59.500000Z  INFO sipsec::event: session up (I) event=\"session-up\" interface=\"T\"";
        let found = session_event(line, now);
        assert_eq!(
            found,
            Some((sipsec_net::Instant::from_nanos(7_500_000_000), "session up (I)".to_owned()))
        );
        assert_eq!(session_event("2026-11-23T23:59:59.5Z  INFO other: sipsec", now), None);
    }
}
