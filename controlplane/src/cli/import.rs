//! `sipsec import`: configurations of other products become profiles. Works on files alone; a gateway need not run.

use super::{CliError, envelope, print};
use crate::pki::files::{self, FileError};
use clap::{Args, Subcommand};
use serde::Serialize;
use sipsec_profile::ios::write::{self, Keys};
use sipsec_profile::ios::{self, Import as Imported, Options, Outcome, Report, Source};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// The profile and its key files are the operator's alone.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// IFNAMSIZ less the terminator.
const DEVICE_NAME_MAX: usize = 15;

#[derive(Debug, Subcommand)]
pub enum Import {
    /// The running configuration of an IOS router, of one file or of several pieces
    ///
    /// Every line ends as converted, ignored (with the reason) or error (with place and hint). Exit status: 0 converted,
    /// 1 errors, 2 the command could not run, 3 converted with warnings, 4 refused (not a configuration of IOS).
    Ios(Ios),
}

#[derive(Debug, Args)]
pub struct Ios {
    /// Files to read as one configuration; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Devices that take the places of the router's interfaces: Gi8=wan0,Vlan20=lan0
    #[arg(long, value_name = "IOS=DEVICE", value_delimiter = ',', value_parser = pair)]
    pub ifmap: Vec<(String, String)>,
    /// Write the profile here (mode 0600)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Directory for the key files (mode 0600); that of the profile unless given
    #[arg(long, value_name = "DIR", requires = "output", conflicts_with = "inline_secrets")]
    pub keys: Option<PathBuf>,
    /// Keys inside of the profile instead of in files of their own
    #[arg(long, requires = "output")]
    pub inline_secrets: bool,
    /// Write the report as a page beside the profile; it holds no secrets
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The gateway's name instead of the router's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write what there is even if it has no tunnel
    #[arg(long)]
    pub fragment: bool,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    const USAGE: &str = "write IOS=DEVICE, as in GigabitEthernet8=wan0";
    let (ios, device) = text.split_once('=').ok_or(USAGE)?;
    let name =
        ios::names::canonical(ios.trim()).ok_or_else(|| format!("{ios} is no interface of IOS; {USAGE}"))?;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if device.is_empty() || device.len() > DEVICE_NAME_MAX || device.contains(bad) {
        return Err(format!("{device:?} is no name of a device; {USAGE}"));
    }
    Ok((name, device.to_owned()))
}

/// What the command did, beside the report.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    outcome: Outcome,
    errors: usize,
    warnings: usize,
    #[serde(flatten)]
    report: &'a Report,
    written: &'a [PathBuf],
}

/// # Errors
/// If a file cannot be read or written.
pub fn run(import: &Import, json: bool) -> Result<ExitCode, CliError> {
    let Import::Ios(args) = import;
    let imported = read(args)?;
    let mut written = Vec::new();
    let mut missing = None;
    if let Some(output) = &args.output {
        let refused = imported.report.outcome() == Outcome::Refused;
        if !refused && (imported.is_profile || (args.fragment && !imported.conversion.is_empty())) {
            written.extend(write_profile(args, output, &imported)?);
        } else {
            missing = Some(output.clone());
        }
    }
    if let Some(path) = &args.html {
        let page = imported.report.html(shown(args, &imported).as_deref().map(String::as_str));
        files::write(path, page.as_bytes(), PUBLIC, args.force).map_err(file)?;
        written.push(path.clone());
    }
    if json {
        let report = &imported.report;
        let (errors, warnings) = (report.errors(), report.warnings());
        print(&envelope(&Answer { outcome: report.outcome(), errors, warnings, report, written: &written }))?;
    } else {
        let mut text = imported.report.text();
        if !written.is_empty() {
            text.push_str("\nWritten:\n");
            written.iter().for_each(|path| text.push_str(&format!("  {}\n", path.display())));
        }
        print(&text)?;
    }
    if let Some(path) = missing {
        let hint = if imported.conversion.is_empty() { "" } else { "; --fragment writes what there is" };
        eprintln!("sipsec: {} is not written: no profile comes of this{hint}", path.display());
        return Ok(status(imported.report.outcome(), true));
    }
    Ok(status(imported.report.outcome(), false))
}

/// The exit status tells the outcomes apart; 2 is for commands that cannot run.
fn status(outcome: Outcome, missing: bool) -> ExitCode {
    ExitCode::from(match outcome {
        Outcome::Refused => 4,
        Outcome::Errors => 1,
        _ if missing => 1,
        Outcome::Converted => 0,
        Outcome::Warnings => 3,
    })
}

fn read(args: &Ios) -> Result<Imported, CliError> {
    let mut contents: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
    let max = ios::BYTES_MAX as u64;
    for path in &args.files {
        let bytes = if path.as_os_str() == "-" {
            let mut bytes = Zeroizing::new(Vec::new());
            std::io::stdin().lock().take(max + 1).read_to_end(&mut bytes)?;
            bytes
        } else {
            let failed =
                |e: std::io::Error| file(FileError::Read { path: path.clone(), reason: files::reason(&e) });
            let opened = files::open(path).map_err(failed)?;
            // One more than is read: the import says that it is too much.
            let mut bytes = Zeroizing::new(Vec::new());
            opened.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
            bytes
        };
        contents.push((path.display().to_string(), bytes));
        if contents.len() > ios::FILES_MAX {
            break;
        }
    }
    let sources: Vec<Source<'_>> = contents.iter().map(|(name, bytes)| Source { name, bytes }).collect();
    let interfaces: BTreeMap<String, String> = args.ifmap.iter().cloned().collect();
    Ok(ios::import(&sources, &Options { interfaces, gateway: args.name.clone() }))
}

fn file(error: FileError) -> CliError {
    CliError::Pki(error.into())
}

fn remark(args: &Ios, imported: &Imported) -> String {
    let names: Vec<_> = args.files.iter().map(|f| f.display().to_string()).collect();
    let mut text =
        format!("Imported from {} by `sipsec import ios`.", names.join(", ").replace(char::is_control, "."));
    if imported.report.errors() > 0 {
        text.push_str(&format!("\n{} errors: what they are about is not in it.", imported.report.errors()));
    }
    for ask in &imported.report.asks {
        text.push_str(&format!("\nTo be filled in: {}: {}", ask.key, ask.what));
    }
    text
}

fn write_profile(args: &Ios, output: &Path, imported: &Imported) -> Result<Vec<PathBuf>, CliError> {
    let keys = if args.inline_secrets {
        Keys::Inline
    } else {
        let beside = output.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Keys::Files(std::path::absolute(args.keys.as_deref().unwrap_or(beside))?)
    };
    let written = write::profile(&imported.conversion, args.name.as_deref(), &keys, &remark(args, imported));
    let mut paths: Vec<PathBuf> = written.keys.iter().map(|k| k.path.clone()).collect();
    paths.push(output.to_owned());
    if !args.force {
        files::absent(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>()).map_err(file)?;
    }
    for key in &written.keys {
        files::write(&key.path, key.text.as_bytes(), SECRET, args.force).map_err(file)?;
    }
    files::write(output, written.profile.as_bytes(), SECRET, args.force).map_err(file)?;
    Ok(paths)
}

/// The profile as a page may show it.
fn shown(args: &Ios, imported: &Imported) -> Option<Zeroizing<String>> {
    let shows = imported.is_profile || (args.fragment && !imported.conversion.is_empty());
    shows.then(|| {
        write::profile(&imported.conversion, args.name.as_deref(), &Keys::Hidden, &remark(args, imported))
            .profile
    })
}
