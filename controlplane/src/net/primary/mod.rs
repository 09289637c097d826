//! Translation to primary lines (`nat.primary`). The kernel forwards and translates these packets; this task keeps its rules as
//! the profile wants them: at the start, after a change, and after another program has flushed them.
//!
//! The rules stay when the process ends, as routes do: hosts go on, and none of their addresses leaves untranslated.

mod rules;
mod translations;

pub use rules::{Rules, TUNNEL_DEVICES_MAX};
pub use translations::Translated;

use crate::net::netfilter::{Changes, Netfilter, blocking, explain};
use sipsec_abi::nfnetlink::IPV4;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The loop's end. The task ends with it.
#[derive(Debug)]
pub struct Primary {
    wanted: watch::Sender<Arc<Rules>>,
    failure: Arc<Mutex<Option<String>>>,
    _task: JoinSet<()>,
}

/// For those that show the translations.
#[derive(Clone, Debug)]
pub struct PrimaryView {
    wanted: watch::Receiver<Arc<Rules>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Primary {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(rules: Rules) -> Self {
        let (wanted, receiver) = watch::channel(Arc::new(rules));
        let failure = Arc::new(Mutex::new(None));
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(receiver, failure.clone()));
        Self { wanted, failure, _task: tasks }
    }

    pub fn set(&self, rules: Rules) {
        self.wanted.send_if_modified(|now| {
            let differs = **now != rules;
            if differs {
                *now = Arc::new(rules);
            }
            differs
        });
    }

    #[must_use]
    pub fn view(&self) -> PrimaryView {
        PrimaryView { wanted: self.wanted.subscribe(), failure: self.failure.clone() }
    }
}

impl PrimaryView {
    /// Why the rules are not in force; `None` without primaries.
    #[must_use]
    pub fn state(&self) -> Option<Result<(), String>> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!self.wanted.borrow().primary.is_empty()).then(|| failure.map_or(Ok(()), Err))
    }

    /// Translations of the kernel, at most so many.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub async fn translations(&self, max: usize) -> io::Result<Vec<Translated>> {
        let rules = self.wanted.borrow().clone();
        if rules.primary.is_empty() {
            return Ok(Vec::new());
        }
        blocking(move || translations::list(&rules.primary, max)).await
    }

    /// Ends the translations of a host, or all.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn clear(&self, host: Option<Ipv4Addr>) -> io::Result<usize> {
        let rules = self.wanted.borrow().clone();
        if rules.primary.is_empty() {
            return Ok(0);
        }
        blocking(move || translations::clear(&rules.primary, host)).await
    }
}

/// Ends with the sender.
async fn keep(mut wanted: watch::Receiver<Arc<Rules>>, failure: Arc<Mutex<Option<String>>>) {
    let mut last: Option<Arc<Rules>> = None;
    loop {
        let rules = wanted.borrow_and_update().clone();
        // Before the rules are looked at, so that no change is missed between.
        let mut changes = Changes::new(!rules.primary.is_empty());
        let (given, is_known) = (rules.clone(), last.as_ref() == Some(&rules));
        let result = blocking(move || reconcile(&given, is_known)).await;
        let problem = result.as_ref().err().map(|error| {
            explain(
                error,
                "nft_nat, nft_masq, nft_fib_ipv4, nft_ct and, for endpoint-independent filtering, nft_socket",
            )
        });
        let before =
            std::mem::replace(&mut *failure.lock().unwrap_or_else(PoisonError::into_inner), problem.clone());
        match (&result, &problem) {
            (Ok(true), _) => tracing::info!(
                table = rules.table,
                primaries = rules.primary.len(),
                again = is_known,
                "translation to primary lines is in force"
            ),
            (_, Some(reason)) if before != problem => {
                tracing::error!(reason, "no translation to primary lines; it is tried again");
            }
            _ => {}
        }
        let failed = result.is_err();
        last = (!failed).then_some(rules);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = changes.look_again(failed) => {}
        }
    }
}

/// Makes the table what it should be; whether it was not. With `is_known` it was once.
fn reconcile(rules: &Rules, is_known: bool) -> io::Result<bool> {
    let mut netfilter = match Netfilter::open() {
        // A kernel without netfilter has nothing of ours.
        Err(_) if rules.primary.is_empty() => return Ok(false),
        opened => opened?,
    };
    if rules.primary.is_empty() {
        if !netfilter.has_table(IPV4, &rules.table).unwrap_or(false) {
            return Ok(false);
        }
        netfilter.commit(&rules.batch())?;
        tracing::info!(table = rules.table, "translation to primary lines removed");
        return Ok(false);
    }
    let batch = rules.batch();
    if is_known && netfilter.rules(IPV4, &rules.table)? == batch.rules {
        return Ok(false);
    }
    netfilter.commit(&batch)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
