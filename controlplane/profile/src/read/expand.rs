//! Templates: `defaults:` for tunnels, and entries with `for:` that stand for many.
//!
//! Both are worked out on the tree, before anything is typed. The entries that come out keep the places of their template,
//! so messages point at it.

use super::document::{Below, Document, Span, Spans};
use super::path::KeyPath;
use super::template::{Template, Values};
use super::values::Node;
use crate::diagnose::{Problem, Sink, shown};
use crate::model::limits::TUNNELS_MAX;
use crate::schema::{Group, Kind, PROFILE};
use crate::surroundings::Surroundings;
use std::cell::Cell;
use std::path::Path;

/// The lists that may have templates.
const LISTS: [&[&str]; 6] =
    [&["tunnels"], &["ike", "keyring"], &["sip", "lines"], &["sla"], &["track"], &["routes"]];
/// Entries that templates make, in all lists.
const MADE_MAX: usize = LISTS.len() * TUNNELS_MAX as usize;
/// Bytes of memory that they and copies of `defaults` may take: about 40 values for each of 16,384 tunnels.
const BYTES_MAX: usize = 64 << 20;
/// Of one value, with its place, beside those of its text.
const VALUE_BYTES: usize = 100;

/// What templates and `defaults` have made so far. A few lines could stand for more than a machine has.
#[derive(Default)]
struct Made {
    entries: Cell<usize>,
    bytes: Cell<usize>,
}

impl Made {
    /// Whether there is room for another value with so many bytes of text.
    fn value(&self, text: usize) -> bool {
        self.bytes.set(self.bytes.get().saturating_add(VALUE_BYTES + text));
        self.bytes.get() <= BYTES_MAX
    }

    /// The same for a copy of a value and of all in it.
    fn copy(&self, node: &Node) -> bool {
        match node {
            Node::Map(entries) => self.value(0) && entries.iter().all(|(_, value)| self.copy(value)),
            Node::List(items) => self.value(0) && items.iter().all(|item| self.copy(item)),
            Node::Str(text) => self.value(text.len()),
            _ => self.value(0),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.get() > BYTES_MAX
    }

    fn entry(&self) -> bool {
        self.entries.set(self.entries.get() + 1);
        self.entries.get() <= MADE_MAX
    }
}

/// Works out every template. `None` after an error: what is left would only repeat it.
pub fn expand(document: &mut Document, sink: &Sink, around: &dyn Surroundings) -> Option<()> {
    let defaults = find(&document.root, &document.spans, &["defaults"]).map(|(n, s)| (n.clone(), s.clone()));
    let made = Made::default();
    let mut ok = true;
    for path in LISTS {
        let Some(Kind::List(Kind::Group(group))) = kind(path) else { continue };
        let Some((node, spans)) = find_mut(&mut document.root, &mut document.spans, path) else { continue };
        let list = List { group, path: KeyPath::dotted(&path.join(".")), sink, around, made: &made };
        let defaults = defaults.as_ref().filter(|_| path == ["tunnels"]);
        ok &= list.expand(node, spans, defaults).is_some();
    }
    let Some(Kind::List(Kind::Group(lines))) = kind(&["sip", "lines"]) else { return ok.then_some(()) };
    if let Some((Node::List(carriers), spans)) =
        find_mut(&mut document.root, &mut document.spans, &["carriers"])
        && let Below::List(places) = &mut spans.below
    {
        for (index, (carrier, place)) in carriers.iter_mut().zip(places).enumerate() {
            let Some((node, spans)) = find_mut(carrier, place, &["sip", "lines"]) else { continue };
            let path = KeyPath::dotted("carriers").index(index).key("sip").key("lines");
            let list = List { group: lines, path, sink, around, made: &made };
            ok &= list.expand(node, spans, None).is_some();
        }
    }
    ok.then_some(())
}

fn kind(path: &[&str]) -> Option<Kind> {
    let mut group: &Group = &PROFILE;
    let mut found = None;
    for name in path {
        let kind = group.key(name)?.kind;
        found = Some(kind);
        if let Kind::Group(below) = kind {
            group = below;
        }
    }
    found
}

fn position(node: &Node, name: &str) -> Option<usize> {
    let Node::Map(entries) = node else { return None };
    entries.iter().position(|(key, _)| key == name)
}

fn find<'a>(node: &'a Node, spans: &'a Spans, path: &[&str]) -> Option<(&'a Node, &'a Spans)> {
    let Some((first, rest)) = path.split_first() else { return Some((node, spans)) };
    let at = position(node, first)?;
    match (node, &spans.below) {
        (Node::Map(entries), Below::Map(places)) => find(&entries.get(at)?.1, &places.get(at)?.1, rest),
        _ => None,
    }
}

