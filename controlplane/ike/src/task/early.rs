//! Requests on an IKE SA that is ours in a moment. The peer has answered our rekey of the IKE SA, so for it the new one is up;
//! here the answer is still on its way, or its key exchange is being computed. Dropped, such a request would come again only
//! after the peer's time-out.

use crate::ctx::Ctx;
use crate::state::{Established, State};
use crate::wire::Header;
use sipsec_net::Instant;

/// Datagrams kept: the peer's window is 1, and a request has few fragments.
const EARLY_MAX: usize = 4;

impl Established {
    /// Keeps a message of an unknown IKE SA, if it may be of the one that our rekey makes: its initiator is we, and the
    /// SPI that we gave it was never sent in clear.
    pub(crate) fn keep_early(&mut self, header: &Header, bytes: &[u8]) -> bool {
        let ours = self.own_ike_rekey().is_some_and(|ours| ours.spi == header.spi_i);
        let keeps = ours && !header.response && !header.from_initiator && self.early.len() < EARLY_MAX;
        if keeps {
            self.early.push_back(bytes.to_vec());
        }
        keeps
    }

    /// An IKE SA with this SPI of its initiator is being made by a rekey, or was offered for one.
    pub(crate) fn is_being_made(&mut self, spi_i: u64) -> bool {
        self.own_ike_rekey().is_some_and(|ours| ours.spi == spi_i)
            || self.answer_ikes.iter().any(|a| a.spi_i == spi_i)
    }

    /// What was kept is processed when the rekey is over, also when it has failed.
    pub(crate) fn take_early(&mut self) -> Option<Vec<u8>> {
        if self.own_ike_rekey().is_some() {
            return None;
        }
        self.early.pop_front()
    }

    /// The end comes before the rekey is over.
    pub(crate) fn drop_early(&mut self, ctx: &mut Ctx) {
        ctx.counters.dropped_spi += self.early.len() as u64;
        self.early.clear();
    }

    /// The same as if it came now.
    pub(crate) fn resume_early(self: Box<Self>, ctx: &mut Ctx, now: Instant, bytes: &[u8]) -> State {
        match Header::split(bytes) {
            Ok((header, bytes)) => self.on_message(ctx, now, &header, bytes),
            Err(_) => State::Established(self),
        }
    }
}
