use crate::v4::{Client, Config, Lease, LeaseHint, LostBecause, Output, Phase, VendorClass, Wanted};
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::net::Ipv4Addr;
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 1];
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// A client, a clock and what the client has said.
struct Line {
    client: Client,
    now: Instant,
    entropy: TestEntropy,
    sent: Vec<(Ipv4Addr, Ipv4Addr, Vec<u8>)>,
    probes: Vec<Ipv4Addr>,
    leases: Vec<Lease>,
    lost: Vec<LostBecause>,
}

impl Line {
    fn new(wanted: Wanted, last: Option<LeaseHint>) -> Self {
        let mut line = Self {
            client: Client::new(Config {
                mac: MAC,
                wanted,
                client_id: Some(vec![1, 2, 0, 0, 0, 0, 1]),
                vendor_class: Some(VendorClass::ntt(MAC)),
                host_name: Some("branch".into()),
                last,
            }),
            now: Instant::from_nanos(1),
            entropy: TestEntropy::new(3),
            sent: Vec::new(),
            probes: Vec::new(),
            leases: Vec::new(),
            lost: Vec::new(),
        };
        line.client.start(line.now, &mut line.entropy);
        line.drain();
        line
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { source, destination, payload } => {
                    self.sent.push((source, destination, payload))
                }
                Output::Probe(address) => self.probes.push(address),
                Output::Configure(lease) => self.leases.push(*lease),
                Output::Deconfigure { because, .. } => self.lost.push(because),
            }
        }
    }

    /// Runs to the next timer.
    fn tick(&mut self) {
        self.now = self.client.poll_timeout().expect("a timer runs").max(self.now);
        self.client.handle_timeout(self.now, &mut self.entropy);
        self.drain();
    }

    fn last(&self) -> &[u8] {
        &self.sent.last().expect("something was sent").2
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.client.handle_message(self.now, bytes, &mut self.entropy);
        self.drain();
    }

    /// A server's message about the last one of the client.
    fn reply(&mut self, kind: u8, options: &[u8]) {
        let bytes = reply_to(self.last(), kind, options);
        self.receive(&bytes);
    }

    fn bound(lease_s: u32) -> Self {
        let mut line = Self::new(Wanted::Address, None);
        line.tick();
        line.reply(OFFER, &lease_options(lease_s));
        line.reply(ACK, &lease_options(lease_s));
        for _ in 0..3 {
            line.tick();
        }
        assert_eq!(line.client.phase(), Phase::Bound);
        line
    }
}

fn reply_to(request: &[u8], kind: u8, options: &[u8]) -> Vec<u8> {
    let mut bytes = request[..240].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&OURS.octets());
    bytes.extend_from_slice(&[53, 1, kind]);
    bytes.extend_from_slice(options);
    bytes.push(255);
    bytes
}

fn lease_options(lease_s: u32) -> Vec<u8> {
    let mut options = vec![54, 4];
    options.extend_from_slice(&SERVER);
    options.extend_from_slice(&[51, 4]);
    options.extend_from_slice(&lease_s.to_be_bytes());
    options.extend_from_slice(&[1, 4, 255, 255, 255, 0]);
    options
}

fn kind(message: &[u8]) -> u8 {
    option(message, 53).expect("a message type")[0]
}

fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = &message[240..];
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [255, ..] | [] | [_] => return None,
            [code, len, tail @ ..] => {
                let (value, tail) = tail.split_at(usize::from(*len));
                if *code == wanted {
                    return Some(value);
                }
                rest = tail;
            }
        }
    }
}

