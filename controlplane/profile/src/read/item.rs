//! Typed reading of the tree by the schema. It goes on after an error, so that all of them are reported at once.

use super::document::Of;
use super::path::KeyPath;
use super::values::Node;
use crate::diagnose::{Problem, Sink, nearest, shown, shown_key};
use crate::model::Word;
use crate::schema::{Group, Key, Kind, Presence, Text};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// One value, its place and what it should be.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub node: &'a Node,
    pub path: KeyPath,
    pub kind: &'static Kind,
    /// Among secrets: messages do not repeat the value.
    private: bool,
    sink: &'a Sink,
}

impl<'a> Item<'a> {
    #[must_use]
    pub fn root(node: &'a Node, kind: &'static Kind, sink: &'a Sink) -> Self {
        Self { node, path: KeyPath::default(), kind, private: false, sink }
    }

    pub fn report(&self, problem: Problem) {
        self.sink.push(problem);
    }

    fn wrong_kind(&self, expected: &str, hint: impl Into<String>) {
        let message = format!("`{}` must be {expected}, but this is {}", self.path, self.node.kind());
        self.report(Problem::error("config::type", &self.path, message).hint(hint));
    }

    /// Repeats the value, where it cannot be a secret.
    fn wrong_value(&self, expected: &str, hint: impl Into<String>) {
        match self.node {
            Node::Str(value) if !self.private => {
                let message = format!("`{}` must be {expected}, but this is {}", self.path, shown(value));
                self.report(Problem::error("config::type", &self.path, message).hint(hint));
            }
            _ => self.wrong_kind(expected, hint),
        }
    }

    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.node, Node::Map(_))
    }

    #[must_use]
    pub fn table(&self) -> Option<Table<'a>> {
        let (Node::Map(entries), Kind::Group(group) | Kind::Either(_, group)) = (self.node, self.kind) else {
            self.wrong_kind("a group of keys", "write `key: value` lines below it, indented");
            return None;
        };
        let private = self.private || group.private;
        Some(Table { entries, group, path: self.path.clone(), private, sink: self.sink })
    }

    #[must_use]
    pub fn list(&self) -> Option<Vec<Item<'a>>> {
        let (Node::List(nodes), Kind::List(kind)) = (self.node, self.kind) else {
            self.wrong_kind("a list", "write one `- …` line for each entry, or [a, b]");
            return None;
        };
        let item =
            |(i, node)| Item { node, path: self.path.index(i), kind, private: self.private, sink: self.sink };
        Some(nodes.iter().enumerate().map(item).collect())
    }

    /// One value, or a list of such.
    #[must_use]
    pub fn several(&self) -> Option<Vec<Item<'a>>> {
        let Kind::Several(text) = self.kind else { return None };
        let kind = text.alone();
        let item = |path, node| Item { node, path, kind, private: self.private, sink: self.sink };
        Some(match self.node {
            Node::List(nodes) => nodes.iter().enumerate().map(|(i, n)| item(self.path.index(i), n)).collect(),
            node => vec![item(self.path.clone(), node)],
        })
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

    /// A whole number within the bounds of the schema.
    #[must_use]
    pub fn int<T: TryFrom<u64>>(&self) -> Option<T> {
        let Kind::Int { min, max } = self.kind else { return None };
        let range =
            if min == max { format!("write {min}") } else { format!("write a number from {min} to {max}") };
        let value = match self.node {
            Node::Int(value) => *value,
            _ => {
                self.wrong_value("a whole number", range);
                return None;
            }
        };
        let fits = u64::try_from(value).ok().filter(|v| (min..=max).contains(&v));
        if fits.is_none() {
            // A number among secrets may be one that lacks its key.
            let message = match self.private {
                true => format!("`{}` is out of its range", self.path),
                false => format!("`{}` is {value}", self.path),
            };
            let label =
                if min == max { format!("allowed: {min}") } else { format!("allowed: {min} to {max}") };
            self.report(Problem::error("config::range", &self.path, message).label(label).hint(range));
        }
        fits.and_then(|v| T::try_from(v).ok())
    }

    /// One of the words of the schema.
    #[must_use]
    pub fn word<T: Word>(&self) -> Option<T> {
        T::from_word(self.known_word()?)
    }

    /// One of the words of the schema, as text.
    #[must_use]
    pub fn known_word(&self) -> Option<&'static str> {
        let Kind::Word(words) = self.kind else { return None };
        let text = self.text()?;
        if let Some((word, _)) = words.iter().find(|(word, _)| *word == text) {
            return Some(word);
        }
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let what = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.join(""),
        };
        let meanings: Vec<_> = words.iter().map(|(word, means)| format!("{word}: {means}")).collect();
        let hint = match nearest(text, names.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`? {}", meanings.join("; ")),
            None => meanings.join("; "),
        };
        self.bad_value(text, &what, &hint);
        None
    }

    /// Text in a form that `T` reads.
    #[must_use]
    pub fn parse<T: FromStr>(&self, what: &str, hint: &str) -> Option<T> {
        let text = self.text()?;
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.bad_value(text, what, hint);
        }
        parsed
    }

    /// Reports that a value is not what it should be, and repeats it where it cannot be a secret.
    pub fn bad_value(&self, value: &str, what: &str, hint: &str) {
        let public = match self.kind {
            Kind::Text(text @ (Text::Number | Text::NumberOrAny | Text::NumberOrDhcp)) => {
                text.may_show(value)
            }
            _ => !self.private,
        };
        let message = match public {
            true => format!("`{}` is {}, which is not {what}", self.path, shown(value)),
            false => format!("`{}` is not {what}", self.path),
        };
        self.report(
            Problem::error("config::value", &self.path, message).label(format!("not {what}")).hint(hint),
        );
    }
}

/// A group of keys.
#[derive(Debug)]
pub struct Table<'a> {
    entries: &'a [(String, Node)],
    group: &'static Group,
    pub path: KeyPath,
    private: bool,
    sink: &'a Sink,
}

impl<'a> Table<'a> {
    fn key(&self, name: &'static str) -> &'static Key {
        self.group.key(name).expect("the reader asks for keys of the schema")
    }

    /// The value of a key that may be absent. An empty value counts as absent.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<Item<'a>> {
        let key = self.key(name);
        let (_, node) = self.entries.iter().find(|(k, _)| k == name)?;
        (*node != Node::Null).then(|| Item {
            node,
            path: self.path.key(name),
            kind: &key.kind,
            private: self.private && !is_public(key),
            sink: self.sink,
        })
    }

    /// The value of a key that must be there.
    #[must_use]
    pub fn required(&self, name: &'static str) -> Option<Item<'a>> {
        let item = self.optional(name);
        if item.is_none() {
            let Presence::Required(example) = self.key(name).presence else { return None };
            let message = format!("`{}` is missing", self.path.key(name));
            self.sink.push(
                Problem::error("config::missing", &self.path.key(name), message)
                    .at_key()
                    .label(format!("`{name}` belongs here"))
                    .hint(format!("add `{name}: {example}`")),
            );
        }
        item
    }

    /// A key that is required or has a default: its value as `read` takes it. `None` after an error.
    #[must_use]
    pub fn value<T: Clone>(
        &self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<T> {
        self.optional(name).map_or(Some(default), |item| read(&item))
    }

    /// A whole number: required, or with the default of the schema.
    #[must_use]
    pub fn int<T: TryFrom<u64> + FromStr>(&self, name: &'static str) -> Option<T> {
        let Presence::Default(default) = self.key(name).presence else {
            return self.required(name)?.int();
        };
        match self.optional(name) {
            Some(item) => item.int(),
            None => Some(default.parse().ok().expect("a default of the schema has its type")),
        }
    }

    /// The inner `None` is absence; the outer one an error.
    #[must_use]
    pub fn int_or_absent<T: TryFrom<u64>>(&self, name: &'static str) -> Option<Option<T>> {
        self.optional(name).map_or(Some(None), |item| item.int().map(Some))
    }

    /// A key that may be absent, as `read` takes it. The inner `None` is absence; the outer one an error.
    #[must_use]
    pub fn absent_or<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.optional(name).map_or(Some(None), |item| read(&item).map(Some))
    }

    #[must_use]
    pub fn seconds(&self, name: &'static str) -> Option<Duration> {
        self.int(name).map(Duration::from_secs)
    }

    #[must_use]
    pub fn flag(&self, name: &'static str) -> Option<bool> {
        match (self.optional(name), self.key(name).presence) {
            (Some(item), _) => item.flag(),
            (None, presence) => Some(presence == Presence::Default("true")),
        }
    }

    #[must_use]
    pub fn word<T: Word + Default>(&self, name: &'static str) -> Option<T> {
        self.value(name, T::default(), Item::word)
    }

    /// A list, each entry as `read` takes it; empty if absent. `None` if any entry has an error.
    #[must_use]
    pub fn list<T>(&self, name: &'static str, read: impl FnMut(&Item<'a>) -> Option<T>) -> Option<Vec<T>> {
        self.optional(name).map_or(Some(Vec::new()), |item| all(&item, read))
    }

    /// Warns of every key without a value: its author meant one.
    fn blank(&self) {
        let blank = self.entries.iter().filter(|(_, node)| *node == Node::Null);
        for key in blank.filter_map(|(name, _)| self.group.key(name)) {
            let path = self.path.key(key.name);
            let counts = match key.presence {
                // That it is missing is reported.
                Presence::Required(_) => continue,
                Presence::Default(default) => format!("its default counts, {default}"),
                Presence::Optional(_) => "it counts as left out".to_owned(),
            };
            let problem =
                Problem::warning("config::blank", &path, format!("`{path}` has no value: {counts}"));
            self.sink.push(problem.at_key().hint("write the value behind the colon, or remove the line"));
        }
    }

    /// Reports every key that the group does not have, or that has no value.
    pub fn finish(&self) {
        self.blank();
        for (key, _) in self.entries.iter().filter(|(k, _)| self.group.key(k).is_none()) {
            if self.sink.is_full() {
                return;
            }
            let names = || self.group.keys.iter().map(|key| key.name);
            let known = names().collect::<Vec<_>>().join(", ");
            let meant = nearest(key, names());
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`? Known here: {known}"),
                None => format!("known here: {known}"),
            };
            // A secret that lacks its key looks like one.
            let named = match self.private && meant.is_none() {
                true => "unknown key".to_owned(),
                false => format!("unknown key `{}`", shown_key(key)),
            };
            let place = if self.path.0.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            let path =
                if self.private && meant.is_none() { self.path.key("…") } else { self.path.key(key) };
            let mut problem = Problem::error("config::unknown-key", &path, format!("{named}{place}"))
                .label("not a key of this group")
                .hint(hint);
            problem.at = Some((self.path.key(key), Of::Key));
            self.sink.push(problem);
        }
    }

    pub fn report(&self, problem: Problem) {
        self.sink.push(problem);
    }
}

/// Keys of a private group whose values are no secrets, and are shown if they are wrong.
fn is_public(key: &Key) -> bool {
    matches!(key.kind, Kind::Word(_) | Kind::Flag)
        || matches!(
            key.kind,
            Kind::Text(Text::Number | Text::NumberOrAny | Text::NumberOrDhcp | Text::PpkId | Text::Identity)
        )
}

/// Every entry of a list, or `None` if one of them has an error.
#[must_use]
pub fn all<'a, T>(item: &Item<'a>, read: impl FnMut(&Item<'a>) -> Option<T>) -> Option<Vec<T>> {
    let items = item.list()?;
    let out: Vec<_> = items.iter().filter_map(read).collect();
    (out.len() == items.len()).then_some(out)
}

/// For messages: `{value}` must be displayable.
pub fn counted(n: usize, what: impl Display) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
