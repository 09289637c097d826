//! `show vpn-sip history` and `show vpn-sip call`

use super::clock;
use super::table::table;
use crate::api::model::{Call, CallMessages};
use crate::cli::screen::Wall;
use std::fmt::Write as _;

#[must_use]
pub fn history(list: &[Call], wall: &Wall) -> String {
    let Some(latest) = list.first() else { return "No call has ended.\n".to_owned() };
    let rows: Vec<_> = list.iter().map(|c| row(c, wall)).collect();
    let mut out =
        format!("Calls that have ended, the latest first (times are {})\n", wall.offset(latest.ended_us));
    out.push_str(&table(["Began", "Interface", "", "Lasted", "kB in/out", "End"], &rows));
    out
}

fn row(c: &Call, wall: &Wall) -> [String; 6] {
    let by = match c.ended_by.as_deref() {
        Some("peer") => " (peer)",
        _ => "",
    };
    let id = c.call_id.as_deref().map(|id| format!(" [{id}]")).unwrap_or_default();
    [
        wall.second(c.began_us),
        c.interface.clone(),
        if c.caller { "I" } else { "R" }.to_owned(),
        c.lasted_ms.map_or("-".to_owned(), |ms| clock(ms.div_ceil(1000))),
        format!("{}/{}", c.bytes_in / 1000, c.bytes_out / 1000),
        format!("{}{by}{id}", c.reason),
    ]
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
            ended_by: Some("peer".into()),
            reason: "the peer hung up".into(),
            bytes_in: 12_345,
            bytes_out: 678,
            ..Call::default()
        };
        let refused = Call {
            caller: false,
            lasted_ms: None,
            ended_by: None,
            call_id: None,
            reason: "call refused: 486 Busy Here".into(),
            ..call.clone()
        };
        golden("history.txt", &history(&[call, refused], &Wall::new(true)));
        assert_eq!(history(&[], &Wall::new(true)), "No call has ended.\n");
    }
}
