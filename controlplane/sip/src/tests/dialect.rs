//! What a carrier's dialect changes on the wire, and which fields it believes.

use crate::dialect::{CalledSource, CallerSource, ContactUser, Dialect, Identity};
use crate::sdp::SessionDescription;
use crate::testing::*;
use crate::{Config, Event, Flow, Locals, Output, UserAgent};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, Kbps};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().take_while(|l| !l.is_empty()).find_map(|l| l.strip_prefix(&format!("{name}: ")))
}

/// A gateway of its own, with every message that it sends.
struct Gateway {
    ua: UserAgent,
    now: Instant,
    sent: Vec<String>,
    heard: Vec<String>,
}

impl Gateway {
    fn new(dialect: Dialect, session_expires_s: u32) -> Self {
        let config = Config { dialect, session_expires_s, ..config(A) };
        let ua = UserAgent::new(config, Box::new(TestEntropy::new(9)));
        let mut new =
            Self { ua, now: Instant::from_nanos(1_000_000_000), sent: Vec::new(), heard: Vec::new() };
        new.ua.set_locals(new.now, Locals::of(Some(addr(A))));
        new.drain();
        new
    }

    fn drain(&mut self) {
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => self.sent.push(String::from_utf8(bytes).expect("text")),
                Output::Persist { call, record: Some(_), .. } => self.ua.persisted(self.now, call),
                Output::Event(Event::Incoming { call, line, caller, offer }) => {
                    let bandwidth = offer.and_then(|offer| offer.ike.bandwidth);
                    self.heard.push(format!("{line} {caller:?} {bandwidth:?}"));
                    self.ua.reject(self.now, call, 486);
                }
                _ => {}
            }
        }
    }

    fn invite(&mut self) -> String {
        let call = self.ua.dial(self.now, number(A), number(B), &sdp(A)).expect("may dial");
        self.drain();
        self.ua.hang_up(self.now, call);
        self.drain();
        self.sent.iter().find(|m| m.starts_with("INVITE")).expect("an INVITE").clone()
    }

    /// The line, the caller and the bandwidth of an INVITE with this Request-URI user and these fields; or the refusal.
    fn called(&mut self, user: &str, more: &str, from: &str, sdp: &SessionDescription) -> String {
        let body = sdp.to_string();
        let id = self.sent.len();
        let text = format!(
            "INVITE sip:{user}@198.51.100.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{id}\r\n\
             Max-Forwards: 9\r\nFrom: {from};tag=f\r\nTo: <sip:{}@carrier.example>\r\nCall-ID: c{id}\r\n\
             CSeq: 7 INVITE\r\nContact: <sip:b@192.0.2.7>\r\n{more}Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            number(A),
            body.len(),
        );
        self.heard.clear();
        self.ua.handle_message(self.now, &Flow::udp(addr(A), proxy_addr()), text.as_bytes());
        self.drain();
        self.heard
            .pop()
            .unwrap_or_else(|| self.sent.last().expect("an answer").lines().next().unwrap_or_default().into())
    }
}

const CALLER: &str = "<sip:0388882001@carrier.example>";

#[test]
fn the_default_says_what_it_always_said() {
    let mut g = Gateway::new(Dialect::default(), 300);
    let register = g.sent[0].clone();
    assert_eq!(field(&register, "Contact"), Some("<sip:0388881001@198.51.100.11:5060>"));
    assert_eq!(field(&register, "Supported"), Some("path"));
    let invite = g.invite();
    assert_eq!(field(&invite, "P-Preferred-Identity"), Some("<sip:0388881001@carrier.example>"));
    assert_eq!(field(&invite, "Supported"), Some("100rel, timer"));
    assert_eq!(field(&invite, "Session-Expires"), Some("300"));
}

#[test]
fn header_fields_are_those_of_the_dialect_and_the_identity_is_never_asserted() {
    let mut users = Vec::new();
    for (contact_user, expected) in [
        (ContactUser::Random, None),
        (ContactUser::Token("gw-1".into()), Some("<sip:gw-1@198.51.100.11:5060>")),
        (ContactUser::Absent, Some("<sip:198.51.100.11:5060>")),
    ] {
        let dialect = Dialect {
            contact_user,
            allow: "INVITE, CANCEL, ACK, BYE, UPDATE, PRACK".into(),
            register_supported: String::new(),
            invite_supported: String::new(),
            identity: Identity::From,
            ..Dialect::default()
        };
        let mut g = Gateway::new(dialect, 0);
        let (register, invite) = (g.sent[0].clone(), g.invite());
        let contact = field(&register, "Contact").expect("a contact").to_owned();
        assert_eq!(field(&invite, "Contact"), Some(contact.as_str()), "one binding, one target");
        match expected {
            Some(expected) => assert_eq!(contact, expected),
            None => users.push(contact),
        }
        for message in [&register, &invite] {
            assert_eq!(field(message, "Allow"), Some("INVITE, CANCEL, ACK, BYE, UPDATE, PRACK"));
            assert_eq!(field(message, "Supported"), None);
        }
        assert_eq!(field(&invite, "Session-Expires").or(field(&invite, "Min-SE")), None);
        assert!(field(&invite, "From").is_some_and(|f| f.starts_with("<sip:0388881001@carrier.example>")));
        assert!(!invite.contains("Identity"), "{invite}");
    }
    let user = users[0].strip_prefix("<sip:").and_then(|u| u.split('@').next()).expect("a user");
    assert!(user.len() == 12 && user.chars().all(|c| c.is_ascii_hexdigit()), "{user}");
    let mut g = Gateway::new(Dialect { identity: Identity::Withheld, ..Dialect::default() }, 300);
    let invite = g.invite();
    assert!(field(&invite, "From").is_some_and(|f| f.contains("anonymous@anonymous.invalid")));
    assert!(!invite.contains("Identity"), "{invite}");
}

