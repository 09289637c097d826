use crate::v6::{Client, Config, Duid, Lease, LostBecause, Output, Phase, VendorClass, Wanted};
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 9];
const IAID: u32 = 7;
const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION: u8 = 11;

struct Line {
    client: Client,
    now: Instant,
    entropy: TestEntropy,
    sent: Vec<Vec<u8>>,
    leases: Vec<Lease>,
    lost: Vec<LostBecause>,
}

impl Line {
    fn new(wanted: Wanted) -> Self {
        let mut line = Self {
            client: Client::new(Config {
                duid: Duid::link_layer(MAC),
                iaid: IAID,
                wanted,
                vendor_class: Some(VendorClass { enterprise: 210, data: MAC.to_vec() }),
            }),
            now: Instant::from_nanos(1),
            entropy: TestEntropy::new(5),
            sent: Vec::new(),
            leases: Vec::new(),
            lost: Vec::new(),
        };
        line.client.start(line.now, &mut line.entropy);
        line.tick();
        line
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { payload } => self.sent.push(payload),
                Output::Configure(lease) => self.leases.push(*lease),
                Output::Deconfigure(because) => self.lost.push(because),
            }
        }
    }

    fn tick(&mut self) {
        self.now = self.client.poll_timeout().expect("a timer runs").max(self.now);
        self.client.handle_timeout(self.now, &mut self.entropy);
        self.drain();
    }

    fn last(&self) -> &[u8] {
        self.sent.last().expect("something was sent")
    }

    fn answer(&mut self, kind: u8, server: &[u8], options: &[u8]) {
        let mut bytes = self.last()[..4].to_vec();
        bytes[0] = kind;
        put(&mut bytes, 1, Duid::link_layer(MAC).as_bytes());
        put(&mut bytes, 2, server);
        bytes.extend_from_slice(options);
        self.receive(&bytes);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.client.handle_message(self.now, bytes, &mut self.entropy);
        self.drain();
    }

    fn bound() -> Self {
        let mut line = Self::new(Wanted::Lease { address: true, prefix: true });
        line.answer(ADVERTISE, SERVER, &resources(3600));
        line.tick();
        line.answer(REPLY, SERVER, &resources(3600));
        assert_eq!(line.client.phase(), Phase::Bound);
        line
    }
}

