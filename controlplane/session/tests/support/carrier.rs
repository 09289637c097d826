//! A registrar and proxy in a few lines, written against RFC 3261 and not against our user agent. It edits text.

use std::collections::BTreeMap;
use std::net::SocketAddr;

#[derive(Default)]
pub struct Carrier {
    contacts: BTreeMap<String, SocketAddr>,
    pub knobs: Knobs,
    /// Method or status line of everything that passed, with the side it came from.
    pub seen: Vec<String>,
    /// Call-IDs of answered calls that neither side has hung up.
    pub billed: BTreeMap<String, &'static str>,
    pub calls_answered: usize,
    /// Every SDP as it came.
    pub bodies: Vec<String>,
    /// Offers that were taken, by Call-ID.
    offers: BTreeMap<String, String>,
}

#[derive(Default, Clone)]
pub struct Knobs {
    /// Answers every INVITE.
    pub reject: Option<&'static str>,
    /// Answers every BYE, which ends nothing.
    pub refuse_bye: Option<&'static str>,
    /// Replaces text in every SDP that passes: (find, replace).
    pub rewrite: Vec<(&'static str, &'static str)>,
    /// Changes every SDP that passes.
    pub edit: Option<fn(&str) -> String>,
    /// Swallows what starts with one of these.
    pub swallow: Vec<&'static str>,
    pub no_identity: bool,
    /// Passes INVITEs on without their offer, as call control by a third party does (RFC 3725 §4.4): the called side's offer is
    /// the caller's answer, and the caller's offer the answer in the ACK, with this `a=ike-setup`.
    pub takes_offers: Option<&'static str>,
}

pub const CARRIER: &str = "198.51.100.1:5060";

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

fn user(value: &str) -> &str {
    value.split("sip:").nth(1).and_then(|r| r.split('@').next()).unwrap_or_default()
}

