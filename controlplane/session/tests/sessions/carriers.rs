//! Several carriers in one gateway: each has its own user agent, and what it says is about its own lines and calls alone.

use crate::support::{self, NUMBERS, Setup};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, TelNumber};
use sipsec_session::{
    CarrierConfig, CarrierId, Core, Input, Output, Reconfiguration, SessionConfig, WanAddresses,
};
use sipsec_sip::{Flow, RegistrationState, Target};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const WAN: &str = "198.51.100.11";
const EAST: &str = "203.0.113.1:5060";
const EAST_LINE: &str = "0388881011";
const FIRST: CarrierId = CarrierId(0);

struct Gateway {
    core: Core,
    now: Instant,
    /// What left, by carrier.
    sent: Vec<(CarrierId, SocketAddr, String)>,
    added: Vec<(CarrierId, String)>,
    removed: Vec<CarrierId>,
}

fn number(s: &str) -> TelNumber {
    s.parse().expect("a number")
}

fn east(base: &CarrierConfig) -> CarrierConfig {
    let mut east = base.clone();
    "east".clone_into(&mut east.name);
    "east.example".clone_into(&mut east.sip.domain);
    east.sip.registrars = vec![Target::udp(EAST.parse().expect("an address"))];
    east.sip.lines[0].number = number(EAST_LINE);
    east.port = 5062;
    east
}

fn config() -> SessionConfig {
    let mut config = support::config(0, &Setup::of(0));
    let east = east(&config.carriers[0]);
    config.carriers.push(east);
    config
}