fn put(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// An IA_NA and an IA_PD with one resource each, valid for so long.
fn resources(valid_s: u32) -> Vec<u8> {
    resources_with(valid_s, valid_s, [0; 2])
}

/// The same with a preferred lifetime, T1 and T2 of their own.
fn resources_with(preferred_s: u32, valid_s: u32, times: [u32; 2]) -> Vec<u8> {
    let mut out = Vec::new();
    let lifetimes = [preferred_s.to_be_bytes(), valid_s.to_be_bytes()].concat();
    let address: std::net::Ipv6Addr = "2001:db8:1::7".parse().unwrap();
    let prefix: std::net::Ipv6Addr = "2001:db8:2::".parse().unwrap();
    let association = |code: u16, value: &[u8]| {
        let mut body = [IAID.to_be_bytes(), times[0].to_be_bytes(), times[1].to_be_bytes()].concat();
        put(&mut body, code, value);
        body
    };
    put(&mut out, 3, &association(5, &[&address.octets()[..], &lifetimes].concat()));
    put(&mut out, 25, &association(26, &[&lifetimes[..], &[56], &prefix.octets()].concat()));
    out
}

fn option(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = &message[4..];
    while let [c0, c1, l0, l1, tail @ ..] = rest {
        let (value, tail) = tail.split_at(usize::from(u16::from_be_bytes([*l0, *l1])));
        if u16::from_be_bytes([*c0, *c1]) == wanted {
            return Some(value);
        }
        rest = tail;
    }
    None
}

#[test]
fn solicit_advertise_request_reply_bound() {
    let mut line = Line::new(Wanted::Lease { address: true, prefix: true });
    let solicit = line.last().to_vec();
    assert_eq!(solicit[0], SOLICIT);
    assert_eq!(option(&solicit, 1), Some(Duid::link_layer(MAC).as_bytes()));
    assert_eq!(option(&solicit, 2), None);
    // RFC 8415 §21.16: enterprise, then items with a length of two bytes.
    assert_eq!(option(&solicit, 16), Some(&[0, 0, 0, 210, 0, 6, 2, 0, 0, 0, 0, 1][..]));
    let oro = option(&solicit, 6).unwrap();
    for code in [17u16, 21, 22] {
        assert!(oro.chunks(2).any(|c| c == code.to_be_bytes()), "option {code} is asked for");
    }
    line.answer(ADVERTISE, SERVER, &resources(3600));
    assert_eq!(line.sent.len(), 1, "the client collects until the first repetition");
    line.tick();
    assert_eq!(line.last()[0], REQUEST);
    assert_ne!(line.last()[1..4], solicit[1..4], "a new exchange, a new id");
    assert_eq!(option(line.last(), 2), Some(SERVER));
    let mut options = resources(3600);
    put(&mut options, 22, &"2001:db8::53".parse::<std::net::Ipv6Addr>().unwrap().octets());
    put(&mut options, 21, b"\x03sip\x07example\x00");
    let mut vendor = 210u32.to_be_bytes().to_vec();
    put(&mut vendor, 202, b"3");
    put(&mut vendor, 204, b"\x08ntt-east\x02ne\x02jp\x00");
    put(&mut options, 17, &vendor);
    line.answer(REPLY, SERVER, &options);
    let lease = &line.leases[0];
    assert_eq!(lease.addresses[0].address.to_string(), "2001:db8:1::7");
    assert_eq!((lease.prefixes[0].prefix.to_string(), lease.prefixes[0].len), ("2001:db8:2::".into(), 56));
    assert!(lease.prefixes[0].contains("2001:db8:2:ff::1".parse().unwrap()));
    assert!(!lease.prefixes[0].contains("2001:db8:3::1".parse().unwrap()));
    assert_eq!(lease.sip.servers.addresses[0].to_string(), "2001:db8::53");
    assert_eq!(lease.sip.servers.names, ["sip.example"]);
    assert_eq!(lease.sip.vendor.number.as_deref(), Some("3"));
    assert_eq!(lease.sip.vendor.sip_domain.as_deref(), Some("ntt-east.ne.jp"));
    assert_eq!(lease.renews, lease.obtained + Duration::from_secs(1800));
    assert_eq!(lease.rebinds, lease.obtained + Duration::from_secs(2880));
}

#[test]
fn the_highest_preference_wins_and_255_at_once() {
    let other: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 8];
    let mut line = Line::new(Wanted::Lease { address: true, prefix: true });
    line.answer(ADVERTISE, SERVER, &resources(3600));
    let mut better = resources(3600);
    put(&mut better, 7, &[9]);
    line.answer(ADVERTISE, other, &better);
    line.tick();
    assert_eq!(option(line.last(), 2), Some(other));

    let mut line = Line::new(Wanted::Lease { address: true, prefix: true });
    let mut best = resources(3600);
    put(&mut best, 7, &[255]);
    line.answer(ADVERTISE, other, &best);
    assert_eq!(line.last()[0], REQUEST);
}

#[test]
fn an_advertise_without_resources_is_not_chosen() {
    let mut line = Line::new(Wanted::Lease { address: true, prefix: true });
    line.answer(ADVERTISE, SERVER, &[]);
    let mut refused = Vec::new();
    put(&mut refused, 13, &[0, 2]);
    line.answer(ADVERTISE, SERVER, &refused);
    line.tick();
    assert_eq!(line.last()[0], SOLICIT);
    assert_eq!(line.client.stats().unexpected, 2);
}

#[test]
fn solicits_double_and_requests_end() {
    let mut line = Line::new(Wanted::Lease { address: false, prefix: true });
    let mut before = line.now;
    let mut expected = 1000.0;
    for _ in 0..6 {
        line.tick();
        let waited = line.now.saturating_duration_since(before).as_secs_f64() * 1000.0;
        assert!((expected * 0.8..=expected * 1.25).contains(&waited), "{waited} for about {expected}");
        (before, expected) = (line.now, waited * 2.0);
    }
    line.answer(ADVERTISE, SERVER, &resources(3600));
    let requests = |line: &Line| line.sent.iter().filter(|m| m[0] == REQUEST).count();
    while line.client.phase() == Phase::Requesting {
        line.tick();
    }
    assert_eq!(requests(&line), 10);
    line.tick();
    assert_eq!(line.last()[0], SOLICIT);
}

#[test]
fn renew_then_rebind_then_expiry() {
    let mut line = Line::bound();
    line.tick();
    assert_eq!((line.last()[0], option(line.last(), 2)), (RENEW, Some(SERVER)));
    while line.client.phase() == Phase::Renewing {
        line.tick();
    }
    assert_eq!((line.last()[0], option(line.last(), 2)), (REBIND, None));
    while line.lost.is_empty() {
        line.tick();
    }
    assert_eq!(line.lost, [LostBecause::Expired]);
    assert_eq!(line.now, line.leases[0].expires);
}

