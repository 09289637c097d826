//! Which calls were answered, for how long, and what they cost.

use super::message::Message;
use super::tariff::{Charge, charge};
use serde_json::{Value, json};
use sipsec_net::Instant;
use std::time::Duration;

/// Call records kept; further calls are forwarded and counted, but not recorded.
pub const CALLS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Caller,
    Called,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// A BYE passed.
    Bye { by: Party, reason: Option<String> },
    /// The INVITE got a final response that is no answer.
    NotAnswered { status: u16 },
}

/// One INVITE that the carrier forwarded.
#[derive(Clone, Debug)]
pub struct CallRecord {
    pub call_id: String,
    pub from_tag: String,
    pub caller: String,
    pub called: String,
    /// b=AS of offer and answer; the smaller is what is charged.
    pub offered_kbps: Option<u32>,
    pub answered_kbps: Option<u32>,
    pub invited_at: Instant,
    pub answered_at: Option<Instant>,
    pub ended_at: Option<Instant>,
    pub end: Option<CallEnd>,
    /// The party and the CSeq of each BYE; one entry for each request, however often it was sent.
    pub byes: Vec<(Party, String)>,
}

impl CallRecord {
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.answered_at.is_some() && self.ended_at.is_none()
    }

    #[must_use]
    pub fn kbps(&self) -> u32 {
        match (self.offered_kbps, self.answered_kbps) {
            (Some(a), Some(b)) => a.min(b),
            // Without a bandwidth the carrier would not have set the call up; charged as the dearest.
            _ => u32::MAX,
        }
    }

    /// Paid time; up to `now` if the call is up. `None` if it was never answered.
    #[must_use]
    pub fn paid(&self, now: Instant) -> Option<Duration> {
        Some(self.ended_at.unwrap_or(now).saturating_duration_since(self.answered_at?))
    }

    #[must_use]
    pub fn charge(&self, now: Instant) -> Option<Charge> {
        Some(charge(self.kbps(), self.paid(now)?))
    }
}

#[derive(Debug, Default)]
pub struct Biller {
    calls: Vec<CallRecord>,
    pub unrecorded: u64,
}

impl Biller {
    #[must_use]
    pub fn calls(&self) -> &[CallRecord] {
        &self.calls
    }

    #[must_use]
    pub fn call(&self, call_id: &str) -> Option<&CallRecord> {
        self.calls.iter().rev().find(|c| c.call_id == call_id)
    }

    pub fn invited(&mut self, now: Instant, invite: &Message, from_tag: &str, caller: &str, called: &str) {
        let call_id = invite.header("Call-ID").unwrap_or_default();
        // A retry after 407 or a call that ended unanswered begins a new record; a retransmission does not come here.
        if self.calls.len() >= CALLS_MAX {
            self.unrecorded += 1;
            return;
        }
        self.calls.push(CallRecord {
            call_id: call_id.to_owned(),
            from_tag: from_tag.to_owned(),
            caller: caller.to_owned(),
            called: called.to_owned(),
            offered_kbps: bandwidth(&invite.body),
            answered_kbps: None,
            invited_at: now,
            answered_at: None,
            ended_at: None,
            end: None,
            byes: Vec::new(),
        });
    }

    pub fn final_response(&mut self, now: Instant, response: &Message) {
        let Some(call) = self.open_call(response.header("Call-ID").unwrap_or_default()) else { return };
        match response.status() {
            Some(200..=299) if call.answered_at.is_none() => {
                call.answered_at = Some(now);
                call.answered_kbps = bandwidth(&response.body);
            }
            Some(status @ 300..) if call.answered_at.is_none() => {
                call.ended_at = Some(now);
                call.end = Some(CallEnd::NotAnswered { status });
            }
            _ => {}
        }
    }

    pub fn bye(&mut self, now: Instant, bye: &Message, from_tag: &str) {
        let call_id = bye.header("Call-ID").unwrap_or_default();
        let Some(call) = self.calls.iter_mut().rev().find(|c| c.call_id == call_id) else { return };
        let by = if call.from_tag == from_tag { Party::Caller } else { Party::Called };
        let request = (by, bye.cseq_number().to_owned());
        if !call.byes.contains(&request) {
            call.byes.push(request);
        }
        if call.answered_at.is_some() && call.ended_at.is_none() {
            call.ended_at = Some(now);
            call.end = Some(CallEnd::Bye { by, reason: bye.header("Reason").map(str::to_owned) });
        }
    }

    fn open_call(&mut self, call_id: &str) -> Option<&mut CallRecord> {
        self.calls.iter_mut().rev().find(|c| c.call_id == call_id && c.ended_at.is_none())
    }

