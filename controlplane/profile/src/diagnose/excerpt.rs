//! Lines of a profile as messages may show them: every key and value that is not known to be public is blanked out.
//!
//! The schema decides, not the text: a value is shown only where a key of the schema holds it and its form allows it. So a
//! secret under a misspelt key, under no key or in the place of a number stays hidden, and so do comments.

use super::nearest::nearest;
use super::shown::{is_format, shown_key};
use crate::read::{Below, Document, Node, Span, Spans};
use crate::schema::{Group, Kind, PROFILE, Text};
use std::collections::{BTreeMap, BTreeSet};

/// A line of a file: the number of the file (0 is the profile), and that of the line, counted from 1.
pub type LineOf = (u16, usize);

/// The wanted lines of the profile and the files that it includes, blanked.
pub fn lines(texts: &[&str], document: &Document, wanted: &BTreeSet<LineOf>) -> BTreeMap<LineOf, Vec<char>> {
    let mut marks = Marks { wanted, ranges: BTreeMap::new(), hidden: BTreeSet::new() };
    marks.value(&document.root, &document.spans, &Kind::Group(&PROFILE), false);
    let mut out = BTreeMap::new();
    for (file, text) in (0u16..).zip(texts) {
        let Some((_, last)) = wanted.range((file, 0)..=(file, usize::MAX)).next_back() else { continue };
        for at in (1..=*last).zip(lines_of(text)).map(|(number, line)| ((file, number), line)) {
            let (at, line) = at;
            if wanted.contains(&at) {
                let ranges = marks.ranges.get_mut(&at).map_or(&mut [][..], Vec::as_mut_slice);
                ranges.sort_unstable_by_key(|range| range.start);
                out.insert(at, blanked(line, ranges, marks.hidden.contains(&at)));
            }
        }
    }
    out
}

/// Lines as YAML counts them: they end with LF, CR LF or CR alone (YAML 1.2 §5.4).
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Columns from 0, and whether the characters are shown.
struct Range {
    start: usize,
    end: usize,
    public: bool,
}

struct Marks<'a> {
    wanted: &'a BTreeSet<LineOf>,
    ranges: BTreeMap<LineOf, Vec<Range>>,
    /// Lines within or after the first line of a text of several lines.
    hidden: BTreeSet<LineOf>,
}

impl Marks<'_> {
    fn mark(&mut self, span: Span, public: bool) {
        let (file, place) = (span.file(), span.place());
        if span.end_line() > place.line {
            // `wanted` has few lines, so this is cheap for texts of many.
            self.hidden.extend(self.wanted.range((file, place.line)..=(file, span.end_line())));
        }
        if self.wanted.contains(&(file, place.line)) && !span.is_empty() {
            let start = place.column - 1;
            let range = Range { start, end: start + span.len(), public };
            self.ranges.entry((file, place.line)).or_default().push(range);
        }
    }

    fn value(&mut self, node: &Node, spans: &Spans, kind: &Kind, private: bool) {
        match (node, &spans.below, kind) {
            (Node::Map(entries), Below::Map(places), Kind::Group(group) | Kind::Either(_, group)) => {
                self.group(entries, places, group, private || group.private);
            }
            (Node::List(items), Below::List(places), Kind::List(kind)) => {
                for (item, place) in items.iter().zip(places) {
                    self.value(item, place, kind, private);
                }
            }
            (Node::List(items), Below::List(places), Kind::Several(text)) => {
                // An argument of a command may be a secret.
                let shown = if *text == Text::Command { 1 } else { items.len() };
                for (i, (item, place)) in items.iter().zip(places).enumerate() {
                    let kind = if i < shown { text.alone() } else { &Kind::Text(Text::Secret) };
                    self.value(item, place, kind, private);
                }
            }
            (_, Below::Leaf, kind) => self.mark(spans.span, is_public(node, kind, private)),
            // A list where the schema has none, or the reverse.
            _ => self.nothing_of(spans),
        }
    }

    fn group(&mut self, entries: &[(String, Node)], places: &[(Span, Spans)], group: &Group, private: bool) {
        for ((name, node), (key, spans)) in entries.iter().zip(places) {
            let Some(known) = group.key(name) else {
                // Comparing words takes time, and few lines are shown.
                if self.wanted.contains(&(key.file(), key.place().line)) {
                    let looks_like_a_key = shown_key(name) == *name && !private;
                    let misspelt = nearest(name, group.keys.iter().map(|k| k.name)).is_some();
                    self.mark(*key, looks_like_a_key || misspelt);
                }
                self.nothing_of(spans);
                continue;
            };
            self.mark(*key, true);
            self.value(node, spans, &known.kind, private);
        }
    }

    fn nothing_of(&mut self, spans: &Spans) {
        match &spans.below {
            Below::Leaf => self.mark(spans.span, false),
            Below::List(items) => items.iter().for_each(|item| self.nothing_of(item)),
            Below::Map(entries) => {
                for (key, value) in entries {
                    self.mark(*key, false);
                    self.nothing_of(value);
                }
            }
        }
    }
}

