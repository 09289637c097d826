//! Messages that no endpoint of ours would send: requests under the keys of one side, and offers in clear.

use crate::auth::{self, SignedOctets, Step};
use crate::config::DpdMode;
use crate::state::State;
use crate::state::auth_sent::introduce;
use crate::task::Task;
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::wire::header::HEADER_LEN;
use crate::wire::notify::{PROTOCOL_ESP, PROTOCOL_IKE};
use crate::wire::sa::{Proposal, TYPE_ENCR, TYPE_ESN, TYPE_KE, TYPE_PRF, Transform};
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType, id};
use crate::{EndpointConfig, Event, PskSlot};
use core::time::Duration;
use sipsec_net::dp::Selector;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const ANY: [Selector; 1] = [Selector::ANY_V4];

/// Two endpoints that ask nothing of their own accord.
pub(super) fn configs() -> (EndpointConfig, EndpointConfig) {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.dpd.mode = DpdMode::Off;
    }
    (a, b)
}

pub(super) fn net() -> Net {
    let (a, b) = configs();
    Net::established(a, b)
}

/// What an answer says.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Answer {
    pub notifies: Vec<(NotifyType, Vec<u8>)>,
    pub sa: Option<Vec<Proposal>>,
    pub tsi: Option<Vec<Selector>>,
    pub tsr: Option<Vec<Selector>>,
    pub deletes: usize,
}

impl Answer {
    pub fn of(m: &Message<'_>) -> Self {
        Self {
            notifies: m.notifies.iter().map(|n| (n.kind, n.data.to_vec())).collect(),
            sa: m.sa.clone(),
            tsi: m.tsi.clone(),
            tsr: m.tsr.clone(),
            deletes: m.deletes.len(),
        }
    }

    pub fn says(&self, kind: NotifyType) -> bool {
        self.notifies.iter().any(|(k, _)| *k == kind)
    }
}

/// A protected request of `from`, and what the other side answers. The endpoint of `from` does not act on the answer.
pub(super) fn ask(net: &mut Net, from: Side, exchange: Exchange, chain: Chain) -> Option<Answer> {
    let other = from.other();
    let logged = net.log.len();
    net.script = Box::new(move |s, _, _| if s == other { Fate::Drop } else { Fate::Deliver });
    net.with(from, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("not up") };
        s.current_mut().sa.request(&mut e.ctx, now, exchange, chain, Task::Dpd);
    });
    net.run(MS * 60);
    net.script = Box::new(|_, _, _| Fate::Deliver);
    let response = |(s, m): &&(Side, Vec<u8>)| *s == other && m[19] & 0x20 != 0;
    let bytes = net.log[logged..].iter().find(response).map(|x| x.1.clone());
    let (now, e) = (net.now, &mut net.gateways[from as usize].endpoint);
    let State::Established(s) = &mut e.state else { panic!("not up") };
    let Some(bytes) = bytes else {
        let _ = s.current_mut().sa.abandon_request();
        return None;
    };
    let header = Header::parse(&bytes).expect("ours");
    let incoming = s.current_mut().sa.receive(&mut e.ctx, now, &header, &bytes).expect("for us");
    let m = Message::parse(incoming.first, &incoming.plaintext).expect("ours");
    Some(Answer::of(&m))
}

pub(super) fn gcm(bits: u16) -> Transform {
    Transform { key_bits: Some(bits), ..Transform::new(TYPE_ENCR, 20) }
}

pub(super) fn good_esp(number: u8, spi: u32) -> Proposal {
    let transforms = vec![gcm(256), Transform::new(TYPE_ESN, 0)];
    Proposal { number, protocol: PROTOCOL_ESP, spi: spi.to_be_bytes().to_vec(), transforms }
}

pub(super) fn range(a: [u8; 4], b: [u8; 4]) -> Selector {
    Selector { addr_start: a.into(), addr_end: b.into(), ..Selector::ANY_V4 }
}

/// Networks with a gap between each two.
pub(super) fn apart(count: u8) -> Vec<Selector> {
    (0..count).map(|n| range([10, 1, n * 2, 0], [10, 1, n * 2, 255])).collect()
}

/// CREATE_CHILD_SA that rekeys the child in use at `from`.
pub(super) fn rekey_chain(net: &Net, from: Side, spi: u32, tsi: &[Selector], tsr: &[Selector]) -> Chain {
    let g = &net.gateways[from as usize];
    let old = g.sa(g.bound.expect("bound")).expect("there").0.spi.get();
    rekey_of(old, spi, tsi, tsr)
}

pub(super) fn rekey_of(old: u32, spi: u32, tsi: &[Selector], tsr: &[Selector]) -> Chain {
    let mut c = Chain::new();
    c.notify_spi(PROTOCOL_ESP, &old.to_be_bytes(), NotifyType::REKEY_SA, &[]);
    c.sa(&[good_esp(1, spi)]);
    c.nonce(&[7; 32]);
    c.ts(PayloadType::TSI, tsi);
    c.ts(PayloadType::TSR, tsr);
    c
}

