//! `sip:`

use super::carrier;
use super::item::{Item, Table};
use super::secrets;
use super::text::{device, is_host, is_host_name, number};
use crate::diagnose::Problem;
use crate::model::limits::SIP_PORT;
use crate::model::secret::PASSWORD;
use crate::model::{Learnt, LineAuth, SipLine, SipSection};
use sipsec_net::TelNumber;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

pub fn read(item: &Item<'_>) -> Option<SipSection> {
    let table = item.table()?;
    let interface = table.required("interface").and_then(|i| device(&i, 0));
    let port = table.int("port");
    let registrar = table.required("registrar").and_then(|i| learnt(&i, address));
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
        registrar: registrar?,
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
    if item.text()?.trim() == Learnt::<T>::WORD {
        return Some(Learnt::Dhcp);
    }
    read(item).map(Learnt::Given)
}

/// `ADDRESS[:PORT]`
fn address(item: &Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let parsed = text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, SIP_PORT)));
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
