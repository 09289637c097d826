//! The profile of a gateway: one YAML file, read whole, checked whole, with every problem told at once.

pub mod check;
pub mod diagnostic;
pub mod mask;
pub mod nearest;
pub mod path;
pub mod profile;
pub mod reader;
pub mod secret;
pub mod sections;
pub mod yaml;

pub use diagnostic::{Findings, Problem, Severity};
pub use profile::Profile;

use crate::pki::files;
use path::KeyPath;
use reader::{Item, Sink, Table};
use sipsec_abi::profile::{
    BindMode, Dataplane, DontFragment, Engine, FRAMES_MAX, Inside, Outside, PROFILE_VERSION, ProfileHead,
    TUNNELS_MAX, Worker, XdpMode,
};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest profile read.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
const STATE_ROOT: &str = "/var/lib/sipsec";
/// Where gateways have their runtime directories unless their profiles say otherwise.
pub const RUNTIME_ROOT: &str = "/run/sipsec";
const LOG_DEFAULT: &str = "info";

/// Why there is no profile at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the profile {}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("the profile {} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("line {line} of the profile {} is not UTF-8: save the file with that encoding", path.display())]
    NotUtf8 { path: PathBuf, line: usize },
    /// Errors stand in it; shown as `sipsec check` shows them.
    #[error("{}", .0.render(false))]
    Findings(Findings),
}

/// A profile that can be obeyed, and what was remarked about it.
#[derive(Debug)]
pub struct Loaded {
    pub profile: Profile,
    pub findings: Findings,
}

/// # Errors
/// If the file cannot be read or has errors.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let text = read_text(path)?;
    let (profile, findings) = examine(&path.display().to_string(), &text);
    match profile {
        Some(profile) if findings.errors() == 0 => Ok(Loaded { profile, findings }),
        _ => Err(LoadError::Findings(findings)),
    }
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, LoadError> {
    let read = |error| LoadError::Read { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(read)?;
    let bytes = files::bounded(file, FILE_BYTES_MAX).map_err(read)?;
    let bytes = bytes.ok_or_else(|| LoadError::TooLarge { path: path.to_owned() })?;
    // Some editors begin a text with a byte order mark, which means nothing in UTF-8.
    match std::str::from_utf8(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes)) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            Err(LoadError::NotUtf8 { path: path.to_owned(), line })
        }
    }
}

/// Where the control plane of a profile listens. Needs no more of the profile than its name: the rest may be wrong, or
/// its secrets unreadable for who asks.
///
/// # Errors
/// If the file cannot be read, is no YAML, or names no gateway.
pub fn control_socket_of(path: &Path) -> Result<PathBuf, LoadError> {
    let text = read_text(path)?;
    let file = path.display().to_string();
    let Ok(yaml::Node::Map(entries)) = yaml::parse(&text) else {
        return Err(LoadError::Findings(examine(&file, &text).1));
    };
    let word = |key: &str| match entries.iter().find(|(k, _)| k == key) {
        Some((_, yaml::Node::Str(s))) => Some(s.as_str()),
        _ => None,
    };
    match (word("runtime_dir"), word("gateway")) {
        (Some(dir), _) => Ok(profile::control_socket(Path::new(dir))),
        (None, Some(gateway)) => Ok(profile::control_socket(&Path::new(RUNTIME_ROOT).join(gateway))),
        (None, None) => Err(LoadError::Findings(examine(&file, &text).1)),
    }
}

/// Everything there is to say about a profile's text. The profile is there if its values could be read, even if errors
/// between them were found.
#[must_use]
pub fn examine(file: &str, text: &str) -> (Option<Profile>, Findings) {
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let mut problem = Problem::error("config::syntax", &KeyPath::default(), error.message);
            problem.place = error.place;
            problem.label = "here".to_owned();
            problem.cure = error.cure.to_owned();
            return (None, Findings::new(file, text, vec![problem]));
        }
    };
    let sink = Sink::default();
    let profile =
        Item::new(&root, KeyPath::default(), &sink).table().and_then(|table| read(&table, text, &sink));
    (profile, Findings::new(file, text, sink.into_problems()))
}

