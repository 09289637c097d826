//! `policy-map`, `class-map` and `service-policy output` of a tunnel: a policy of the profile, as far as the words are known.

use super::Work;
use crate::ios::document::Document;
use crate::ios::report::{At, Report, Verdict};
use crate::model::carrier::MediaDscp;
use crate::model::qos::{CLASS_DEFAULT, Dscp, MatchProtocol, Part, QosClass, QosMatch, QosPolicy};
use sipsec_net::IpPrefix;
use sipsec_net::qos::{CLASSES_MAX, FILTERS_MAX, PortRange};
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A policy, the lines that made it, and those that could not be brought along.
pub(super) struct Converted {
    pub policy: QosPolicy,
    pub used: Vec<At>,
    pub lost: Vec<At>,
}

/// Names of the profile are shorter, and of fewer characters.
fn name(text: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    text.chars().map(|c| if legal(c) { c } else { '_' }).take(32).collect()
}

impl Work<'_> {
    /// `None` if the policy is not there, or nothing of it can be used.
    pub(super) fn policy(&self, of: &str) -> Option<Converted> {
        let mut out = Reading { doc: self.doc, report: self.report, used: Vec::new(), lost: Vec::new() };
        let classes = out.policy(of, true)?;
        let matches: usize = classes.iter().map(|c| c.matches.len()).sum();
        let own = classes.iter().filter(|c| !c.is_default()).count();
        if classes.is_empty() || own >= CLASSES_MAX || matches > FILTERS_MAX {
            return None;
        }
        let policy = QosPolicy { name: name(of), classes, police: None };
        Some(Converted { policy, used: out.used, lost: out.lost })
    }

    pub(super) fn mark_converted(&mut self, lines: &[At]) {
        for at in lines {
            self.report.set(*at, Verdict::Converted);
        }
    }
}

struct Reading<'a> {
    doc: &'a Document,
    report: &'a Report,
    used: Vec<At>,
    lost: Vec<At>,
}

impl<'a> Reading<'a> {
    fn words(&self, at: At) -> Vec<&'a str> {
        self.report.line(at).map(|l| l.text.split_whitespace().collect()).unwrap_or_default()
    }

    fn policy(&mut self, of: &str, outer: bool) -> Option<Vec<QosClass>> {
        let map = self.doc.policy_maps.get(of)?;
        let (mut classes, mut child): (Vec<QosClass>, Option<(usize, String)>) = (Vec::new(), None);
        let mut known = false;
        for &at in &map.lines {
            let words = self.words(at);
            let taken = match &words[..] {
                ["policy-map", _] | ["description", ..] | ["exit"] => true,
                ["class", class] => {
                    known = self.class(class, &mut classes);
                    known
                }
                ["service-policy", name] if outer && known => {
                    child = Some((classes.len() - 1, (*name).to_owned()));
                    true
                }
                _ => known && classes.last_mut().is_some_and(|class| action(class, &words)),
            };
            if taken { self.used.push(at) } else { self.lost.push(at) }
        }
        // The usual hierarchy: all traffic is shaped, and a child divides it. The negotiated rate takes the parent's place.
        if let Some((parent, name)) = child {
            if classes.len() == 1 && classes[parent].is_default() {
                return self.policy(&name, false);
            }
            let is_child = |at: &&At| self.words(**at).first() == Some(&"service-policy");
            let lines: Vec<At> = map.lines.iter().filter(is_child).copied().collect();
            self.lost.extend(lines);
        }
        Some(classes)
    }

    /// Begins a class of a policy. `false` if nothing of its class-map can be used.
    fn class(&mut self, of: &str, classes: &mut Vec<QosClass>) -> bool {
        if of == CLASS_DEFAULT {
            classes.push(QosClass::new(CLASS_DEFAULT));
            return true;
        }
        let Some(map) = self.doc.class_maps.get(of) else { return false };
        let any = map.lines.first().is_some_and(|at| self.words(*at).contains(&"match-any"));
        let (mut matches, mut used, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        let mut all: Option<Vec<QosMatch>> = None;
        for &at in &map.lines {
            let words = self.words(at);
            let found = match &words[..] {
                ["class-map", ..] | ["description", ..] | ["exit"] => Some(Vec::new()),
                ["match", rest @ ..] => self.matches(rest, &mut used).filter(|m| !m.is_empty()),
                _ => None,
            };
            match found {
                None => lost.push(at),
                Some(found) => {
                    used.push(at);
                    if found.is_empty() {
                        continue;
                    }
                    if any {
                        matches.extend(found);
                    } else {
                        // Every line must match: each alternative of one with each of the other.
                        let before = all.take().unwrap_or_else(|| vec![QosMatch::default()]);
                        let both = |a: &QosMatch| found.iter().filter_map(|b| both(a, b)).collect::<Vec<_>>();
                        all = Some(before.iter().flat_map(both).take(FILTERS_MAX + 1).collect());
                    }
                }
            }
        }
        // Of `match-all`, a line that is not understood would widen the class.
        let usable = any || lost.is_empty();
        matches.extend(all.into_iter().flatten().filter(|_| usable));
        if matches.is_empty() || !usable {
            self.lost.extend(&map.lines);
            return false;
        }
        self.used.extend(used);
        self.lost.extend(lost);
        classes.push(QosClass { matches, ..QosClass::new(&name(of)) });
        true
    }

    fn matches(&self, rest: &[&str], used: &mut Vec<At>) -> Option<Vec<QosMatch>> {
        let rest = match rest {
            ["ip", rest @ ..] => rest,
            rest => rest,
        };
        match rest {
            ["dscp", values @ ..] if !values.is_empty() => {
                let dscp = values.iter().map(|v| v.parse().ok()).collect::<Option<Vec<Dscp>>>()?;
                Some(vec![QosMatch { dscp, ..QosMatch::default() }])
            }
            // RFC 2474 §4.2.2: a precedence is a class selector.
            ["precedence", values @ ..] if !values.is_empty() => {
                let dscp = values.iter().map(|v| precedence(v)).collect::<Option<Vec<Dscp>>>()?;
                Some(vec![QosMatch { dscp, ..QosMatch::default() }])
            }
            ["access-group", "name", list] | ["access-group", list] => self.access_list(list, used),
            _ => None,
        }
    }

    /// The `permit` lines of a list; `None` if one of them, or a `deny`, says more than a match can.
    fn access_list(&self, list: &str, used: &mut Vec<At>) -> Option<Vec<QosMatch>> {
        let acl = self.doc.acls.get(list)?;
        let mut out = Vec::new();
        for &at in &acl.lines {
            let words = self.words(at);
            let words = match &words[..] {
                ["ip", "access-list", ..] | ["remark", ..] | ["exit"] => continue,
                ["access-list", _, "remark", ..] => continue,
                ["access-list", _, rest @ ..] => rest.to_vec(),
                [number, rest @ ..] if number.parse::<u32>().is_ok() => rest.to_vec(),
                rest => rest.to_vec(),
            };
            let ["permit", rest @ ..] = &words[..] else { return None };
            out.push(permit(rest)?);
        }
        used.extend(&acl.lines);
        Some(out)
    }
}

