//! Another profile for a running gateway.
//!
//! ```text
//!  API, SIGHUP, timer ─> Changer: read, compare, refuse ─> loop ─> core ─> dataplane
//!                          │    (one change at a time)        └─ swapped: profile, routes, log filter
//!                          └<─ recorded in the history ────────┘
//! ```
//! Files are read and profiles compared off the loop. A change that was begun is ended and recorded, even if the one who
//! asked for it does not wait.

pub mod history;
pub mod resume;
pub(crate) mod run;
mod view;

use crate::api::change::{Applied, Difference, Version};
use crate::clock;
use crate::config::{self, LoadError, Profile};
use crate::crash_secret;
use crate::net::sip::Setup;
use crate::setup::{self, SetupError};
use history::{History, HistoryError, Record};
use sipsec_net::{Kbps, TelNumber, TunnelId};
use sipsec_profile::change::{Diff, diff, locked, without_restart};
use sipsec_profile::write::{self, Secrets};
use sipsec_session::{Reconfiguration, ReconfigureError, Reconfigured};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{0}")]
    Profile(#[from] LoadError),
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("{error}; {}", error.cure())]
    Refused { error: ReconfigureError },
    #[error("{0}")]
    History(#[from] HistoryError),
    #[error("{}", needs_restart(.0))]
    Restart(Vec<sipsec_profile::change::Change>),
    #[error("route policy: {0}")]
    Policy(#[from] sipsec_track::ConfigError),
    #[error("{}", refused_by_ios(.0))]
    Locked(Vec<String>),
    #[error("change {0} waits to be confirmed: `sipsec confirm` keeps it, `sipsec rollback` takes it back")]
    Unconfirmed(u64),
    #[error("no change waits to be confirmed")]
    NothingToConfirm,
    #[error("the history has no profile {0}: `sipsec show configuration history` lists them")]
    NoSuch(u64),
    #[error("the history has no profile before this one")]
    NoneBefore,
    #[error("--confirm takes {} to {} seconds", CONFIRM_MIN.as_secs(), CONFIRM_MAX.as_secs())]
    Confirm,
    #[error("the control plane is shutting down")]
    Ended,
    #[error(
        "the dataplane did not answer within {} s; `sipsec show configuration history` says what is in force",
        APPLY_MAX.as_secs()
    )]
    Timeout,
}

fn needs_restart(changes: &[sipsec_profile::change::Change]) -> String {
    let mut out = String::from("these keys need a restart, so nothing was changed:\n");
    for change in changes {
        let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "absent".to_owned());
        let (path, process) = (&change.path, view::restarts(&change.path));
        out +=
            &format!("  {path}: {} now, {} wanted: {process}\n", value(&change.before), value(&change.after));
    }
    out + "`--partial` applies the rest; or write the profile over the start file and restart what is named"
}

fn refused_by_ios(reasons: &[String]) -> String {
    let mut out = String::from("the profile in force has `compat: cisco`, so nothing was changed:\n");
    for reason in reasons {
        out += &format!("  {reason}\n");
    }
    out + "or apply a profile without `compat: cisco` first"
}

/// What the loop is asked.
#[derive(Debug)]
pub enum Request {
    InForce(oneshot::Sender<InForce>),
    Apply(Box<Change>, oneshot::Sender<Result<Reconfigured, ReconfigureError>>),
    /// The change stays.
    Confirm,
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    pub profile: Arc<Profile>,
    /// Calls that are up or being made, by the names of their tunnels.
    pub calls: HashMap<String, Call>,
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
    /// What comes back, and after how long, unless it is confirmed.
    pub confirm: Option<(Duration, Arc<Profile>)>,
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
        if let Some(waits) = history.unconfirmed().filter(|_| !goes_back) {
            return Err(ChangeError::Unconfirmed(waits.number));
        }
        let source = wish.source;
        let (history, found) = on_disk(history, |history| Found::of(source, history)).await?;
        let found = found?;
        let state = self.state().await?;
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
            (None, true) => Ok(history.current()),
            (None, false) => {
                let file = file.as_deref();
                history.applied(&Record { unix_s, author: &author, summary: &text, file, yaml: &yaml }, until)
            }
        })
        .await?;
        match recorded {
            Ok(number) => applied.number = Some(number).filter(|n| *n > 0),
            Err(error) => {
                tracing::error!(%error, "the change is in force and not recorded");
                applied.warnings.push(format!("the change is in force, but a restart forgets it: {error}"));
            }
        }
        applied.is_start_file = history.start() == history.current();
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
        let (_history, confirmed) = on_disk(history, History::confirm).await?;
        let number = confirmed?.ok_or(ChangeError::NothingToConfirm)?;
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

/// A profile to come into force.
enum Found {
    Text { yaml: Zeroizing<String>, file: String, earlier: Option<u64> },
    File(PathBuf),
    Back(Arc<Profile>, Option<u64>),
}

impl Found {
    fn of(source: Source, history: &History) -> Result<Self, ChangeError> {
        Ok(match source {
            Source::Text { yaml, file } => Self::Text { yaml, file, earlier: None },
            Source::StartFile(path) => Self::File(path),
            Source::Number(profile) => Self::Back(profile, None),
            Source::Back(profile) => Self::Back(profile, history.unconfirmed().map(|u| u.previous)),
            Source::Earlier(wanted) => {
                let before = history.unconfirmed().map(|u| u.previous).or_else(|| history.previous());
                let number = wanted.or(before).ok_or(ChangeError::NoneBefore)?;
                history.entry(number).ok_or(ChangeError::NoSuch(number))?;
                let yaml = history.profile(number)?;
                Self::Text { yaml, file: format!("profile {number} of the history"), earlier: Some(number) }
            }
        })
    }
}