fn read(root: &Table<'_>, text: &str, sink: &Sink) -> Option<Profile> {
    let version = root.required("version", "1").and_then(|i| version(&i));
    let gateway = root.required("gateway", "branch").and_then(|i| i.text().map(str::to_owned));
    let directory = |key: &'static str, parent: &str| match root.optional(key) {
        Some(item) => item.text().map(PathBuf::from),
        None => Some(Path::new(parent).join(gateway.as_deref().unwrap_or_default())),
    };
    let runtime_dir = directory("runtime_dir", RUNTIME_ROOT);
    let state_dir = directory("state_dir", STATE_ROOT);
    let log = root.optional("log").map_or(Some(LOG_DEFAULT.to_owned()), |i| log_filter(&i));
    let sip = root.required("sip", "{ interface: wan0, registrar: … }").and_then(|i| sections::sip::read(&i));
    let ike = root.required("ike", "{ keyring: … }").and_then(|i| sections::ike::read(&i));
    let media = match root.optional("media") {
        Some(item) => sections::media::read(&item),
        None => Some(profile::Media::default()),
    };
    let tunnels = root.required("tunnels", "[{ name: Tunnel1, … }]");
    let dataplane = root
        .required("dataplane", "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 } }")
        .and_then(|_| dataplane(text, sink));
    let is_whole = dataplane.is_some();
    let dataplane = dataplane.unwrap_or_else(|| stand_in(sip.as_ref().map_or("wan0", |s| &s.interface)));
    let mtu = Profile::inner_mtu_max(&dataplane).0;
    let tunnels = tunnels.and_then(|i| sections::tunnels::read(&i, mtu));
    root.finish();
    let head = ProfileHead {
        version: PROFILE_VERSION,
        gateway: gateway?,
        runtime_dir: Some(runtime_dir?),
        dataplane,
    };
    for problem in head.problems() {
        let path = KeyPath::dotted(problem.path);
        let message = format!("`{path}` is {}", problem.value);
        sink.push(Problem::error("dataplane::value", &path, message).cure(problem.cure));
    }
    version?;
    let profile = Profile {
        runtime_dir: head.runtime_dir(),
        gateway: head.gateway,
        state_dir: state_dir?,
        log: log?,
        sip: sip?,
        ike: ike?,
        media: media?,
        tunnels: tunnels?,
        dataplane: head.dataplane,
    };
    check::check(&profile, sink);
    is_whole.then_some(profile)
}

/// What the other sections are checked against when this one cannot be read: it contradicts none of them.
fn stand_in(outside: &str) -> Dataplane {
    Dataplane {
        outside: Outside { device: outside.to_owned(), dont_fragment: DontFragment::Clear },
        inside: Inside::Host { device: "svti0".to_owned(), mtu: None },
        worker: Worker::default(),
        engine: Engine::default(),
        xdp_mode: XdpMode::default(),
        bind_mode: BindMode::default(),
        huge_pages: false,
        frames: FRAMES_MAX,
        tunnels_max: TUNNELS_MAX,
    }
}

fn version(item: &Item<'_>) -> Option<()> {
    let version = item.int(0..=u32::MAX)?;
    if version != PROFILE_VERSION {
        let problem =
            Problem::error("config::version", &item.path, format!("the profile has version {version}"));
        item.report(problem.cure(format!("this release reads version {PROFILE_VERSION}")));
        return None;
    }
    Some(())
}

fn log_filter(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    if let Err(error) = crate::logging::filter(text) {
        item.bad_value(text, "a log filter", &format!("{error}: {}", crate::logging::EXAMPLES));
        return None;
    }
    Some(text.to_owned())
}

/// The dataplane's own types read their section, so that both binaries mean the same.
fn dataplane(text: &str, sink: &Sink) -> Option<Dataplane> {
    match yaml::section::<Dataplane>(text, "dataplane") {
        Ok(section) => section,
        Err(error) => {
            let path = KeyPath::dotted("dataplane");
            let mut problem = Problem::error("dataplane::syntax", &path, error.message.clone());
            problem.place = error.place;
            problem.cure = cure(&error.message);
            sink.push(problem);
            None
        }
    }
}

/// What to do about the library's complaint.
fn cure(message: &str) -> String {
    if let Some(meant) = unknown_word(message) {
        return meant;
    }
    if let Some(missing) = message.split("missing field `").nth(1).and_then(|m| m.split('`').next()) {
        return format!("add `{missing}: …`");
    }
    let expected = message.split_once(", expected ").map(|(_, e)| e.strip_prefix("one of ").unwrap_or(e));
    match expected {
        Some("u8" | "u16" | "u32") => "write a whole number".to_owned(),
        Some("a boolean") => "write true or false, without quotes".to_owned(),
        Some("a string" | "string") => "write a word, in quotes if it looks like a number".to_owned(),
        Some(known) if known.starts_with('`') => format!("known here: {}", known.replace('`', "")),
        _ => "write `key: value` lines as the README's profile has them".to_owned(),
    }
}

/// `unknown field `x`, expected one of `a`, `b`` → which was meant.
fn unknown_word(message: &str) -> Option<String> {
    let (before, known) = message.split_once(", expected ")?;
    let mut words = known.split('`').skip(1).step_by(2).peekable();
    words.peek()?;
    let word = before.split('`').nth(1)?;
    nearest::nearest(word, words).map(|meant| format!("did you mean `{meant}`?"))
}
