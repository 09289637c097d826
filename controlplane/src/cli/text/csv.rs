//! `show vpn-sip history --csv`: one line for each call (RFC 4180), for accounting and spreadsheets.

use crate::api::model::Call;
use crate::cli::screen::Wall;

const HEADS: [&str; 23] = [
    "began",
    "ended",
    "interface",
    "direction",
    "local_number",
    "remote_number",
    "call_id",
    "answered_after_ms",
    "up_after_ms",
    "lasted_ms",
    "end_confirmed",
    "ended_by",
    "code",
    "reason",
    "kbps",
    "packets_in",
    "packets_out",
    "bytes_in",
    "bytes_out",
    "units",
    "unit_s",
    "yen",
    "recovered",
];

#[must_use]
pub fn history_csv(list: &[Call], wall: &Wall) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Strings into memory: nothing that can fail.
    let _ = writer.write_record(HEADS);
    for call in list {
        let _ = writer.write_record(row(call, wall));
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn row(c: &Call, wall: &Wall) -> [String; 23] {
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let time = |us: u64| if us == 0 { String::new() } else { wall.rfc3339(us) };
    let word = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
    let cost = c.cost.as_ref();
    [
        time(c.began_us),
        time(c.ended_us),
        plain(&c.interface),
        if c.caller { "out" } else { "in" }.to_owned(),
        c.local_number.clone(),
        c.remote_number.clone(),
        word(&c.call_id),
        number(c.answered_after_ms),
        number(c.up_after_ms),
        number(c.lasted_ms),
        c.confirmed.to_string(),
        word(&c.ended_by),
        word(&c.code),
        plain(&c.reason),
        number(c.kbps.map(u64::from)),
        c.packets_in.to_string(),
        c.packets_out.to_string(),
        c.bytes_in.to_string(),
        c.bytes_out.to_string(),
        number(cost.map(|c| c.units)),
        number(cost.map(|c| c.unit_s)),
        cost.map(|c| c.yen()).unwrap_or_default(),
        c.recovered.to_string(),
    ]
}

/// A text of the peer must not become a formula of the spreadsheet that reads it.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::Cost;

    #[test]
    fn a_call_is_a_line_and_no_text_of_the_peer_breaks_it() {
        let call = Call {
            interface: "Tunnel1".into(),
            local_number: "0388881001".into(),
            remote_number: "0388882001".into(),
            call_id: Some("=cmd|' /C calc'!A0".into()),
            caller: true,
            began_us: 1_000_000,
            ended_us: 32_000_000,
            lasted_ms: Some(30_500),
            confirmed: true,
            ended_by: Some("peer".into()),
            reason: "the peer hung up: \"bye, bye\"\r\nInjected,line".into(),
            kbps: Some(512),
            bytes_in: 12_345,
            cost: Some(Cost { units: 2, unit_s: 30, yen_tenths: 30 }),
            ..Call::default()
        };
        let text = history_csv(&[call], &Wall::new(true));
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], HEADS.join(","));
        assert_eq!(
            lines[1],
            "1970-01-01T00:00:01+00:00,1970-01-01T00:00:32+00:00,Tunnel1,out,0388881001,0388882001,'=cmd|' /C calc'!A0,,,\
             30500,true,peer,,\"the peer hung up: \"\"bye, bye\"\"  Injected,line\",512,0,0,12345,0,2,30,3.0,false"
        );
    }
}
