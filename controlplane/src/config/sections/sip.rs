//! `sip:`

use super::{flag, is_host, is_host_name, number, seconds, secret};
use crate::config::diagnostic::Problem;
use crate::config::profile::{Line, LineAuth, Sip};
use crate::config::reader::{Item, Table};
use sipsec_net::TelNumber;
use sipsec_sip::{MIN_SE_S, SESSION_EXPIRES_S};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

pub const PORT_DEFAULT: u16 = 5060;
/// RFC 3261 §10.2.1.1 suggests 3600 s.
const EXPIRES_DEFAULT_S: u64 = 3600;
/// A session that is refreshed more seldom than once a day is as good as one without a timer.
const SESSION_EXPIRES_MAX_S: u32 = 86_400;

pub fn read(item: &Item<'_>) -> Option<Sip> {
    let table = item.table()?;
    let interface = table.required("interface", "wan0").and_then(|i| i.text().map(str::to_owned));
    let port = match table.optional("port") {
        Some(i) => i.int(1..=u16::MAX),
        None => Some(PORT_DEFAULT),
    };
    let registrar = table.required("registrar", "198.51.100.1:5060").and_then(|i| address(&i));
    let domain = table.required("domain", "carrier.example").and_then(|i| domain(&i));
    let expires = seconds(&table, "expires_s", EXPIRES_DEFAULT_S, 10..=604_800);
    let session_expires_s = match table.optional("session_expires_s") {
        Some(i) => i.int(MIN_SE_S..=SESSION_EXPIRES_MAX_S),
        None => Some(SESSION_EXPIRES_S),
    };
    let rport = flag(&table, "rport", true);
    let lines = table.required("lines", "[{ number: \"0388881001\" }]").and_then(|i| lines(&i));
    table.finish();
    Some(Sip {
        interface: interface?,
        port: port?,
        registrar: registrar?,
        domain: domain?,
        expires: expires?,
        session_expires_s: session_expires_s?,
        rport: rport?,
        lines: lines?,
    })
}

/// `ADDRESS[:PORT]`
fn address(item: &Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let parsed =
        text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, PORT_DEFAULT)));
    match parsed {
        None => item.bad_value(
            text,
            "an address",
            "write ADDRESS:PORT, as in 198.51.100.1:5060; names are not resolved, so write the server's address",
        ),
        Some(a) if a.port() == 0 => item.bad_value(text, "a reachable address", "a port is 1 to 65535"),
        Some(a) if !is_host(a.ip()) => {
            item.bad_value(text, "the address of a server", "write the registrar's own address");
        }
        Some(a) => return Some(a),
    }
    None
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

fn lines(item: &Item<'_>) -> Option<Vec<Line>> {
    let mut out = Vec::new();
    let mut seen: HashMap<TelNumber, String> = HashMap::new();
    let items = item.list()?;
    if items.is_empty() {
        let problem = Problem::error("sip::no-line", &item.path, "no line is configured");
        item.report(problem.cure("a gateway needs at least one number: `- number: \"0388881001\"`"));
        return None;
    }
    let wanted = items.len();
    for line in items {
        let Some(table) = line.table() else { continue };
        let number_item = table.required("number", "\"0388881001\"");
        let number = number_item.as_ref().and_then(number);
        let auth = match table.optional("auth") {
            Some(a) => a.table().and_then(|t| auth(&t)).map(Some),
            None => Some(None),
        };
        table.finish();
        let (Some(number), Some(at)) = (number, number_item) else { continue };
        if let Some(first) = seen.insert(number, at.path.to_string()) {
            let problem =
                Problem::error("sip::duplicate-line", &at.path, format!("line {number} stands here twice"));
            at.report(problem.label(format!("already {first}")).cure("remove one of the two lines"));
            continue;
        }
        if let Some(auth) = auth {
            out.push(Line { number, auth });
        }
    }
    (out.len() == wanted).then_some(out)
}

fn username(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    if text.is_empty() || text.chars().any(char::is_control) {
        item.bad_value(
            &text.escape_debug().to_string(),
            "a user name",
            "write the one that the carrier gave",
        );
        return None;
    }
    Some(text.to_owned())
}

fn auth(table: &Table<'_>) -> Option<LineAuth> {
    let username = table.required("username", "\"…\"").and_then(|i| username(&i));
    let password = secret(table, ["password", "password_file", "password_env"]);
    table.finish();
    Some(LineAuth { username: username?, password: password? })
}
