//! `call NUMBER -- COMMAND`: the call is up while the command runs.

use super::args::Args;
use super::gateway::socket;
use super::{CliError, escaped};
use crate::api::client::{Client, ClientError};
use crate::api::model::{self, EventLine, Session};
use crate::config::Profile;
use sipsec_net::{Kbps, TelNumber};
use sipsec_profile::check::tariff;
use sipsec_profile::model::Tariff;
use std::process::ExitCode;

/// Exit codes of `call`, besides those of the command; `--help` has them too.
mod code {
    pub const NOT_NOW: u8 = 70;
    pub const REFUSED: u8 = 71;
    pub const NO_ANSWER: u8 = 72;
    pub const NOT_UP: u8 = 73;
    pub const LOST: u8 = 74;
    pub const COMMAND: u8 = 127;
}

/// Runs it; the call ends with the command.
pub fn run(args: &Args, number: TelNumber, command: &[String]) -> Result<ExitCode, CliError> {
    let client = Client::new(&socket(args)?);
    let found: Vec<Session> = client.get(&format!("/v1/sessions?remote_number={number}"))?;
    let session = found.into_iter().next();
    let session = session.ok_or_else(|| CliError::Words(format!("no tunnel calls {number}")))?;
    let tunnel = session.interface;
    let mut events = client.stream(&format!("/v1/events?interface={}", escaped(&tunnel)))?;
    let mut event = || -> Result<EventLine, CliError> {
        let line = events.next().ok_or(ClientError::Ended)?.map_err(ClientError::from)?;
        serde_json::from_str(&line).map_err(|e| ClientError::Malformed(e.to_string()).into())
    };
    let ours = session.status != "SESSION_UP";
    if ours {
        let body = model::Dial { interface: tunnel.clone() };
        if let Err(error) = client.send_text("POST", "/v1/call", &body) {
            let ClientError::Refused(why) = error else { return Err(error.into()) };
            eprintln!("sipsec: {number} cannot be called now: {why}");
            return Ok(ExitCode::from(code::NOT_NOW));
        }
        // The gateway bounds each step, so one of these comes.
        loop {
            let line = event()?;
            match line.event.as_str() {
                "session-up" => break,
                "failed" | "call-ended" => return failed(&client, &tunnel, number, &line.text),
                _ => {}
            }
        }
    }
    let status = match run_command(command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("sipsec: {}: {error}", command.first().map_or("", String::as_str));
            code::COMMAND
        }
    };
    if !ours {
        eprintln!("sipsec: {number} was up before, and stays so; the command ended with {status}");
        return Ok(ExitCode::from(status));
    }
    let now: Vec<Session> = client.get(&format!("/v1/sessions?remote_number={number}"))?;
    let lost = now.first().is_none_or(|s| s.status != "SESSION_UP");
    if !lost {
        let clear = model::Clear { interface: Some(tunnel.clone()), ..model::Clear::default() };
        client.send_text("POST", "/v1/clear", &clear)?;
        while event()?.event != "call-ended" {}
    }
    eprintln!("sipsec: {}, the command ended with {status}", summary(args, &client, &tunnel, number)?);
    Ok(ExitCode::from(if lost && status == 0 { code::LOST } else { status }))
}

/// Runs the command to its end. Ctrl-C is the command's to hear, and the call is hung up after it; SIGTERM ends both.
fn run_command(command: &[String]) -> std::io::Result<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let [program, arguments @ ..] = command else { return Ok(0) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let _interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut child = tokio::process::Command::new(program).args(arguments).spawn()?;
        let status = tokio::select! {
            status = child.wait() => status?,
            _ = terminate.recv() => {
                child.start_kill()?;
                child.wait().await?
            }
        };
        use std::os::unix::process::ExitStatusExt;
        // As shells say that a signal ended it.
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ok(u8::try_from(code).unwrap_or(u8::MAX))
    })
}

fn failed(client: &Client, tunnel: &str, number: TelNumber, text: &str) -> Result<ExitCode, CliError> {
    let sessions: Vec<Session> = client.get(&format!("/v1/sessions?interface={}", escaped(tunnel)))?;
    let failure = sessions.into_iter().next().and_then(|s| s.last_failure);
    let code = failure.as_ref().map(|f| f.code.clone()).unwrap_or_default();
    eprintln!("sipsec: {number}: {}", failure.map_or_else(|| text.to_owned(), |f| f.reason));
    Ok(ExitCode::from(exit_code(&code)))
}

/// By the stable name of the failure.
fn exit_code(failure: &str) -> u8 {
    match failure {
        "sip-status" | "sip-unauthorised" => code::REFUSED,
        "sip-timeout" | "only-rings" => code::NO_ANSWER,
        "dial" | "no-key" | "no-media-port" | "dataplane-gone" | "address-lost" => code::NOT_NOW,
        _ => code::NOT_UP,
    }
}

/// How long the call lasted, and what it cost.
fn summary(args: &Args, client: &Client, tunnel: &str, number: TelNumber) -> Result<String, CliError> {
    let calls: Vec<model::Call> = client.get(&format!("/v1/history?interface={}", escaped(tunnel)))?;
    let Some(call) = calls.first() else { return Ok(format!("{number}: no call is kept")) };
    let lasted_ms = call.lasted_ms.unwrap_or_default();
    let mut out = format!("{number}: up after {} ms, ", call.up_after_ms.unwrap_or_default());
    out += &format!("{}.{} s charged", lasted_ms / 1000, lasted_ms % 1000 / 100);
    if let Some(kbps) = call.kbps {
        out += &format!(" at {kbps} kbps");
        // A profile that cannot be read says nothing against the only tariff that is known.
        let line = call.local_number.parse::<TelNumber>();
        let of_line = |p: Profile| line.map_or(p.sip.tariff, |line| p.carrier_lines().sip(line).tariff);
        let known = super::rehearse::profile(args).map(of_line);
        if known.unwrap_or_default() == Tariff::DataConnect {
            out += &format!(", about {} yen", tariff::yen(Kbps(kbps), lasted_ms.div_ceil(1000)));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        for (failure, expected) in [
            ("sip-status", 71),
            ("sip-timeout", 72),
            ("dial", 70),
            ("ike-authentication-failed", 73),
            ("sdp-missing-bandwidth", 73),
            ("", 73),
        ] {
            assert_eq!(exit_code(failure), expected, "{failure}");
        }
    }

    #[test]
    fn a_command_ends_with_its_own_code_or_its_signal() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(run_command(&words(&["sh", "-c", "exit 7"])).expect("runs"), 7);
        assert_eq!(run_command(&words(&["sh", "-c", "kill -9 $$"])).expect("runs"), 137);
        assert!(run_command(&words(&["/nonexistent"])).is_err());
    }
}