#[test]
fn discover_offer_request_ack_probe_bound() {
    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    let (source, destination, discover) = line.sent[0].clone();
    assert_eq!((source, destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert_eq!(kind(&discover), DISCOVER);
    assert!(discover.len() >= 300);
    // RFC 3925 §3: enterprise 210, the data's length, then the data: the length of the address and the address.
    assert_eq!(option(&discover, 124), Some(&[0, 0, 0, 210, 7, 6, 2, 0, 0, 0, 0, 1][..]));
    let asked = option(&discover, 55).unwrap();
    for code in [1, 3, 120, 121, 125] {
        assert!(asked.contains(&code), "option {code} is asked for");
    }
    let place = |code| asked.iter().position(|c| *c == code);
    assert!(place(121) < place(3), "RFC 3442: 121 before 3");

    line.reply(OFFER, &lease_options(600));
    assert_eq!(kind(line.last()), REQUEST);
    assert_eq!(option(line.last(), 50), Some(&OURS.octets()[..]));
    assert_eq!(option(line.last(), 54), Some(&SERVER[..]));
    line.reply(ACK, &lease_options(600));
    assert_eq!(line.client.phase(), Phase::Checking);
    assert!(line.leases.is_empty(), "not before the probes");
    for _ in 0..2 {
        line.tick();
    }
    assert_eq!(line.probes, [OURS; 3]);
    line.tick();
    let lease = &line.leases[0];
    assert_eq!((lease.address, lease.prefix_len), (OURS, 24));
    assert_eq!(lease.remaining(lease.obtained), Some(Duration::from_secs(600)));
    assert_eq!(lease.renews, Some(lease.obtained + Duration::from_secs(300)));
}

#[test]
fn discover_is_repeated_after_4_8_16_32_64_64_seconds() {
    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    for expected in [4, 8, 16, 32, 64, 64] {
        let before = line.now;
        line.tick();
        let waited = line.now.saturating_duration_since(before);
        assert!(
            waited >= Duration::from_secs(expected - 1) && waited <= Duration::from_secs(expected + 1),
            "{waited:?} for {expected} s"
        );
        assert_eq!(kind(line.last()), DISCOVER);
    }
    assert_eq!(line.client.phase(), Phase::Selecting { discovers: 7 });
}

#[test]
fn an_offer_whose_server_is_silent_is_given_up() {
    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    line.reply(OFFER, &lease_options(600));
    let requests = |line: &Line| line.sent.iter().filter(|(.., m)| kind(m) == REQUEST).count();
    for _ in 0..4 {
        line.tick();
    }
    assert_eq!(requests(&line), 3);
    assert_eq!(kind(line.last()), DISCOVER);
}

#[test]
fn renewal_is_unicast_rebinding_is_broadcast_and_expiry_takes_the_address() {
    let mut line = Line::bound(600);
    line.tick();
    let (source, destination, request) = line.sent.last().unwrap().clone();
    assert_eq!((source, destination), (OURS, SERVER.into()));
    assert_eq!(request[12..16], OURS.octets());
    assert_eq!((option(&request, 50), option(&request, 54)), (None, None), "§4.3.2 RENEWING");
    while line.client.phase() == Phase::Renewing {
        line.tick();
    }
    assert_eq!(line.client.phase(), Phase::Rebinding);
    assert_eq!(line.sent.last().unwrap().1, Ipv4Addr::BROADCAST);
    assert!(line.lost.is_empty());
    while line.lost.is_empty() {
        line.tick();
    }
    assert_eq!(line.lost, [LostBecause::Expired]);
    let expiry = line.leases[0].expires.unwrap();
    assert_eq!(line.now, expiry);
}

#[test]
fn a_renewal_extends_the_lease_and_brings_new_options() {
    let mut line = Line::bound(600);
    line.tick();
    let mut options = lease_options(1200);
    options.extend_from_slice(&[120, 5, 1, 198, 51, 100, 10]);
    line.reply(ACK, &options);
    assert_eq!(line.client.phase(), Phase::Bound);
    assert_eq!(line.leases.len(), 2);
    assert_eq!(line.leases[1].sip.servers.addresses, ["198.51.100.10".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(line.leases[1].remaining(line.now), Some(Duration::from_secs(1200)));
}

#[test]
fn a_nak_of_the_server_ends_the_lease_and_one_of_a_stranger_does_not() {
    let mut line = Line::bound(600);
    line.tick();
    line.reply(NAK, &[54, 4, 203, 0, 113, 9]);
    assert!(line.lost.is_empty());
    line.reply(NAK, &[54, 4, 192, 0, 2, 1]);
    assert_eq!(line.lost, [LostBecause::Refused]);
    line.tick();
    assert_eq!(kind(line.last()), DISCOVER);
}

#[test]
fn a_conflict_is_declined_and_the_client_waits() {
    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    line.reply(OFFER, &lease_options(600));
    line.reply(ACK, &lease_options(600));
    line.client.handle_conflict(line.now, "192.0.2.99".parse().unwrap());
    line.drain();
    assert_eq!(kind(line.last()), REQUEST, "another address is nothing to us");
    line.client.handle_conflict(line.now, OURS);
    line.drain();
    assert_eq!(kind(line.last()), DECLINE);
    assert_eq!(option(line.last(), 50), Some(&OURS.octets()[..]));
    assert_eq!(option(line.last(), 54), Some(&SERVER[..]));
    assert_eq!(line.last()[12..16], [0; 4]);
    let declined = line.now;
    line.tick();
    assert_eq!(kind(line.last()), DISCOVER);
    assert!(line.now.saturating_duration_since(declined) >= Duration::from_secs(10));
    assert!(line.leases.is_empty() && line.lost.is_empty(), "the address was never in use");
}

#[test]
fn a_conflict_with_the_bound_address_takes_it_away() {
    let mut line = Line::bound(600);
    line.client.handle_conflict(line.now, OURS);
    line.drain();
    assert_eq!(line.lost, [LostBecause::Conflict]);
    assert_eq!(kind(line.last()), DECLINE);
}

#[test]
fn the_last_address_is_asked_for_again() {
    let mut line = Line::new(Wanted::Address, Some(LeaseHint { address: OURS }));
    assert_eq!(kind(line.last()), REQUEST);
    assert_eq!((option(line.last(), 50), option(line.last(), 54)), (Some(&OURS.octets()[..]), None));
    line.reply(ACK, &lease_options(600));
    assert_eq!(line.client.phase(), Phase::Checking);

    let mut refused = Line::new(Wanted::Address, Some(LeaseHint { address: OURS }));
    refused.reply(NAK, &[54, 4, 192, 0, 2, 1]);
    refused.tick();
    assert_eq!(kind(refused.last()), DISCOVER);

    let mut silent = Line::new(Wanted::Address, Some(LeaseHint { address: OURS }));
    for _ in 0..3 {
        silent.tick();
    }
    assert_eq!(kind(silent.last()), DISCOVER, "in another network no server answers");
}

#[test]
fn release_goes_to_the_server_and_takes_the_address() {
    let mut line = Line::bound(600);
    line.client.release(line.now);
    line.drain();
    let (source, destination, release) = line.sent.last().unwrap();
    assert_eq!((*source, *destination, kind(release)), (OURS, SERVER.into(), RELEASE));
    assert_eq!(option(release, 55), None, "RFC 2131 table 5");
    assert_eq!(line.lost, [LostBecause::Released]);
    assert_eq!((line.client.phase(), line.client.poll_timeout()), (Phase::Stopped, None));
}

#[test]
fn a_link_that_comes_back_asks_for_the_same_address() {
    let mut line = Line::bound(600);
    line.client.link_down();
    line.drain();
    assert_eq!(line.lost, [LostBecause::LinkDown]);
    line.client.start(line.now, &mut line.entropy);
    line.drain();
    assert_eq!(kind(line.last()), REQUEST);
}

#[test]
fn inform_asks_for_options_alone() {
    let mut line = Line::new(Wanted::OptionsFor(OURS), None);
    let (source, _, inform) = line.sent[0].clone();
    assert_eq!((source, kind(&inform)), (OURS, INFORM));
    assert_eq!(inform[12..16], OURS.octets());
    line.reply(ACK, &[54, 4, 192, 0, 2, 1, 120, 5, 1, 198, 51, 100, 10]);
    assert_eq!(line.leases[0].sip.servers.addresses.len(), 1);
    assert_eq!(line.leases[0].expires, None);
    line.client.release(line.now);
    line.drain();
    assert_eq!(kind(line.last()), INFORM, "there is nothing to release");
}

#[test]
fn messages_of_others_are_counted_and_change_nothing() {
    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    let offer = reply_to(line.last(), OFFER, &lease_options(600));
    let mut other_xid = offer.clone();
    other_xid[4] ^= 1;
    let mut other_mac = offer.clone();
    other_mac[33] ^= 1;
    let mut a_request = offer.clone();
    a_request[0] = 1;
    let mut no_magic = offer.clone();
    no_magic[236] = 0;
    let cut_short = &offer[..offer.len() - 3];
    for bytes in [&other_xid, &other_mac, &a_request, &no_magic, &[][..], cut_short] {
        line.receive(bytes);
    }
    let stats = line.client.stats();
    assert_eq!((stats.not_ours, stats.malformed, stats.unexpected), (2, 4, 0));
    // No server identifier; an address that no host can have; an ACK for what was not asked.
    line.receive(&reply_to(line.last(), OFFER, &[51, 4, 0, 0, 2, 88]));
    let mut broadcast = offer.clone();
    broadcast[16..20].fill(255);
    line.receive(&broadcast);
    line.reply(ACK, &lease_options(600));
    assert_eq!(line.client.phase(), Phase::Selecting { discovers: 1 });
    line.receive(&offer);
    assert_eq!(line.client.phase(), Phase::Requesting);
}

#[test]
fn times_out_of_order_are_replaced_and_a_lease_may_have_no_end() {
    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    let mut options = lease_options(800);
    options.extend_from_slice(&[58, 4, 0, 0, 3, 0, 59, 4, 0, 0, 1, 0]); // T1 after T2
    line.reply(OFFER, &options);
    line.reply(ACK, &options);
    for _ in 0..3 {
        line.tick();
    }
    let lease = &line.leases[0];
    assert_eq!(lease.renews, Some(lease.obtained + Duration::from_secs(400)));
    assert_eq!(lease.rebinds, Some(lease.obtained + Duration::from_secs(700)));

    let mut line = Line::new(Wanted::Address, None);
    line.tick();
    line.reply(OFFER, &lease_options(u32::MAX));
    line.reply(ACK, &lease_options(u32::MAX));
    for _ in 0..3 {
        line.tick();
    }
    assert_eq!((line.leases[0].renews, line.leases[0].expires), (None, None));
}
