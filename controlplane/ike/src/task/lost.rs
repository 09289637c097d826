//! The peer has lost an IKE SA, and has proven it by its token (RFC 6290 §3): "silently delete the IKE SA … and all dependent
//! child SAs".

use super::{Task, Todo};
use crate::ctx::Ctx;
use crate::state::established::{End, Standing};
use crate::state::{Established, State};
use crate::wire::{Chain, Exchange};
use sipsec_net::Instant;

impl Established {
    pub fn on_lost(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, spi: u64) -> State {
        let mut result = Ok(());
        if self.slot(spi).is_some_and(|s| s.standing == Standing::Current) {
            // The peer may have replaced it, so that the one before is no loss.
            match self.candidate() {
                Some(next) => {
                    self.forget_own_ike_rekey();
                    self.switch_to(ctx, now, next);
                }
                None => result = Err(End::Lost),
            }
        }
        if result.is_ok() {
            self.keep_slots(|s| s.sa.local_spi() != spi);
        }
        self.proceed(ctx, now, result)
    }

    /// RFC 6290 §4.3: the initiator of a rekey gives its token in an exchange of its own.
    pub(super) fn want_token(&mut self, ctx: &Ctx) {
        if ctx.tokens.is_some() {
            self.enqueue(Todo::Token);
        }
    }

    pub(crate) fn send_token(&mut self, ctx: &mut Ctx, now: Instant) {
        let mut chain = Chain::new();
        let sa = &mut self.current_mut().sa;
        ctx.give_token(&mut chain, sa.spi_i, sa.spi_r);
        sa.request(ctx, now, Exchange::INFORMATIONAL, chain, Task::Token);
    }
}