/// IKE_SA_INIT with an X25519 value of the base point.
pub(super) fn init(more: impl FnOnce(&mut Chain)) -> Vec<u8> {
    let transforms = vec![gcm(256), Transform::new(TYPE_PRF, 5), Transform::new(TYPE_KE, 31)];
    let mut c = Chain::new();
    c.sa(&[Proposal { number: 1, protocol: PROTOCOL_IKE, spi: vec![], transforms }]);
    let mut public = [0; 32];
    public[0] = 9;
    c.ke(31, &public);
    c.nonce(&[5; 32]);
    more(&mut c);
    let h = Header {
        spi_i: 0x1122_3344_5566_7788,
        spi_r: 0,
        first: PayloadType::NONE,
        exchange: Exchange::IKE_SA_INIT,
        from_initiator: true,
        response: false,
        id: 0,
    };
    h.with_payloads(c)
}

/// What a listening B answers in clear.
pub(super) fn answer_init(b: EndpointConfig, request: &[u8]) -> Option<(Header, Answer)> {
    let (a, _) = configs();
    let mut net = Net::new(a, b);
    net.script = Box::new(|_, _, _| Fate::Drop);
    net.with(Side::B, |e, now| e.start(now));
    net.inject(Side::B, request);
    net.run(MS * 20);
    let (_, bytes) = net.log.last()?;
    let h = Header::parse(bytes).expect("ours");
    let m = Message::parse(h.first, &bytes[HEADER_LEN..]).expect("ours");
    Some((h, Answer::of(&m)))
}

/// A's IKE_AUTH with other selectors and more payloads than its endpoint would send.
pub(super) fn auth_with(net: &mut Net, tsi: &[Selector], tsr: &[Selector], more: impl FnOnce(&mut Chain)) {
    net.script = Box::new(|s, _, p| match p {
        Packet::Ike(m) if s == Side::A && m[18] == Exchange::IKE_AUTH.0 => Fate::Drop,
        _ => Fate::Deliver,
    });
    net.start();
    net.run(MS * 100);
    net.script = Box::new(|_, _, _| Fate::Deliver);
    let request = net.log[0].1.clone();
    let nr = {
        let (_, r) = net.log.iter().find(|(s, _)| *s == Side::B).expect("answered");
        let h = Header::parse(r).expect("valid");
        Message::parse(h.first, &r[HEADER_LEN..]).expect("valid").nonce.expect("Nr").to_vec()
    };
    let now = net.now;
    let e = &mut net.gateways[0].endpoint;
    let State::AuthSent(s) = &mut e.state else { panic!("not in IKE_AUTH") };
    let sa = s.sa_mut();
    sa.unsend();
    let own = id::encode(&e.ctx.config.local_id);
    let octets = SignedOctets {
        prf: sa.suite.prf,
        sa: sa.proven(),
        sk_p: &sa.sk_pi,
        message: &request,
        nonce: &nr,
        id: &own,
        int_auth: &[],
    };
    let Ok(Step::Ready(proof)) = auth::sign(&e.ctx.config.auth, &octets, &[], PskSlot::Current) else {
        panic!("not a PSK")
    };
    let mut c = introduce(&e.ctx.config, true);
    more(&mut c);
    c.auth(proof.0, &proof.1);
    c.sa(&[good_esp(1, 0x1234_5678)]);
    c.ts(PayloadType::TSI, tsi);
    c.ts(PayloadType::TSR, tsr);
    sa.request(&mut e.ctx, now, Exchange::IKE_AUTH, c, Task::Auth);
    net.with(Side::A, |_, _| {});
    net.run(MS * 500);
}

/// The IKE_AUTH response that B holds back until its dataplane is ready, in other words.
pub(super) fn rewrite_held(net: &mut Net, f: impl FnOnce(Vec<(PayloadType, Vec<u8>)>, &mut Chain)) {
    let State::Established(s) = &mut net.gateways[1].endpoint.state else { panic!("not up") };
    let (first, bytes) = core::mem::take(&mut s.held[0].hold.chain).finish();
    let raw = crate::wire::payload::Payloads::new(first, &bytes).map(|raw| {
        let raw = raw.expect("ours");
        (raw.kind, raw.body.to_vec())
    });
    let mut c = Chain::new();
    f(raw.collect(), &mut c);
    s.held[0].hold.chain = c;
}

/// Outbound SPI of the SA that a side sends on.
pub(super) fn sends_on(net: &Net, side: Side) -> Option<u32> {
    let g = &net.gateways[side as usize];
    g.bound.and_then(|c| g.sa(c)).map(|(_, out)| out.spi.get())
}

pub(super) fn count(net: &Net, side: Side, wanted: impl Fn(&Event) -> bool) -> usize {
    net.gateways[side as usize].events.iter().filter(|e| wanted(e)).count()
}
