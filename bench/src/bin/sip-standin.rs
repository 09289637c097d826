//! Stands in for SIP where a peer has none: registrar, and the callee or caller of one number, whose media is an
//! address and port that some other program (strongSwan) answers. One JSON line per thing that happened on standard
//! output; commands on standard input: `call NUMBER`, `bye`, `quit`.
//!
//! It is not a carrier: no digest, no transactions beyond repeating a 200 until it is acknowledged, one call at a time.
#![forbid(unsafe_code)]

use clap::Parser;
use rsip::headers::UntypedHeader;
use rsip::message::HeadersExt;
use rsip::{Header, Method, Request, Response, SipMessage};
use serde_json::json;
use std::collections::HashMap;
use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A read of the socket waits this long, then commands and retransmissions are looked after.
const TICK: Duration = Duration::from_millis(50);
/// RFC 3261 §13.3.1.4: the 200 is repeated from T1 on; here at a fixed 500 ms, 64·T1 long.
const RETRANSMIT: Duration = Duration::from_millis(500);
const RETRANSMIT_MAX: u32 = 64;

#[derive(Parser)]
struct Args {
    /// Where SIP is answered.
    #[arg(long)]
    bind: SocketAddr,
    /// The number stood in for.
    #[arg(long)]
    number: String,
    /// Address and port of the IKE peer that our SDP names.
    #[arg(long)]
    media: SocketAddr,
    /// `b=AS:` of our SDP; 0 leaves it out.
    #[arg(long, default_value_t = 1000)]
    kbps: u32,
    /// Extra attribute lines of our SDP, e.g. `psk-fingerprint:sha-256 …`.
    #[arg(long)]
    attribute: Vec<String>,
    /// Gives up after this many seconds in any case.
    #[arg(long, default_value_t = 120)]
    seconds_max: u64,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let socket = UdpSocket::bind(args.bind)?;
    socket.set_read_timeout(Some(TICK))?;
    let (tx, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    StandIn { socket, args, contacts: HashMap::new(), call: None, serial: 0 }.run(&commands)
}

struct StandIn {
    socket: UdpSocket,
    args: Args,
    /// Registered number → where its requests go.
    contacts: HashMap<String, (SocketAddr, String)>,
    call: Option<Call>,
    serial: u32,
}

/// One call, from either side.
struct Call {
    call_id: String,
    peer: SocketAddr,
    peer_uri: String,
    /// Header values with our tag and with the peer's, as they stand in a request of ours.
    ours: String,
    theirs: String,
    cseq: u32,
    /// The message repeated until it is answered: our 200 or our INVITE.
    repeat: Option<(Vec<u8>, Instant, u32)>,
}

impl StandIn {
    fn run(mut self, commands: &Receiver<String>) -> std::io::Result<()> {
        let end = Instant::now() + Duration::from_secs(self.args.seconds_max);
        let mut buf = [0u8; 65536];
        say(&json!({"event": "ready", "bind": self.args.bind.to_string()}));
        while Instant::now() < end {
            match self.socket.recv_from(&mut buf) {
                Ok((len, from)) => match SipMessage::try_from(&buf[..len]) {
                    Ok(SipMessage::Request(request)) => self.request(from, &request)?,
                    Ok(SipMessage::Response(response)) => self.response(from, &response)?,
                    Err(e) => say(&json!({"event": "malformed", "error": e.to_string()})),
                },
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            while let Ok(line) = commands.try_recv() {
                match line.split_whitespace().collect::<Vec<_>>()[..] {
                    ["call", number] => self.place(number)?,
                    ["bye"] => self.bye()?,
                    ["quit"] => return Ok(()),
                    _ => say(&json!({"event": "error", "error": "commands are: call NUMBER, bye, quit"})),
                }
            }
            self.repeat()?;
        }
        Ok(())
    }

    fn request(&mut self, from: SocketAddr, request: &Request) -> std::io::Result<()> {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match request.method {
            Method::Register => {
                let contact = request.contact_header().map(|c| c.value().to_owned()).unwrap_or_default();
                let number = user_of(request.to_header().map(UntypedHeader::value).unwrap_or_default());
                say(&json!({"event": "registered", "number": number, "contact": contact}));
                let expires = "Expires: 3600\r\n";
                self.contacts.insert(number, (from, uri_of(&contact)));
                self.reply(
                    from,
                    request,
                    "200 OK",
                    &format!("Contact: {contact};expires=3600\r\n{expires}"),
                    "",
                )
            }
            Method::Invite => {
                say(&json!({"event": "invited", "sdp": body}));
                self.reply(from, request, "100 Trying", "", "")?;
                let sdp = self.sdp("passive");
                let contact = format!(
                    "Contact: <sip:{}@{}>\r\nContent-Type: application/sdp\r\n",
                    self.args.number, self.args.bind
                );
                let ok = self.response_bytes(request, "200 OK", &contact, &sdp);
                self.socket.send_to(&ok, from)?;
                let value = |h: Result<&str, rsip::Error>| h.unwrap_or_default().to_owned();
                self.call = Some(Call {
                    call_id: value(request.call_id_header().map(|h| h.value())),
                    peer: from,
                    peer_uri: uri_of(&value(request.contact_header().map(|h| h.value()))),
                    ours: self.tagged(&value(request.to_header().map(|h| h.value()))),
                    theirs: value(request.from_header().map(|h| h.value())),
                    cseq: 1,
                    repeat: Some((ok, Instant::now(), 0)),
                });
                Ok(())
            }
            Method::Ack => {
                say(&json!({"event": "acknowledged"}));
                if let Some(call) = &mut self.call {
                    call.repeat = None;
                }
                Ok(())
            }
            Method::Bye | Method::Cancel => {
                say(&json!({"event": "hung-up", "by": "gateway", "method": request.method.to_string()}));
                self.call = None;
                self.reply(from, request, "200 OK", "", "")
            }
            Method::Options => self.reply(from, request, "200 OK", "", ""),
            _ => self.reply(from, request, "501 Not Implemented", "", ""),
        }
    }

    fn response(&mut self, from: SocketAddr, response: &Response) -> std::io::Result<()> {
        let Some(call) = &mut self.call else { return Ok(()) };
        let code = response.status_code.code();
        let method = response.cseq_header().map(|h| h.value().to_owned()).unwrap_or_default();
        if !method.ends_with("INVITE") || code < 200 {
            return Ok(());
        }
        call.repeat = None;
        call.theirs = response.to_header().map(|h| h.value().to_owned()).unwrap_or_default();
        if let Ok(contact) = response.contact_header() {
            call.peer_uri = uri_of(contact.value());
        }
        let sdp = String::from_utf8_lossy(&response.body).into_owned();
        say(&json!({"event": if code < 300 { "answered" } else { "refused" }, "status": code, "sdp": sdp}));
        let ack = self.in_dialog("ACK", false);
        self.socket.send_to(&ack, from)?;
        if code >= 300 {
            self.call = None;
        }
        Ok(())
    }

    fn place(&mut self, number: &str) -> std::io::Result<()> {
        let Some((peer, uri)) = self.contacts.get(number).cloned() else {
            say(&json!({"event": "error", "error": format!("{number} has not registered")}));
            return Ok(());
        };
        self.serial += 1;
        let ours = format!("<sip:{}@{}>;tag=standin{}", self.args.number, self.args.bind.ip(), self.serial);
        let call_id = format!("standin-{}-{}@{}", std::process::id(), self.serial, self.args.bind.ip());
        self.call = Some(Call {
            call_id,
            peer,
            peer_uri: uri,
            ours,
            theirs: format!("<sip:{number}@{}>", self.args.bind.ip()),
            cseq: 1,
            repeat: None,
        });
        let invite = self.in_dialog("INVITE", true);
        self.socket.send_to(&invite, peer)?;
        if let Some(call) = &mut self.call {
            call.repeat = Some((invite, Instant::now(), 0));
        }
        say(&json!({"event": "calling", "number": number}));
        Ok(())
    }

    fn bye(&mut self) -> std::io::Result<()> {
        if let Some(call) = &mut self.call {
            call.cseq += 1;
            let peer = call.peer;
            let bye = self.in_dialog("BYE", false);
            self.socket.send_to(&bye, peer)?;
            self.call = None;
            say(&json!({"event": "hung-up", "by": "stand-in"}));
        }
        Ok(())
    }

    fn repeat(&mut self) -> std::io::Result<()> {
        if let Some(Call { repeat: Some((bytes, last, count)), peer, .. }) = &mut self.call
            && last.elapsed() >= RETRANSMIT
            && *count < RETRANSMIT_MAX
        {
            self.socket.send_to(bytes, *peer)?;
            *last = Instant::now();
            *count += 1;
        }
        Ok(())
    }

    /// A request of ours inside the call (or the INVITE that starts it).
    fn in_dialog(&self, method: &str, with_sdp: bool) -> Vec<u8> {
        let Some(call) = &self.call else { return Vec::new() };
        let (bind, number) = (self.args.bind, &self.args.number);
        let body = if with_sdp { self.sdp("active") } else { String::new() };
        let content = if with_sdp { "Content-Type: application/sdp\r\n" } else { "" };
        // RFC 3261 §13.2.2.4: the ACK of a 2xx is a transaction of its own, with the INVITE's CSeq number.
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {bind};branch=z9hG4bK{}{}{}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nContact: <sip:{number}@{bind}>\r\n\
             P-Asserted-Identity: <sip:{number}@{}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            call.peer_uri, self.serial, method, call.cseq, call.ours, call.theirs, call.call_id, call.cseq, bind.ip(),
            body.len(),
        )
        .into_bytes()
    }

