//! `include:` – files that a profile takes in. Their lists are put behind those of the profile, their groups are merged with
//! its groups, and no value stands in two files. Every node keeps the place where it was written.
//!
//! The dataplane and the command line read the profile itself and no other file, so the keys that they obey ([`OWN`]) stand
//! in no included file.

use super::document::{self, Below, Document, Span, Spans};
use super::path::KeyPath;
use super::values::Node;
use super::{encoding, exposed};
use crate::diagnose::{Place, Problem, Sink, shown, shown_raw};
use crate::model::limits::{FILE_BYTES_MAX, TUNNELS_MAX};
use crate::schema::{Group, Kind, PROFILE};
use crate::surroundings::Surroundings;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Files that one profile takes in, directly and through others: one for each tunnel.
pub const FILES_MAX: usize = TUNNELS_MAX as usize;
/// Files within files.
pub const INCLUDE_DEPTH_MAX: usize = 8;
const KEY: &str = "include";
/// Keys of the profile itself.
const OWN: [&str; 5] = ["version", "gateway", "runtime_dir", "state_dir", "dataplane"];
const TOO_LARGE_HINT: &str = "no profile is so large: spread the tunnels over several gateways";

/// A file and its text, for messages.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub text: Zeroizing<String>,
}

/// Takes in what the document asks for. `file` is the name of the profile. The sources are those of the files 1, 2, … of
/// [`Span::file`]. `false` after an error.
pub fn include(
    file: &str,
    document: &mut Document,
    sink: &Sink,
    around: &dyn Surroundings,
) -> (Vec<Source>, bool) {
    let mut includer = Includer {
        profile: file,
        sink,
        around,
        sources: Vec::new(),
        bytes: 0,
        nodes: document.nodes,
        open: Vec::new(),
        seen: HashSet::new(),
        is_full: false,
    };
    let ok = includer.of(&mut document.root, &mut document.spans).is_some();
    (includer.sources, ok)
}

struct Includer<'a> {
    profile: &'a str,
    sink: &'a Sink,
    around: &'a dyn Surroundings,
    sources: Vec<Source>,
    bytes: u64,
    nodes: usize,
    /// The files whose includes are being read, the innermost last.
    open: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
    /// A bound was reached, which is reported once.
    is_full: bool,
}

