//! The shaper on the wire: bytes in each second of a busy call, at several rates, and what a bulk upload does to a ping and
//! to IKE beside it. Numbers are printed, never asserted.

use super::carrier::Knobs;
use super::clock;
use super::error::LabError;
use super::interrupt::check;
use super::iperf;
use super::netns::{Namespace, run};
use super::sys;
use super::topology::{BRANCH_WAN, CENTRE_LAN_HOST, Options, TO_BRANCH};
use super::world::{BRANCH_NUMBER, HEADEND_NUMBER, Places, World};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, recv};
use sipsec_net::Instant;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);
const UDP: u8 = 17;
const SIP_PORT: u16 = 5060;
/// The receiver's discard service, which nothing has.
const DISCARD: u16 = 9;
/// How much is offered of what the call carries.
const OVERLOAD: f64 = 1.5;
/// The first second fills the queue.
const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(1);

/// Rate, and the length of the inner UDP payload: a packet is at most 1.5 % of a second's bytes, or a window of one second
/// would show nothing but how packets fall into it.
const RATES: [(u32, usize); 4] = [(64, 16), (512, 700), (1000, 1300), (100_000, 1372)];

/// A gateway's call at this rate, up.
fn up(places: Places, kbps: u32, more: &[(&str, &str)]) -> Result<World, LabError> {
    let options = Options { tag: "shape".into(), unobserved: true, ..Options::default() };
    let mut world = World::up(places, options, Knobs::default())?;
    let profile = |gateway, idle, world: &World| {
        let rate = format!("bandwidth_kbps: {kbps}");
        let mut profile =
            world.profile(gateway)?.with("bandwidth_kbps: 1000", &rate)?.with(idle, "idle_s: 60")?;
        for (text, by) in more {
            profile = profile.with(text, by)?;
        }
        Ok::<_, LabError>(profile)
    };
    let (branch, headend) =
        (profile("branch", "idle_s: 5", &world)?, profile("headend", "idle_s: 20", &world)?);
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping(&world, &["-c", "3", "-i", "0.3"])?;
    Ok(world)
}

/// Round trips from LAN to LAN, in milliseconds, sorted; and how many pings were lost.
fn ping(world: &World, args: &[&str]) -> Result<(Vec<f64>, usize), LabError> {
    let args = [args, &["-W", "5", CENTRE_LAN_HOST]].concat();
    let output = run(world.topology.branch_lan.command("ping").args(args))?;
    let mut times: Vec<f64> = output
        .lines()
        .filter_map(|line| line.split("time=").nth(1)?.split_whitespace().next()?.parse().ok())
        .collect();
    times.sort_by(f64::total_cmp);
    let sent = output.lines().find_map(|l| l.split(" packets transmitted").next()?.parse::<usize>().ok());
    let lost = sent.unwrap_or_default().saturating_sub(times.len());
    Ok((times, lost))
}

pub fn shaper(places: Places, seconds: u32) -> Result<(), LabError> {
    println!("outer IP bytes that the branch's line carried in any window of {} s:", WINDOW.as_secs());
    for (kbps, payload) in RATES {
        let mut world = up(places.clone(), kbps, &[])?;
        let stop = AtomicBool::new(false);
        let arrivals = std::thread::scope(|scope| {
            let load = scope.spawn(|| offer(&world.topology.branch_lan, kbps, payload, &stop));
            let seen = watch(&world.topology.carrier, Duration::from_secs(seconds.into()) + WARM_UP);
            stop.store(true, Ordering::Relaxed);
            load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            seen
        })?;
        report(kbps, &arrivals);
        world.check()?;
    }
    beside_bulk(places, seconds)
}

/// Sends UDP above the rate until it is told to stop.
fn offer(from: &Namespace, kbps: u32, payload: usize, stop: &AtomicBool) -> Result<(), LabError> {
    let socket = from.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((CENTRE_LAN_HOST, DISCARD))?;
        Ok(socket)
    })?;
    let (data, begin) = (vec![0; payload], clock::now());
    let per_second = OVERLOAD * f64::from(kbps) * 125.0 / (payload + 28) as f64;
    let mut sent = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        check()?;
        let due = clock::now().saturating_duration_since(begin).as_secs_f64() * per_second;
        while (sent as f64) < due {
            // The answer "port unreachable" to an earlier one is none of ours.
            let _ = socket.send(&data);
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// IKE and ESP of the branch as the carrier's line sees them: when, and how many bytes of IP.
fn watch(carrier: &Namespace, time: Duration) -> Result<Vec<(Instant, usize)>, LabError> {
    let failed = |e: rustix::io::Errno| LabError::Io { what: TO_BRANCH.to_owned(), source: e.into() };
    let socket = carrier.run(|| sys::packet_socket(TO_BRANCH, false))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TICK)).map_err(failed)?;
    let source: Ipv4Addr = BRANCH_WAN.parse().expect("a constant address");
    let (mut out, mut buf, end) = (Vec::new(), vec![0; 65_536], clock::now() + time);
    while clock::now() < end {
        check()?;
        let Ok((len, _)) = recv(&socket, buf.as_mut_slice(), RecvFlags::empty()) else { continue };
        let packet = &buf[..len];
        let header = usize::from(packet.first().map_or(0, |b| b & 0x0f)) * 4;
        let port = |at: usize| packet.get(at..at + 2).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
        let ours = packet.get(12..16) == Some(&source.octets()) && packet.get(9) == Some(&UDP);
        if ours && port(header) != SIP_PORT && port(header + 2) != SIP_PORT {
            // Not when it was read: this thread, too, waits for a processor.
            let at = sys::arrival(&socket).map_err(LabError::io(TO_BRANCH))?;
            out.push((at, usize::from(port(2))));
        }
    }
    Ok(out)
}

