//! `ip sla`, `track` and the commands below them; `rtr` and `ip sla monitor` are their older spellings.

use super::{Did, Reader, wrong};
use crate::ios::document::{Member, Said, Scheduled, Target, Threshold, Watched};
use crate::ios::grammar::{Command, Mode};
use crate::ios::names;
use crate::ios::report::Class;
use crate::ios::words::{Words, meant};
use crate::model::track::Of;
use sipsec_net::IpPrefix;
use std::net::{IpAddr, Ipv4Addr};

const NO_MATTER: Did = Did::Ignored(Class::System, "of no matter to the gateway's probes");
/// Numbers of operations and tracks.
const ID_MAX: u32 = 2_147_483_647;

impl Reader {
    pub(super) fn watch(&mut self, command: Command, rest: Words<'_>, negated: bool) -> Did {
        match command {
            Command::Sla => self.operation(rest, negated),
            Command::SlaSchedule => self.schedule(rest, negated),
            Command::Track => self.track(rest, negated),
            Command::Delay => self.delay(rest, negated),
            Command::TrackObject => self.object(rest, negated),
            Command::TrackThreshold => self.threshold(rest, negated),
            Command::SlaText => {
                let text = rest.rest().chars().filter(|c| !c.is_control()).take(64).collect::<String>();
                let tag = (!negated && !text.is_empty()).then(|| self.said(text));
                self.probe(|probe| probe.tag = tag)
            }
            Command::SlaVrf => {
                let vrf = (!negated).then(|| self.said(rest.rest().to_owned()));
                self.probe(|probe| probe.vrf = vrf)
            }
            Command::SlaFrequency | Command::SlaTimeout | Command::SlaThreshold => {
                self.time(command, rest, negated)
            }
            _ => self.kind(command, rest),
        }
    }

    fn probe(&mut self, change: impl FnOnce(&mut crate::ios::document::Probe)) -> Did {
        match self.doc.probes.items.get_mut(self.open.block) {
            Some(probe) => change(probe),
            None => return Did::NotMine,
        }
        Did::Converted
    }

    /// `ip sla N`
    fn operation(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let Some(number) = number(&mut rest) else { return NO_MATTER };
        if negated {
            self.doc.probes.remove(&number);
            self.mode = Mode::Global;
            return Did::Converted;
        }
        let block = self.doc.probes.open(&number, self.at);
        self.enter(Mode::Sla, block);
        Did::Converted
    }

    /// `ip sla schedule N [life {forever | S}] [start-time {now | pending | after T | T}] [ageout S] [recurring]`
    fn schedule(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        self.mode = Mode::Global;
        let Some(number) = number(&mut rest) else {
            return wrong(
                "the operation has no number",
                "write `ip sla schedule N life forever start-time now`",
            );
        };
        // Without `life` it lives for an hour, and without `start-time` it is pending.
        let mut said = Scheduled { life_s: Some(3600), starts: false, at_a_time: false };
        while let Some(word) = rest.keyword(&["life", "start-time", "ageout", "recurring"]) {
            match word {
                "life" => match rest.next() {
                    Some(word) if meant(word, &["forever"]).is_some() => said.life_s = None,
                    Some(word) if word.parse::<u64>().is_ok() => said.life_s = word.parse().ok(),
                    _ => return wrong("how long the operation lives is missing", "write `life forever`"),
                },
                "start-time" => match rest.keyword(&["now", "pending", "after", "random"]) {
                    Some("now") => said.starts = true,
                    Some("pending") => said.starts = false,
                    _ => {
                        (said.starts, said.at_a_time) = (true, true);
                        while rest.peek().is_some_and(|w| {
                            !["life", "ageout", "recurring"].iter().any(|k| w.eq_ignore_ascii_case(k))
                        }) {
                            rest.next();
                        }
                    }
                },
                "ageout" => {
                    rest.next();
                }
                _ => {}
            }
        }
        if let Some(word) = rest.peek() {
            let word: String = word.chars().take(40).collect();
            return wrong(format!("`{word}` does not belong to a schedule"), "correct or remove it");
        }
        let at = self.at;
        let block = self.doc.probes.open(&number, at);
        let probe = &mut self.doc.probes.items[block];
        probe.scheduled = (!negated).then(|| Said::new(said, at));
        probe.lines.push(at);
        Did::Converted
    }