    fn sdp(&self, role: &str) -> String {
        let (addr, port) = (self.args.media.ip(), self.args.media.port());
        let family = if addr.is_ipv4() { "IP4" } else { "IP6" };
        let bandwidth =
            if self.args.kbps == 0 { String::new() } else { format!("b=AS:{}\r\n", self.args.kbps) };
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN {family} {addr}\r\ns=-\r\nc=IN {family} {addr}\r\nt=0 0\r\n\
             m=application {port} udp ike-esp-udpencap\r\n{bandwidth}a=ike-setup:{role}\r\n"
        );
        for attribute in &self.args.attribute {
            sdp += &format!("a={attribute}\r\n");
        }
        sdp
    }

    fn tagged(&self, to: &str) -> String {
        if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag=standin") }
    }

    fn reply(
        &self,
        to: SocketAddr,
        request: &Request,
        status: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<()> {
        self.socket.send_to(&self.response_bytes(request, status, headers, body), to).map(|_| ())
    }

    fn response_bytes(&self, request: &Request, status: &str, headers: &str, body: &str) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for header in request.headers.iter() {
            match header {
                Header::Via(_)
                | Header::From(_)
                | Header::CallId(_)
                | Header::CSeq(_)
                | Header::RecordRoute(_) => {
                    out += &format!("{header}\r\n");
                }
                Header::To(to) if status.starts_with("100") => out += &format!("To: {}\r\n", to.value()),
                Header::To(to) => out += &format!("To: {}\r\n", self.tagged(to.value())),
                _ => {}
            }
        }
        out += &format!("{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        out.into_bytes()
    }
}

/// `sip:…` out of a name-addr or an addr-spec.
fn uri_of(value: &str) -> String {
    value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or_else(|| value.split(';').next().unwrap_or_default().to_owned(), |(uri, _)| uri.to_owned())
}

fn user_of(value: &str) -> String {
    let uri = uri_of(value);
    let rest = uri.split_once(':').map_or(uri.as_str(), |(_, r)| r);
    rest.split_once('@').map_or(rest, |(user, _)| user).to_owned()
}

fn say(line: &serde_json::Value) {
    println!("{line}");
}
