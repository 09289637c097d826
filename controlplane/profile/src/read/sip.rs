//! `sip:`

use super::carrier;
use super::item::{Item, Table};
use super::secrets;
use super::text::{self, device, is_host, is_host_name, number, path};
use super::values::Node;
use crate::diagnose::Problem;
use crate::model::limits::CARRIERS_MAX;
use crate::model::secret::{PASSWORD, PRIVATE_KEY};
use crate::model::{
    CarrierEntry, FIRST_CARRIER, Host, Learnt, LineAuth, Server, SipLine, SipSection, TlsOwn, TlsSection,
};
use sipsec_net::TelNumber;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Servers of one role, and name servers.
const SERVERS_MAX: usize = 8;
const NAME_SERVERS_MAX: usize = 3;

pub fn carriers(item: &Item<'_>) -> Option<Vec<CarrierEntry>> {
    let items = item.list()?;
    if items.len() > CARRIERS_MAX {
        let message = format!("there are {} carriers beside that of `sip`", items.len());
        let problem = Problem::error("sip::carriers", &item.path, message);
        item.report(problem.hint(format!("a gateway has at most {CARRIERS_MAX}")));
        return None;
    }
    let mut seen: HashSet<String> = HashSet::from([FIRST_CARRIER.to_owned()]);
    let read = |item: &Item<'_>| {
        let table = item.table()?;
        let name = table.required("name").and_then(|at| {
            let name = text::gateway(&at)?;
            if seen.insert(name.clone()) {
                return Some(name);
            }
            let message = if name == FIRST_CARRIER {
                format!("`{FIRST_CARRIER}` is the carrier of `sip`")
            } else {
                format!("two carriers are named {name}")
            };
            at.report(Problem::error("sip::carriers", &at.path, message).hint("give it another name"));
            None
        });
        let sip = table.required("sip").and_then(|i| read(&i));
        table.finish();
        Some(CarrierEntry { name: name?, sip: sip? })
    };
    let all: Vec<_> = items.iter().map(read).collect();
    all.into_iter().collect()
}

pub fn read(item: &Item<'_>) -> Option<SipSection> {
    let table = item.table()?;
    let interface = table.required("interface").and_then(|i| device(&i, 0));
    let port = table.int("port");
    let transport = table.word("transport");
    let registrar = table.required("registrar").and_then(|i| learnt(&i, servers));
    let outbound_proxy = table.value("outbound_proxy", Vec::new(), servers);
    let (registration_family, call_family) = (table.word("registration_family"), table.word("call_family"));
    let tls = table.value("tls", TlsSection::default(), tls);
    let dns = table.value("dns", Vec::new(), dns);
    let dns_device = table.value("dns_device", None, |item| device(item, 0).map(Some));
    let keepalive = table.seconds("keepalive_s");
    let options = table.seconds("options_s");
    let redirects = table.int("redirects");
    let domain = table.required("domain").and_then(|i| learnt(&i, domain));
    let expires = table.seconds("expires_s");
    let carrier = table.word("carrier");
    let own = carrier::sip(&table);
    let bye_wait = table.seconds("bye_wait_s");
    let requests_per_s = table.int("requests_per_s");
    let tariff = table.word("tariff");
    let lines = table.required("lines").and_then(|i| lines(&i));
    table.finish();
    Some(SipSection {
        interface: interface?,
        port: port?,
        transport: transport?,
        registrar: registrar?,
        outbound_proxy: outbound_proxy?,
        registration_family: registration_family?,
        call_family: call_family?,
        tls: tls?,
        dns: dns?,
        dns_device: dns_device?,
        keepalive: keepalive.map(|s| Some(s).filter(|s| !s.is_zero()))?,
        options: options.map(|s| Some(s).filter(|s| !s.is_zero()))?,
        redirects: redirects?,
        domain: domain?,
        expires: expires?,
        carrier: carrier?,
        own: own?,
        bye_wait: bye_wait?,
        requests_per_s: requests_per_s?,
        tariff: tariff?,
        lines: lines?,
    })
}

/// The word `dhcp`, or a value.
fn learnt<T>(item: &Item<'_>, read: impl FnOnce(&Item<'_>) -> Option<T>) -> Option<Learnt<T>> {
    if matches!(item.node, Node::Str(word) if word.trim() == Learnt::<T>::WORD) {
        return Some(Learnt::Dhcp);
    }
    read(item).map(Learnt::Given)
}

/// `HOST[:PORT]`, or a list of such.
fn servers(item: &Item<'_>) -> Option<Vec<Server>> {
    let mut out: Vec<Server> = Vec::new();
    let items = item.several()?;
    if items.is_empty() || items.len() > SERVERS_MAX {
        let problem = Problem::error(
            "sip::servers",
            &item.path,
            format!("`{}` has {} entries", item.path, items.len()),
        );
        item.report(problem.hint(format!("write 1 to {SERVERS_MAX} servers")));
        return None;
    }
    for item in &items {
        let server = server(item)?;
        if out.contains(&server) {
            item.report(
                Problem::error("sip::servers", &item.path, format!("{server} appears twice"))
                    .hint("remove one"),
            );
            return None;
        }
        out.push(server);
    }
    Some(out)
}