impl Carrier {
    /// One datagram in, datagrams out.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let text = String::from_utf8(bytes.to_vec()).expect("our messages are text");
        let first = text.lines().next().expect("a start line").to_owned();
        self.seen.push(first.split(' ').take(2).collect::<Vec<_>>().join(" "));
        if self.knobs.swallow.iter().any(|s| first.starts_with(s)) {
            return Vec::new();
        }
        if first.starts_with("SIP/2.0") { self.response(&text) } else { self.request(from, &text, &first) }
    }

    fn reply(text: &str, status: &str, more: &str) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for line in text.lines() {
            if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|n| line.starts_with(n)) {
                out += &format!("{line}\r\n");
            } else if line.starts_with("To:") {
                let tag = if line.contains(";tag=") { "" } else { ";tag=carrier" };
                out += &format!("{line}{tag}\r\n");
            }
        }
        (out + more + "Content-Length: 0\r\n\r\n").into_bytes()
    }

    fn request(&mut self, from: SocketAddr, text: &str, first: &str) -> Vec<(SocketAddr, Vec<u8>)> {
        let (method, rest) = first.split_once(' ').expect("a request line");
        let uri = rest.split(' ').next().expect("a URI");
        if method == "REGISTER" {
            let number = user(header(text, "To").expect("To")).to_owned();
            let expires = header(text, "Expires").unwrap_or("3600");
            self.contacts.insert(number, from);
            let contact = header(text, "Contact").expect("Contact");
            let more = format!("Contact: {contact};expires={expires}\r\n");
            return vec![(from, Self::reply(text, "200 OK", &more))];
        }
        if method == "INVITE"
            && let Some(status) = self.knobs.reject
        {
            return vec![(from, Self::reply(text, status, ""))];
        }
        if method == "BYE"
            && let Some(status) = self.knobs.refuse_bye
        {
            return vec![(from, Self::reply(text, status, ""))];
        }
        let call_id = header(text, "Call-ID").expect("Call-ID").to_owned();
        if method == "BYE" {
            self.billed.remove(&call_id);
        }
        // In a dialog the target is a contact address; before it (and in the ACK of a refusal), a number.
        let in_dialog = header(text, "To").is_some_and(|t| t.contains(";tag="));
        if in_dialog && !["ACK", "CANCEL"].contains(&method) {
            assert!(header(text, "Route").is_some(), "{method} without Route:\n{text}");
        }
        let target = uri.split('@').nth(1).and_then(|a| a.trim_end_matches('>').parse().ok());
        let to = target.or_else(|| self.contacts.get(user(uri)).copied());
        let Some(to) = to else {
            if method == "ACK" {
                return Vec::new();
            }
            return vec![(from, Self::reply(text, "404 Not Found", ""))];
        };
        let mut out = format!("{first}\r\nVia: SIP/2.0/UDP {CARRIER};branch={}p\r\n", branch(text));
        if method == "INVITE" {
            out += &format!("Record-Route: <sip:{CARRIER};lr>\r\n");
            if !self.knobs.no_identity {
                let caller = user(header(text, "From").expect("From"));
                out += &format!("P-Asserted-Identity: <sip:{caller}@carrier.example>\r\n");
            }
        }
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        for line in head.lines().skip(1) {
            let drop = line.starts_with("Route:")
                || line.starts_with("P-Preferred")
                || line.starts_with("Content-Length");
            if !drop {
                out += &format!("{line}\r\n");
            }
        }
        let mut body = body.to_owned();
        if let Some(setup) = self.knobs.takes_offers {
            match method {
                "INVITE" => drop(self.offers.insert(call_id, std::mem::take(&mut body))),
                "ACK" => {
                    let offer = self.offers.remove(&call_id).unwrap_or_default();
                    body = offer.replace("ike-setup:active", &format!("ike-setup:{setup}"));
                    out += "Content-Type: application/sdp\r\n";
                }
                _ => {}
            }
        }
        vec![(to, self.with_body(out, &body))]
    }

    fn with_body(&mut self, mut head: String, body: &str) -> Vec<u8> {
        let mut body = body.to_owned();
        for (find, replace) in &self.knobs.rewrite {
            body = body.replace(find, replace);
        }
        if !body.is_empty() {
            self.bodies.push(body.clone());
        }
        if let Some(edit) = self.knobs.edit {
            body = edit(&body);
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        head.into_bytes()
    }

    fn response(&mut self, text: &str) -> Vec<(SocketAddr, Vec<u8>)> {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().expect("a status line").to_owned();
        let mut out = format!("{status}\r\n");
        let (mut first_via, mut to) = (true, None);
        for line in lines {
            if line.starts_with("Via:") {
                if std::mem::take(&mut first_via) {
                    continue;
                }
                if to.is_none() {
                    to = line
                        .split("UDP ")
                        .nth(1)
                        .and_then(|v| v.split(';').next())
                        .and_then(|a| a.parse().ok());
                }
            }
            if !line.starts_with("Content-Length") {
                out += &format!("{line}\r\n");
            }
        }
        let invite = header(text, "CSeq").is_some_and(|c| c.ends_with("INVITE"));
        if status.starts_with("SIP/2.0 2") && invite {
            let call_id = header(text, "Call-ID").expect("Call-ID").to_owned();
            if self.billed.insert(call_id, "answered").is_none() {
                self.calls_answered += 1;
            }
        }
        // An offer that leaves the part open, made an answer to the caller's, which is active.
        let body = match self.knobs.takes_offers {
            Some(_) => body.replace("ike-setup:actpass", "ike-setup:passive"),
            None => body.to_owned(),
        };
        to.map(|to| (to, self.with_body(out, &body))).into_iter().collect()
    }
}

fn branch(text: &str) -> &str {
    text.split("branch=").nth(1).and_then(|b| b.split([';', '\r', '\n']).next()).unwrap_or_default()
}
