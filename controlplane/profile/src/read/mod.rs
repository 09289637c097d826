//! From text to the model: the tree with its places, then typed values by the schema, one file per section.

mod carrier;
mod certificates;
mod dataplane;
mod document;
mod encoding;
mod expand;
mod exposed;
mod filters;
mod ike;
mod include;
mod item;
mod looks;
mod media;
mod nat;
mod path;
mod prefix;
mod primary_nat;
mod proposals;
mod qos;
mod secrets;
mod sip;
mod sla;
mod template;
mod text;
mod track;
mod tunnels;
mod values;
mod wan;

pub use document::{
    ALIASED_MAX, Below, DEPTH_MAX, Document, NODES_MAX, Of, SCALAR_BYTES_MAX, Span, Spans, SyntaxError,
};
pub use include::{FILES_MAX, INCLUDE_DEPTH_MAX, Source};
pub use item::{Item, Table, counted};
pub use path::{KeyPath, Step};
pub use text::{is_host, is_host_name};
pub use values::{Node, Tree, TreeMap};
pub(crate) use values::{tree, write as write_yaml};

#[cfg(test)]
pub(crate) use document::parse as parse_document;

use crate::check;
use crate::diagnose::{Findings, Problem, Sink};
use crate::model::limits::{FRAMES_MAX, PROFILE_VERSION, RUNTIME_ROOT, STATE_ROOT, TUNNELS_MAX};
use crate::model::{DataplaneSection, Head, Profile};
use crate::schema::{Kind, PROFILE};
use crate::surroundings::Surroundings;
use std::path::{Path, PathBuf};

const ROOT: Kind = Kind::Group(&PROFILE);

/// A profile that was read and checked.
#[derive(Debug)]
pub struct Examined {
    /// There if every value could be read, even if errors between them were found.
    pub profile: Option<Profile>,
    pub findings: Findings,
}

/// Everything there is to say about the bytes of a profile. `file` is the name that messages show.
#[must_use]
pub fn examine(file: &str, bytes: &[u8], around: &dyn Surroundings) -> Examined {
    let sink = Sink::default();
    let (mut document, text) = match document(bytes, &sink) {
        Ok(found) => found,
        Err(()) => {
            return Examined {
                profile: None,
                findings: Findings::without_source(file, sink.into_problems()),
            };
        }
    };
    exposed::check((&document.root, &document.spans), "the profile", around.profile_mode(), &sink);
    let (sources, included) = include::include(file, &mut document, &sink, around);
    if !included {
        // What is missing would only be reported again.
        let findings = Findings::with_sources(file, text, &sources, &document, sink.into_problems());
        return Examined { profile: None, findings };
    }
    let expanded = expand::expand(&mut document, &sink, around);
    let profile = Item::root(&document.root, &ROOT, &sink)
        .table()
        .and_then(|table| whole(&table, &sink, around).filter(|_| expanded.is_some()));
    let findings = Findings::with_sources(file, text, &sources, &document, sink.into_problems());
    Examined { profile, findings }
}

/// The parts that the dataplane obeys. Mistakes in other sections are the control plane's to report.
///
/// # Errors
/// Every problem of these parts.
pub fn head(file: &str, bytes: &[u8]) -> Result<Head, Findings> {
    let sink = Sink::default();
    let Ok((document, text)) = document(bytes, &sink) else {
        return Err(Findings::without_source(file, sink.into_problems()));
    };
    let head = Item::root(&document.root, &ROOT, &sink).table().and_then(|table| {
        let version = table.required("version").and_then(|i| version(&i));
        let gateway = table.required("gateway").and_then(|i| text::gateway(&i));
        let runtime_dir = runtime_dir(&table, gateway.as_deref());
        let dataplane = table.required("dataplane").and_then(|i| dataplane::read(&i));
        let (dataplane, _) = dataplane.filter(|(_, whole)| *whole)?;
        version?;
        Some(Head { gateway: gateway?, runtime_dir: runtime_dir?, dataplane })
    });
    let problems = sink.into_problems();
    match head {
        Some(head) if problems.errors == 0 => Ok(head),
        _ => Err(Findings::new(file, text, &document, problems)),
    }
}

/// Where the control plane of a profile listens. Needs its name only: the rest may be wrong, or its secrets unreadable
/// for the caller.
///
/// # Errors
/// If the bytes are not YAML, or name no gateway.
pub fn control_socket_of(file: &str, bytes: &[u8]) -> Result<PathBuf, Findings> {
    let sink = Sink::default();
    let Ok((document, text)) = document(bytes, &sink) else {
        return Err(Findings::without_source(file, sink.into_problems()));
    };
    let found = Item::root(&document.root, &ROOT, &sink).table().and_then(|table| {
        let gateway = match table.optional("runtime_dir") {
            Some(_) => None,
            None => Some(table.required("gateway").and_then(|i| text::gateway(&i))?),
        };
        runtime_dir(&table, gateway.as_deref())
    });
    found
        .map(|dir| crate::model::control_socket(&dir))
        .ok_or_else(|| Findings::new(file, text, &document, sink.into_problems()))
}

