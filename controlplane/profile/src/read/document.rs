//! A YAML document with the place of every key and value, within bounds.
//!
//! [`parse`] walks the events of the parser once: it refuses what no profile has (deep nesting, huge values, aliases that
//! multiply, tags, keys that appear twice) and keeps the value and the span of every node.

use super::path::{KeyPath, Step};
use super::values::{self, Node};
use crate::diagnose::Place;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as Marks};
use std::collections::HashMap;

/// Groups and lists within each other. A profile has 6.
pub const DEPTH_MAX: usize = 32;
/// Longest key or value, in bytes.
pub const SCALAR_BYTES_MAX: usize = 8192;
/// Keys of one group. The largest group of a profile has about 50; this bounds how many are compared with each other.
pub const KEYS_MAX: usize = 128;
/// Entries of one list. A profile has at most 65,536 routes.
pub const ENTRIES_MAX: usize = 1 << 17;
/// Keys and values of one document. 16,384 tunnels and their keys, written out with ten keys each, have about 400,000.
pub const NODES_MAX: usize = 600_000;
/// Keys, values and bytes that aliases (`*name`) may stand for in all.
pub const ALIASED_MAX: usize = 1_000_000;

/// The text is not a YAML document that could be a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub message: String,
    pub hint: String,
    pub place: Place,
}

/// A place and a length. Columns and lengths count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    line: u32,
    column: u32,
    /// On its first line.
    len: u32,
    end_line: u32,
    /// 0 for the profile itself, then the files that it takes in.
    file: u16,
}

impl Span {
    pub const START: Self = Self { line: 1, column: 1, len: 1, end_line: 1, file: 0 };

    /// The last line of it.
    #[must_use]
    pub const fn end_line(self) -> usize {
        self.end_line as usize
    }

    #[must_use]
    pub const fn place(self) -> Place {
        Place { line: self.line as usize, column: self.column as usize }
    }

    /// One character of a file.
    #[must_use]
    pub fn at(place: Place, file: u16) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let line = number(place.line);
        Self { line, column: number(place.column), len: 1, end_line: line, file }
    }

    /// Which of the files.
    #[must_use]
    pub const fn file(self) -> u16 {
        self.file
    }

    #[must_use]
    pub const fn len(self) -> usize {
        self.len as usize
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    fn of(marks: &Marks, collection: bool, file: u16) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let len = if collection || marks.end.line() != marks.start.line() {
            usize::from(collection)
        } else {
            marks.end.index().saturating_sub(marks.start.index())
        };
        Self {
            line: number(marks.start.line().max(1)),
            column: number(marks.start.col() + 1),
            len: number(len),
            end_line: number(if collection { marks.start.line() } else { marks.end.line() }.max(1)),
            file,
        }
    }
}

/// The spans of a node and of the nodes in it.
#[derive(Clone, Debug)]
pub struct Spans {
    pub span: Span,
    pub below: Below,
}

#[derive(Clone, Debug)]
pub enum Below {
    /// A value, or an alias.
    Leaf,
    List(Vec<Spans>),
    /// Spans of key and value, in the order of the keys.
    Map(Vec<(Span, Spans)>),
}

/// Values and their places; both trees have the same shape, except below aliases.
#[derive(Clone, Debug)]
pub struct Document {
    pub root: Node,
    pub spans: Spans,
    /// Keys and values in it.
    pub nodes: usize,
}

/// The place of a key, or of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Key,
    Value,
}

impl Document {
    /// The span of a key or a value; of the nearest group around it if it is missing.
    #[must_use]
    pub fn locate(&self, path: &KeyPath, of: Of) -> Span {
        let (mut node, mut spans) = (&self.root, &self.spans);
        let mut nearest = if path.0.is_empty() { spans.span } else { Span::START };
        for (depth, step) in path.0.iter().enumerate() {
            let last = depth + 1 == path.0.len();
            match (step, node, &spans.below) {
                (Step::Key(name), Node::Map(entries), Below::Map(places)) => {
                    let Some(index) = entries.iter().position(|(key, _)| key == name) else { return nearest };
                    let (Some((_, value)), Some((key, below))) = (entries.get(index), places.get(index))
                    else {
                        return nearest;
                    };
                    if last && of == Of::Value {
                        return below.span;
                    }
                    nearest = *key;
                    (node, spans) = (value, below);
                }
                (Step::Index(index), Node::List(items), Below::List(places)) => {
                    let (Some(item), Some(below)) = (items.get(*index), places.get(*index)) else {
                        return nearest;
                    };
                    nearest = below.span;
                    (node, spans) = (item, below);
                }
                _ => return nearest,
            }
        }
        nearest
    }
}

/// # Errors
/// If the text is not one YAML document within the bounds.
pub fn parse(text: &str) -> Result<Document, SyntaxError> {
    parse_file(text, 0)
}

/// The same for a file that a profile takes in.
///
/// # Errors
/// As [`parse`].
pub fn parse_file(text: &str, file: u16) -> Result<Document, SyntaxError> {
    Walk::new(text, file).run()
}

