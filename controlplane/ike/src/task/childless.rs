//! An IKE SA without a CHILD_SA carries nothing, and the call that it belongs to is paid for.

use super::child::Stage;
use super::{Task, Todo};
use crate::error::CloseCause;
use crate::state::Established;
use crate::state::established::End;
use core::time::Duration;
use sipsec_net::Instant;

/// The peer may delete one CHILD_SA and then make another (RFC 7296 §1.4.1); in this time it has to.
const GRACE: Duration = Duration::from_secs(1);

impl Established {
    /// Called after each input: notes whether a CHILD_SA is left, or on its way.
    pub(crate) fn watch_children(&mut self, now: Instant) {
        let carries = |stage| !matches!(stage, Stage::Redundant | Stage::Deleting | Stage::Retired { .. });
        let left = self.children.iter().any(|c| carries(c.stage))
            || self.gen_child.is_some()
            || self.agree_child.is_some()
            || !self.answer_children.is_empty()
            || self.queue.contains(&Todo::FirstChild)
            || matches!(self.current().sa.task(), Some(Task::RekeyChild(_)));
        self.childless_until = if left { None } else { Some(self.childless_until.unwrap_or(now + GRACE)) };
    }

    pub(super) fn poll_childless(&mut self, now: Instant) -> Result<(), End> {
        if self.childless_until.is_none_or(|until| until > now) {
            return Ok(());
        }
        Err(match self.childless_why.take() {
            Some(error) => End::Failed { error, keep: None },
            None => End::Closed { cause: CloseCause::NoChild, keep: None },
        })
    }
}
