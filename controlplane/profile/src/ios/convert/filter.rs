//! `dialer-group` of a tunnel, its `dialer-list` and the access list that this names: the interesting traffic, which becomes a
//! filter of the profile. A filter that says something else than the list would place calls that cost money, or none: what of a
//! list cannot be said is an error.

use super::Work;
use super::qos::{ports, prefix};
use crate::ios::document::{DialerList, Interesting};
use crate::ios::report::{At, Verdict};
use crate::model::FilterEntry;
use crate::model::filter::{Action, FilterLine, IpProtocol, Numbers};
use crate::model::qos::Dscp;
use sipsec_net::IpPrefix;
use sipsec_net::filter::{FILTER_RULES_MAX, Span};

/// Lines of lists of one conversion that are read at most.
const ENTRIES_MAX: usize = 4096;

impl Work<'_> {
    pub(super) fn interesting(&mut self) {
        let doc = self.doc;
        for index in 0..self.used.len() {
            let interface = self.used[index].interface;
            let Some(group) = &interface.dialer_group else { continue };
            let lists: Vec<&DialerList> =
                doc.dialer_lists.iter().filter(|l| l.number == group.value).collect();
            if lists.is_empty() {
                let message = format!(
                    "there is no dialer-list {}: on the router nothing of {} is interesting",
                    group.value, interface.name
                );
                self.report.error(
                    &[group.at],
                    message,
                    "import the file that defines it, or remove the group",
                );
                continue;
            }
            let name = format!("dialer-{}", group.value);
            if !self.out.filters.iter().any(|f| f.name == name) {
                let Some(filter) = self.filter(&name, &lists) else { continue };
                self.out.filters.push(filter);
            }
            self.report.set(group.at, Verdict::Converted);
            if let Some(tunnel) = self.out.tunnels.iter_mut().find(|t| t.name == interface.name) {
                tunnel.filter = Some(name);
            }
        }
    }

    /// The lists of both families together.
    fn filter(&mut self, name: &str, lists: &[&DialerList]) -> Option<FilterEntry> {
        let (mut rules, mut used, mut sound) = (Vec::new(), Vec::new(), true);
        for list in lists {
            used.push(list.at);
            let any = if list.v6 { IpPrefix::ANY_V6 } else { IpPrefix::ANY_V4 };
            let whole = |action| FilterLine { action, source: Some(any), ..FilterLine::default() };
            match &list.packets {
                Interesting::All => rules.push(whole(Action::Permit)),
                Interesting::None => {}
                Interesting::List(acl) if list.v6 => {
                    let message = format!("the IPv6 list {acl} is not converted");
                    self.report.error(&[list.at], message, "write its rules into `filters` by hand");
                    sound = false;
                }
                Interesting::List(acl) => sound &= self.entries(list.at, acl, &mut rules, &mut used),
            }
        }
        // What no line permits is not interesting.
        let rest = FilterLine { action: Action::Deny, ..FilterLine::default() };
        if rules.last() != Some(&rest) {
            rules.push(rest);
        }
        if sound && rules.len() > FILTER_RULES_MAX {
            let message = format!("{name} has {} rules, and a filter {FILTER_RULES_MAX}", rules.len());
            self.report.error(&used, message, "join lines by a wider prefix or a range of ports");
            sound = false;
        }
        if !sound {
            return None;
        }
        self.mark_converted(&used);
        Some(FilterEntry { name: name.to_owned(), rules })
    }

    /// The lines of an access list; `false` if one of them cannot be said.
    fn entries(&mut self, at: At, name: &str, rules: &mut Vec<FilterLine>, used: &mut Vec<At>) -> bool {
        let Some(acl) = self.doc.acls.get(name) else {
            let doc = self.doc;
            self.dangling(at, "access list", name, doc.acls.names());
            return false;
        };
        let mut sound = true;
        for &line in acl.lines.iter().take(ENTRIES_MAX) {
            let text = self.report.line(line).map(|l| l.text.clone()).unwrap_or_default();
            let words: Vec<&str> = text.split_whitespace().collect();
            let entry = match words.as_slice() {
                ["ip", "access-list", ..] | ["remark", ..] | ["exit"] | ["access-list", _, "remark", ..] => {
                    used.push(line);
                    continue;
                }
                ["access-list", _, entry @ ..] => entry,
                [number, entry @ ..] if number.parse::<u32>().is_ok() => entry,
                entry => entry,
            };
            match rule(entry) {
                Ok(rule) => {
                    rules.push(rule);
                    used.push(line);
                }
                Err(hint) => {
                    let message = format!("a filter has no word for this line of the list {name}");
                    self.report.error(&[line], message, hint);
                    sound = false;
                }
            }
        }
        sound
    }
}

/// `permit|deny PROTOCOL SOURCE [PORTS] DESTINATION [PORTS] [dscp D]`, or `permit|deny SOURCE` of a standard list.
fn rule(words: &[&str]) -> Result<FilterLine, &'static str> {
    const USAGE: &str = "a rule compares protocol, addresses by prefix, ports by range, and DSCP; write it by hand, or remove it";
    let (action, mut rest) = match words {
        ["permit", rest @ ..] => (Action::Permit, rest),
        ["deny", rest @ ..] => (Action::Deny, rest),
        _ => return Err(USAGE),
    };
    // It is counted on the router alone.
    if let [before @ .., "log" | "log-input"] = rest {
        rest = before;
    }
    let mut line = FilterLine { action, ..FilterLine::default() };
    let protocol = rest.first().and_then(|word| match *word {
        "ip" => Some(None),
        "any" | "host" => None,
        word => word.parse::<IpProtocol>().ok().map(Some),
    });
    let Some(protocol) = protocol else {
        line.source = prefix(&mut rest, true).ok_or(USAGE)?;
        return if rest.is_empty() { Ok(line) } else { Err(USAGE) };
    };
    line.protocol = protocol;
    rest = &rest[1..];
    let mut end = || -> Option<(Option<IpPrefix>, Option<Numbers>)> {
        let address = prefix(&mut rest, false)?;
        let span = ports(&mut rest)?.map(|r| Numbers(Span { first: r.first, last: r.last }));
        Some((address, span))
    };
    (line.source, line.source_ports) = end().ok_or(USAGE)?;
    (line.destination, line.destination_ports) = end().ok_or(USAGE)?;
    let has_ports = line.source_ports.is_some() || line.destination_ports.is_some();
    if has_ports && !line.protocol.is_some_and(IpProtocol::has_ports) {
        return Err("ports are those of TCP, UDP and SCTP: name the protocol");
    }
    match rest {
        [] => {}
        ["dscp", dscp] => line.dscp = Some(dscp.parse::<Dscp>().map_err(|_| USAGE)?.value()),
        ["established"] => {
            return Err("a filter does not see the flags of TCP: leave `established` out, or the line");
        }
        _ => return Err(USAGE),
    }
    Ok(line)
}
