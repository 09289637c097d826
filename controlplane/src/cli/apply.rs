//! `sipsec diff`, `apply`, `confirm` and `rollback`: another profile for a running gateway.

use super::args::{ApplyArgs, Args};
use super::screen::Screen;
use super::{CliError, answered, print, text};
use crate::api::change::{Applied, Apply, Confirmed, NewProfile, Nothing, Rollback};
use crate::api::client::{Client, decode};
use crate::cli::gateway;
use crate::config::{self, Loaded};
use crate::files::replace;
use sipsec_profile::write::{self, Secrets};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A change waits for the dataplane, and reading thousands of tunnels takes time.
const PATIENCE: Duration = Duration::from_secs(90);

/// The gateway that is named, or the one whose profile this is.
fn client(args: &Args, new: Option<&Path>) -> Result<Client, CliError> {
    let named = args.gateway.is_some() || args.profile.is_some() || args.socket.is_some();
    let socket = match new.filter(|_| !named) {
        Some(new) => config::control_socket_of(new)?,
        None => gateway::socket(args)?,
    };
    Ok(Client::new(&socket).with_timeout(PATIENCE))
}

/// The profile, complete in one text.
fn complete(loaded: &Loaded) -> Result<String, CliError> {
    write::yaml(&loaded.profile, Secrets::Written).map_err(CliError::Words)
}

/// The directory matters to the gateway as little as this process does.
fn shown(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

pub fn diff(args: &Args, file: &Path) -> Result<(), CliError> {
    let loaded = config::load_for_gateway(file)?;
    let body = NewProfile { profile: complete(&loaded)?, file: shown(file) };
    let answer = client(args, Some(file))?.send_text("POST", "/v1/profile/diff", &body)?;
    say(answered(answer, args.json, text::preview)?, args.json)
}

pub fn apply(args: &Args, wanted: &ApplyArgs) -> Result<(), CliError> {
    let file = &wanted.file;
    let loaded = config::load_for_gateway(file)?;
    let client = client(args, Some(file))?;
    let profile = complete(&loaded)?;
    let body = Apply {
        profile: profile.clone(),
        file: shown(file),
        author: author(wanted.author.as_deref()),
        partial: wanted.partial,
        confirm_s: wanted.confirm,
    };
    let answer = client.send_text("POST", "/v1/profile/apply", &body)?;
    let mut applied: Applied = decode(&answer)?;
    if wanted.save {
        save(file, &profile, applied.start_file.as_deref())?;
        client.send::<_, Confirmed>("POST", "/v1/profile/saved", &Nothing {})?;
        applied.is_start_file = true;
    }
    if args.json {
        return print(&(answer + "\n"));
    }
    let mut shown = text::applied(&applied);
    if wanted.save {
        let target = applied.start_file.as_deref().unwrap_or_default();
        shown += &format!("{target} has it: a restart keeps it.\n");
    }
    say(shown, false)
}

pub fn confirm(args: &Args) -> Result<(), CliError> {
    let answer = client(args, None)?.send_text("POST", "/v1/profile/confirm", &Nothing {})?;
    let render = |c: &Confirmed| {
        format!(
            "Profile {} stays in force. `sipsec apply FILE --save` writes it over the start file.\n",
            c.number
        )
    };
    say(answered(answer, args.json, render)?, args.json)
}

pub fn rollback(args: &Args, number: Option<u64>, name: Option<&str>) -> Result<(), CliError> {
    let body = Rollback { number, author: author(name) };
    let answer = client(args, None)?.send_text("POST", "/v1/profile/rollback", &body)?;
    say(answered(answer, args.json, text::applied)?, args.json)
}

fn say(text: String, json: bool) -> Result<(), CliError> {
    print(&if json { text } else { Screen::detect().fit(&text) })
}

/// The person behind the command.
fn author(given: Option<&str>) -> String {
    let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let known = || ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(variable);
    let uid = || format!("uid {}", rustix::process::getuid().as_raw());
    given.map(str::to_owned).or_else(known).unwrap_or_else(uid)
}

/// Writes a profile over the start file: the whole new file or the old one, with its owner and mode.
fn save(new: &Path, profile: &str, start_file: Option<&str>) -> Result<(), CliError> {
    let start = start_file.map(PathBuf::from).ok_or_else(|| {
        CliError::Words(
            "the change is in force; the gateway was started without a file to save it in".to_owned(),
        )
    })?;
    let failed = |what: String| {
        CliError::Words(format!("the change is in force, but {} is not written: {what}", start.display()))
    };
    let real = |path: &Path| std::fs::canonicalize(path).map_err(|e| failed(e.to_string()));
    let (from, to) = (real(new)?, real(&start)?);
    if from == to {
        return Ok(());
    }
    let bytes = zeroize::Zeroizing::new(std::fs::read(&from).map_err(|e| failed(e.to_string()))?);
    // Files that it names relative to its own directory are others in the start file's.
    let there = config::parse_for_gateway(&to, &bytes)
        .map_err(|_| failed("it names files relative to its directory: write absolute paths".to_owned()))?;
    if complete(&there)? != profile {
        return Err(failed("it means something else there: write absolute paths".to_owned()));
    }
    let before = std::fs::metadata(&to).map_err(|e| failed(e.to_string()))?;
    let written = replace(&to, &bytes, before.permissions().mode() & 0o777)
        .and_then(|()| std::os::unix::fs::chown(&to, Some(before.uid()), Some(before.gid())));
    written.map_err(|e| failed(e.to_string()))
}
