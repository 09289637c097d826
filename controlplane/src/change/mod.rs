//! Another profile for a running gateway.
//!
//! ```text
//!  API, SIGHUP, timer ─> Changer: read, compare, refuse ─> loop ─> core ─> dataplane
//!                          │    (one change at a time)        └─ swapped: profile, routes, log filter
//!                          └<─ recorded in the history ────────┘
//! ```
//! Files are read and profiles compared off the loop. A change that was begun is ended and recorded, even if the client
//! has disconnected.

mod error;
pub mod history;
mod prepare;
pub mod resume;
pub(crate) mod run;
mod view;

use crate::api::change::{Applied, Difference, Version};
use crate::clock;
use crate::config::{self, Profile};
use crate::net::sip::Setup;
pub use error::ChangeError;
use history::{History, Record};
use prepare::{Found, Prepared};
use sipsec_net::{Kbps, TelNumber};
use sipsec_profile::change::diff;
use sipsec_profile::write::{self, Secrets};
use sipsec_session::{Reconfiguration, ReconfigureError, Reconfigured};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use zeroize::Zeroizing;

/// A call is hung up only if an operator wants it to be: a shorter time could not be met by hand.
pub const CONFIRM_MIN: Duration = Duration::from_secs(10);
pub const CONFIRM_MAX: Duration = Duration::from_secs(86_400);
/// How long the dataplane may take for a change.
const APPLY_MAX: Duration = Duration::from_secs(60);

/// What the loop is asked.
#[derive(Debug)]
pub enum Request {
    InForce(oneshot::Sender<InForce>),
    Apply(Box<Change>, oneshot::Sender<Result<Reconfigured, ReconfigureError>>),
    /// The change stays.
    Confirm,
}

/// What becomes of the wait for a confirmation when a profile comes into force.
#[derive(Clone, Debug)]
pub enum Confirmation {
    /// Nothing waits any more.
    None,
    /// A change that waits goes on waiting: this one is not an operator's.
    Kept,
    /// The profile comes back after so long, unless the change is confirmed.
    Within(Duration, Arc<Profile>),
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    pub profile: Arc<Profile>,
    /// Calls that are up or being made, by the names of their tunnels.
    pub calls: HashMap<String, Call>,
    /// A change waits to be confirmed.
    pub waits: bool,
    /// Ids up to this have been used.
    pub last_id: u32,
    pub start_file: Option<PathBuf>,
    /// The number that DHCP has named for the line that the profile leaves to it, and the one in force.
    pub number: Option<TelNumber>,
    pub number_before: Option<TelNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub rate: Kbps,
    pub charged: Option<Duration>,
}

/// Everything that comes into force together.
#[derive(Debug)]
pub struct Change {
    pub profile: Arc<Profile>,
    pub core: Reconfiguration,
    /// How SIP is spoken with the carriers that it brings.
    pub sockets: BTreeMap<String, Setup>,
    /// The number of the line that the profile leaves to DHCP.
    pub number: Option<TelNumber>,
    pub confirmation: Confirmation,
}

/// Where a profile comes from.
#[derive(Debug)]
pub enum Source {
    /// From a user: its text, and the name of its file.
    Text { yaml: Zeroizing<String>, file: String },
    /// The start file, as it is now.
    StartFile(PathBuf),
    /// A profile of the history; without a number, the one before.
    Earlier(Option<u64>),
    /// What was in force before a change that was not confirmed.
    Back(Arc<Profile>),
    /// What is in force, because DHCP has named another number.
    Number(Arc<Profile>),
}

#[derive(Debug)]
pub struct Wish {
    pub source: Source,
    pub author: String,
    pub partial: bool,
    pub confirm: Option<Duration>,
}

/// Makes changes, one after the other.
#[derive(Clone, Debug)]
pub struct Changer {
    requests: mpsc::Sender<Request>,
    history: Arc<Mutex<History>>,
}

impl Changer {
    #[must_use]
    pub fn new(requests: mpsc::Sender<Request>, history: History) -> Self {
        Self { requests, history: Arc::new(Mutex::new(history)) }
    }

    /// What a profile would change.
    ///
    /// # Errors
    /// If it is none.
    pub async fn compare(&self, yaml: Zeroizing<String>, file: String) -> Result<Difference, ChangeError> {
        let state = self.state().await?;
        blocking(move || {
            let new = config::parse(&file, &yaml)?.profile;
            let diff = diff(&state.profile, &new);
            Ok(view::difference(&diff, &state, &new))
        })
        .await
    }

    /// Brings a profile into force.
    ///
    /// # Errors
    /// If nothing was changed.
    pub async fn apply(&self, wish: Wish) -> Result<Applied, ChangeError> {
        let this = self.clone();
        // A task of its own, so that what was begun is ended.
        tokio::spawn(async move { this.apply_whole(wish).await }).await.map_err(|_| ChangeError::Ended)?
    }