/// A group or list whose end has not come.
struct Open {
    span: Span,
    below: Inside,
    /// The key whose value comes next.
    key: Option<(String, Span)>,
    anchor: usize,
    /// Nodes and bytes before it, aliases expanded.
    weight_before: usize,
}

/// Its values so far, and their places.
enum Inside {
    List(Vec<Node>, Vec<Spans>),
    /// Keys are few, so they are searched.
    Map(Vec<(String, Node)>, Vec<(Span, Spans)>),
}

impl Inside {
    fn close(self) -> (Node, Below) {
        match self {
            Self::List(nodes, spans) => (Node::List(nodes), Below::List(spans)),
            Self::Map(nodes, spans) => (Node::Map(nodes), Below::Map(spans)),
        }
    }
}

/// A node that has a name, and its weight.
struct Anchored {
    node: Node,
    weight: usize,
}

struct Walk<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    file: u16,
    open: Vec<Open>,
    root: Option<(Node, Spans)>,
    nodes: usize,
    /// Nodes and bytes so far, aliases expanded.
    weight: usize,
    aliased: usize,
    anchors: HashMap<usize, Anchored>,
}

fn fail<T>(span: Span, message: impl Into<String>, hint: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError { message: message.into(), hint: hint.into(), place: span.place() })
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, file: u16) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            file,
            open: Vec::new(),
            root: None,
            nodes: 0,
            weight: 0,
            aliased: 0,
            anchors: HashMap::new(),
        }
    }

    fn run(mut self) -> Result<Document, SyntaxError> {
        while let Some(event) = self.parser.next_event() {
            let (event, marks) = event.map_err(|error| scan_error(&error))?;
            self.event(event, &marks)?;
        }
        let start = Span { file: self.file, ..Span::START };
        let (root, spans) = self.root.unwrap_or((Node::Null, Spans { span: start, below: Below::Leaf }));
        Ok(Document { root, spans, nodes: self.nodes })
    }

    fn event(&mut self, event: Event<'_>, marks: &Marks) -> Result<(), SyntaxError> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => fail(
                Span::of(marks, true, self.file),
                "the file has more than one YAML document",
                "remove the lines `---` within it: a profile is one document",
            ),
            Event::Scalar(text, style, anchor, tag) => {
                let span = Span::of(marks, false, self.file);
                self.count(span, text.len())?;
                if text.len() > SCALAR_BYTES_MAX {
                    return fail(
                        Span { len: 1, ..span },
                        format!("a key or value of {} bytes is too long", text.len()),
                        format!(
                            "a profile has none of more than {SCALAR_BYTES_MAX} bytes: look for a missing quote or line end"
                        ),
                    );
                }
                refuse_tag(tag.as_deref(), span)?;
                let is_key = self.expects_key();
                if is_key && anchor == 0 {
                    return self.key(text.into_owned(), span);
                }
                let plain = style == ScalarStyle::Plain;
                let Ok(node) = values::scalar(&text, plain, tag.as_deref().map(|tag| tag.suffix.as_str()))
                else {
                    return fail(
                        span,
                        "the value is not what its tag says",
                        "remove the tag that begins with `!!`",
                    );
                };
                self.anchored(anchor, &node, 1 + text.len(), span)?;
                if is_key {
                    return self.key(text.into_owned(), span);
                }
                self.value(node, Spans { span, below: Below::Leaf })
            }
            Event::Alias(anchor) => {
                let span = Span::of(marks, false, self.file);
                self.count(span, 0)?;
                if self.open.iter().any(|open| open.anchor == anchor) {
                    return fail(
                        span,
                        "an alias stands within the value that it names",
                        "write the value out",
                    );
                }
                let weight = self.anchors.get(&anchor).map_or(0, |anchored| anchored.weight);
                self.aliases(weight, span)?;
                self.weight = self.weight.saturating_add(weight);
                if self.expects_key() {
                    return fail(span, "a key cannot be an alias", "write the key out");
                }
                let node = self.anchors.get(&anchor).map_or(Node::Null, |anchored| anchored.node.clone());
                self.value(node, Spans { span, below: Below::Leaf })
            }
            Event::SequenceStart(anchor, tag) => {
                self.enter(marks, anchor, tag.as_deref(), Inside::List(Vec::new(), Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.enter(marks, anchor, tag.as_deref(), Inside::Map(Vec::new(), Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let (node, below) = open.below.close();
                    self.anchored(open.anchor, &node, self.weight - open.weight_before, open.span)?;
                    return self.value(node, Spans { span: open.span, below });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Keeps a node that has a name: for the aliases that may follow, of which it counts as one.
    fn anchored(&mut self, anchor: usize, node: &Node, weight: usize, span: Span) -> Result<(), SyntaxError> {
        if anchor == 0 {
            return Ok(());
        }
        self.aliases(weight, span)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), weight });
        Ok(())
    }

    fn aliases(&mut self, weight: usize, span: Span) -> Result<(), SyntaxError> {
        self.aliased = self.aliased.saturating_add(weight);
        if self.aliased > ALIASED_MAX {
            return fail(
                span,
                "the aliases of this file stand for more than a profile can have",
                "write the values out, or use `defaults:` for what tunnels have in common",
            );
        }
        Ok(())
    }

    fn enter(
        &mut self,
        marks: &Marks,
        anchor: usize,
        tag: Option<&saphyr_parser::Tag>,
        below: Inside,
    ) -> Result<(), SyntaxError> {
        let span = Span::of(marks, true, self.file);
        self.count(span, 0)?;
        refuse_tag(tag, span)?;
        if self.expects_key() {
            return fail(
                span,
                "a key must be a word, but this is a group or a list",
                "write `key: value`; a text that begins with [ or { needs quotes",
            );
        }
        if self.open.len() >= DEPTH_MAX {
            return fail(span, too_deep(), TOO_DEEP_HINT);
        }
        let weight_before = self.weight;
        self.open.push(Open { span, below, key: None, anchor, weight_before });
        Ok(())
    }

    /// Whether the next node is a key.
    fn expects_key(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.below, Inside::Map(..)) && open.key.is_none())
    }

    fn key(&mut self, name: String, span: Span) -> Result<(), SyntaxError> {
        let Some(Open { below: Inside::Map(nodes, spans), key, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        if let Some(at) = nodes.iter().position(|(key, _)| *key == name) {
            let shown = crate::diagnose::shown_key(&name);
            let first = spans.get(at).map_or(0, |(span, _)| span.line);
            return fail(
                span,
                format!("`{shown}` appears twice, first on line {first}"),
                "remove one of the two",
            );
        }
        if nodes.len() == KEYS_MAX {
            return fail(
                span,
                format!("a group has more than {KEYS_MAX} keys"),
                "no group of a profile has so many: the entries of a list begin with `- `",
            );
        }
        *key = Some((name, span));
        Ok(())
    }

    fn value(&mut self, node: Node, place: Spans) -> Result<(), SyntaxError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some((node, place));
            return Ok(());
        };
        match &mut open.below {
            Inside::List(nodes, _) if nodes.len() == ENTRIES_MAX => {
                return fail(
                    place.span,
                    format!("a list has more than {ENTRIES_MAX} entries"),
                    "no list of a profile has so many: spread the tunnels over several gateways",
                );
            }
            Inside::List(nodes, spans) => {
                nodes.push(node);
                spans.push(place);
            }
            Inside::Map(nodes, spans) => {
                // A value follows a key.
                let (name, span) = open.key.take().unwrap_or((String::new(), place.span));
                nodes.push((name, node));
                spans.push((span, place));
            }
        }
        Ok(())
    }

    fn count(&mut self, span: Span, bytes: usize) -> Result<(), SyntaxError> {
        self.nodes += 1;
        self.weight = self.weight.saturating_add(1 + bytes);
        if self.nodes > NODES_MAX {
            return fail(
                span,
                format!("the file has more than {NODES_MAX} keys and values"),
                "write tunnels that differ in few values as a template (`for:`), over numbers or the lines of a CSV file, and what they have in common under `defaults:`",
            );
        }
        Ok(())
    }
}

