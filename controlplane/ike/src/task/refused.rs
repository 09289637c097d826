//! Rekeys that come to nothing: when to ask again, and when that is hopeless (RFC 7296 §2.25).

use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::wire::NotifyType;
use core::time::Duration;
use sipsec_net::Instant;

/// RFC 7296 §2.25: TEMPORARY_FAILURE "after several minutes" means that the two states differ.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// Half of each wait is jitter, so that two peers do not meet again.
pub(crate) const RETRY_JITTER_PERCENT: u32 = 50;
/// Each further refusal doubles the wait, this many times at most.
const DOUBLINGS_MAX: u32 = 4;

/// RFC 9370 §2.2.4: a peer that forgets "several" rekeys in the middle ends the IKE SA.
const FORGOTTEN_MAX: u32 = 4;

/// Refusals in a row.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Refused {
    doublings: u32,
    temporary_since: Option<Instant>,
    forgotten: u32,
}

impl Refused {
    /// When to try again. A peer that refuses for good is asked less and less, until the hard limit decides; one that is
    /// busy is asked as soon as it may be done.
    ///
    /// # Errors
    /// If it has been busy for too long, or forgets each rekey that it has begun.
    pub fn note(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        kind: Option<NotifyType>,
        wait: Duration,
    ) -> Result<Instant, IkeError> {
        self.forgotten = if kind == Some(NotifyType::STATE_NOT_FOUND) { self.forgotten + 1 } else { 0 };
        if self.forgotten >= FORGOTTEN_MAX {
            return Err(IkeError::PeerNotify { notify: NotifyType::STATE_NOT_FOUND.0 });
        }
        let wait = if kind == Some(NotifyType::TEMPORARY_FAILURE) {
            let since = *self.temporary_since.get_or_insert(now);
            if now > since + STUCK_AFTER {
                return Err(IkeError::PeerNotify { notify: NotifyType::TEMPORARY_FAILURE.0 });
            }
            wait
        } else {
            self.temporary_since = None;
            let doubled = wait.saturating_mul(1 << self.doublings);
            self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
            doubled
        };
        Ok(now + ctx.jittered(wait, RETRY_JITTER_PERCENT))
    }
}