fn find_mut<'a>(
    node: &'a mut Node,
    spans: &'a mut Spans,
    path: &[&str],
) -> Option<(&'a mut Node, &'a mut Spans)> {
    let Some((first, rest)) = path.split_first() else { return Some((node, spans)) };
    let at = position(node, first)?;
    match (node, &mut spans.below) {
        (Node::Map(entries), Below::Map(places)) => {
            find_mut(&mut entries.get_mut(at)?.1, &mut places.get_mut(at)?.1, rest)
        }
        _ => None,
    }
}

/// Adds the keys that an entry lacks. `false` if there is no room for them.
fn merge(item: &mut Node, place: &mut Spans, defaults: &Node, spans: &Spans, made: &Made) -> bool {
    let (Node::Map(entries), Below::Map(places)) = (item, &mut place.below) else { return true };
    let (Node::Map(more), Below::Map(more_places)) = (defaults, &spans.below) else { return true };
    for ((name, node), spans) in more.iter().zip(more_places) {
        if !entries.iter().any(|(key, _)| key == name) {
            if !made.copy(node) {
                return false;
            }
            entries.push((name.clone(), node.clone()));
            places.push(spans.clone());
        }
    }
    true
}

struct List<'a> {
    group: &'static Group,
    path: KeyPath,
    sink: &'a Sink,
    around: &'a dyn Surroundings,
    made: &'a Made,
}

