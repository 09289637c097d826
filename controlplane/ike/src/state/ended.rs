//! The end. What is kept serves the peer: our DELETE is retransmitted, its repeated requests get the cached response.

use crate::ctx::Ctx;
use crate::exchange::IkeSa;
use crate::task::Task;
use crate::wire::{Chain, Exchange, Header, NotifyType, ParseError};
use sipsec_net::Instant;

#[derive(Default)]
pub(crate) struct Ended {
    sas: Vec<IkeSa>,
}

impl Ended {
    /// Our DELETE is outstanding on `sa`, or the peer may not have had our last response.
    pub fn kept(sa: IkeSa) -> Self {
        Self { sas: vec![sa] }
    }

    /// DELETEs that are outstanding on any of them are repeated; nothing else is asked any more. What the peer has asked
    /// is answered as it would be now, so that what it asks next is in the window.
    pub fn all(ctx: &mut Ctx, mut sas: Vec<IkeSa>) -> Self {
        for sa in &mut sas {
            if !matches!(sa.task(), Some(Task::DeleteIke)) {
                let _ = sa.abandon_request();
            }
            if let Some((exchange, id)) = sa.unanswered() {
                sa.respond(ctx, exchange, id, answer_to(exchange));
            }
        }
        Self { sas }
    }

    pub fn owns(&self, header: &Header) -> bool {
        self.sas.iter().any(|sa| sa.is(header))
    }

    pub fn has_spis(&self, spis: (u64, u64)) -> bool {
        self.sas.iter().any(|sa| sa.has_spis(spis))
    }

    /// The IKE SAs, for a successor that goes on answering for them.
    pub fn into_sas(self) -> Vec<IkeSa> {
        self.sas
    }

    pub fn is_closing(&self) -> bool {
        self.sas.iter().any(|sa| !sa.can_request())
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.sas.iter().filter_map(IkeSa::deadline).min()
    }

    pub fn on_timeout(&mut self, ctx: &mut Ctx, now: Instant) {
        for sa in &mut self.sas {
            // An unanswered DELETE ends the same way as an answered one.
            let _ = sa.on_timeout(ctx, now, None);
        }
    }

    pub fn on_message(&mut self, ctx: &mut Ctx, now: Instant, header: &Header, bytes: &[u8]) {
        let Some(sa) = self.sas.iter_mut().find(|sa| sa.is(header)) else {
            ctx.counters.dropped_spi += 1;
            return;
        };
        let Some(incoming) = sa.receive(ctx, now, header, bytes) else { return };
        if incoming.answers.is_some() {
            return;
        }
        let mut chain = answer_to(incoming.exchange);
        if let Err(ParseError::UnsupportedCritical(p)) = incoming.message() {
            chain = Chain::new();
            chain.notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[p]);
        }
        sa.respond(ctx, incoming.exchange, incoming.id, chain);
    }
}

/// RFC 7296 §2.25.2: a request to close an SA that we are closing is answered as usual, one to make or rekey an SA with
/// TEMPORARY_FAILURE. Every INFORMATIONAL request gets the same empty answer.
pub(crate) fn answer_to(exchange: Exchange) -> Chain {
    let mut chain = Chain::new();
    if exchange != Exchange::INFORMATIONAL {
        chain.notify(NotifyType::TEMPORARY_FAILURE, &[]);
    }
    chain
}