/// A change that is ready to be made.
struct Prepared {
    change: Box<Change>,
    yaml: Zeroizing<String>,
    difference: Difference,
    summary: String,
    left_out: Vec<sipsec_profile::change::Change>,
    warnings: Vec<String>,
    start_file: Option<PathBuf>,
    /// The number of the profile, if it was in force before.
    earlier: Option<u64>,
    file: Option<String>,
    /// Nothing differs but what files of keys may hold.
    same: bool,
}

impl Prepared {
    fn new(
        found: Found,
        state: InForce,
        partial: bool,
        confirm: Option<Duration>,
    ) -> Result<Self, ChangeError> {
        let (mut new, findings, file, earlier) = match found {
            Found::Text { yaml, file, earlier } => {
                let loaded = config::parse(&file, &yaml)?;
                (loaded.profile, Some(loaded.findings), earlier.is_none().then_some(file), earlier)
            }
            Found::File(path) => {
                let loaded = config::load_to_run(&path)?;
                (loaded.profile, Some(loaded.findings), Some(path.display().to_string()), None)
            }
            Found::Back(profile, earlier) => (Profile::clone(&profile), None, None, earlier),
        };
        let mut found = diff(&state.profile, &new);
        let locked = locked(&state.profile, &found);
        if !locked.is_empty() && earlier.is_none() {
            return Err(ChangeError::Locked(locked));
        }
        let left_out: Vec<_> = found.restart().cloned().collect();
        if !left_out.is_empty() {
            if !partial {
                return Err(ChangeError::Restart(left_out));
            }
            new = without_restart(&state.profile, &new);
            // What is left out may be what the rest refers to.
            let rest = write::yaml(&new, Secrets::Written).unwrap_or_default();
            config::parse("the rest without what needs a restart", &Zeroizing::new(rest))?;
            found = diff(&state.profile, &new);
        }
        setup::track_config(&new).check()?;
        number(&mut new, &found, &state);
        let difference = view::difference(&found, &state, &new);
        let other_number = new.learns_number().filter(|_| state.number != state.number_before);
        if let Some(carrier) = other_number {
            found.replaced.insert(carrier.to_owned());
        }
        let mut core = match state.number.filter(|_| new.learns_number().is_some()) {
            Some(number) => reconfiguration(&state.profile, &new.with_number(number), &found)?,
            None => reconfiguration(&state.profile, &new, &found)?,
        };
        if other_number.is_some() {
            let theirs = new.tunnels.iter().filter(|t| t.local_number == TelNumber::DHCP);
            core.bounced.extend(theirs.map(|t| t.id));
        }
        let brought = |name: &str| found.replaced.contains(name) || state.profile.sip_named(name).is_none();
        let mut sockets = BTreeMap::new();
        for (name, sip) in new.all_carriers().filter(|(name, _)| brought(name)) {
            sockets.insert(name.to_owned(), setup::transports(&new, sip)?);
        }
        let yaml = write::yaml(&new, Secrets::Written).map_err(|error| {
            ChangeError::Profile(LoadError::Read {
                path: file.clone().unwrap_or_default().into(),
                error: std::io::Error::other(error),
            })
        })?;
        let warnings = findings.iter().flat_map(|f| &f.list).map(|f| format!("{}: {}", f.path, f.message));
        Ok(Self {
            yaml: Zeroizing::new(yaml),
            difference,
            summary: found.summary(),
            left_out,
            warnings: warnings.collect(),
            start_file: state.start_file.clone(),
            earlier,
            file,
            same: found.is_empty(),
            change: Box::new(Change {
                profile: Arc::new(new),
                core,
                sockets,
                number: state.number,
                confirm: confirm.map(|d| (d, state.profile)),
            }),
        })
    }
}

/// A tunnel that stays keeps its id; a new one gets an id that none had in this run.
fn number(new: &mut Profile, diff: &Diff, state: &InForce) {
    for &(i, j) in &diff.kept {
        new.tunnels[j].id = state.profile.tunnels[i].id;
    }
    for (&j, id) in diff.added.iter().zip(state.last_id + 1..) {
        new.tunnels[j].id = TunnelId(id);
    }
}

fn reconfiguration(old: &Profile, new: &Profile, diff: &Diff) -> Result<Reconfiguration, SetupError> {
    let mut config = setup::core_config(new)?;
    config.ike.crash_detection = crash_secret::load(new);
    let kept: BTreeSet<usize> = diff.kept.iter().map(|(i, _)| *i).collect();
    let bounced: BTreeSet<TunnelId> =
        diff.bounced.keys().filter(|i| kept.contains(i)).map(|i| old.tunnels[*i].id).collect();
    Ok(Reconfiguration {
        tunnels: config.tunnels,
        keyring: config.keyring,
        ike: config.ike,
        carriers: config.carriers,
        replaced: diff.replaced.clone(),
        outside: config.outside,
        bounced,
    })
}
