//! The command line `sipsec`: asks the control plane and prints. IOS's way of shortening words works (`sh vpn ses d`).

pub mod args;
pub mod pki;
pub mod text;

use crate::api::client::{self, Client, ClientError};
use crate::api::model::{self, Answer};
use crate::config::{self, RUNTIME_ROOT};
use args::{Args, Clear, Command, Crypto, Ip, SessionArgs, Show, Sip, VpnSip};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Load(#[from] config::LoadError),
    #[error(
        "no gateway runs here: there is no control.sock below {RUNTIME_ROOT}\n\
         start one with `systemctl start sipsec-controlplane@NAME` or `sipsec-controlplane --profile FILE`;\n\
         if it runs elsewhere, name it with --profile FILE or --socket PATH"
    )]
    NoGateway,
    #[error("several gateways run here: {0}; name one with --profile FILE or --socket PATH")]
    SeveralGateways(String),
    #[error("{0}")]
    Pki(#[from] pki::PkiError),
    #[error("{0}")]
    Words(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs a command; the exit code is 1 for a finding of `check`, 2 for an error.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        // `sipsec monitor | head` is not an error.
        Err(CliError::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sipsec: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Check { file } => return check(file, args.json),
        Command::Show(show) => {
            let client = Client::new(&socket(args)?);
            print(&self::show(&client, show, args.json)?)?;
        }
        Command::Clear(Clear::VpnSip { words, .. }) => {
            let body = model::Clear { remote_number: clear_words(words)? };
            let answer = Client::new(&socket(args)?).send_text("POST", "/v1/clear", &body)?;
            let text = |c: &model::Cleared| format!("{} session(s) cleared\n", c.sessions);
            print(&answered(answer, args.json, text)?)?;
        }
        Command::Pki(pki) => print(&pki::run(pki, args.json)?)?,
        Command::Monitor => {
            for line in Client::new(&socket(args)?).stream("/v1/events")? {
                let line = line.map_err(ClientError::from)?;
                match serde_json::from_str(&line) {
                    Ok(event) if !args.json => print(&(text::event(&event) + "\n"))?,
                    _ => print(&(line + "\n"))?,
                }
            }
            return Err(ClientError::Ended.into());
        }
        Command::Log { filter } => {
            let body = model::LogFilter { filter: filter.clone() };
            let answer = Client::new(&socket(args)?).send_text("PUT", "/v1/log-filter", &body)?;
            let text = |set: &model::LogFilter| format!("log filter is now {}\n", set.filter);
            print(&answered(answer, args.json, text)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn show(client: &Client, show: &Show, json: bool) -> Result<String, CliError> {
    match show {
        Show::VpnSip(VpnSip::Session { words }) => {
            let wanted = SessionArgs::parse(words).map_err(CliError::Words)?;
            let path = match &wanted.remote_number {
                Some(number) => format!("/v1/sessions?remote_number={number}"),
                None => "/v1/sessions".to_owned(),
            };
            ask(client, &path, json, |list: &Vec<_>| text::sessions(list, wanted.detail))
        }
        Show::VpnSip(VpnSip::RegistrationStatus) => {
            ask(client, "/v1/registrations", json, |list: &Vec<_>| text::registration_status(list))
        }
        Show::VpnSip(VpnSip::Sip(Sip::Registrar)) => {
            let path = "/v1/registrations?registered=true";
            ask(client, path, json, |list: &Vec<_>| text::registrar(list))
        }
        Show::Crypto(Crypto::Session { detail }) => {
            let detail = detail.is_some();
            ask(client, "/v1/crypto-sessions", json, |list: &Vec<_>| text::crypto_sessions(list, detail))
        }
        Show::Ip(Ip::Nat { .. }) => {
            ask(client, "/v1/nat-translations", json, |list: &Vec<_>| text::translations(list))
        }
        Show::Dataplane => ask(client, "/v1/dataplane", json, text::dataplane),
        Show::Control => ask(client, "/v1/control", json, text::control),
    }
}

fn ask<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    json: bool,
    render: impl FnOnce(&T) -> String,
) -> Result<String, CliError> {
    answered(client.get_text(path)?, json, render)
}

/// The answer as it came, or as text.
fn answered<T: DeserializeOwned>(
    answer: String,
    json: bool,
    render: impl FnOnce(&T) -> String,
) -> Result<String, CliError> {
    if json { Ok(answer + "\n") } else { Ok(render(&client::decode(&answer)?)) }
}

/// What needs no gateway, as those answer.
fn envelope(data: &impl Serialize) -> String {
    format!("{}\n", serde_json::json!(Answer::new(None, data)))
}

fn clear_words(words: &[String]) -> Result<Option<String>, CliError> {
    match words {
        [] => Ok(None),
        [word, number] if "remote-number".starts_with(word.as_str()) => Ok(Some(number.clone())),
        _ => Err(CliError::Words("usage: sipsec clear vpn-sip session [remote-number NUMBER]".to_owned())),
    }
}

/// Where the control plane listens: named, of a profile, or the only one that runs.
fn socket(args: &Args) -> Result<PathBuf, CliError> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    if let Some(profile) = &args.profile {
        return Ok(config::control_socket_of(profile)?);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(RUNTIME_ROOT)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| config::profile::control_socket(&entry.path()))
        .filter(|socket| socket.exists())
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Err(CliError::NoGateway),
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|s| s.parent()?.file_name()?.to_str()).collect();
            Err(CliError::SeveralGateways(names.join(", ")))
        }
    }
}

fn check(file: &Path, json: bool) -> Result<ExitCode, CliError> {
    let findings = match config::load(file) {
        Ok(loaded) => loaded.findings,
        Err(config::LoadError::Findings(findings)) => findings,
        Err(error) => return Err(error.into()),
    };
    if json {
        print(&envelope(&serde_json::json!({
            "errors": findings.errors(),
            "warnings": findings.warnings(),
            "findings": findings.list,
            "more": findings.more,
        })))?;
    } else {
        print(&findings.render(std::io::stdout().is_terminal()))?;
    }
    Ok(if findings.errors() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