fn document<'a>(bytes: &'a [u8], sink: &Sink) -> Result<(Document, &'a str), ()> {
    let text = encoding::decode(bytes).map_err(|error| {
        let problem = Problem::error("config::encoding", &KeyPath::default(), error.message);
        sink.push(problem.hint(error.hint).span(Span::at(error.place, 0)));
    })?;
    let syntax = |error: SyntaxError| {
        let problem = Problem::error("config::syntax", &KeyPath::default(), error.message);
        let hint = looks::hint(text).map_or(error.hint, str::to_owned);
        sink.push(problem.hint(hint).span(Span::at(error.place, 0)));
    };
    let document = document::parse(text).map_err(syntax)?;
    if !matches!(document.root, Node::Map(_))
        && let Some(hint) = looks::hint(text)
    {
        let message = format!("the profile must be a group of keys, but this is {}", document.root.kind());
        sink.push(Problem::error("config::syntax", &KeyPath::default(), message).hint(hint));
        return Err(());
    }
    Ok((document, text))
}

fn whole(root: &Table<'_>, sink: &Sink, around: &dyn Surroundings) -> Option<Profile> {
    let version = root.required("version").and_then(|i| version(&i));
    let gateway = root.required("gateway").and_then(|i| text::gateway(&i));
    let runtime_dir = runtime_dir(root, gateway.as_deref());
    let state_dir = directory(root, "state_dir", STATE_ROOT, gateway.as_deref());
    let log = root.value("log", crate::model::limits::LOG_DEFAULT.to_owned(), |i| log_filter(i, around));
    let compat = root.word("compat");
    let wan = root.value("wan", crate::model::WanSection::default(), wan::read);
    let sip = root.required("sip").and_then(|i| sip::read(&i));
    let carriers = root.value("carriers", Vec::new(), sip::carriers);
    let ike = root.required("ike").and_then(|i| ike::read(&i, around));
    let media = root.value("media", crate::model::MediaSection::default(), media::read);
    let filters = root.value("filters", Vec::new(), filters::read);
    let qos = root.value("qos", crate::model::QosSection::default(), qos::read);
    let defaults = root.value("defaults", (), tunnels::defaults);
    let tunnels = root.required("tunnels").filter(|_| defaults.is_some()).and_then(|i| tunnels::read(&i));
    let sla = root.value("sla", Vec::new(), sla::read);
    let track = root.value("track", Vec::new(), track::read);
    let routes = root.value("routes", Vec::new(), prefix::routes);
    let nat = root.value("nat", crate::model::NatSection::default(), nat::read);
    let failback = root.value("failback", crate::model::FailbackSection::default(), track::failback);
    let dataplane = root.required("dataplane").and_then(|i| dataplane::read(&i));
    root.finish();
    let (dataplane, is_whole) =
        dataplane.unwrap_or_else(|| (stand_in(sip.as_ref().map_or("wan0", |s| &s.interface)), false));
    version?;
    let profile = Profile {
        version: PROFILE_VERSION,
        gateway: gateway?,
        runtime_dir: runtime_dir?,
        state_dir: state_dir?,
        log: log?,
        compat: compat?,
        wan: wan?,
        sip: sip?,
        carriers: carriers?,
        ike: ike?,
        media: media?,
        filters: filters?,
        qos: qos?,
        tunnels: tunnels?,
        sla: sla?,
        track: track?,
        routes: routes?,
        failback: failback?,
        nat: nat?,
        dataplane,
    };
    check::check(&profile, sink, around);
    is_whole.then_some(profile)
}

/// The other sections are checked against this one when theirs cannot be read: it contradicts none of them.
fn stand_in(outside: &str) -> DataplaneSection {
    DataplaneSection {
        frames: FRAMES_MAX,
        tunnels_max: TUNNELS_MAX,
        ..DataplaneSection::host(outside, "svti0")
    }
}

fn version(item: &Item<'_>) -> Option<()> {
    let version: u32 = item.int()?;
    if version != PROFILE_VERSION {
        let problem =
            Problem::error("config::version", &item.path, format!("the profile has version {version}"));
        item.report(problem.hint(format!("this release reads version {PROFILE_VERSION}")));
        return None;
    }
    Some(())
}

fn runtime_dir(root: &Table<'_>, gateway: Option<&str>) -> Option<PathBuf> {
    let dir = directory(root, "runtime_dir", RUNTIME_ROOT, gateway)?;
    let room = crate::model::limits::SOCKET_PATH_MAX - "/dataplane.sock".len();
    if !dir.is_absolute() || dir.as_os_str().len() > room {
        let path = KeyPath::dotted("runtime_dir");
        let message = format!("`runtime_dir` is {}", crate::diagnose::shown(&dir.display().to_string()));
        let hint = format!("write an absolute path of at most {room} bytes: sockets are made in it");
        root.report(Problem::error("dataplane::value", &path, message).hint(hint));
        return None;
    }
    Some(dir)
}

fn directory(root: &Table<'_>, key: &'static str, parent: &str, gateway: Option<&str>) -> Option<PathBuf> {
    match root.optional(key) {
        Some(item) => text::path(&item),
        None => gateway.map(|gateway| Path::new(parent).join(gateway)),
    }
}

fn log_filter(item: &Item<'_>, around: &dyn Surroundings) -> Option<String> {
    let text = item.text()?;
    match around.log_filter(text) {
        Ok(()) => Some(text.to_owned()),
        Err(hint) => {
            item.bad_value(text, "a log filter", &hint);
            None
        }
    }
}
