//! Entry points of the fuzzers, which the tests of `bench` replay: a client in an exchange with a server that sends
//! anything. The bounded property tests of this crate run the same bodies.

use crate::{v4, v6};
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::time::Duration;

/// Steps of one exchange.
const STEPS_MAX: usize = 64;
const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Fixed part of a DHCPv4 message with its cookie (RFC 2131 §2, §3).
const V4_HEADER: usize = 240;

/// One step of an exchange with a server that has no manners.
#[derive(Clone, Debug)]
pub enum Step {
    Bytes(Vec<u8>),
    /// The last message of the client, made a reply of this kind with these options behind it.
    Reply(u8, Vec<u8>),
    /// Milliseconds.
    Wait(u32),
    LinkDown,
    Start,
    Release,
    Conflict,
}

/// Reads steps: a byte that chooses, then two of a length or a time, then as many bytes as that says and as are left.
fn steps(mut bytes: &[u8]) -> Vec<Step> {
    let mut out = Vec::new();
    while let [choice, rest @ ..] = bytes
        && out.len() < STEPS_MAX
    {
        let (number, rest) = match rest {
            [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
            _ => (0, rest),
        };
        let (taken, left) = rest.split_at(usize::from(number).min(rest.len()));
        bytes = rest;
        out.push(match choice % 8 {
            0 => {
                bytes = left;
                Step::Bytes(taken.to_vec())
            }
            1 | 2 => {
                bytes = left;
                Step::Reply(choice >> 3, taken.to_vec())
            }
            3 => Step::Wait(u32::from(number) * 16),
            4 => Step::LinkDown,
            5 => Step::Start,
            6 => Step::Release,
            _ => Step::Conflict,
        });
    }
    out
}

/// A DHCPv4 client and any server.
pub fn dhcp_v4(bytes: &[u8]) {
    exchange_v4(steps(bytes));
}

/// A DHCPv6 client and any server.
pub fn dhcp_v6(bytes: &[u8]) {
    exchange_v6(steps(bytes));
}

/// No panic, a bounded number of outputs for each step, and a timer whenever the client is not idle.
pub fn exchange_v4(steps: impl IntoIterator<Item = Step>) {
    let client = v4::Client::new(v4::Config {
        mac: HARDWARE,
        wanted: v4::Wanted::Address,
        client_id: None,
        vendor_class: Some(v4::VendorClass::ntt(HARDWARE)),
        host_name: None,
        last: None,
    });
    exchange(client, steps);
}

/// The same over IPv6.
pub fn exchange_v6(steps: impl IntoIterator<Item = Step>) {
    let client = v6::Client::new(v6::Config {
        duid: v6::Duid::link_layer(HARDWARE),
        iaid: 7,
        wanted: v6::Wanted::Lease { address: true, prefix: true },
        vendor_class: None,
    });
    exchange(client, steps);
}

/// What both versions of the client have.
trait Client {
    fn start(&mut self, now: Instant, entropy: &mut TestEntropy);
    fn message(&mut self, now: Instant, bytes: &[u8], entropy: &mut TestEntropy);
    fn timeout(&mut self, now: Instant, entropy: &mut TestEntropy);
    fn link_down(&mut self);
    fn release(&mut self, now: Instant, entropy: &mut TestEntropy);
    fn conflict(&mut self, now: Instant, entropy: &mut TestEntropy);
    /// What is sent, for the next output that sends.
    fn poll(&mut self) -> Option<Option<Vec<u8>>>;
    fn due(&self) -> Option<Instant>;
    fn stopped(&self) -> bool;
    /// A reply of some kind to the client's last message, with these options behind it.
    fn reply(last: &[u8], kind: u8, tail: &[u8]) -> Vec<u8>;
}

fn exchange<C: Client>(mut client: C, steps: impl IntoIterator<Item = Step>) {
    let mut entropy = TestEntropy::new(1);
    let mut now = Instant::from_nanos(1);
    client.start(now, &mut entropy);
    let mut last = Vec::new();
    for step in steps {
        match step {
            Step::Bytes(bytes) => client.message(now, &bytes, &mut entropy),
            Step::Reply(kind, tail) => client.message(now, &C::reply(&last, kind, &tail), &mut entropy),
            Step::Wait(ms) => {
                now = now + Duration::from_millis(u64::from(ms));
                if client.due().is_some_and(|at| at <= now) {
                    client.timeout(now, &mut entropy);
                }
            }
            Step::LinkDown => client.link_down(),
            Step::Start => client.start(now, &mut entropy),
            Step::Release => client.release(now, &mut entropy),
            Step::Conflict => client.conflict(now, &mut entropy),
        }
        let mut outputs = 0;
        while let Some(sent) = client.poll() {
            outputs += 1;
            last = sent.unwrap_or(last);
        }
        assert!(outputs <= 3, "{outputs} outputs");
        assert!(client.stopped() || client.due().is_some(), "no timer");
    }
}

impl Client for v4::Client {
    fn start(&mut self, now: Instant, entropy: &mut TestEntropy) {
        Self::start(self, now, entropy);
    }
    fn message(&mut self, now: Instant, bytes: &[u8], entropy: &mut TestEntropy) {
        self.handle_message(now, bytes, entropy);
    }
    fn timeout(&mut self, now: Instant, entropy: &mut TestEntropy) {
        self.handle_timeout(now, entropy);
    }
    fn link_down(&mut self) {
        Self::link_down(self);
    }
    fn release(&mut self, now: Instant, _: &mut TestEntropy) {
        Self::release(self, now);
    }
    fn conflict(&mut self, now: Instant, _: &mut TestEntropy) {
        self.handle_conflict(now, [192, 0, 2, 7].into());
    }
    fn poll(&mut self) -> Option<Option<Vec<u8>>> {
        self.poll_output().map(|output| match output {
            v4::Output::Send { payload, .. } => Some(payload),
            _ => None,
        })
    }
    fn due(&self) -> Option<Instant> {
        self.poll_timeout()
    }
    fn stopped(&self) -> bool {
        self.phase() == v4::Phase::Stopped
    }
    fn reply(last: &[u8], kind: u8, tail: &[u8]) -> Vec<u8> {
        let mut bytes = last.to_vec();
        if bytes.len() >= V4_HEADER {
            bytes[0] = 2;
            bytes[16..20].copy_from_slice(&[192, 0, 2, 7]);
            bytes.truncate(V4_HEADER);
            bytes.extend_from_slice(&[53, 1, kind, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 1, 0]);
            bytes.extend_from_slice(tail);
        }
        bytes
    }
}

impl Client for v6::Client {
    fn start(&mut self, now: Instant, entropy: &mut TestEntropy) {
        Self::start(self, now, entropy);
    }
    fn message(&mut self, now: Instant, bytes: &[u8], entropy: &mut TestEntropy) {
        self.handle_message(now, bytes, entropy);
    }
    fn timeout(&mut self, now: Instant, entropy: &mut TestEntropy) {
        self.handle_timeout(now, entropy);
    }
    fn link_down(&mut self) {
        Self::link_down(self);
    }
    fn release(&mut self, now: Instant, entropy: &mut TestEntropy) {
        Self::release(self, now, entropy);
    }
    fn conflict(&mut self, now: Instant, entropy: &mut TestEntropy) {
        let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
        self.handle_conflict(now, address, entropy);
    }
    fn poll(&mut self) -> Option<Option<Vec<u8>>> {
        self.poll_output().map(|output| match output {
            v6::Output::Send { payload } => Some(payload),
            _ => None,
        })
    }
    fn due(&self) -> Option<Instant> {
        self.poll_timeout()
    }
    fn stopped(&self) -> bool {
        self.phase() == v6::Phase::Stopped
    }
    fn reply(last: &[u8], kind: u8, tail: &[u8]) -> Vec<u8> {
        let duid = v6::Duid::link_layer(HARDWARE);
        // The transaction id of the client's message (RFC 8415 §8).
        let id = last.get(1..4).unwrap_or(&[0; 3]);
        let mut bytes = vec![if kind.is_multiple_of(2) { 2 } else { 7 }];
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(&[0, 1, 0, duid.as_bytes().len() as u8]);
        bytes.extend_from_slice(duid.as_bytes());
        bytes.extend_from_slice(&[0, 2, 0, 3, 0, 3, kind]);
        bytes.extend_from_slice(tail);
        bytes
    }
}
