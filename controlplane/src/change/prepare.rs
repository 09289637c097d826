//! From a profile that is wanted to a change that is ready to be made: read, compared, refused.

use super::history::History;
use super::{Change, ChangeError, Confirmation, InForce, Source, view};
use crate::api::change::Difference;
use crate::config::{self, LoadError, Profile};
use crate::crash_secret;
use crate::setup::{self, SetupError};
use sipsec_net::{TelNumber, TunnelId};
use sipsec_profile::change::{Diff, diff, locked, without_restart};
use sipsec_profile::write::{self, Secrets};
use sipsec_session::Reconfiguration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A profile to come into force.
pub(super) enum Found {
    Text {
        yaml: Zeroizing<String>,
        file: String,
        earlier: Option<u64>,
    },
    File(PathBuf),
    /// What was in force before a change that was not confirmed, and its number.
    Back(Arc<Profile>, Option<u64>),
    /// What is in force.
    Same(Arc<Profile>),
}

impl Found {
    pub fn of(source: Source, history: &History) -> Result<Self, ChangeError> {
        Ok(match source {
            Source::Text { yaml, file } => Self::Text { yaml, file, earlier: None },
            Source::StartFile(path) => Self::File(path),
            Source::Number(profile) => Self::Same(profile),
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

/// The profile as the history has it; `file` is where it comes from.
pub(super) fn yaml(profile: &Profile, file: &str) -> Result<Zeroizing<String>, ChangeError> {
    write::yaml(profile, Secrets::Written).map(Zeroizing::new).map_err(|error| {
        ChangeError::Profile(LoadError::Read { path: file.into(), error: std::io::Error::other(error) })
    })
}

/// A change that is ready to be made.
pub(super) struct Prepared {
    pub change: Box<Change>,
    pub yaml: Zeroizing<String>,
    pub difference: Difference,
    pub summary: String,
    pub left_out: Vec<sipsec_profile::change::Change>,
    pub warnings: Vec<String>,
    pub start_file: Option<PathBuf>,
    /// The number of the profile, if it was in force before.
    pub earlier: Option<u64>,
    pub file: Option<String>,
    /// Nothing differs but what files of keys may hold.
    pub same: bool,
}

impl Prepared {
    pub fn new(
        found: Found,
        state: InForce,
        partial: bool,
        confirm: Option<Duration>,
    ) -> Result<Self, ChangeError> {
        let is_wish = matches!(found, Found::Text { earlier: None, .. } | Found::File(_));
        let is_same = matches!(found, Found::Same(_));
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
            Found::Same(profile) => (Profile::clone(&profile), None, None, None),
        };
        let mut found = diff(&state.profile, &new);
        let locked = locked(&state.profile, &found);
        if !locked.is_empty() && is_wish {
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
        let yaml = yaml(&new, file.as_deref().unwrap_or_default())?;
        let warnings = findings.iter().flat_map(|f| &f.list).map(|f| format!("{}: {}", f.path, f.message));
        Ok(Self {
            yaml,
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
                confirmation: match confirm.filter(|_| !found.is_empty()) {
                    Some(within) => Confirmation::Within(within, state.profile),
                    None if is_same => Confirmation::Kept,
                    None => Confirmation::None,
                },
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