    fn time(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        // IOS has whole seconds; a fraction comes from this gateway's own `show running-config`.
        let text = rest.next().unwrap_or_default();
        let ms = match command {
            Command::SlaFrequency => text
                .parse::<f64>()
                .ok()
                .filter(|s| (0.01..=604_800.0).contains(s))
                .map(|seconds| (seconds * 1000.0).round() as u64),
            _ => text.parse::<u64>().ok().filter(|ms| *ms <= 604_800_000),
        };
        let at = self.at;
        let value = match ms {
            Some(ms) if !negated => Some(Said::new(ms, at)),
            None if !negated => return wrong("the time is missing", "write it as a number"),
            _ => None,
        };
        self.probe(|probe| match command {
            Command::SlaFrequency => probe.frequency_ms = value,
            Command::SlaTimeout => probe.timeout_ms = value,
            _ => probe.threshold_ms = value,
        })
    }

    /// What is probed: `icmp-echo ADDRESS …`, or the older `type echo protocol ipIcmpEcho ADDRESS …`.
    fn kind(&mut self, command: Command, mut rest: Words<'_>) -> Did {
        let found = match command {
            Command::SlaEcho => echo(&mut rest, "icmp-echo"),
            Command::SlaJitter => echo(&mut rest, "icmp-jitter"),
            Command::SlaTcp => with_port(&mut rest, "tcp-connect"),
            Command::SlaUdp => with_port(&mut rest, "udp-echo"),
            Command::SlaDns => dns(&mut rest),
            Command::SlaHttp => http(&mut rest),
            Command::SlaType => older(&mut rest),
            _ => Ok(unknown(&mut rest)),
        };
        match found {
            Ok(target) => {
                if let Some(word) = rest.peek() {
                    let word: String = word.chars().take(40).collect();
                    return wrong(
                        format!("`{word}` does not belong to this operation"),
                        "correct or remove it",
                    );
                }
                let said = self.said(target);
                self.probe(|probe| probe.target = Some(said))
            }
            Err((message, hint)) => wrong(message, hint),
        }
    }

    /// `track N {ip sla M | rtr M} [reachability | state]`, `interface …`, `ip route …`, `list …`
    fn track(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        const USAGE: &str = "write `track NUMBER ip sla NUMBER reachability`";
        let Some(number) = number(&mut rest) else { return wrong("the track has no number", USAGE) };
        let at = self.at;
        if negated {
            self.doc.tracks.remove(&number);
            self.mode = Mode::Global;
            return Did::Converted;
        }
        // Without more words the block is opened again.
        let watched = match rest.next() {
            None => None,
            Some(word) => {
                match meant(word, &["ip", "ipv6", "rtr", "interface", "list", "stub-object", "application"]) {
                    Some("rtr") => match operation_of(&mut rest) {
                        Some(watched) => Some(watched),
                        None => return wrong("the operation has no number", USAGE),
                    },
                    Some("ip" | "ipv6") => match rest.keyword(&["sla", "route"]) {
                        Some("sla") => match operation_of(&mut rest) {
                            Some(watched) => Some(watched),
                            None => return wrong("the operation has no number", USAGE),
                        },
                        Some(_) => match route_of(&mut rest) {
                            Ok(watched) => Some(watched),
                            Err((message, hint)) => return wrong(message, hint),
                        },
                        None => return wrong("a track of `ip` watches `sla` or `route`", USAGE),
                    },
                    Some("interface") => {
                        let Some(name) = names::interface(&mut rest) else {
                            return wrong(
                                "the interface is missing",
                                "write `track N interface IF line-protocol`",
                            );
                        };
                        match rest.keyword(&["line-protocol", "ip", "ipv6"]) {
                            Some("line-protocol") => Some(Watched::Interface(name)),
                            // An interface routes while it is up and has an address; the gateway looks at the first.
                            Some(_) if rest.keyword(&["routing"]).is_some() => Some(Watched::Interface(name)),
                            _ => {
                                return wrong(
                                    "what of the interface is watched is missing",
                                    "write `line-protocol`",
                                );
                            }
                        }
                    }
                    Some("list") => match (rest.keyword(&["boolean", "threshold"]), rest.next()) {
                        (Some("boolean"), Some(word)) => match meant(word, &["and", "or"]) {
                            Some("and") => Some(Watched::And),
                            Some(_) => Some(Watched::Or),
                            None => return wrong("a boolean list is `and` or `or`", "write one of them"),
                        },
                        (Some("threshold"), Some(word)) => match meant(word, &["weight", "percentage"]) {
                            Some("weight") => Some(Watched::Weight),
                            Some(_) => Some(Watched::Percentage),
                            None => {
                                return wrong(
                                    "a threshold is of `weight` or `percentage`",
                                    "write one of them",
                                );
                            }
                        },
                        _ => {
                            return wrong(
                                "a list is `boolean and`, `boolean or` or `threshold …`",
                                "write one of them",
                            );
                        }
                    },
                    _ => Some(Watched::Other(word.chars().take(40).collect())),
                }
            }
        };
        let block = self.doc.tracks.open(&number, at);
        if let Some(watched) = watched {
            self.doc.tracks.items[block].watched = Some(Said::new(watched, at));
        }
        self.enter(Mode::Track, block);
        Did::Converted
    }

