//! The command line `sipsec`: asks the control plane and prints. IOS's way of shortening words works (`sh vpn ses d`).

mod apply;
pub mod args;
mod call;
mod check;
mod explain;
mod gateway;
pub mod import;
pub mod pki;
mod rehearse;
pub mod running;
pub mod screen;
mod show;
pub mod text;

use crate::api::client::{self, Client, ClientError};
use crate::api::model::{self, Answer};
use crate::config;
use args::{Args, Clear, ClearArgs, ClearIp, Command, Explain, Show};
use clap::CommandFactory;
use gateway::socket;
use screen::{Screen, Wall};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use text::counted;

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Load(#[from] config::LoadError),
    #[error("{0}")]
    Gateway(#[from] gateway::GatewayError),
    #[error("{0}")]
    Pki(#[from] pki::PkiError),
    #[error("{0}")]
    Words(String),
    #[error("nothing was hung up")]
    Declined,
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs a command; the exit code is 1 for a finding of `check`, 2 for an error, and that of Nagios plugins for `health`.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        // `sipsec monitor | head` is not an error.
        Err(CliError::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", Screen::of_errors().fit(&format!("sipsec: {error}")));
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Check { files, explain } => return check::run(args, files, explain.as_deref()),
        Command::Call { number, dry_run: true, .. } => return rehearse::dry_run(args, *number),
        Command::Call { number, command, .. } => return call::run(args, *number, command),
        Command::Register { .. } => return rehearse::register_once(args),
        Command::Diff { file } => apply::diff(args, file)?,
        Command::Apply(wanted) => apply::apply(args, wanted)?,
        Command::Confirm => apply::confirm(args)?,
        Command::Rollback { number, author } => apply::rollback(args, *number, author.as_deref())?,
        Command::Schema => print(&format!(
            "{:#}
",
            sipsec_profile::schema::json_schema()
        ))?,
        Command::Explain(Explain::Mtu { tunnel, wan_mtu }) => {
            print(&explain::mtu(args.profile.as_deref(), tunnel, *wan_mtu, args.json)?)?;
        }
        Command::Import(import) => return import::run(import, args.json),
        Command::Health => return health(args),
        Command::Show(Show::RunningConfig { words, yaml }) if args.profile.is_some() => {
            print(&running::of_file(args.profile.as_deref(), words, *yaml, args.json)?)?;
        }
        Command::Show(Show::Version) => print(&show::version(args)?)?,
        Command::Show(show) => {
            let client = Client::new(&socket(args)?);
            let screen = Screen::detect();
            let shown = show::show(&client, show, args.json, screen)?;
            let raw = args.json || show.is_raw();
            print(&if raw { shown } else { screen.fit(&shown) })?;
        }
        Command::Clear(Clear::VpnSip { words, yes, .. }) => clear(args, words, *yes)?,
        Command::Clear(Clear::Ip(ClearIp::Nat { address, which, .. })) => {
            let inside = address.filter(|_| which == "inside");
            let body = model::NatClear { inside, all: inside.is_none() };
            let answer = Client::new(&socket(args)?).send_text("POST", "/v1/nat-clear", &body)?;
            if args.json {
                print(&(answer + "\n"))?;
            }
        }
        Command::Pki(pki) => print(&pki::run(pki, args.json)?)?,
        Command::Monitor { tunnel, since, utc } => monitor(args, tunnel.as_deref(), *since, *utc)?,
        Command::Log { filter, period } => log(args, filter.as_deref(), *period)?,
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "sipsec", &mut out);
            print(&String::from_utf8_lossy(&out))?;
        }
        Command::Man { directory } => clap_mangen::generate_to(Args::command(), directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn clear(args: &Args, words: &[String], yes: bool) -> Result<(), CliError> {
    let ClearArgs { remote_number, interface } = ClearArgs::parse(words).map_err(CliError::Words)?;
    let client = Client::new(&socket(args)?);
    let all = remote_number.is_none() && interface.is_none();
    if all && !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let sessions: Vec<model::Session> = client.get("/v1/sessions")?;
        let calls = sessions.iter().filter(|s| s.role.is_some()).count() as u64;
        if calls > 1 && !confirmed(&format!("Hang up {}?", counted(calls, "call")))? {
            return Err(CliError::Declined);
        }
    }
    let body = model::Clear { remote_number, interface, all };
    let answer = client.send_text("POST", "/v1/clear", &body)?;
    print(&answered(answer, args.json, text::cleared)?)
}

fn confirmed(question: &str) -> Result<bool, CliError> {
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn monitor(args: &Args, tunnel: Option<&str>, since: Option<Duration>, utc: bool) -> Result<(), CliError> {
    let words = [
        tunnel.map(|t| format!("interface={}", escaped(t))),
        since.map(|s| format!("since_s={}", s.as_secs())),
    ];
    let words: Vec<_> = words.into_iter().flatten().collect();
    let query = if words.is_empty() { String::new() } else { format!("?{}", words.join("&")) };
    let (wall, screen) = (Wall::new(utc), Screen::detect());
    for line in Client::new(&socket(args)?).stream(&format!("/v1/events{query}"))? {
        let line = line.map_err(ClientError::from)?;
        match serde_json::from_str(&line) {
            Ok(event) if !args.json => print(&(text::event(&event, &wall, screen) + "\n"))?,
            _ => print(&(line + "\n"))?,
        }
    }
    Err(ClientError::Ended.into())
}

fn log(args: &Args, filter: Option<&str>, period: Option<Duration>) -> Result<(), CliError> {
    let client = Client::new(&socket(args)?);
    let answer = match filter {
        None => client.get_text("/v1/log-filter")?,
        Some(filter) => {
            let body = model::LogFilter { filter: filter.to_owned(), for_s: period.map(|p| p.as_secs()) };
            client.send_text("PUT", "/v1/log-filter", &body)?
        }
    };
    print(&answered(answer, args.json, |f: &model::LogFilter| match f.for_s {
        Some(s) => format!("log filter: {} (for {s} s)\n", f.filter),
        None => format!("log filter: {}\n", f.filter),
    })?)
}

/// Whether the gateway works; what cannot be asked does not.
fn health(args: &Args) -> Result<ExitCode, CliError> {
    let asked = || -> Result<_, CliError> {
        let client = Client::new(&socket(args)?);
        let (control, lines) = (client.get("/v1/control")?, client.get::<Vec<_>>("/v1/registrations")?);
        Ok(text::health(&control, &lines, &client.get("/v1/summary")?))
    };
    let (level, line) = asked().unwrap_or_else(|error| {
        let level = match &error {
            CliError::Client(ClientError::NotRunning(_) | ClientError::Timeout | ClientError::Closed)
            | CliError::Gateway(gateway::GatewayError::None) => text::Level::Critical,
            _ => text::Level::Unknown,
        };
        let first = error.to_string().lines().next().unwrap_or_default().replace('|', "/");
        (level, format!("SIPSEC {} - {first}\n", level.word()))
    });
    if args.json {
        print(&envelope(&serde_json::json!({ "level": level.word(), "text": line.trim_end() })))?;
    } else {
        print(&line)?;
    }
    Ok(ExitCode::from(level.exit_code()))
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

/// A value of a query (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