impl Gateway {
    fn new() -> Self {
        let mut seed = 0;
        let core = Core::new(config(), || {
            seed += 1;
            Box::new(TestEntropy::new(seed))
        });
        Self {
            core,
            now: Instant::ZERO + Duration::from_secs(1),
            sent: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::SipTransmit { carrier, flow, bytes } => {
                    self.sent.push((carrier, flow.remote, String::from_utf8_lossy(&bytes).into_owned()));
                }
                Output::CarrierAdded { carrier, name } => self.added.push((carrier, name)),
                Output::CarrierRemoved(carrier) => self.removed.push(carrier),
                _ => {}
            }
        }
    }

    fn wan(&mut self, carrier: CarrierId) {
        let wan = WanAddresses::of(WAN.parse().ok());
        self.tell(Input::WanAddress { carrier, wan });
    }

    /// The first request of a method that left, and by which carrier.
    fn request(&self, method: &str) -> Option<&(CarrierId, SocketAddr, String)> {
        self.sent.iter().find(|(_, _, text)| text.starts_with(method))
    }

    /// Answers all requests that wait with 200.
    fn answer_all(&mut self) {
        for (carrier, server, text) in std::mem::take(&mut self.sent) {
            let field = |name: &str| {
                let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
                format!("{line}\r\n")
            };
            let fields: String =
                ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:", "Expires:"].map(field).concat();
            let answer = format!("SIP/2.0 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")
                .replace("\r\n\r\n\r\n", "\r\n\r\n");
            let answer: Vec<&str> = answer.split("\r\n").filter(|l| !l.is_empty()).collect();
            let bytes = (answer.join("\r\n") + "\r\n\r\n").into_bytes();
            let port = if carrier == FIRST { 5060 } else { 5062 };
            let local = SocketAddr::new(WAN.parse().expect("an address"), port);
            self.tell(Input::Sip { carrier, flow: Flow::udp(local, server), bytes });
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn states(&self) -> Vec<(CarrierId, String, RegistrationState)> {
        self.core.registrations().map(|(id, v)| (id, v.line.to_string(), v.state)).collect()
    }
}

#[test]
fn each_line_registers_with_its_own_carrier() {
    let mut g = Gateway::new();
    g.wan(FIRST);
    assert_eq!(g.sent.len(), 1, "the other carrier has no address yet: {:?}", g.sent);
    g.wan(CarrierId(1));
    let east = g.sent.iter().find(|(id, ..)| *id == CarrierId(1)).expect("registers");
    assert_eq!(east.1, EAST.parse().expect("an address"));
    assert!(east.2.starts_with("REGISTER sip:east.example ") && east.2.contains(EAST_LINE), "{}", east.2);
    assert!(east.2.contains(&format!("{WAN}:5062")), "its own port: {}", east.2);
    g.answer_all();
    assert!(
        g.states().iter().all(|(_, _, state)| *state == RegistrationState::Registered),
        "{:?}",
        g.states()
    );
    assert_eq!(g.states().iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [FIRST, CarrierId(1)]);
    // One carrier loses its address: the other's line stays registered.
    g.tell(Input::WanAddress { carrier: CarrierId(1), wan: WanAddresses::default() });
    let states = g.states();
    assert_eq!(states[0], (FIRST, NUMBERS[0].to_owned(), RegistrationState::Registered));
    assert_eq!(states[1].2, RegistrationState::NoAddress);
}

/// A SIP record as an earlier release wrote it: a call from 1 to 2 by 192.0.2.1:5060.
const DIALOG: &[u8] =
    b"\x02\x01c\x0f<sip:1@d>;tag=a\x0f<sip:2@d>;tag=b\x01\xac\x02\x01\x0a<sip:p;lr>\x07sip:2@h\
    \x00\xc0\x00\x02\x01\xc4\x27\x00\x011";

#[test]
fn a_recovered_call_is_hung_up_over_its_carrier() {
    let record = |carrier: &[u8]| {
        let head =
            [b"\x05\x011\x012\xac\x02".as_slice(), &[u8::try_from(DIALOG.len()).expect("short")]].concat();
        [head, DIALOG.to_vec(), carrier.to_vec()].concat()
    };
    let bye = |bytes: Vec<u8>| {
        let mut g = Gateway::new();
        g.tell(Input::Recovered(vec![(7, bytes)]));
        assert!(g.request("BYE").is_none(), "there is no address yet");
        g.wan(FIRST);
        let by_first = g.request("BYE").is_some();
        g.wan(CarrierId(1));
        let (carrier, server, _) = g.request("BYE").expect("a BYE");
        assert_eq!((by_first, server.to_string().as_str()), (*carrier == FIRST, "192.0.2.1:5060"));
        *carrier
    };
    assert_eq!(bye(record(b"\x04east")), CarrierId(1));
    assert_eq!(bye(record(b"\x07default")), FIRST);
    assert_eq!(bye(record(b"\x04gone")), FIRST, "a carrier that the profile has no more");
    // A record of before there were several: the line tells.
    let line = format!("\x0a{EAST_LINE}");
    let head = [
        b"\x04".as_slice(),
        line.as_bytes(),
        b"\x012\xac\x02",
        &[u8::try_from(DIALOG.len()).expect("short")],
    ];
    assert_eq!(bye([head.concat(), DIALOG.to_vec()].concat()), CarrierId(1));
}

#[test]
fn a_replaced_carrier_registers_anew_and_the_other_stays() {
    let mut g = Gateway::new();
    g.wan(FIRST);
    g.wan(CarrierId(1));
    g.answer_all();
    let SessionConfig { tunnels, keyring, ike, mut carriers, outside, .. } = config();
    carriers[1].sip.domain = "new.example".to_owned();
    let replaced = BTreeSet::from(["east".to_owned()]);
    let new =
        Reconfiguration { tunnels, keyring, ike, carriers, replaced, outside, bounced: BTreeSet::new() };
    g.tell(Input::Reconfigure(Box::new(new)));
    assert_eq!(g.added, [(CarrierId(2), "east".to_owned())]);
    // The old one gives its line up before it goes.
    let (carrier, _, text) = g.request("REGISTER").expect("unregisters");
    assert!(*carrier == CarrierId(1) && text.contains("\r\nExpires: 0\r\n"), "{text}");
    assert!(g.removed.is_empty());
    g.answer_all();
    assert_eq!(g.removed, [CarrierId(1)]);
    g.wan(CarrierId(2));
    let (carrier, _, text) = g.request("REGISTER").expect("registers");
    assert!(*carrier == CarrierId(2) && text.starts_with("REGISTER sip:new.example "), "{text}");
    assert_eq!(g.states()[0].2, RegistrationState::Registered, "the first carrier's line");

    // A carrier whose registrar is gone is not waited for.
    let SessionConfig { tunnels, keyring, ike, mut carriers, outside, .. } = config();
    carriers.truncate(1);
    g.answer_all();
    let new = Reconfiguration {
        tunnels,
        keyring,
        ike,
        carriers,
        replaced: BTreeSet::new(),
        outside,
        bounced: BTreeSet::new(),
    };
    g.tell(Input::Reconfigure(Box::new(new)));
    assert_eq!(g.removed, [CarrierId(1)]);
    g.advance(Duration::from_secs(5));
    assert_eq!(g.removed, [CarrierId(1), CarrierId(2)]);
    assert_eq!(g.states().len(), 1);
}