    /// The bill, for people.
    #[must_use]
    pub fn text(&self, now: Instant) -> String {
        let mut out = format!(
            "{:<12} {:<12} {:>6} {:>9} {:>6} {:>9}  {}\n",
            "caller", "called", "kbps", "seconds", "units", "yen", "end"
        );
        let mut total = 0;
        for call in &self.calls {
            let end = match &call.end {
                None if call.answered_at.is_some() => "STILL UP".to_owned(),
                None => "ringing".to_owned(),
                Some(CallEnd::Bye { by: Party::Caller, .. }) => "BYE by caller".to_owned(),
                Some(CallEnd::Bye { by: Party::Called, .. }) => "BYE by called".to_owned(),
                Some(CallEnd::NotAnswered { status }) => format!("not answered: {status}"),
            };
            let (seconds, units, yen) = match (call.paid(now), call.charge(now)) {
                (Some(paid), Some(charge)) => {
                    total += charge.deciyen;
                    (format!("{:.1}", paid.as_secs_f64()), charge.units.to_string(), yen(charge.deciyen))
                }
                _ => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            };
            let kbps = if call.kbps() == u32::MAX { "-".to_owned() } else { call.kbps().to_string() };
            out.push_str(&format!(
                "{:<12} {:<12} {kbps:>6} {seconds:>9} {units:>6} {yen:>9}  {end}\n",
                call.caller, call.called
            ));
        }
        out.push_str(&format!("{:<12} {:>45}\n", "total", yen(total)));
        out
    }

    /// The bill, for programs. Times are seconds of the monotonic clock.
    #[must_use]
    pub fn json(&self, now: Instant) -> Value {
        let seconds = |t: Instant| t.as_nanos() as f64 / 1e9;
        let calls: Vec<_> = self
            .calls
            .iter()
            .map(|c| {
                let charge = c.charge(now);
                json!({
                    "call_id": c.call_id,
                    "caller": c.caller,
                    "called": c.called,
                    "kbps": (c.kbps() != u32::MAX).then(|| c.kbps()),
                    "invited_at_s": seconds(c.invited_at),
                    "answered_at_s": c.answered_at.map(seconds),
                    "ended_at_s": c.ended_at.map(seconds),
                    "paid_s": c.paid(now).map(|d| d.as_secs_f64()),
                    "units": charge.map(|c| c.units),
                    "yen": charge.map(|c| c.deciyen as f64 / 10.0),
                    "still_up": c.is_up(),
                    "byes": c.byes.len(),
                    "ended_by": match &c.end {
                        Some(CallEnd::Bye { by: Party::Caller, .. }) => json!("caller"),
                        Some(CallEnd::Bye { by: Party::Called, .. }) => json!("called"),
                        Some(CallEnd::NotAnswered { status }) => json!(status),
                        None => Value::Null,
                    },
                    "reason": match &c.end {
                        Some(CallEnd::Bye { reason, .. }) => json!(reason),
                        _ => Value::Null,
                    },
                })
            })
            .collect();
        json!({ "calls": calls, "unrecorded": self.unrecorded })
    }
}

fn yen(deciyen: u64) -> String {
    format!("¥{}.{}", deciyen / 10, deciyen % 10)
}

/// RFC 8866 §5.8: the smallest b=AS wherever it stands.
pub(super) fn bandwidth(sdp: &[u8]) -> Option<u32> {
    std::str::from_utf8(sdp)
        .ok()?
        .lines()
        .filter_map(|l| l.trim_end().strip_prefix("b=AS:"))
        .filter_map(|v| v.parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanos(5_000_000_000);

    fn message(start: &str, body: &str) -> Message {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.as_bytes()).expect("parses")
    }

    #[test]
    fn a_call_is_paid_from_its_answer_to_its_bye() {
        let mut biller = Biller::default();
        let s = Duration::from_secs;
        let invite = message("INVITE sip:b@h SIP/2.0", "v=0\r\nm=x\r\nb=AS:1000\r\n");
        biller.invited(T0, &invite, "f", "1001", "2001");
        let answer = message("SIP/2.0 200 OK", "b=AS:64\r\n");
        biller.final_response(T0 + s(1), &answer);
        biller.final_response(T0 + s(2), &answer); // retransmitted 200
        assert!(biller.calls()[0].is_up());
        assert!(biller.text(T0 + s(40)).contains("STILL UP"));
        biller.bye(T0 + s(32), &message("BYE sip:b@h SIP/2.0", ""), "t");
        biller.bye(T0 + s(99), &message("BYE sip:b@h SIP/2.0", ""), "t");
        let call = &biller.calls()[0];
        assert_eq!(call.paid(T0 + s(999)), Some(s(31)));
        let charge = call.charge(T0).expect("answered");
        assert_eq!((call.kbps(), charge.units, charge.deciyen), (64, 2, 20));
        assert_eq!(call.end, Some(CallEnd::Bye { by: Party::Called, reason: None }));
        let json = biller.json(T0);
        assert_eq!(json["calls"][0]["yen"], 2.0);
        assert_eq!(json["calls"][0]["still_up"], false);
        // The same request twice is one BYE.
        assert_eq!(json["calls"][0]["byes"], 1);
    }

    #[test]
    fn an_unanswered_call_costs_nothing() {
        let mut biller = Biller::default();
        biller.invited(T0, &message("INVITE sip:b@h SIP/2.0", "b=AS:64\r\n"), "f", "1001", "2001");
        biller.final_response(T0, &message("SIP/2.0 486 Busy Here", ""));
        assert_eq!(biller.calls()[0].charge(T0), None);
        assert_eq!(biller.json(T0)["calls"][0]["ended_by"], 486);
    }
}