    /// `delay {up S | down S} …`
    fn delay(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let (mut up, mut down) = (None, None);
        while let Some(word) = rest.keyword(&["up", "down"]) {
            if negated {
                let _ = rest.number::<u64>();
            } else {
                let Some(seconds) =
                    rest.next().and_then(|s| s.parse::<f64>().ok()).filter(|s| (0.0..=86_400.0).contains(s))
                else {
                    return wrong("the delay has no time", "write `delay up SECONDS down SECONDS`");
                };
                *(if word == "up" { &mut up } else { &mut down }) = Some((seconds * 1000.0).round() as u64);
            }
        }
        let Some(track) = self.doc.tracks.items.get_mut(self.open.block) else { return Did::NotMine };
        if negated {
            (track.delay_up_ms, track.delay_down_ms) = (0, 0);
            return Did::Converted;
        }
        if up.is_none() && down.is_none() {
            return wrong("the delay has no time", "write `delay up SECONDS down SECONDS`");
        }
        track.delay_up_ms = up.unwrap_or(track.delay_up_ms);
        track.delay_down_ms = down.unwrap_or(track.delay_down_ms);
        Did::Converted
    }

    /// `object N [not] [weight W]`
    fn object(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        let Some(id) = number(&mut rest).and_then(|n| n.parse().ok()) else {
            return wrong("the object has no number", "write `object N`");
        };
        let mut member = Member { id, not: false, weight: 10, at };
        while let Some(word) = rest.keyword(&["not", "weight"]) {
            match (word, rest.peek()) {
                ("not", _) => member.not = true,
                (_, Some(_)) => match rest.number::<u32>().filter(|w| (1..=255).contains(w)) {
                    Some(weight) => member.weight = weight,
                    None => return wrong("a weight is 1 to 255", "correct it"),
                },
                _ => return wrong("the weight is missing", "write `object N weight W`"),
            }
        }
        let Some(track) = self.doc.tracks.items.get_mut(self.open.block) else { return Did::NotMine };
        track.members.retain(|m| m.id != id);
        if !negated {
            track.members.push(member);
        }
        Did::Converted
    }

    /// `threshold {weight | percentage} [up N] [down N]`
    fn threshold(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        let _ = rest.keyword(&["weight", "percentage"]);
        let mut said = Threshold::default();
        while let Some(word) = rest.keyword(&["up", "down"]) {
            let Some(value) = rest.number::<u32>() else {
                return wrong("the threshold has no number", "write `threshold weight up N down N`");
            };
            *(if word == "up" { &mut said.up } else { &mut said.down }) = Some(value);
        }
        let Some(track) = self.doc.tracks.items.get_mut(self.open.block) else { return Did::NotMine };
        track.threshold = (!negated).then(|| Said::new(said, at));
        Did::Converted
    }
}

