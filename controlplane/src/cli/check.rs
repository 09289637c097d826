//! `sipsec check`: one profile, the two ends of a tunnel, or one key.

use super::args::Args;
use super::screen::Screen;
use super::{CliError, envelope, print};
use crate::config::machine::Machine;
use crate::config::{self, Style};
use sipsec_profile::check::pair::{self, Comparison};
use sipsec_profile::model::Word;
use sipsec_profile::{Examined, Profile, schema};
use std::path::PathBuf;
use std::process::ExitCode;

pub fn run(args: &Args, files: &[PathBuf], key: Option<&str>) -> Result<ExitCode, CliError> {
    if let Some(key) = key {
        return explain(key);
    }
    // `--profile FILE check` means that file.
    let files: Vec<&PathBuf> =
        if files.is_empty() { args.profile.iter().collect() } else { files.iter().collect() };
    if files.is_empty() {
        let usage = "usage: sipsec check FILE [FILE], or sipsec check --explain KEY; FILE may be -";
        return Err(CliError::Words(usage.to_owned()));
    }
    let examined: Vec<Examined> = files.iter().map(|file| config::inspect(file)).collect::<Result<_, _>>()?;
    let compared = match &*examined {
        [Examined { profile: Some(a), .. }, Examined { profile: Some(b), .. }] => {
            Some(pair::compare(a, b, &Machine::default()))
        }
        _ => None,
    };
    let errors = examined.iter().map(|e| e.findings.errors()).sum::<usize>()
        + compared.as_ref().map_or(0, Comparison::errors);
    if args.json {
        print(&json(&examined, compared.as_ref()))?;
    } else {
        let screen = Screen::detect();
        let style = Style { color: screen.colour, unicode: screen.utf8, width: screen.width_or_default() };
        for one in &examined {
            print(&one.findings.render(style))?;
            // Of two ends the question is whether they fit.
            if let Some(profile) = one.profile.as_ref().filter(|_| examined.len() == 1) {
                print(&screen.fit(&carrier(profile)))?;
            }
        }
        if let Some(compared) = &compared {
            // Folded as the findings are, with a terminal or without.
            let screen = Screen::new(screen.width_or_default(), screen.utf8, screen.colour);
            print(&screen.fit(&format!("\n{compared}")))?;
        }
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn json(examined: &[Examined], compared: Option<&Comparison>) -> String {
    let sum = |f: fn(&config::Findings) -> usize| examined.iter().map(|e| f(&e.findings)).sum::<usize>();
    let mut data = serde_json::json!({
        "errors": sum(config::Findings::errors),
        "warnings": sum(config::Findings::warnings),
        "findings": examined.iter().flat_map(|e| &e.findings.list).collect::<Vec<_>>(),
        "more": sum(|f| f.more),
    });
    let carriers = examined.iter().filter_map(|e| e.profile.as_ref()).flat_map(|profile| {
        profile.all_carriers().map(|(name, sip)| {
            let rows = profile.carrier(sip).rows();
            let rows = rows.into_iter().map(|(key, value)| (key.to_owned(), value.into()));
            let mut values: serde_json::Map<_, serde_json::Value> = rows.collect();
            values.insert("sip.carrier".to_owned(), sip.carrier.word().into());
            values.insert("name".to_owned(), name.into());
            values
        })
    });
    data["carriers"] = serde_json::json!(carriers.collect::<Vec<_>>());
    if let Some(compared) = compared {
        data["pair"] = serde_json::json!(compared);
    }
    envelope(&data)
}

/// The values of each carrier in force; those of the profile's own keys are marked.
fn carrier(profile: &Profile) -> String {
    let mut out = String::new();
    for (name, sip) in profile.all_carriers() {
        let of = if profile.carriers.is_empty() { String::new() } else { format!(" {name}") };
        out.push_str(&format!("\ncarrier{of}: {}\n", sip.carrier.word()));
        let defaults = sip.carrier.values().rows();
        for ((key, value), (_, default)) in profile.carrier(sip).rows().into_iter().zip(defaults) {
            let own = if value == default { "" } else { "  (own)" };
            out.push_str(&format!("  {key:<24} {value}{own}\n"));
        }
    }
    out
}

fn explain(key: &str) -> Result<ExitCode, CliError> {
    if let Some(text) = schema::explain(key) {
        print(&Screen::detect().fit(&text))?;
        return Ok(ExitCode::SUCCESS);
    }
    let similar = schema::similar(key);
    let shown = sipsec_profile::diagnose::shown_key(key);
    Err(CliError::Words(match similar.as_slice() {
        [] => format!("a profile has no key `{shown}`; `sipsec schema` prints all of them"),
        some => format!("a profile has no key `{shown}`; did you mean {}?", some.join(", ")),
    }))
}