/// RFC 3261 §10.2.4: the binding with our own user part is ours, for each kind of user part.
#[test]
fn a_binding_of_a_random_contact_is_found_among_others() {
    let mut g = Gateway::new(Dialect { contact_user: ContactUser::Random, ..Dialect::default() }, 300);
    let register = g.sent[0].clone();
    let contact = field(&register, "Contact").expect("a contact");
    let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|n| format!("{n}: {}\r\n", field(&register, n).expect("there")))
        .concat();
    let ok = format!(
        "SIP/2.0 200 OK\r\n{copied}Contact: <sip:old@198.51.100.11:5060>;expires=7, {contact};expires=60\r\nContent-Length: 0\r\n\r\n"
    );
    g.ua.handle_message(g.now, &Flow::udp(addr(A), proxy_addr()), ok.as_bytes());
    let view = g.ua.registrations().next().expect("a line");
    assert_eq!(view.expires_at, Some(g.now + 60 * S));
}

#[test]
fn the_caller_is_read_where_the_dialect_says_and_nowhere_else() {
    let (pai, ppi) =
        ("P-Asserted-Identity: <tel:0388883001>\r\n", "P-Preferred-Identity: <sip:0388884001@x>\r\n");
    let both = format!("{pai}{ppi}");
    use CallerSource::{Asserted, From, Preferred};
    for (sources, more, from, expected) in [
        (vec![Asserted], both.as_str(), CALLER, "Asserted(TelNumber(0388883001))"),
        (vec![Asserted], ppi, CALLER, "Unidentified"),
        (vec![Asserted, Preferred, From], ppi, CALLER, "Asserted(TelNumber(0388884001))"),
        (vec![Asserted, From], ppi, CALLER, "Asserted(TelNumber(0388882001))"),
        (vec![From], pai, CALLER, "Asserted(TelNumber(0388882001))"),
        (vec![Asserted, From], "Privacy: id\r\n", CALLER, "Anonymous"),
        (vec![From], "Privacy:\r\nPrivacy: none;\r\n", CALLER, "Asserted(TelNumber(0388882001))"),
        (vec![From], "", "<sip:anonymous@anonymous.invalid>", "Anonymous"),
        (vec![From], "", "<sip:gateway@carrier.example>", "Unidentified"),
        // Two different asserted numbers name no caller, and From does not stand in for them.
        (
            vec![Asserted, From],
            "P-Asserted-Identity: <sip:0388883001@x>, <sip:0388883002@x>\r\n",
            CALLER,
            "Unidentified",
        ),
    ] {
        let mut g = Gateway::new(Dialect { caller_from: sources, ..Dialect::default() }, 300);
        let heard = g.called("0388881001", more, from, &sdp(B));
        assert!(heard.contains(expected), "{more}{from}: {heard}, not {expected}");
    }
}

#[test]
fn the_called_line_is_read_where_the_dialect_says() {
    use CalledSource::{CalledParty, RequestUri, To};
    let other = "P-Called-Party-ID: <sip:0399990000@x>\r\n";
    let ours = "P-Called-Party-ID: <sip:0388881001@x>\r\n";
    for (sources, user, more, found) in [
        (vec![CalledParty, RequestUri, To], "nobody", ours, true),
        (vec![CalledParty], "0388881001", "", false),
        (vec![CalledParty], "0388881001", other, false),
        (vec![RequestUri], "nobody", ours, false),
        (vec![RequestUri], "gw-1", "", true),
        (vec![To], "nobody", other, true),
    ] {
        let dialect = Dialect {
            called_from: sources.clone(),
            contact_user: ContactUser::Token("gw-1".into()),
            ..Dialect::default()
        };
        let heard = Gateway::new(dialect, 300).called(user, more, CALLER, &sdp(B));
        assert_eq!(heard.starts_with("0388881001"), found, "{sources:?} {user} {more}: {heard}");
        assert!(found || heard.starts_with("SIP/2.0 404"), "{heard}");
    }
}

#[test]
fn an_absent_bandwidth_is_assumed_only_where_the_carrier_lets_it_be_absent() {
    let mut bare = sdp(B);
    bare.ike.bandwidth = None;
    for (assumed, expected) in [(None, "None"), (Some(Kbps(64)), "Some(Kbps(64))")] {
        let mut g = Gateway::new(Dialect { assumed_bandwidth: assumed, ..Dialect::default() }, 300);
        let heard = g.called("0388881001", "", CALLER, &bare);
        assert!(heard.ends_with(expected), "{heard}");
        let heard = g.called("0388881001", "", CALLER, &sdp(B));
        assert!(heard.ends_with(&format!("{:?}", sdp(B).ike.bandwidth)), "what is said counts: {heard}");
    }
}
