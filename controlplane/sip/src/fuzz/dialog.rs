//! One user agent, and a carrier that says what the input says: answers of any status to what was asked, calls, requests
//! inside them, all of it late, twice, or damaged.

use crate::digest::Credentials;
use crate::message::Message;
use crate::sdp::{IkeMedia, IkeSetup, SessionDescription};
use crate::{Call, CallId, Config, Event, Flow, Line, Locals, Output, Target, UserAgent};
use arbitrary::{Result, Unstructured};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, Kbps, SecretBytes, TelNumber};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

const PROXY: &str = "198.51.100.10:5060";
const LOCAL: &str = "198.51.100.11:5060";
const NUMBERS: [&str; 2] = ["0388881001", "0388882001"];
const STEPS_MAX: usize = 64;
const SENT_MAX: usize = 64;
const RECENT_MAX: usize = 16;
const STATUSES: [u16; 22] = [
    100, 180, 183, 199, 200, 202, 300, 302, 400, 401, 403, 404, 407, 408, 422, 423, 481, 486, 487, 491, 500,
    503,
];
const METHODS: [&str; 10] =
    ["INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "OPTIONS", "REGISTER", "INFO", "STRANGE"];
/// Turns in which a carrier that answers everything must have ended every call.
const CALM_MAX: usize = 4000;

struct Carrier {
    ua: UserAgent,
    now: Instant,
    /// Requests and responses of the user agent, as parsed, without repetitions.
    sent: VecDeque<Message>,
    /// What was sent last, to know a repetition by.
    recent: VecDeque<Vec<u8>>,
    calls: BTreeMap<CallId, Call>,
    to_persist: Vec<CallId>,
    serial: u32,
}

/// One execution.
pub fn dialog(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let mut carrier = Carrier::new();
    // An input that ends in the middle of a step is a shorter run.
    let _ = carrier.run(&mut u);
    carrier.finish();
}

fn proxy() -> SocketAddr {
    PROXY.parse().expect("an address")
}

fn number(i: usize) -> TelNumber {
    NUMBERS[i].parse().expect("a number")
}

pub(super) fn offer() -> SessionDescription {
    SessionDescription::new(
        7,
        IkeMedia {
            addr: "198.51.100.11:50001".parse().expect("an address"),
            bandwidth: Some(Kbps(512)),
            setup: Some(IkeSetup::Actpass),
            fingerprints: Vec::new(),
            psk_fingerprints: Vec::new(),
        },
    )
}

const ANSWER: &str = "v=0\r\no=- 9 9 IN IP4 198.51.100.12\r\ns=-\r\nc=IN IP4 198.51.100.12\r\nt=0 0\r\n\
    m=application 50001 udp ike-esp-udpencap\r\nb=AS:256\r\na=ike-setup:passive\r\n";

impl Carrier {
    fn new() -> Self {
        let password = SecretBytes::new(b"password").expect("short");
        let auth = Some(Credentials { username: NUMBERS[0].into(), password });
        let lines = vec![Line { number: number(0), auth }];
        let mut config = Config::new(Target::udp(proxy()), "carrier.example", lines);
        config.dialect.delayed_offers = true;
        let mut new = Self {
            ua: UserAgent::new(config, Box::new(TestEntropy::new(1))),
            now: Instant::ZERO + Duration::from_secs(1),
            sent: VecDeque::new(),
            recent: VecDeque::new(),
            calls: BTreeMap::new(),
            to_persist: Vec::new(),
            serial: 0,
        };
        new.ua.set_locals(new.now, Locals::of(LOCAL.parse().ok()));
        new.drain();
        new
    }

    fn drain(&mut self) {
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => {
                    // A message that comes again says nothing new.
                    if self.recent.contains(&bytes) {
                        continue;
                    }
                    // The answer to a broken request has no more header fields than the request.
                    let refuses = bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5");
                    let m = match Message::parse(&bytes) {
                        Ok(m) => m,
                        Err(_) if refuses => continue,
                        Err(e) => panic!("{e:?}: {}", String::from_utf8_lossy(&bytes)),
                    };
                    if self.sent.len() == SENT_MAX {
                        self.sent.pop_front();
                    }
                    self.sent.push_back(m);
                    if self.recent.len() == RECENT_MAX {
                        self.recent.pop_front();
                    }
                    self.recent.push_back(bytes);
                }
                Output::Open { .. } => {}
                Output::Persist { call, record, .. } => {
                    if record.is_some() {
                        self.to_persist.push(call);
                    }
                }
                Output::Event(event) => match event {
                    Event::Incoming { call, .. } => {
                        self.calls.insert(call.id(), call);
                    }
                    Event::Failed { call, .. }
                    | Event::PeerHungUp { call, .. }
                    | Event::Lost { call, .. }
                    | Event::Ended { call } => {
                        if let Some(call) = self.calls.remove(&call) {
                            call.ended();
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    fn deliver(&mut self, text: &[u8]) {
        self.ua.handle_message(self.now, &Flow::udp(LOCAL.parse().expect("an address"), proxy()), text);
        self.drain();
    }

    fn run(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..STEPS_MAX {
            if u.is_empty() {
                break;
            }
            self.step(u)?;
        }
        Ok(())
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=13)? {
            0..=2 => {
                let Some(text) = self.response(u)? else { return Ok(()) };
                self.say(u, text)?;
            }
            3 => {
                let text = self.invite(u)?;
                self.say(u, text)?;
            }
            4 | 5 => {
                let Some(text) = self.in_dialog(u)? else { return Ok(()) };
                self.say(u, text)?;
            }
            6 | 7 => {
                let next = self.ua.poll_timeout().filter(|_| u.ratio(3, 4).unwrap_or(true));
                let late = Duration::from_millis(u.int_in_range(0..=70_000)?);
                self.now = self.now.max(next.unwrap_or(self.now + late));
                self.ua.handle_timeout(self.now);
            }
            8 => {
                if let Ok(call) = self.ua.dial(self.now, number(0), number(1), &offer()) {
                    self.calls.insert(call.id(), call);
                }
            }
            9 => {
                if let Some(id) = self.to_persist.pop() {
                    self.ua.persisted(self.now, id);
                }
            }
            10 => {
                if let Some(call) = self.pick(u)?.and_then(|id| self.calls.get(&id)) {
                    self.ua.ring(call);
                    self.ua.accept(self.now, call, &offer());
                }
            }
            11 => {
                if let Some(call) = self.pick(u)?.and_then(|id| self.calls.remove(&id)) {
                    if u.arbitrary()? {
                        self.ua.reject(self.now, call, *u.choose(&STATUSES)?);
                    } else {
                        self.ua.hang_up(self.now, call);
                    }
                }
            }
            12 => {
                let addr = if u.arbitrary()? { LOCAL.parse().ok() } else { None };
                self.ua.set_locals(self.now, Locals::of(addr));
            }
            _ => {
                let len = u.int_in_range(0..=200)?;
                let bytes = u.bytes(len)?.to_vec();
                self.deliver(&bytes);
            }
        }
        self.drain();
        Ok(())
    }

    fn pick(&self, u: &mut Unstructured<'_>) -> Result<Option<CallId>> {
        if self.calls.is_empty() {
            return Ok(None);
        }
        let at = u.choose_index(self.calls.len())?;
        Ok(self.calls.keys().nth(at).copied())
    }

    /// Once or twice, whole or damaged.
    fn say(&mut self, u: &mut Unstructured<'_>, text: String) -> Result<()> {
        let mut bytes = text.into_bytes();
        if u.ratio(1, 4)? {
            for _ in 0..u.int_in_range(1..=3)? {
                let at = u.choose_index(bytes.len().max(1))?;
                match u.int_in_range(0..=2)? {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at.min(bytes.len()), u.arbitrary()?),
                    _ if at < bytes.len() => bytes[at] = u.arbitrary()?,
                    _ => {}
                }
            }
        }
        self.deliver(&bytes);
        if u.ratio(1, 8)? {
            self.deliver(&bytes);
        }
        Ok(())
    }

    /// An answer to one of the last requests.
    fn response(&mut self, u: &mut Unstructured<'_>) -> Result<Option<String>> {
        let asked: Vec<&Message> = self.sent.iter().filter(|m| m.method().is_some()).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let back = u.choose_index(asked.len())?;
        let request = asked[asked.len() - 1 - back];
        let status = *u.choose(&STATUSES)?;
        let tag = *u.choose(&["a", "b", ""])?;
        let mut more = String::new();
        if u.ratio(1, 4)? {
            more.push_str(u.choose(&[
                "Require: 100rel\r\nRSeq: 1\r\n",
                "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n",
                "Session-Expires: 300;refresher=uas\r\n",
                "Retry-After: 3\r\n",
                "Min-SE: 600\r\n",
                "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n",
                "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5\r\n",
                "Service-Route: <sip:198.51.100.10;lr>\r\nMin-Expires: 7200\r\n",
                "Record-Route: <sip:198.51.100.10;lr>\r\n",
            ])?);
        }
        let body = if u.ratio(3, 4)? && request.method() == Some("INVITE") { ANSWER } else { "" };
        Ok(Some(answer(request, status, tag, &more, body)))
    }

    fn invite(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        self.serial += 1;
        let serial = if u.ratio(1, 4)? { u.int_in_range(0..=self.serial)? } else { self.serial };
        let caller = *u.choose(&[NUMBERS[1], NUMBERS[0], "anonymous", "0312345678"])?;
        let body = if u.ratio(7, 8)? {
            ANSWER.replace("passive", u.choose(&["active", "actpass", "x"])?)
        } else {
            String::new()
        };
        let more = *u.choose(&[
            "",
            "Require: 100rel\r\n",
            "Supported: timer\r\nSession-Expires: 90\r\n",
            "Replaces: x;to-tag=a;from-tag=b\r\n",
            "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\nMin-SE: 90\r\n",
        ])?;
        Ok(request(
            "INVITE",
            &format!("in{serial}"),
            &format!("z9hG4bKi{serial}"),
            caller,
            "",
            1,
            more,
            &body,
        ))
    }

    /// A request inside a dialog that the user agent knows, of one of the last messages that it sent.
    fn in_dialog(&mut self, u: &mut Unstructured<'_>) -> Result<Option<String>> {
        if self.sent.is_empty() {
            return Ok(None);
        }
        self.serial += 1;
        let m = &self.sent[u.choose_index(self.sent.len())?];
        let method = *u.choose(&METHODS)?;
        // In a response our tag is To's, in a request From's.
        let ours = if m.status().is_some() { m.to_tag() } else { m.from_tag() }.unwrap_or_default();
        let branch = match (method, m.status()) {
            ("ACK" | "CANCEL", Some(_)) if u.ratio(3, 4)? => {
                m.via().and_then(|v| v.branch()).unwrap_or_default().to_owned()
            }
            _ => format!("z9hG4bKd{}", self.serial),
        };
        let cseq = if matches!(method, "ACK" | "CANCEL") { 1 } else { u.int_in_range(0..=9)? };
        let body = if u.ratio(1, 4)? { ANSWER } else { "" };
        let more = *u.choose(&["", "RAck: 1 1 INVITE\r\n", "Session-Expires: 90;refresher=uac\r\n"])?;
        Ok(Some(request(method, m.call_id(), &branch, NUMBERS[1], ours, cseq, more, body)))
    }

    /// All calls are hung up and the carrier answers everything: no charged call may be left.
    fn finish(&mut self) {
        self.ua.set_locals(self.now, Locals::of(LOCAL.parse().ok()));
        self.recent.clear();
        for (_, call) in std::mem::take(&mut self.calls) {
            self.ua.hang_up(self.now, call);
        }
        for _ in 0..CALM_MAX {
            self.drain();
            for (_, call) in std::mem::take(&mut self.calls) {
                self.ua.hang_up(self.now, call);
            }
            if let Some(id) = self.to_persist.pop() {
                self.ua.persisted(self.now, id);
            } else if let Some(m) = self.sent.pop_front() {
                let status = if m.method() == Some("INVITE") { 487 } else { 200 };
                if m.method().is_some_and(|method| method != "ACK") {
                    self.deliver(answer(&m, status, "a", "", "").as_bytes());
                }
            } else if self.ua.live_dialogs() == 0 {
                return;
            } else if let Some(at) = self.ua.poll_timeout() {
                self.now = self.now.max(at);
                self.ua.handle_timeout(self.now);
            } else {
                break;
            }
        }
        panic!("{} calls do not end", self.ua.live_dialogs());
    }
}

fn answer(request: &Message, status: u16, tag: &str, more: &str, body: &str) -> String {
    let mut out = format!("SIP/2.0 {status} Whatever\r\n");
    for via in request.all("Via") {
        let _ = write!(out, "Via: {via}\r\n");
    }
    let to = request.header("To").unwrap_or_default();
    let tagged =
        if tag.is_empty() || request.to_tag().is_some() { String::new() } else { format!(";tag={tag}") };
    let header = |name| request.header(name).unwrap_or_default();
    let _ = write!(
        out,
        "From: {}\r\nTo: {to}{tagged}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{}@198.51.100.12:5060>\r\n{more}",
        header("From"),
        request.call_id(),
        header("CSeq"),
        NUMBERS[1],
    );
    with_body(out, body)
}

#[expect(clippy::too_many_arguments, reason = "the fields of a template, in their order")]
fn request(
    method: &str,
    call_id: &str,
    branch: &str,
    caller: &str,
    to_tag: &str,
    cseq: u32,
    more: &str,
    body: &str,
) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let out = format!(
        "{method} sip:{}@{LOCAL} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch={branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:{caller}@carrier.example>;tag=a\r\nTo: <sip:{}@carrier.example>{to_tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{caller}@198.51.100.12:5060>\r\n\
         P-Asserted-Identity: <sip:{caller}@carrier.example>\r\n{more}",
        NUMBERS[0], NUMBERS[0],
    );
    with_body(out, body)
}

fn with_body(mut head: String, body: &str) -> String {
    if !body.is_empty() {
        head.push_str("Content-Type: application/sdp\r\n");
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n{body}", body.len());
    head
}
