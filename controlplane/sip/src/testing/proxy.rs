//! A carrier's proxy and registrar: without transactions of its own, record-routing, asserting who calls. It also keeps
//! the books: which dialogs were answered, and which of them were hung up.

use crate::digest::{Challenge, DigestSession, Request};
use crate::message::{Message, NameAddr, Start, Via, Writer, host_addr, user_of};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Call-ID and both tags, in order.
type DialogKey = (String, BTreeSet<String>);

#[derive(Default)]
pub struct Proxy {
    bindings: BTreeMap<String, SocketAddr>,
    /// Challenge INVITE and BYE too.
    pub authenticate: bool,
    /// Do not assert who calls; hide it.
    pub anonymous: bool,
    /// Statuses for the next requests of a method, instead of forwarding them, with more header fields.
    pub refuse: BTreeMap<&'static str, (u16, &'static str)>,
    /// The same for one request of a method.
    pub refuse_once: BTreeMap<&'static str, (u16, &'static str)>,
    /// Calls are taken from callers that are registered alone.
    pub registered_callers_only: bool,
    /// A header field that it takes out of everything.
    pub strip: Option<&'static str>,
    /// A header field that it puts into responses.
    pub add: Option<&'static str>,
    pub answered: BTreeSet<DialogKey>,
    pub hung_up: BTreeSet<DialogKey>,
}

fn key(m: &Message) -> DialogKey {
    let tags = [m.from_tag(), m.to_tag()].into_iter().flatten().map(str::to_owned).collect();
    (m.call_id().to_owned(), tags)
}

impl Proxy {
    /// It starts anew and knows of no binding.
    pub fn restart(&mut self) {
        self.bindings.clear();
    }

    /// Dialogs that are charged for ever.
    pub fn forgotten(&self) -> Vec<&DialogKey> {
        self.answered.difference(&self.hung_up).collect()
    }

