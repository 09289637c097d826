//! Recent answers, so that a repeated transaction gets the same answer instead of being applied twice.

use sipsec_net::TxnId;
use sipsec_net::dp::Event;

/// Answers remembered. More than transactions that fit the command ring, so that one whose answer was lost is still known.
pub const ANSWERS_MAX: usize = 512;

/// What to do with a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not seen yet: apply it and [`TxnLog::record`] the answer.
    Fresh,
    /// Done already: send this answer again.
    Repeated(Event),
    /// Not newer than those that were answered, and forgotten: refuse it, for it may have been applied.
    Stale,
}

/// The log of one connection. Ids restart with the next connection.
#[derive(Debug)]
pub struct TxnLog {
    /// A ring of the last answers, oldest overwritten first.
    answers: Box<[Option<(TxnId, Event)>; ANSWERS_MAX]>,
    next: usize,
    /// Ids rise strictly.
    newest: Option<TxnId>,
}

impl Default for TxnLog {
    fn default() -> Self {
        Self { answers: Box::new([const { None }; ANSWERS_MAX]), next: 0, newest: None }
    }
}

impl TxnLog {
    #[must_use]
    pub fn admit(&self, txn: TxnId) -> Admission {
        if self.newest.is_none_or(|newest| txn > newest) {
            return Admission::Fresh;
        }
        let answered = self.answers.iter().flatten().find(|(id, _)| *id == txn);
        answered.map_or(Admission::Stale, |(_, answer)| Admission::Repeated(answer.clone()))
    }

    /// Remembers the answer to a transaction; any other event is not one and is ignored.
    pub fn record(&mut self, answer: &Event) {
        let (Event::Applied(txn) | Event::Rejected { txn, .. }) = *answer else { return };
        self.answers[self.next] = Some((txn, answer.clone()));
        self.next = (self.next + 1) % ANSWERS_MAX;
        self.newest = self.newest.max(Some(txn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::dp::RejectReason;

    #[test]
    fn a_repeated_transaction_gets_its_first_answer_until_it_is_forgotten() {
        let mut log = TxnLog::default();
        assert_eq!(log.admit(TxnId(7)), Admission::Fresh);
        let refused = Event::Rejected { txn: TxnId(7), op: 3, reason: RejectReason::TableFull };
        log.record(&refused);
        assert_eq!(log.admit(TxnId(7)), Admission::Repeated(refused.clone()));
        // Ids rise: an older id that is not in the log may have been applied already.
        assert_eq!(log.admit(TxnId(6)), Admission::Stale);
        for id in 8..8 + ANSWERS_MAX as u64 - 1 {
            assert_eq!(log.admit(TxnId(id)), Admission::Fresh);
            log.record(&Event::Applied(TxnId(id)));
        }
        assert_eq!(log.admit(TxnId(7)), Admission::Repeated(refused));
        log.record(&Event::Applied(TxnId(8 + ANSWERS_MAX as u64)));
        assert_eq!(log.admit(TxnId(7)), Admission::Stale);
        assert_eq!(log.admit(TxnId(8)), Admission::Repeated(Event::Applied(TxnId(8))));
    }
}