/// A number of an operation or a track, without leading zeros.
fn number(rest: &mut Words<'_>) -> Option<String> {
    let number: u32 = rest.number()?;
    (1..=ID_MAX).contains(&number).then(|| number.to_string())
}

/// IOS follows the state unless told to follow the reachability.
fn operation_of(rest: &mut Words<'_>) -> Option<Watched> {
    let number = number(rest)?;
    let of = match rest.keyword(&["reachability", "state"]) {
        Some("reachability") => Of::Reachability,
        _ => Of::State,
    };
    Some(Watched::Operation(number, of))
}

type Fault = (String, String);

/// `PREFIX MASK reachability`, `PREFIX/LENGTH reachability`
fn route_of(rest: &mut Words<'_>) -> Result<Watched, Fault> {
    let usage = || "write `track N ip route PREFIX MASK reachability`".to_owned();
    let text = rest.next().unwrap_or_default();
    let prefix = match (text.parse::<IpPrefix>(), text.parse::<Ipv4Addr>()) {
        (Ok(prefix), _) => prefix,
        (_, Ok(address)) => {
            let mask: Ipv4Addr =
                rest.number().ok_or_else(|| ("the mask of the prefix is missing".to_owned(), usage()))?;
            let length = u8::try_from(mask.to_bits().leading_ones()).unwrap_or(32);
            if u32::from(length) + mask.to_bits().trailing_zeros() < 32 {
                let message = format!("the mask {mask} has a hole");
                return Err((message, "a mask is ones and then zeros, as in 255.255.0.0".to_owned()));
            }
            corrected(IpPrefix::new(address.into(), length))?
        }
        (Err(error), _) => corrected(Err(error))?,
    };
    match rest.keyword(&["reachability", "metric"]) {
        Some("metric") => Ok(Watched::Other("the metric of a route".to_owned())),
        _ => Ok(Watched::Route(prefix)),
    }
}

fn corrected(read: Result<IpPrefix, sipsec_net::prefix::PrefixError>) -> Result<IpPrefix, Fault> {
    use sipsec_net::prefix::PrefixError;
    read.map_err(|error| match error {
        PrefixError::HostBits(meant) => {
            ("bits of the host are set in the prefix".to_owned(), format!("the network is {meant}"))
        }
        _ => ("this is no prefix".to_owned(), "write PREFIX MASK or PREFIX/LENGTH".to_owned()),
    })
}

/// The words behind the target, of which the gateway knows those of `source` and of series.
fn options(rest: &mut Words<'_>, target: &mut Target) -> Result<(), Fault> {
    const KNOWN: &[&str] = &[
        "source-ip",
        "source-ipaddr",
        "source-interface",
        "source-port",
        "num-packets",
        "interval",
        "control",
        "name-server",
        "version",
        "cache",
        "proxy",
        "codec",
        "url",
    ];
    while let Some(word) = rest.keyword(KNOWN) {
        match word {
            "source-ip" | "source-ipaddr" => {
                target.source = rest.next().map(str::to_owned);
                if target.source.as_ref().is_none_or(|s| s.parse::<IpAddr>().is_err()) {
                    return Err(("the source is no address".into(), "write `source-ip ADDRESS`".into()));
                }
            }
            "source-interface" => match names::interface(rest) {
                Some(name) => target.interface = Some(name),
                None => {
                    return Err(("the source is no interface".into(), "write `source-interface IF`".into()));
                }
            },
            "num-packets" => target.packets = rest.number(),
            "interval" => target.interval_ms = rest.number(),
            "name-server" => target.server = rest.next().map(str::to_owned),
            "url" => target.url = rest.next().map(str::to_owned),
            _ => {
                rest.next();
            }
        }
    }
    Ok(())
}