impl Includer<'_> {
    fn fail<T>(&self, span: Span, message: String, hint: &str) -> Option<T> {
        self.sink
            .push(Problem::error("config::include", &KeyPath::dotted(KEY), message).hint(hint).span(span));
        None
    }

    /// Takes in the files that a document names. All errors of one list are reported.
    fn of(&mut self, root: &mut Node, spans: &mut Spans) -> Option<()> {
        let Some((wanted, place)) = take(root, spans) else { return Some(()) };
        let hint = "write a list of files, absolute or relative to this file: `include: [branches/*.yaml]`";
        let patterns = match wanted {
            Node::List(patterns) => patterns,
            one @ Node::Str(_) => vec![one],
            _ => return self.fail(place.span, format!("`{KEY}` must be a list of files"), hint),
        };
        let places: Vec<Span> = match &place.below {
            Below::List(items) => items.iter().map(|spans| spans.span).collect(),
            _ => vec![place.span; patterns.len()],
        };
        let mut ok = true;
        for (pattern, span) in patterns.iter().zip(places) {
            let Node::Str(pattern) = pattern else {
                ok = self.fail(span, format!("`{KEY}` must be a list of files"), hint).unwrap_or(false);
                continue;
            };
            let beside = self.open.last().map(PathBuf::as_path);
            match self.around.files(Path::new(pattern), beside) {
                Ok(files) => {
                    for file in files {
                        ok &= self.file(&file, span, root, spans).is_some();
                        if self.is_full || self.sink.is_full() {
                            return None;
                        }
                    }
                }
                Err(reason) => {
                    let message = format!("{} cannot be included: {reason}", shown(pattern));
                    ok = self.fail(span, message, hint).unwrap_or(false);
                }
            }
        }
        ok.then_some(())
    }

    fn file(&mut self, path: &Path, at: Span, root: &mut Node, spans: &mut Spans) -> Option<()> {
        let name = shown_raw(&path.display().to_string());
        if self.open.iter().any(|open| open == path) {
            return self.fail(at, format!("{name} includes itself"), "remove one of the includes");
        }
        if self.seen.contains(path) {
            return self.fail(at, format!("{name} is included twice"), "remove one of the includes");
        }
        if self.open.len() >= INCLUDE_DEPTH_MAX {
            let message = format!("includes are nested deeper than {INCLUDE_DEPTH_MAX}");
            return self.fail(at, message, "name the inner files in the profile itself");
        }
        let number = self.sources.len() + 1;
        let bytes = if number > FILES_MAX { Ok(Vec::new()) } else { self.around.read(path) };
        let bytes = match bytes {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(reason) => {
                let hint = "write the path of a file, absolute or relative to this file";
                return self.fail(at, format!("{name} cannot be read: {reason}"), hint);
            }
        };
        self.seen.insert(path.to_owned());
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let text = encoding::decode(&bytes).map(|text| Zeroizing::new(text.to_owned()));
        let kept = text.as_ref().map_or_else(|_| Zeroizing::default(), Zeroizing::clone);
        self.sources.push(Source { name: name.clone(), text: kept });
        if number > FILES_MAX {
            self.is_full = true;
            let message = format!("more than {FILES_MAX} files are included");
            return self.fail(at, message, "put several of them into one");
        }
        if self.bytes > FILE_BYTES_MAX {
            self.is_full = true;
            let message = format!("the included files have more than {FILE_BYTES_MAX} bytes");
            return self.fail(at, message, TOO_LARGE_HINT);
        }
        let number = u16::try_from(number).unwrap_or(u16::MAX); // FILES_MAX is below
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let message = error.message.replacen("the profile", "the file", 1);
                return self.unreadable("config::encoding", number, message, &error.hint, error.place);
            }
        };
        let mut document = match document::parse_file(&text, number) {
            Ok(document) => document,
            Err(error) => {
                return self.unreadable("config::syntax", number, error.message, &error.hint, error.place);
            }
        };
        self.nodes = self.nodes.saturating_add(document.nodes);
        if self.nodes > document::NODES_MAX {
            self.is_full = true;
            let message =
                format!("the profile and its files have more than {} keys and values", document::NODES_MAX);
            return self.fail(at, message, TOO_LARGE_HINT);
        }
        exposed::check((&document.root, &document.spans), &name, self.around.mode(path), self.sink);
        self.open.push(path.to_owned());
        let inner = self.of(&mut document.root, &mut document.spans);
        self.open.pop();
        inner?;
        self.own_keys(&document)?;
        self.merge((root, spans), (document.root, document.spans), &PROFILE, &KeyPath::default())
    }

    fn unreadable<T>(
        &self,
        code: &'static str,
        file: u16,
        message: String,
        hint: &str,
        place: Place,
    ) -> Option<T> {
        let problem = Problem::error(code, &KeyPath::dotted(KEY), message).hint(hint);
        self.sink.push(problem.span(Span::at(place, file)));
        None
    }

    fn own_keys(&self, document: &Document) -> Option<()> {
        let (Node::Map(entries), Below::Map(places)) = (&document.root, &document.spans.below) else {
            if document.root == Node::Null {
                return Some(());
            }
            let hint = "write the keys of a profile: `tunnels:`, `ike:` and others";
            let message =
                format!("an included file must be a group of keys, but this is {}", document.root.kind());
            return self.fail(document.spans.span, message, hint);
        };
        let own = entries.iter().zip(places).find(|((name, _), _)| OWN.contains(&name.as_str()));
        match own {
            None => Some(()),
            Some(((name, _), (key, _))) => {
                let message = format!("`{name}` belongs in the profile itself");
                let hint =
                    "the dataplane reads the profile alone, without included files: move the key there";
                self.fail(*key, message, hint)
            }
        }
    }

    /// Adds the entries of one group to those of another.
    fn merge(
        &self,
        (node, spans): (&mut Node, &mut Spans),
        (more, more_spans): (Node, Spans),
        group: &Group,
        path: &KeyPath,
    ) -> Option<()> {
        let (Node::Map(more), Below::Map(places)) = (more, more_spans.below) else { return Some(()) };
        // A profile that is no group is reported by the reader.
        let (Node::Map(entries), Below::Map(known)) = (node, &mut spans.below) else { return Some(()) };
        let mut ok = true;
        for ((name, value), (key, value_spans)) in more.into_iter().zip(places) {
            let Some(at) = entries.iter().position(|(n, _)| *n == name).filter(|at| *at < known.len()) else {
                entries.push((name, value));
                known.push((key, value_spans));
                continue;
            };
            let path = path.key(&name);
            let ((_, there), (first, there_spans)) = (&mut entries[at], &mut known[at]);
            match (group.key(&name).map(|k| k.kind), there, value) {
                (Some(Kind::List(_)), Node::List(items), Node::List(mut new)) => {
                    if let (Below::List(all), Below::List(mut new_places)) =
                        (&mut there_spans.below, value_spans.below)
                    {
                        items.append(&mut new);
                        all.append(&mut new_places);
                    }
                }
                (Some(Kind::Group(below)), there @ Node::Map(_), value @ Node::Map(_)) => {
                    ok &= self.merge((there, there_spans), (value, value_spans), below, &path).is_some();
                }
                _ => {
                    let message = format!("`{path}` stands in two files, first in {}", self.at(*first));
                    ok = self.fail(key, message, "keep one of the two").unwrap_or(false);
                }
            }
        }
        ok.then_some(())
    }

    /// `FILE:LINE`
    fn at(&self, span: Span) -> String {
        let source = usize::from(span.file()).checked_sub(1).and_then(|at| self.sources.get(at));
        format!("{}:{}", source.map_or(self.profile, |s| s.name.as_str()), span.place().line)
    }
}

/// Takes `include:` out of a group.
fn take(root: &mut Node, spans: &mut Spans) -> Option<(Node, Spans)> {
    let (Node::Map(entries), Below::Map(places)) = (root, &mut spans.below) else { return None };
    let at = entries.iter().position(|(name, _)| name == KEY).filter(|at| *at < places.len())?;
    Some((entries.remove(at).1, places.remove(at).1))
}