fn precedence(text: &str) -> Option<Dscp> {
    const NAMES: [&str; 8] =
        ["routine", "priority", "immediate", "flash", "flash-override", "critical", "internet", "network"];
    let value = NAMES.iter().position(|n| *n == text).or_else(|| text.parse().ok()).filter(|v| *v < 8)?;
    Dscp::new(u8::try_from(value).ok()? << 3)
}

/// What a packet is that is both; `None` if none can be.
fn both(a: &QosMatch, b: &QosMatch) -> Option<QosMatch> {
    let dscp = match (a.dscp.is_empty(), b.dscp.is_empty()) {
        (true, _) => b.dscp.clone(),
        (_, true) => a.dscp.clone(),
        _ => a.dscp.iter().filter(|d| b.dscp.contains(d)).copied().collect(),
    };
    let impossible = dscp.is_empty() && !(a.dscp.is_empty() && b.dscp.is_empty());
    // Two lists at once are rare: the narrower of two prefixes is not looked for.
    let one_list = (a.source.is_none() && a.destination.is_none() && a.protocol == MatchProtocol::Any)
        || (b.source.is_none() && b.destination.is_none() && b.protocol == MatchProtocol::Any);
    (!impossible && one_list).then(|| QosMatch {
        dscp,
        source: a.source.or(b.source),
        destination: a.destination.or(b.destination),
        protocol: if a.protocol == MatchProtocol::Any { b.protocol } else { a.protocol },
        source_ports: a.source_ports.or(b.source_ports),
        destination_ports: a.destination_ports.or(b.destination_ports),
    })
}

