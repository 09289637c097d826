//! `show vpn-sip registration-status` and `show vpn-sip sip registrar`

use super::counted;
use crate::api::model::Registration;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

#[must_use]
pub fn registration_status(list: &[Registration]) -> String {
    let mut out = String::new();
    for r in list {
        let state = match (r.registered, &r.contact, &r.reason) {
            (true, Some(contact), _) => format!("registered {}", contact.ip()),
            (_, _, Some(reason)) => format!("not registered: {reason}"),
            (_, _, None) => "not registered".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "SIP registration of local number {} : {state}", r.number);
    }
    out
}

/// As the original has it, with the whole Call-ID; on a narrow terminal that is on a line of its own.
#[must_use]
pub fn registrar(list: &[Registration], width: usize) -> String {
    let rows: Vec<[String; 6]> = list
        .iter()
        .map(|r| {
            [
                r.number.clone(),
                r.domain.clone(),
                r.expires_s.map_or("--".to_owned(), |s| s.to_string()),
                r.contact.map_or("--".to_owned(), |c| c.ip().to_string()),
                r.transport.clone(),
                r.call_id.clone(),
            ]
        })
        .collect();
    let heads = ["Line", "destination", "expires(sec)", "contact", "transport", "call-id"].map(str::to_owned);
    let mut widths = [14, 22, 14, 18, 11, 36];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 2);
        }
    }
    let wide = widths.iter().sum::<usize>();
    let columns = if wide > width { 5 } else { 6 };
    let line = |cells: &[String; 6]| {
        let padded: String =
            cells.iter().zip(widths).take(columns).map(|(c, w)| format!("{c:<w$}")).collect();
        let rest: String = cells.iter().skip(columns).map(|c| format!("\n    {c}")).collect();
        padded.trim_end().to_owned() + &rest + "\n"
    };
    let mut out = line(&heads);
    out.push_str(&"=".repeat(wide.min(width).min(120)));
    out.push('\n');
    for row in &rows {
        out.push_str(&line(row));
    }
    out + &servers(list)
}

/// The servers in use, each with the number of its lines, and how often one had to stand in for another.
fn servers(list: &[Registration]) -> String {
    let mut lines = BTreeMap::<(&str, SocketAddr), usize>::new();
    for (carrier, server) in list.iter().filter_map(|r| Some((r.carrier.as_str(), r.server?))) {
        *lines.entry((carrier, server)).or_default() += 1;
    }
    let carriers: BTreeMap<&str, u64> = list.iter().map(|r| (r.carrier.as_str(), r.failed_over)).collect();
    let mut out = String::new();
    for ((carrier, server), n) in lines {
        let of = if carriers.len() > 1 { format!(", carrier {carrier}") } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} at {server}{of}", counted(n as u64, "line"));
    }
    match carriers.values().sum() {
        0 => out,
        n => out + &format!("{} went to another server, because one had failed\n", counted(n, "request")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, words};
    use super::*;

    fn registered() -> Registration {
        Registration {
            number: "0388881001".into(),
            registered: true,
            contact: Some("10.6.6.50:5060".parse().expect("address")),
            domain: "example.com".into(),
            expires_s: Some(2359),
            transport: "UDP".into(),
            server: None,
            call_id: "3176F988-9EAA11E7-8002AFA0-8EF41435".into(),
            failed_over: 0,
            reason: None,
            carrier: "default".into(),
        }
    }

    #[test]
    fn the_servers_in_use_and_the_fail_overs_follow_the_table() {
        let at = |server: &str| Registration { server: server.parse().ok(), failed_over: 3, ..registered() };
        let list = [at("198.51.100.1:5060"), at("[2001:db8::1]:5060"), at("198.51.100.1:5060")];
        let text = registrar(&list, 80);
        let tail = "2 lines at 198.51.100.1:5060\n1 line at [2001:db8::1]:5060\n\
            3 requests went to another server, because one had failed\n";
        assert!(text.ends_with(tail), "{text}");
        assert!(!registrar(&[registered()], 80).contains("server"));
        let east = Registration { carrier: "east".into(), failed_over: 1, ..at("203.0.113.1:5060") };
        let text = registrar(&[at("198.51.100.1:5060"), east], 80);
        let tail = "1 line at 198.51.100.1:5060, carrier default\n1 line at 203.0.113.1:5060, carrier east\n\
            4 requests went to another server, because one had failed\n";
        assert!(text.ends_with(tail), "{text}");
    }

    #[test]
    fn the_sentence_is_the_seeds_and_ends_with_the_reason() {
        let seed = "SIP registration of local number 0388881001 : registered 10.6.6.50";
        assert_eq!(words(&registration_status(&[registered()])), words(seed));
        let not = Registration {
            registered: false,
            contact: None,
            reason: Some("wan0 has no IPv4 address".into()),
            ..registered()
        };
        assert_eq!(
            registration_status(&[not]),
            "SIP registration of local number 0388881001 : not registered: wan0 has no IPv4 address\n"
        );
    }

    #[test]
    fn the_table_has_the_seeds_columns_and_whole_call_ids() {
        let seed = "Line destination expires(sec) contact transport call-id\n\
            0388881001 example.com 2359 10.6.6.50 UDP 3176F988-9EAA11E7-8002AFA0-8EF41435";
        let narrow = registrar(&[registered()], 80);
        assert!(narrow.lines().all(|l| l.len() <= 80) && narrow.lines().count() == 5, "{narrow}");
        let text = registrar(&[registered()], usize::MAX);
        let shown: Vec<_> = words(&text).into_iter().filter(|l| !l.starts_with('=')).collect();
        assert_eq!(shown, words(seed));
        golden("registrar.txt", &text);
    }
}