fn too_deep() -> String {
    format!("groups and lists are nested deeper than {DEPTH_MAX}")
}

const TOO_DEEP_HINT: &str = "no profile is nested so deep: look at the indentation and for missing brackets";

/// The tags of YAML itself (`!!str`) are harmless; others have no meaning here.
fn refuse_tag(tag: Option<&saphyr_parser::Tag>, span: Span) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => fail(
            span,
            "a value that begins with `!` is a tag, which has no meaning in a profile",
            "put the value in quotes",
        ),
        _ => Ok(()),
    }
}

/// The parser's own messages hold no part of the text, except one character at most.
fn scan_error(error: &ScanError) -> SyntaxError {
    const HINTS: &[(&str, &str)] = &[
        ("tab", "indent with spaces: YAML allows no tabs there"),
        ("recursion limit", TOO_DEEP_HINT),
        ("unknown anchor", "write the value out, or define it before with `&name`"),
        ("duplicated anchor", "give each `&name` its own name"),
        ("escape", "in double quotes a backslash needs another one: write \\\\, or use single quotes"),
        ("end of stream", "look for a quote or bracket that is not closed"),
        ("eof", "look for a quote or bracket that is not closed"),
        ("directive", "remove the line that begins with %"),
        ("unprintable", "remove the character: a profile is text"),
        ("byte order mark", "remove the character U+FEFF within the text"),
    ];
    let info = error.info();
    let hint = HINTS.iter().find(|(part, _)| info.contains(part)).map_or(
        "this is not YAML: look for a missing colon, quote or bracket, and at the indentation",
        |(_, hint)| hint,
    );
    let mark = error.marker();
    // The parser has a limit of its own, far above ours; it may look ahead.
    let message = if info.contains("recursion limit") { too_deep() } else { info.to_owned() };
    SyntaxError {
        message,
        hint: hint.to_owned(),
        place: Place { line: mark.line().max(1), column: mark.col() + 1 },
    }
}