impl List<'_> {
    /// Works out the templates of the list, and gives every entry what it lacks.
    fn expand(&self, node: &mut Node, spans: &mut Spans, defaults: Option<&(Node, Spans)>) -> Option<()> {
        let (Node::List(items), Below::List(places)) = (node, &mut spans.below) else { return Some(()) };
        let mut ok = true;
        let (mut nodes, mut new_places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for (index, (mut item, mut place)) in items.drain(..).zip(places.drain(..)).enumerate() {
            if self.made.is_full() {
                break;
            }
            if let Some((defaults, spans)) = defaults
                && !merge(&mut item, &mut place, defaults, spans, self.made)
            {
                self.too_large::<()>(place.span, &self.path.index(index));
                ok = false;
                break;
            }
            ok &= self.entry(index, item, place, &mut nodes, &mut new_places).is_some();
        }
        if self.made.is_full() {
            // To read on would take long, and say nothing new.
            (nodes, new_places) = (Vec::new(), Vec::new());
        }
        (*items, *places) = (nodes, new_places);
        ok.then_some(())
    }

    /// Puts an entry, or those that a template makes, at the end of the list.
    fn entry(
        &self,
        index: usize,
        mut item: Node,
        mut place: Spans,
        nodes: &mut Vec<Node>,
        places: &mut Vec<Spans>,
    ) -> Option<()> {
        let Some((spec, span)) = take_for(&mut item, &mut place) else {
            nodes.push(item);
            places.push(place);
            return Some(());
        };
        let at = self.path.index(index).key("for");
        let values = self.values(&spec, span, &at)?;
        for row in values.rows() {
            if !self.made.entry() {
                let hint = format!("a gateway has at most {TUNNELS_MAX} tunnels: make the range smaller");
                return self.fail(span, &at, format!("templates make more than {MADE_MAX} entries"), &hint);
            }
            let Some(node) = self.filled(&item, &Kind::Group(self.group), &row, &place, &at) else {
                return None; // reported once, not for each row
            };
            nodes.push(node);
            places.push(place.clone());
        }
        Some(())
    }

    fn too_large<T>(&self, span: Span, at: &KeyPath) -> Option<T> {
        let hint = format!(
            "a gateway has at most {TUNNELS_MAX} tunnels with a few values each: make the range or the lists shorter"
        );
        self.fail(span, at, "templates and `defaults` make more than a profile can have".to_owned(), &hint)
    }

    fn fail<T>(&self, span: Span, at: &KeyPath, message: String, hint: &str) -> Option<T> {
        self.sink.push(Problem::error("config::template", at, message).hint(hint).span(span));
        None
    }

    /// `{ n: FIRST-LAST }` or `{ csv: FILE }`.
    fn values(&self, spec: &Node, span: Span, at: &KeyPath) -> Option<Values> {
        const HINT: &str = "write `for: { n: 1-500 }` for a range of numbers, or `for: { csv: FILE }` for the rows of a file";
        let entries = match spec {
            Node::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        match entries {
            [(key, Node::Str(range))] if key == "n" => match Values::range(range) {
                Some(values) => Some(values),
                None => {
                    let hint = format!("write FIRST-LAST with at most {TUNNELS_MAX} numbers, as in 1-500");
                    self.fail(span, at, format!("`{at}.n` is {}, which is not a range", shown(range)), &hint)
                }
            },
            [(key, Node::Str(file))] if key == "csv" => self.csv(file, span, at),
            _ => self.fail(span, at, format!("`{at}` does not say what to repeat"), HINT),
        }
    }

    fn csv(&self, file: &str, span: Span, at: &KeyPath) -> Option<Values> {
        let name = shown(file);
        let bytes = match self.around.read(Path::new(file)) {
            Ok(bytes) => bytes,
            Err(reason) => {
                let hint = "write the path of a CSV file, absolute or relative to the profile";
                return self.fail(span, at, format!("{name} cannot be read: {reason}"), hint);
            }
        };
        match Values::csv(&bytes) {
            Ok(values) => Some(values),
            Err(reason) => {
                let hint = "the first line of the file names its columns, separated by commas; every other line is one entry";
                self.fail(span, at, format!("{name}: {reason}"), hint)
            }
        }
    }

    /// A copy of the template with the values of one row.
    fn filled(
        &self,
        node: &Node,
        kind: &Kind,
        row: &super::template::Row<'_>,
        spans: &Spans,
        at: &KeyPath,
    ) -> Option<Node> {
        let copy = |node: &Node| match self.made.copy(node) {
            true => Some(node.clone()),
            false => self.too_large(spans.span, at),
        };
        if !self.made.value(0) {
            return self.too_large(spans.span, at);
        }
        Some(match (node, kind) {
            (Node::Map(entries), Kind::Group(group) | Kind::Either(_, group)) => {
                let Below::Map(places) = &spans.below else { return copy(node) };
                let fill = |((name, value), (_, spans)): (&(String, Node), &(Span, Spans))| {
                    let value = match group.key(name) {
                        Some(key) => self.filled(value, &key.kind, row, spans, at)?,
                        None => copy(value)?,
                    };
                    Some((name.clone(), value))
                };
                Node::Map(entries.iter().zip(places).map(fill).collect::<Option<_>>()?)
            }
            (Node::List(items), Kind::List(kind)) => {
                let Below::List(places) = &spans.below else { return copy(node) };
                let fill = |(item, spans): (&Node, &Spans)| self.filled(item, kind, row, spans, at);
                Node::List(items.iter().zip(places).map(fill).collect::<Option<_>>()?)
            }
            (Node::List(items), Kind::Several(text)) => {
                let Below::List(places) = &spans.below else { return copy(node) };
                let fill = |(item, spans): (&Node, &Spans)| self.filled(item, text.alone(), row, spans, at);
                Node::List(items.iter().zip(places).map(fill).collect::<Option<_>>()?)
            }
            (Node::Str(text), kind) => {
                let filled = match Template::new(text).and_then(|template| template.fill(row)) {
                    Ok(filled) => filled,
                    Err(error) => {
                        let hint = format!(
                            "known here: {}; `{{n:05}}` pads with zeros, `{{n+100}}`, `{{n/256}}` and `{{n%256}}` calculate, and `{{{{` is a brace",
                            row.names().join(", ")
                        );
                        return self.fail(spans.span, at, error, &hint);
                    }
                };
                if !self.made.value(filled.len()) {
                    return self.too_large(spans.span, at);
                }
                match kind {
                    Kind::Int { .. } => filled.parse().map_or(Node::Str(filled), Node::Int),
                    Kind::Flag => match filled.as_str() {
                        "true" => Node::Bool(true),
                        "false" => Node::Bool(false),
                        _ => Node::Str(filled),
                    },
                    _ => Node::Str(filled),
                }
            }
            _ => copy(node)?,
        })
    }
}

/// Takes the `for:` of an entry out of it, with its place.
fn take_for(item: &mut Node, place: &mut Spans) -> Option<(Node, Span)> {
    let at = position(item, "for")?;
    match (item, &mut place.below) {
        (Node::Map(entries), Below::Map(places)) if at < places.len() => {
            let (_, spans) = places.remove(at);
            Some((entries.remove(at).1, spans.span))
        }
        _ => None,
    }
}