fn is_public(node: &Node, kind: &Kind, private: bool) -> bool {
    match (node, kind) {
        (Node::Str(value), Kind::Text(text) | Kind::Several(text) | Kind::Either(text, _)) => match text {
            // A secret may stand by mistake where its place belongs.
            Text::Path if private => value.contains('/'),
            Text::Variable => {
                value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            }
            _ => text.may_show(value),
        },
        (Node::Int(_), Kind::Text(text) | Kind::Several(text) | Kind::Either(text, _)) => text.may_show("0"),
        (Node::Null, _) => true,
        (_, Kind::Text(Text::Secret)) => false,
        // A value where a group belongs may be one of the group's, without its key.
        (_, Kind::Group(_) | Kind::Either(..)) => false,
        (_, Kind::List(kind)) => !private && kind.group().is_none(),
        (_, Kind::Word(_) | Kind::Flag) => true,
        _ => !private,
    }
}

/// Line by line, character by character, so that columns stay the same.
fn blanked(line: &str, ranges: &[Range], hidden: bool) -> Vec<char> {
    const STRUCTURE: &str = "-:,{}[]?|>\"'";
    let chars: Vec<char> = line.chars().collect();
    let mut out = Vec::with_capacity(chars.len());
    let mut ranges = ranges.iter().peekable();
    for (column, c) in chars.iter().copied().enumerate() {
        while ranges.next_if(|r| r.end <= column).is_some() {}
        let range = ranges.peek().filter(|r| r.start <= column);
        let shown = match range {
            Some(range) if range.public => true,
            // The quotes of a hidden value.
            Some(range) => {
                // The parser counts the space after a quoted text.
                let rest = chars.get(column + 1..range.end.min(chars.len())).unwrap_or_default();
                let last = rest.first() == Some(&' ') || rest.is_empty();
                matches!(c, '"' | '\'') && (column == range.start || last && rest.iter().all(|c| *c == ' '))
            }
            None if c == '#' && !hidden => break, // a comment may hold anything
            None => !hidden && STRUCTURE.contains(c),
        };
        out.push(match c {
            c if c.is_whitespace() => ' ',
            c if shown && !c.is_control() && !is_format(c) => c,
            _ => '*',
        });
    }
    while out.last() == Some(&' ') {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole text as messages would show it.
    fn shown(text: &str) -> String {
        let document = crate::read::parse_document(text).expect("YAML");
        let wanted = (1..=text.lines().count()).map(|line| (0, line)).collect();
        let lines = lines(&[text], &document, &wanted);
        lines.into_values().map(String::from_iter).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_spelling_of_a_secret_survives() {
        for text in [
            "ike:\n  keyring:\n  - { number: 1, psk: hunter2, peer: cisco }",
            "ike:\n  keyring:\n  - number: 1\n    psk: \"hunter2\" # hunter2\n    peer: cisco",
            "ike:\n  keyring:\n  - { number: 1, 'psk' : 'hun''ter2', peer: cisco }",
            "ike:\n  keyring:\n  - number: 1\n    psk: |\n      hunter2\n      # hunter2\n    peer: cisco",
            "ike:\n  keyring:\n  - number: 1\n    psk: hunter2\n      hunter2 - hunter2\n    peer: cisco",
            "ike:\n  keyring:\n  - { number: 1, psk:\n     hunter2, peer: cisco }",
            "ike:\n  keyring:\n  - number: 1\n    psk:\n    - hunter2\n    peer: cisco",
            "ike:\n  keyring:\n  - number: 1\n    psk: { a: hunter2, hunter2: 1 }\n    peer: cisco",
            "ike:\n  keyring:\n  - number: 1\n    psk: \"hun\n     ter2\\\"hunter2\"\n    peer: cisco",
            "ike:\n  keyring:\n  - number: hunter2\n    peer: cisco",
            "ike:\n  keyring:\n  - number: 1 psk hunter2\n    peer: cisco",
            "ike:\n  keyring:\n  - { number: 1, hunter2, peer: cisco }",
            "ike:\n  keyring:\n  - hunter2\n  - peer: cisco",
            "ike:\n  keyring: hunter2\n  peer: cisco",
            "ike:\n  keyring:\n  - { pks: hunter2, peer: cisco }",
            "ike:\n  keyring:\n  - { psk_file: hunter2, ppk_env: hunter2, peer: cisco }",
            "ike:\n  keyring:\n  - { psk_command: hunter2, ppk_credential: hunter2, peer: cisco }",
            "ike:\n  keyring:\n  - { psk_command: [/bin/echo, hunter2, /hunter2], peer: cisco }",
            "sip: { lines: [{ auth: hunter2, number: 1 }] }\n# cisco",
            "sip:\n  lines:\n  - auth: { username: cisco, geheim: hunter2 }",
            "pasword: hunter2\nike: { keyring: [{ peer: cisco }] }",
            "a: &x hunter2\nb: *x\nike: { keyring: [{ peer: cisco, number: *x }] }",
        ] {
            let shown = shown(text);
            assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{text}\n{shown}");
        }
    }

    #[test]
    fn everything_else_is_shown() {
        for text in [
            "version: 1\ngateway: branch",
            "sip:\n  interface: wan0\n  port: 5060\n  registar: *************",
            "sip:\n  lines:\n  - auth: { username: \"0388881001\", password: \"***\", password_file: /etc/x }",
            "ike:\n  keyring:\n  - { number: \"03-8888-1001\", psk: \"*******\", peer: cisco, ppk_env: SIPSEC_PPK }",
            "tunnels:\n  - name: Tunnel1\n    routes: [10.2.0.0/16, ten]\n    idle_s: ten",
            "dataplane:\n  inside: { mode: host, device: svti0 }",
        ] {
            assert_eq!(shown(&text.replace('*', "x")), text);
        }
    }
}