fn server(item: &Item<'_>) -> Option<Server> {
    let text = item.text()?.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let literal = text.parse::<SocketAddr>().map(|a| (a.ip(), Some(a.port())));
    let literal = literal.or_else(|_| bare.parse::<IpAddr>().map(|ip| (ip, None)));
    if let Ok((ip, port)) = literal {
        if port == Some(0) {
            item.bad_value(text, "a reachable address", "a port is 1 to 65535");
        } else if !is_host(ip) {
            item.bad_value(text, "the address of a server", "write the server's own address");
        } else {
            return Some(Server { host: Host::Address(ip), port });
        }
        return None;
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port.parse().ok().filter(|p: &u16| *p > 0).map(Some)),
        None => (text, Some(None)),
    };
    let name = name.trim_end_matches('.');
    let digits = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    // RFC 1123 §2.1: the last label is no number, or a mistyped address would be a name.
    let is_name = name.len() <= 253 && is_host_name(name) && !name.rsplit('.').next().is_some_and(digits);
    match port {
        Some(port) if is_name => Some(Server { host: Host::Name(name.to_owned()), port }),
        _ => {
            item.bad_value(
                text,
                "an address or a name",
                "write ADDRESS:PORT or NAME, as in 198.51.100.1:5060 or sip.carrier.example",
            );
            None
        }
    }
}

fn dns(item: &Item<'_>) -> Option<Vec<IpAddr>> {
    let items = item.several()?;
    if items.is_empty() || items.len() > NAME_SERVERS_MAX {
        let problem =
            Problem::error("sip::dns", &item.path, format!("`{}` has {} entries", item.path, items.len()));
        item.report(problem.hint(format!("write 1 to {NAME_SERVERS_MAX} addresses")));
        return None;
    }
    items
        .iter()
        .map(|i| i.parse("an IP address", "write the address of a name server, as in 198.51.100.53"))
        .collect()
}

fn tls(item: &Item<'_>) -> Option<TlsSection> {
    let table = item.table()?;
    let ca = table.required("ca").and_then(|i| path(&i));
    let certificate = table.value("certificate", None, |i| path(i).map(Some));
    let key = match PRIVATE_KEY.all().any(|key| table.optional(key).is_some()) {
        true => secrets::one(&table, PRIVATE_KEY).map(Some),
        false => Some(None),
    };
    let server_name = table.value("server_name", None, |i| domain(i).map(Some));
    table.finish();
    let own = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(TlsOwn { certificate, key }),
        (None, None) => None,
        _ => {
            let problem = Problem::error("sip::tls", &item.path, "`certificate` and `key` belong together");
            item.report(problem.hint(
                "write both, or none; the key is one of `key`, `key_env`, `key_command` and `key_credential`",
            ));
            return None;
        }
    };
    Some(TlsSection { ca: Some(ca?), own, server_name: server_name? })
}

fn domain(item: &Item<'_>) -> Option<String> {
    let text = item.text()?.trim();
    // RFC 3261 §25.1 hostname; an address is allowed as host, too.
    if text.len() > 253 || !is_host_name(text.trim_end_matches('.')) {
        item.bad_value(text, "a domain name", "write the carrier's SIP domain, as in carrier.example");
        return None;
    }
    Some(text.to_owned())
}

fn lines(item: &Item<'_>) -> Option<Vec<SipLine>> {
    let mut out = Vec::new();
    let mut seen: HashMap<TelNumber, String> = HashMap::new();
    let items = item.list()?;
    if items.is_empty() {
        let problem = Problem::error("sip::no-line", &item.path, "no line is configured");
        item.report(problem.hint("a gateway needs at least one number: `- number: \"0388881001\"`"));
        return None;
    }
    let wanted = items.len();
    for line in items {
        let Some(table) = line.table() else { continue };
        let number_item = table.required("number");
        let number = number_item.as_ref().and_then(number);
        let auth = table.value("auth", None, |a| a.table().and_then(|t| auth(&t)).map(Some));
        table.finish();
        let (Some(number), Some(at)) = (number, number_item) else { continue };
        if let Some(first) = seen.insert(number, at.path.to_string()) {
            let problem =
                Problem::error("sip::duplicate-line", &at.path, format!("line {number} appears twice"));
            at.report(problem.label(format!("already {first}")).hint("remove one of the two lines"));
            continue;
        }
        if let Some(auth) = auth {
            out.push(SipLine { number, auth });
        }
    }
    (out.len() == wanted).then_some(out)
}

/// Longest user name, in bytes.
const USER_NAME_MAX: usize = 256;

fn username(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    if text.is_empty() || text.len() > USER_NAME_MAX || text.chars().any(char::is_control) {
        let hint =
            format!("write the one that the carrier gave: 1 to {USER_NAME_MAX} bytes, no control characters");
        item.bad_value(text, "a user name", &hint);
        return None;
    }
    Some(text.to_owned())
}

fn auth(table: &Table<'_>) -> Option<LineAuth> {
    let username = table.required("username").and_then(|i| username(&i));
    let password = secrets::one(table, PASSWORD);
    table.finish();
    Some(LineAuth { username: username?, password: password? })
}