/// A prefix that is deprecated before a renumbering (RFC 8415 §18.2.4), and timers of nothing: each answer is followed by a pause,
/// and the lease holds until it expires.
#[test]
fn a_server_does_not_make_the_client_ask_without_a_pause() {
    for (preferred, valid, times) in
        [(0, 3600, [0, 0]), (3600, 3600, [1, 1]), (0, 20, [0, 1]), (1, 6, [0, 0])]
    {
        let mut line = Line::bound();
        line.tick();
        for _ in 0..5 {
            let (before, sent) = (line.now, line.sent.len());
            line.answer(REPLY, SERVER, &resources_with(preferred, valid, times));
            assert_eq!(line.lost, [], "{preferred} {valid} {times:?}");
            while line.sent.len() == sent {
                line.tick();
            }
            let pause = line.now.saturating_duration_since(before);
            let least = Duration::from_secs(u64::from(valid / 2).clamp(5, 30));
            assert!(pause >= least, "{preferred} {valid} {times:?}: {pause:?}");
        }
    }
}

#[test]
fn a_renewal_extends_and_a_withdrawal_ends() {
    let mut line = Line::bound();
    line.tick();
    line.answer(REPLY, SERVER, &resources(7200));
    assert_eq!(line.leases.len(), 2);
    assert_eq!(line.leases[1].expires, line.now + Duration::from_secs(7200));
    line.tick();
    line.answer(REPLY, SERVER, &resources(0));
    assert_eq!(line.lost, [LostBecause::Withdrawn]);
    line.tick();
    assert_eq!(line.last()[0], SOLICIT);
}

#[test]
fn release_and_decline_name_what_they_give_back() {
    let mut line = Line::bound();
    line.client.release(line.now, &mut line.entropy);
    line.drain();
    assert_eq!((line.last()[0], option(line.last(), 2)), (RELEASE, Some(SERVER)));
    assert!(option(line.last(), 25).unwrap().len() > 12);
    assert_eq!(line.lost, [LostBecause::Released]);
    assert_eq!(line.client.poll_timeout(), None);

    let mut line = Line::bound();
    line.client.handle_conflict(line.now, "2001:db8:1::99".parse().unwrap(), &mut line.entropy);
    assert!(line.lost.is_empty());
    line.client.handle_conflict(line.now, "2001:db8:1::7".parse().unwrap(), &mut line.entropy);
    line.drain();
    assert_eq!(line.last()[0], DECLINE);
    assert_eq!(option(line.last(), 25), None, "RFC 8415 §18.2.8: addresses alone");
    assert_eq!(line.lost, [LostBecause::Conflict]);
}

#[test]
fn options_alone() {
    let mut line = Line::new(Wanted::Options);
    assert_eq!(line.last()[0], INFORMATION);
    assert_eq!((option(line.last(), 3), option(line.last(), 25)), (None, None));
    let mut options = Vec::new();
    put(&mut options, 22, &"2001:db8::53".parse::<std::net::Ipv6Addr>().unwrap().octets());
    line.answer(REPLY, SERVER, &options);
    assert_eq!(line.leases[0].sip.servers.addresses.len(), 1);
    line.client.link_down();
    line.drain();
    assert_eq!(line.lost, [LostBecause::LinkDown]);
}

#[test]
fn answers_for_others_and_cut_ones_are_counted() {
    let mut line = Line::new(Wanted::Lease { address: true, prefix: true });
    let mut whole = line.last()[..4].to_vec();
    whole[0] = ADVERTISE;
    put(&mut whole, 1, Duid::link_layer(MAC).as_bytes());
    put(&mut whole, 2, SERVER);
    whole.extend_from_slice(&resources(3600));
    let mut other_client = whole.clone();
    other_client[8 + 9] ^= 1;
    let mut other_xid = whole.clone();
    other_xid[3] ^= 1;
    line.receive(&other_client);
    line.receive(&other_xid);
    line.receive(&whole[..whole.len() - 1]);
    line.receive(&[]);
    let stats = line.client.stats();
    assert_eq!((stats.not_ours, stats.malformed), (2, 2));
    assert_eq!(line.client.phase(), Phase::Soliciting { solicits: 1 });
}

#[test]
fn identifiers_have_a_legal_length() {
    assert!(Duid::from_bytes(vec![0; 2]).is_none());
    assert!(Duid::from_bytes(vec![0; 131]).is_none());
    assert_eq!(Duid::from_bytes(vec![0, 3, 1]).unwrap().as_bytes(), [0, 3, 1]);
}