fn address(rest: &mut Words<'_>) -> Result<String, Fault> {
    let text = rest.next().unwrap_or_default();
    let known = text.parse::<IpAddr>().is_ok();
    let name = !known && crate::read::is_host_name(text) && text.chars().any(|c| c.is_ascii_alphabetic());
    match known || name {
        true => Ok(text.to_owned()),
        false => {
            Err(("the target is no address".into(), "write the address of the host that is probed".into()))
        }
    }
}

fn echo(rest: &mut Words<'_>, kind: &'static str) -> Result<Target, Fault> {
    let mut target = Target { kind, address: address(rest)?, ..Target::default() };
    options(rest, &mut target)?;
    Ok(target)
}

fn port(rest: &mut Words<'_>) -> Result<u16, Fault> {
    rest.number::<u16>()
        .filter(|port| *port > 0)
        .ok_or_else(|| ("the port is missing".into(), "write a port of 1 to 65535 behind the address".into()))
}

fn with_port(rest: &mut Words<'_>, kind: &'static str) -> Result<Target, Fault> {
    let address = address(rest)?;
    let mut target = Target { kind, address, port: Some(port(rest)?), ..Target::default() };
    options(rest, &mut target)?;
    Ok(target)
}

fn dns(rest: &mut Words<'_>) -> Result<Target, Fault> {
    let query = rest.next().unwrap_or_default().to_owned();
    let mut target = Target { kind: "dns", query: Some(query), ..Target::default() };
    options(rest, &mut target)?;
    target.address = target.server.take().unwrap_or_default();
    match target.address.parse::<IpAddr>() {
        Ok(_) => Ok(target),
        Err(_) => {
            Err(("the name server has no address".into(), "write `dns NAME name-server ADDRESS`".into()))
        }
    }
}

fn http(rest: &mut Words<'_>) -> Result<Target, Fault> {
    match rest.keyword(&["get", "raw"]) {
        Some("get") => {
            let url = rest.next().unwrap_or_default().to_owned();
            let mut target = Target { kind: "http", url: Some(url), ..Target::default() };
            options(rest, &mut target)?;
            Ok(target)
        }
        _ => Ok(unknown(rest)),
    }
}

/// `type echo protocol ipIcmpEcho A`, `type tcpConnect dest-ipaddr A dest-port P`, `type dns target-addr N name-server A`
fn older(rest: &mut Words<'_>) -> Result<Target, Fault> {
    let kind =
        rest.keyword(&["echo", "tcpConnect", "udpEcho", "dns", "http", "jitter", "pathEcho", "dhcp", "ftp"]);
    match kind {
        Some("echo") => {
            let _ = rest.keyword(&["protocol"]);
            match rest.keyword(&["ipIcmpEcho"]) {
                Some(_) => echo(rest, "icmp-echo"),
                None => Ok(unknown(rest)),
            }
        }
        Some(kind @ ("tcpConnect" | "udpEcho")) => {
            let _ = rest.keyword(&["dest-ipaddr"]);
            let address = address(rest)?;
            let _ = rest.keyword(&["dest-port"]);
            let kind = if kind == "tcpConnect" { "tcp-connect" } else { "udp-echo" };
            let mut target = Target { kind, address, port: Some(port(rest)?), ..Target::default() };
            options(rest, &mut target)?;
            Ok(target)
        }
        Some("dns") => {
            let _ = rest.keyword(&["target-addr"]);
            dns(rest)
        }
        Some("http") => {
            let _ = rest.keyword(&["operation"]);
            let get = rest.keyword(&["get"]).is_some();
            let _ = rest.keyword(&["url"]);
            if !get {
                return Ok(unknown(rest));
            }
            let url = rest.next().unwrap_or_default().to_owned();
            let mut target = Target { kind: "http", url: Some(url), ..Target::default() };
            options(rest, &mut target)?;
            Ok(target)
        }
        _ => Ok(unknown(rest)),
    }
}

fn unknown(rest: &mut Words<'_>) -> Target {
    while rest.next().is_some() {}
    Target::default()
}