    pub fn receive(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let m = match Message::parse(bytes) {
            Ok(m) => m,
            // A refusal repeats what could not be read.
            Err(_) if bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5") => {
                return Vec::new();
            }
            Err(e) => panic!("a user agent sends what can be read: {e:?}"),
        };
        match &m.start {
            Start::Response { status, .. } => self.response(&m, *status),
            Start::Request { method, .. } => {
                let method = method.clone();
                self.request(from, &m, &method)
            }
        }
        .into_iter()
        .collect()
    }

    fn response(&mut self, m: &Message, status: u16) -> Option<(SocketAddr, Vec<u8>)> {
        if (200..300).contains(&status) && m.cseq().is_some_and(|(_, method)| method == "INVITE") {
            self.answered.insert(key(m));
        }
        let mut vias = m.all("Via").skip(1);
        let dest = host_addr(Via::parse(vias.next()?)?.sent_by)?;
        let add: Vec<_> = self.add.and_then(|a| a.split_once(':')).into_iter().collect();
        let more: Vec<_> = add.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect();
        Some((dest, self.copy(m, Writer::response(status), &more, 1)))
    }

    fn request(&mut self, from: SocketAddr, m: &Message, method: &str) -> Option<(SocketAddr, Vec<u8>)> {
        if method == "BYE" {
            self.hung_up.insert(key(m));
        }
        let once = self.refuse_once.remove(method);
        if let Some((status, more)) = once.or_else(|| self.refuse.get(method).copied()) {
            return Some((from, self.answer(m, status, more)));
        }
        let wants_credentials =
            method == "REGISTER" || self.authenticate && matches!(method, "INVITE" | "BYE");
        if wants_credentials && !self.knows(m, method) {
            return Some((from, self.challenge(m, method)));
        }
        if method == "REGISTER" {
            let contact = m.contact_uri()?;
            let expires = m.header("Expires").unwrap_or_default();
            if expires == "0" {
                self.bindings.remove(&user_of(contact)?);
            } else {
                self.bindings.insert(user_of(contact)?, host_addr(contact)?);
            }
            return Some((from, self.answer(m, 200, &format!("Contact: <{contact}>;expires={expires}"))));
        }
        let caller = || user_of(NameAddr::parse(m.header("From")?)?.uri);
        if self.registered_callers_only
            && method == "INVITE"
            && caller().is_none_or(|c| !self.bindings.contains_key(&c))
        {
            let warning = "Warning: 399 carrier.example \"Not registered here\"";
            return Some((from, self.answer(m, 403, warning)));
        }
        let routed =
            m.header("Route").and_then(NameAddr::parse).is_some_and(|r| r.uri.contains("198.51.100.10"));
        let (uri, dest) = if routed {
            (m.uri().to_owned(), host_addr(m.uri())?)
        } else {
            let number = user_of(m.uri())?;
            match self.bindings.get(&number) {
                Some(dest) => (format!("sip:{number}@{dest}"), *dest),
                None if method == "ACK" => return None,
                None => return Some((from, self.answer(m, 480, "X: unregistered"))),
            }
        };
        let branch = m.via()?.branch()?;
        let mut more = vec![("Via", format!("SIP/2.0/UDP 198.51.100.10:5060;branch={branch}.p"))];
        if method == "INVITE" && m.to_tag().is_none() {
            more.push(("Record-Route", "<sip:198.51.100.10;lr>".into()));
            if self.anonymous {
                more.push(("Privacy", "id".into()));
            } else {
                let number = NameAddr::parse(m.header("From")?).and_then(|f| user_of(f.uri))?;
                more.push(("P-Asserted-Identity", format!("<sip:{number}@carrier.example>")));
            }
        }
        let start = Writer::request(method, &uri);
        Some((dest, self.copy(m, start, &more, 0)))
    }

    /// The message with header fields before its own, without its first Vias.
    fn copy(&self, m: &Message, mut w: Writer, more: &[(&str, String)], skip_vias: usize) -> Vec<u8> {
        for (name, value) in more {
            w.header(name, value);
        }
        for via in m.all("Via").skip(skip_vias) {
            w.header("Via", via);
        }
        let drop =
            ["Via", "Route", "Content-Length", "Content-Type", "P-Preferred-Identity", "Proxy-Authorization"];
        for (name, value) in m.fields().filter(|(n, _)| !drop.contains(n) && self.strip != Some(*n)) {
            w.header(name, value);
        }
        let body = String::from_utf8(m.body.clone()).expect("text");
        w.finish((!body.is_empty()).then_some(body.as_str()))
    }

    fn answer(&self, m: &Message, status: u16, more: &str) -> Vec<u8> {
        let mut w = Writer::response(status);
        w.headers("Via", m.all("Via"));
        w.header("From", m.header("From").unwrap_or_default());
        let tag = if m.to_tag().is_some() { "" } else { ";tag=proxy" };
        w.header("To", format_args!("{}{tag}", m.header("To").unwrap_or_default()));
        w.header("Call-ID", m.call_id());
        w.header("CSeq", m.header("CSeq").unwrap_or_default());
        for line in more.lines() {
            if let Some((name, value)) = line.split_once(": ") {
                w.header(name, value);
            }
        }
        w.finish(None)
    }

    const CHALLENGE: &str =
        "Digest realm=\"carrier.example\", nonce=\"abc\", algorithm=SHA-256, qop=\"auth\"";

    fn challenge(&self, m: &Message, method: &str) -> Vec<u8> {
        let (status, name) =
            if method == "REGISTER" { (401, "WWW-Authenticate") } else { (407, "Proxy-Authenticate") };
        self.answer(m, status, &format!("{name}: {}", Self::CHALLENGE))
    }

    /// Recomputes the response from the password.
    fn knows(&self, m: &Message, method: &str) -> bool {
        let name = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        let Some(value) = m.header(name) else { return false };
        let get = |name: &str| {
            let at = value.find(&format!("{name}=")).expect("every part is there") + name.len() + 1;
            value[at..].split([',', ' ']).next().unwrap_or_default().trim_matches('"').to_owned()
        };
        let number = NameAddr::parse(m.header("From").unwrap_or_default()).and_then(|f| user_of(f.uri));
        let who = crate::digest::Credentials {
            username: number.unwrap_or_default(),
            password: sipsec_net::SecretBytes::new(super::PASSWORD).expect("short"),
        };
        let challenge = Challenge::choose([Self::CHALLENGE].into_iter()).remove(0);
        let count = u32::from_str_radix(&get("nc"), 16).expect("hex");
        let expected = DigestSession::new(challenge).expected(
            &who,
            Request { method, uri: &get("uri"), body: &m.body },
            &get("cnonce"),
            count,
        );
        assert_eq!(get("uri"), m.uri(), "the credentials are for this request");
        expected == get("response")
    }
}