    async fn apply_whole(&self, wish: Wish) -> Result<Applied, ChangeError> {
        let history = Arc::clone(&self.history).lock_owned().await;
        if wish.confirm.is_some_and(|d| !(CONFIRM_MIN..=CONFIRM_MAX).contains(&d)) {
            return Err(ChangeError::Confirm);
        }
        let goes_back = matches!(wish.source, Source::Earlier(_) | Source::Back(_) | Source::Number(_));
        let is_number = matches!(wish.source, Source::Number(_));
        let state = self.state().await?;
        if state.waits && !goes_back {
            let waiting = || history.unconfirmed().map_or(history.current(), |w| w.number);
            let number = history.is_recorded().then(waiting);
            return Err(ChangeError::Unconfirmed(number));
        }
        let source = wish.source;
        let (history, found) = on_disk(history, |history| Found::of(source, history)).await?;
        let found = found?;
        if matches!(found, Found::Back(..)) && !state.waits {
            return Err(ChangeError::NothingToConfirm); // it was confirmed meanwhile
        }
        let (partial, confirm) = (wish.partial, wish.confirm);
        let prepared = blocking(move || Prepared::new(found, state, partial, confirm)).await?;
        let Prepared {
            change,
            yaml,
            difference,
            summary,
            left_out,
            warnings,
            start_file,
            earlier,
            file,
            same,
        } = prepared;
        // Nothing differs from what would come back.
        let confirm = confirm.filter(|_| !same);
        let outcome = self.change(change).await?;
        let mut applied = Applied {
            number: None,
            difference,
            left_out: left_out.iter().map(view::key_change).collect(),
            hung_up: outcome.hung_up as u64,
            confirm_within_s: confirm.map(|d| d.as_secs()),
            warnings,
            start_file: start_file.map(|p| p.display().to_string()),
            is_start_file: false,
        };
        // On disk only now: a crash before this comes back with the profile before.
        let unix_s = clock::unix_time_s();
        let until = confirm.map(|d| unix_s + d.as_secs());
        let (author, text) = (wish.author.clone(), summary.clone());
        let (history, recorded) = on_disk(history, move |history| match (earlier, same) {
            (Some(number), _) => history.back_to(number).map(|()| number),
            // The profile is the same: one that is not recorded, and perhaps waits, stays so.
            (None, _) if is_number => Ok(history.current()),
            (None, true) if history.is_recorded() => Ok(history.current()),
            (None, _) => {
                let file = file.as_deref();
                history.applied(&Record { unix_s, author: &author, summary: &text, file, yaml: &yaml }, until)
            }
        })
        .await?;
        match recorded {
            Ok(number) => applied.number = Some(number).filter(|n| *n > 0 && history.is_recorded()),
            Err(error) => {
                tracing::error!(%error, "the change is in force and not recorded");
                applied.warnings.push(format!("the change is in force, but a restart forgets it: {error}"));
            }
        }
        applied.is_start_file = history.is_recorded() && history.start() == history.current();
        tracing::info!(
            number = applied.number,
            author = wish.author,
            summary,
            hung_up = applied.hung_up,
            "another profile is in force"
        );
        Ok(applied)
    }

    /// An unconfirmed change stays.
    ///
    /// # Errors
    /// If there is none, or it cannot be recorded.
    pub async fn confirm(&self) -> Result<u64, ChangeError> {
        let history = Arc::clone(&self.history).lock_owned().await;
        let state = self.state().await?;
        if !state.waits {
            return Err(ChangeError::NothingToConfirm);
        }
        let (_history, confirmed) = on_disk(history, move |history| {
            let known = if history.is_recorded() { history.confirm()? } else { None };
            if let Some(number) = known {
                return Ok(number);
            }
            // It could not be recorded when it came into force.
            let yaml = prepare::yaml(&state.profile, "")?;
            let summary = "confirmed; not recorded before";
            let unix_s = clock::unix_time_s();
            let record = Record { unix_s, author: "", summary, file: None, yaml: &yaml };
            Ok::<_, ChangeError>(history.applied(&record, None)?)
        })
        .await?;
        let number = confirmed?;
        self.requests.send(Request::Confirm).await.map_err(|_| ChangeError::Ended)?;
        tracing::info!(number, "the change is confirmed");
        Ok(number)
    }

    /// The start file has the profile in force from now on.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub async fn saved(&self) -> Result<u64, ChangeError> {
        let history = Arc::clone(&self.history).lock_owned().await;
        let (history, saved) = on_disk(history, History::saved).await?;
        saved?;
        Ok(history.current())
    }

    /// What is in force, as YAML without secrets.
    ///
    /// # Errors
    /// If the control plane ends.
    pub async fn running(&self) -> Result<String, ChangeError> {
        let state = self.state().await?;
        blocking(move || Ok(write::yaml(&state.profile, Secrets::Hidden).unwrap_or_default())).await
    }

    pub async fn versions(&self) -> Vec<Version> {
        let history = self.history.lock().await;
        view::versions(&history, clock::unix_time_s())
    }

    async fn state(&self) -> Result<InForce, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::InForce(reply)).await.map_err(|_| ChangeError::Ended)?;
        answer.await.map_err(|_| ChangeError::Ended)
    }

    async fn change(&self, change: Box<Change>) -> Result<Reconfigured, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Apply(change, reply)).await.map_err(|_| ChangeError::Ended)?;
        match tokio::time::timeout(APPLY_MAX, answer).await {
            Ok(Ok(result)) => result.map_err(|error| ChangeError::Refused { error }),
            Ok(Err(_)) => Err(ChangeError::Ended),
            Err(_) => Err(ChangeError::Timeout),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ChangeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ChangeError::Ended)?
}

/// The history stays locked meanwhile and is given back.
async fn on_disk<T: Send + 'static>(
    mut history: OwnedMutexGuard<History>,
    work: impl FnOnce(&mut History) -> T + Send + 'static,
) -> Result<(OwnedMutexGuard<History>, T), ChangeError> {
    let done = tokio::task::spawn_blocking(move || {
        let out = work(&mut history);
        (history, out)
    });
    done.await.map_err(|_| ChangeError::Ended)
}
