//! `show vpn-sip history` and `show vpn-sip call`

use super::table::table;
use super::{clock, counted};
use crate::api::model::{Call, CallMessages, Cost};
use crate::cli::screen::Wall;
use std::fmt::Write as _;

#[must_use]
pub fn history(list: &[Call], wall: &Wall) -> String {
    let Some(latest) = list.first() else { return "No call has ended.\n".to_owned() };
    let rows: Vec<_> = list.iter().map(|c| row(c, wall)).collect();
    let mut out =
        format!("Calls that have ended, the latest first (times are {})\n", wall.offset(latest.ended_us));
    let rows = table(["Began", "Interface", "", "Lasted", "kbps", "kB in/out", "Yen"], &rows);
    // Below each row the end of its call; two lines of heads come first.
    let calls = [None, None].into_iter().chain(list.iter().map(Some));
    for (row, call) in rows.split_inclusive('\n').zip(calls) {
        out.push_str(row);
        if let Some(call) = call {
            out.push_str(&end(call));
        }
    }
    out.push_str(&total(list));
    out
}

fn row(c: &Call, wall: &Wall) -> [String; 7] {
    // The end of the call is not known: it may have cost more.
    let least = if c.confirmed { "" } else { ">=" };
    [
        if c.began_us == 0 { "-".to_owned() } else { wall.second(c.began_us) },
        if c.interface.is_empty() { c.remote_number.clone() } else { c.interface.clone() },
        if c.caller { "I" } else { "R" }.to_owned(),
        c.lasted_ms.map_or("-".to_owned(), |ms| format!("{least}{}", clock(ms.div_ceil(1000)))),
        c.kbps.map_or("-".to_owned(), |kbps| kbps.to_string()),
        format!("{}/{}", c.bytes_in / 1000, c.bytes_out / 1000),
        c.cost.map_or("-".to_owned(), |cost| format!("{least}{}", cost.yen())),
    ]
}

/// Why it ended, and what to ask the carrier for.
fn end(c: &Call) -> String {
    let by = match c.ended_by.as_deref() {
        Some("peer") => " (peer)",
        _ => "",
    };
    let unconfirmed = if c.confirmed { "" } else { "; its end was never confirmed" };
    let mut out = format!("   End    : {}{by}{unconfirmed}\n", c.reason);
    if let Some(id) = &c.call_id {
        let _ = writeln!(out, "   Call-ID: {id}");
    }
    out
}

/// `3 calls, 2 of them answered; 4 units, 6.0 yen …`
fn total(list: &[Call]) -> String {
    let answered = list.iter().filter(|c| c.lasted_ms.is_some()).count();
    let mut out = format!("\n{}, {answered} of them answered", counted(list.len() as u64, "call"));
    let costs: Vec<_> = list.iter().filter_map(|c| c.cost).collect();
    if !costs.is_empty() {
        let sum = |of: fn(&Cost) -> u64| costs.iter().fold(0u64, |sum, c| sum.saturating_add(of(c)));
        let cost = Cost { yen_tenths: sum(|c| c.yen_tenths), ..Cost::default() };
        let units = counted(sum(|c| c.units), "unit");
        let _ = write!(out, "; {units}, {} yen (published tariff without tax)", cost.yen());
    }
    out.push('\n');
    out
}

/// The messages of a call with their text.
#[must_use]
pub fn messages(call: &CallMessages, wall: &Wall) -> String {
    let mut out = format!("Call-ID: {}\n", call.call_id);
    for message in &call.messages {
        let way = if message.sent { "sent" } else { "received" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n{} {way}", wall.time(message.time_us));
        for line in message.text.lines() {
            let _ = writeln!(out, "   {line}");
        }
    }
    left_out(&mut out, call);
    out
}

/// One arrow for each message.
#[must_use]
pub fn ladder(call: &CallMessages, wall: &Wall) -> String {
    const WIDTH: usize = 34;
    let mut out = format!("Call-ID: {}\n", call.call_id);
    let Some(first) = call.messages.first() else { return out };
    let _ = writeln!(out, "Begin:   {}\n", wall.time(first.time_us));
    let _ = writeln!(out, "{:>10}  sipsec{:>width$}", "s", "carrier", width = WIDTH);
    for message in &call.messages {
        let after_us = message.time_us.saturating_sub(first.time_us);
        let short: String = label(&message.first_line).chars().take(WIDTH - 4).collect();
        let line = "-".repeat((WIDTH - 3).saturating_sub(short.chars().count()));
        let arrow =
            if message.sent { format!("|-- {short} {line}>|") } else { format!("|<- {short} {line}-|") };
        let _ = writeln!(out, "{:>6}.{:03}     {arrow}", after_us / 1_000_000, after_us / 1000 % 1000);
    }
    left_out(&mut out, call);
    out
}

/// The method, or the status and reason.
fn label(first_line: &str) -> &str {
    match first_line.strip_prefix("SIP/2.0 ") {
        Some(status) => status,
        None => first_line.split(' ').next().unwrap_or_default(),
    }
}

fn left_out(out: &mut String, call: &CallMessages) {
    if call.left_out > 0 {
        let _ = writeln!(out, "\n{} later messages were not kept", call.left_out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use crate::api::model::CallMessage;

    #[test]
    fn a_ladder_has_an_arrow_for_each_message() {
        let message = |time_us, sent, first_line: &str| CallMessage {
            time_us,
            sent,
            first_line: first_line.into(),
            text: format!("{first_line}\nCSeq: 1\n"),
        };
        let call = CallMessages {
            call_id: "abc@host".into(),
            messages: vec![
                message(1_000_000, true, "INVITE sip:0388882001@carrier.example SIP/2.0"),
                message(1_012_345, false, "SIP/2.0 100 Trying"),
                message(1_250_000, false, "SIP/2.0 480 Temporarily Unavailable, and a reason that is long"),
                message(1_251_000, true, "ACK sip:0388882001@carrier.example SIP/2.0"),
            ],
            left_out: 2,
        };
        let wall = Wall::new(true);
        golden("ladder.txt", &ladder(&call, &wall));
        golden("call.txt", &messages(&call, &wall));
    }

    #[test]
    fn a_history_has_a_line_for_each_call() {
        let call = Call {
            interface: "Tunnel1".into(),
            remote_number: "0388882001".into(),
            call_id: Some("abc@host".into()),
            caller: true,
            began_us: 1_000_000,
            ended_us: 9_000_000,
            lasted_ms: Some(7950),
            confirmed: true,
            kbps: Some(512),
            cost: Some(Cost { units: 1, unit_s: 30, yen_tenths: 15 }),
            ended_by: Some("peer".into()),
            reason: "the peer hung up".into(),
            bytes_in: 12_345,
            bytes_out: 678,
            ..Call::default()
        };
        let refused = Call {
            caller: false,
            lasted_ms: None,
            kbps: None,
            cost: None,
            ended_by: None,
            call_id: None,
            reason: "call refused: 486 Busy Here".into(),
            ..call.clone()
        };
        let owed = Call { confirmed: false, ended_by: Some("us".into()), ..call.clone() };
        golden("history.txt", &history(&[call, refused, owed], &Wall::new(true)));
        assert_eq!(history(&[], &Wall::new(true)), "No call has ended.\n");
    }
}