/// What a class of a policy is told. `false` if the profile has no word for it.
fn action(class: &mut QosClass, words: &[&str]) -> bool {
    let kbps = |text: &str| u32::from_str(text).ok().filter(|k| (1..=10_000_000).contains(k)).map(Part::Kbps);
    let percent = |text: &str| u8::from_str(text).ok().filter(|p| (1..=100).contains(p)).map(Part::Percent);
    let outer = |text: &str| text.parse::<Dscp>().ok().map(|d| MediaDscp::Fixed(d.value()));
    match words {
        // The gateway does it by itself in every class.
        ["fair-queue", ..] | ["queue-limit", ..] | ["random-detect", ..] => true,
        ["priority"] => {
            class.priority = true;
            true
        }
        ["priority", "percent", n, ..] => {
            (class.priority, class.guarantee) = (true, percent(n));
            class.guarantee.is_some()
        }
        ["priority", n, ..] if n.parse::<u32>().is_ok() => {
            (class.priority, class.guarantee) = (true, kbps(n));
            class.guarantee.is_some()
        }
        ["bandwidth", "percent", n] => {
            class.guarantee = percent(n);
            class.guarantee.is_some()
        }
        ["bandwidth", n] => {
            class.guarantee = kbps(n);
            class.guarantee.is_some()
        }
        ["shape", "average", "percent", n, ..] => {
            class.ceiling = percent(n);
            class.ceiling.is_some()
        }
        ["shape", "average", bps, ..] => {
            class.ceiling = u64::from_str(bps).ok().and_then(|b| kbps(&(b / 1000).to_string()));
            class.ceiling.is_some()
        }
        ["set", "dscp", "tunnel", dscp] | ["set", "ip", "dscp", "tunnel", dscp] => {
            class.dscp = outer(dscp);
            class.dscp.is_some()
        }
        _ => false,
    }
}

/// `PROTOCOL SOURCE [PORTS] DESTINATION [PORTS] [dscp D]`, or `SOURCE` of a standard list.
fn permit(words: &[&str]) -> Option<QosMatch> {
    let protocol = words.first().and_then(|w| {
        Some(match *w {
            "ip" => MatchProtocol::Any,
            "tcp" => MatchProtocol::Tcp,
            "udp" => MatchProtocol::Udp,
            "icmp" => MatchProtocol::Icmp,
            "gre" => MatchProtocol::Gre,
            "esp" => MatchProtocol::Esp,
            _ => return None,
        })
    });
    let mut rest = words;
    let Some(protocol) = protocol else {
        let source = prefix(&mut rest, true)?;
        return (rest.is_empty() && source.is_some()).then(|| QosMatch { source, ..QosMatch::default() });
    };
    rest = &rest[1..];
    let source = prefix(&mut rest, false)?;
    let source_ports = ports(&mut rest)?;
    let destination = prefix(&mut rest, false)?;
    let destination_ports = ports(&mut rest)?;
    let dscp = match rest {
        [] => Vec::new(),
        ["dscp", dscp] => vec![dscp.parse().ok()?],
        _ => return None,
    };
    let built = QosMatch { dscp, source, destination, protocol, source_ports, destination_ports };
    (built != QosMatch::default()).then_some(built)
}

/// An address of a list: the outer `None` is none, the inner one `any`.
pub(super) fn prefix(words: &mut &[&str], alone: bool) -> Option<Option<IpPrefix>> {
    let host = |text: &str| text.parse::<Ipv4Addr>().ok();
    let (taken, found) = match *words {
        ["any", ..] => (1, None),
        ["host", ip, ..] => (2, Some(IpPrefix::host(host(ip)?.into()))),
        [ip, wildcard, ..] if host(wildcard).is_some() => {
            let (ip, wildcard) = (host(ip)?, host(wildcard)?.to_bits());
            // A wildcard mask with holes is no prefix.
            if wildcard & wildcard.wrapping_add(1) != 0 {
                return None;
            }
            let len = u8::try_from(wildcard.leading_zeros()).ok()?;
            let network = Ipv4Addr::from_bits(ip.to_bits() & !wildcard);
            (2, Some(IpPrefix::new(network.into(), len).ok()?))
        }
        [ip, ..] if alone => (1, Some(IpPrefix::host(host(ip)?.into()))),
        _ => return None,
    };
    *words = &words[taken..];
    Some(found)
}

/// The outer `None` is no range of a match, the inner one all ports.
pub(super) fn ports(words: &mut &[&str]) -> Option<Option<PortRange>> {
    let (taken, range) = match *words {
        ["eq", port, ..] => (2, PortRange { first: self::port(port)?, last: self::port(port)? }),
        ["range", first, last, ..] => (3, PortRange { first: port(first)?, last: port(last)? }),
        ["gt", after, ..] => (2, PortRange { first: port(after)?.checked_add(1)?, last: u16::MAX }),
        ["lt", before, ..] => (2, PortRange { first: 0, last: port(before)?.checked_sub(1)? }),
        ["neq", ..] => return None,
        _ => return Some(None),
    };
    *words = &words[taken..];
    (range.first <= range.last).then_some(Some(range))
}

/// IOS writes well-known ports by their names.
fn port(text: &str) -> Option<u16> {
    Some(match text {
        "ftp" => 21,
        "telnet" => 23,
        "smtp" => 25,
        "domain" => 53,
        "tftp" => 69,
        "www" => 80,
        "pop3" => 110,
        "ntp" => 123,
        "bgp" => 179,
        "snmp" => 161,
        "snmptrap" => 162,
        "isakmp" => 500,
        "syslog" => 514,
        "non500-isakmp" => 4500,
        number => number.parse().ok()?,
    })
}
