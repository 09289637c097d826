//! Typed reading of the tree that goes on after an error, so that all of them are told at once.

use super::diagnostic::Problem;
use super::nearest::nearest;
use super::path::KeyPath;
use super::yaml::Node;
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Collects problems.
#[derive(Debug, Default)]
pub struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    pub fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// One value and its place.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub node: &'a Node,
    pub path: KeyPath,
    sink: &'a Sink,
}

impl<'a> Item<'a> {
    #[must_use]
    pub fn new(node: &'a Node, path: KeyPath, sink: &'a Sink) -> Self {
        Self { node, path, sink }
    }

    pub fn report(&self, problem: Problem) {
        self.sink.push(problem);
    }

    fn wrong_kind(&self, expected: &str, cure: impl Into<String>) {
        let message = format!("`{}` must be {expected}, but this is {}", self.path, self.node.kind());
        self.wrong(message, cure);
    }

    /// Names the value too: for what can be no secret.
    fn wrong_value(&self, expected: &str, cure: impl Into<String>) {
        let Node::Str(value) = self.node else { return self.wrong_kind(expected, cure) };
        self.wrong(format!("`{}` must be {expected}, but this is \"{value}\"", self.path), cure);
    }

    fn wrong(&self, message: String, cure: impl Into<String>) {
        self.report(Problem::error("config::type", &self.path, message).cure(cure));
    }

    #[must_use]
    pub fn table(&self) -> Option<Table<'a>> {
        if let Node::Map(entries) = self.node {
            return Some(Table {
                entries,
                path: self.path.clone(),
                sink: self.sink,
                asked: RefCell::default(),
            });
        }
        self.wrong_kind("a group of keys", "write `key: value` lines below it, indented");
        None
    }

    #[must_use]
    pub fn list(&self) -> Option<Vec<Item<'a>>> {
        if let Node::List(nodes) = self.node {
            let item = |(i, node)| Item { node, path: self.path.index(i), sink: self.sink };
            return Some(nodes.iter().enumerate().map(item).collect());
        }
        self.wrong_kind("a list", "write one `- …` line for each, or [a, b]");
        None
    }

    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self.node {
            Node::Str(s) => Some(s),
            Node::Int(_) | Node::Huge | Node::Float(_) | Node::Bool(_) => {
                self.wrong_kind("text", "put it in quotes");
                None
            }
            _ => {
                self.wrong_kind("text", "write a word or a quoted text");
                None
            }
        }
    }

    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        if let Node::Bool(b) = self.node {
            return Some(*b);
        }
        self.wrong_value("true or false", "write true or false, without quotes");
        None
    }

    /// A whole number within bounds.
    #[must_use]
    pub fn int<T>(&self, allowed: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let Node::Int(value) = self.node else {
            self.wrong_value(
                "a whole number",
                format!("write a number from {} to {}", allowed.start(), allowed.end()),
            );
            return None;
        };
        let fits = T::try_from(*value).ok().filter(|v| allowed.contains(v));
        if fits.is_none() {
            let message = format!("`{}` is {value}", self.path);
            self.report(
                Problem::error("config::range", &self.path, message)
                    .label(format!("allowed: {} to {}", allowed.start(), allowed.end()))
                    .cure(format!("write a number from {} to {}", allowed.start(), allowed.end())),
            );
        }
        fits
    }

    /// Text in a form that `T` reads.
    #[must_use]
    pub fn parse<T: FromStr>(&self, what: &str, cure: &str) -> Option<T> {
        let text = self.text()?;
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.bad_value(text, what, cure);
        }
        parsed
    }

    /// Says that a value is none of what it should be.
    pub fn bad_value(&self, value: &str, what: &str, cure: &str) {
        let message = format!("`{}` is \"{value}\", which is not {what}", self.path);
        self.report(
            Problem::error("config::value", &self.path, message).label(format!("not {what}")).cure(cure),
        );
    }
}

/// A group of keys. Those that nobody asked for are unknown.
#[derive(Debug)]
pub struct Table<'a> {
    entries: &'a [(String, Node)],
    pub path: KeyPath,
    sink: &'a Sink,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    /// The value of a key that may be absent. An empty value counts as absent.
    pub fn optional(&self, key: &'static str) -> Option<Item<'a>> {
        self.asked.borrow_mut().push(key);
        let (_, node) = self.entries.iter().find(|(k, _)| k == key)?;
        (*node != Node::Null).then(|| Item { node, path: self.path.key(key), sink: self.sink })
    }

    /// The value of a key that must be there; `example` shows how to write it.
    pub fn required(&self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let item = self.optional(key);
        if item.is_none() {
            let message = format!("`{}` is missing", self.path.key(key));
            self.sink.push(
                Problem::error("config::missing", &self.path.key(key), message)
                    .at_key()
                    .label(format!("`{key}` belongs here"))
                    .cure(format!("add `{key}: {example}`")),
            );
        }
        item
    }

    /// Reports every key that was not asked for.
    pub fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries.iter().filter(|(k, _)| !asked.contains(&k.as_str())) {
            let known = asked.join(", ");
            let cure = match nearest(key, asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`? Known here: {known}"),
                None => format!("known here: {known}"),
            };
            let place = if self.path.0.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            let message = format!("unknown key `{key}`{place}");
            let problem = Problem::error("config::unknown-key", &self.path.key(key), message).at_key();
            self.sink.push(problem.label("not a key of this group").cure(cure));
        }
    }

    pub fn report(&self, problem: Problem) {
        self.sink.push(problem);
    }
}