/// Windows that begin at every packet after the warm-up and end before the last one.
fn windows(arrivals: &[(Instant, usize)]) -> Vec<usize> {
    let Some((first, last)) = arrivals.first().zip(arrivals.last()) else { return Vec::new() };
    let begin = first.0 + WARM_UP;
    let (mut out, mut end, mut bytes) = (Vec::new(), 0, 0);
    for (at, len) in arrivals {
        while let Some((_, more)) = arrivals.get(end).filter(|(t, _)| *t < *at + WINDOW) {
            bytes += more;
            end += 1;
        }
        if *at >= begin && *at + WINDOW < last.0 {
            out.push(bytes);
        }
        bytes -= len;
    }
    out
}

fn report(kbps: u32, arrivals: &[(Instant, usize)]) {
    let windows = windows(arrivals);
    let (Some(least), Some(most)) = (windows.iter().min(), windows.iter().max()) else {
        println!("  {kbps:>6} kbps: nothing was carried");
        return;
    };
    let percent = |bytes: usize| (bytes as f64 / (f64::from(kbps) * 125.0) - 1.0) * 100.0;
    let mean = windows.iter().sum::<usize>() as f64 / windows.len() as f64;
    println!(
        "  {kbps:>6} kbps: {:+.2} % to {:+.2} %, mean {:+.2} %, {} windows",
        percent(*least),
        percent(*most),
        (mean / (f64::from(kbps) * 125.0) - 1.0) * 100.0,
        windows.len()
    );
}

/// A ping beside a TCP upload at 64 kbps, while DPD asks often.
fn beside_bulk(places: Places, seconds: u32) -> Result<(), LabError> {
    let dpd = ("ike:\n", "ike:\n  dpd_s: 2\n");
    let mut world = up(places, 64, &[dpd])?;
    let (alone, _) = ping(&world, &["-c", "10", "-i", "0.2"])?;
    let time = (seconds.max(5) + 5).to_string();
    let count = (seconds.max(5) * 4).to_string();
    let (bulk, beside) = std::thread::scope(|scope| {
        let topology = &world.topology;
        let upload = scope.spawn(|| {
            iperf::run(&topology.branch_lan, &topology.centre_lan, CENTRE_LAN_HOST, &["-t", &time])
        });
        std::thread::sleep(WARM_UP);
        let pinged = ping(&world, &["-c", &count, "-i", "0.25"]);
        let bulk = upload.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, LabError>((bulk?, pinged?))
    })?;
    let at = |times: &[f64], share: f64| {
        let last = times.len().saturating_sub(1);
        times.get((times.len() as f64 * share) as usize).or(times.get(last)).copied().unwrap_or_default()
    };
    let (times, lost) = beside;
    println!(
        "64 kbps: ping alone p50 {:.0} ms; beside an upload of {:.0} kbit/s p50 {:.0} ms, p95 {:.0} ms, max {:.0} ms, {lost} lost",
        at(&alone, 0.5),
        bulk / 1e3,
        at(&times, 0.5),
        at(&times, 0.95),
        times.last().copied().unwrap_or_default()
    );
    let up = world.carrier.calls_up();
    println!("DPD every 2 s: {} call placed, {up} up", world.carrier.calls());
    if let Some(branch) = &world.branch {
        print!("{}", branch.cli(&["show", "policy-map", "interface", "Tunnel1"])?);
    }
    world.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide_over_the_busy_time_alone() {
        // 100 bytes every 10 ms for five seconds.
        let at = |n: u64| (Instant::from_nanos(n * 10_000_000), 100);
        let arrivals: Vec<_> = (0..=500).map(at).collect();
        let windows = windows(&arrivals);
        assert_eq!(windows.len(), 200, "from 2 s to before 4 s");
        assert!(windows.iter().all(|bytes| *bytes == 10_000));
        assert!(super::windows(&arrivals[..100]).is_empty());
    }
}
