//! Problems with their places, as `sipsec check` prints them.

use super::excerpt::{self, LineOf};
use super::problem::{Problem, Problems, Severity};
use super::shown::cut;
use crate::read::{Document, Source, Span};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Problems shown at most; a file that has more is not a profile.
pub const PROBLEMS_MAX: usize = 100;
/// Characters of a message or a hint.
const TEXT_MAX: usize = 1000;
const LABEL_MAX: usize = 160;

/// A problem with its place. Its JSON form is that of `sipsec check --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub code: &'static str,
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub path: String,
    pub message: String,
    #[serde(rename = "cure")]
    pub hint: String,
    #[serde(skip)]
    pub(super) label: String,
    /// Characters to underline.
    #[serde(skip)]
    pub(super) len: usize,
    /// Which of the files.
    #[serde(skip)]
    pub(super) number: u16,
}

/// All problems of one profile in the order of the file.
#[derive(Clone, Debug)]
pub struct Findings {
    pub(super) file: String,
    /// The lines that are shown, with everything blanked that may be a secret.
    pub(super) lines: BTreeMap<LineOf, Vec<char>>,
    pub list: Vec<Finding>,
    /// Beyond [`PROBLEMS_MAX`]: those that matter least.
    pub more: usize,
    errors: usize,
    warnings: usize,
}

impl Findings {
    #[must_use]
    pub fn new(file: &str, text: &str, document: &Document, problems: Problems) -> Self {
        Self::with_sources(file, text, &[], document, problems)
    }

    /// The same, with the files that the profile includes.
    #[must_use]
    pub fn with_sources(
        file: &str,
        text: &str,
        sources: &[Source],
        document: &Document,
        problems: Problems,
    ) -> Self {
        let mut out = Self::placed(file, problems, |problem| {
            let (path, of) =
                problem.at.as_ref().map_or((&problem.path, problem.of), |(path, of)| (path, *of));
            document.locate(path, of)
        });
        let around = |f: &Finding| {
            let file = f.number;
            (f.line.saturating_sub(1)..=f.line + 1).map(move |line| (file, line))
        };
        let wanted: BTreeSet<LineOf> = out.list.iter().flat_map(around).collect();
        let texts: Vec<&str> = std::iter::once(text).chain(sources.iter().map(|s| s.text.as_str())).collect();
        out.lines = excerpt::lines(&texts, document, &wanted);
        for finding in &mut out.list {
            if let Some(source) = usize::from(finding.number).checked_sub(1).and_then(|i| sources.get(i)) {
                finding.file.clone_from(&source.name);
            }
        }
        out
    }

    /// Without lines of the text: it could not be read, so nothing in it is known to be public.
    #[must_use]
    pub fn without_source(file: &str, problems: Problems) -> Self {
        Self::placed(file, problems, |_| Span::START)
    }

    fn placed(file: &str, problems: Problems, find: impl Fn(&Problem) -> Span) -> Self {
        let Problems { mut list, errors, warnings } = problems;
        list.sort_by_key(|p| p.severity);
        list.truncate(PROBLEMS_MAX);
        let mut list: Vec<Finding> = list
            .into_iter()
            .map(|p| {
                let span = p.span.unwrap_or_else(|| find(&p));
                let place = span.place();
                Finding {
                    severity: p.severity,
                    code: p.code,
                    file: file.to_owned(),
                    line: place.line,
                    column: place.column,
                    path: p.path.to_string(),
                    message: cut(&p.message, TEXT_MAX),
                    hint: cut(&p.hint, TEXT_MAX),
                    label: cut(&p.label, LABEL_MAX),
                    len: span.len(),
                    number: span.file(),
                }
            })
            .collect();
        list.sort_by_key(|f| (f.number, f.line, f.column));
        let more = (errors + warnings).saturating_sub(list.len());
        Self { file: file.to_owned(), lines: BTreeMap::new(), list, more, errors, warnings }
    }

    /// Adds a finding about the file itself.
    pub fn push(&mut self, problem: Problem) {
        match problem.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        let mut one =
            Self::placed(&self.file, Problems { list: vec![problem], ..Problems::default() }, |_| {
                Span::START
            });
        self.list.append(&mut one.list);
    }

    /// All errors, shown or not.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    #[must_use]
    pub const fn warnings(&self) -> usize {
        self.warnings
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::Sink;
    use crate::read::KeyPath;

    #[test]
    fn many_warnings_are_no_errors_and_hide_none() {
        let document = crate::read::parse_document("tunnels: []").expect("YAML");
        let found = |problems: Vec<Problem>| {
            let sink = Sink::default();
            problems.into_iter().for_each(|p| sink.push(p));
            Findings::new("x", "tunnels: []", &document, sink.into_problems())
        };
        let path = KeyPath::dotted("tunnels");
        let warnings = |n| (0..n).map(|i| Problem::warning("w", &path.index(i), "w")).collect::<Vec<_>>();
        let only = found(warnings(200));
        assert_eq!((only.errors(), only.warnings(), only.more), (0, 200, 100));
        let mut one = warnings(100);
        one.push(Problem::error("e", &path, "e"));
        let one = found(one);
        assert_eq!((one.errors(), one.warnings(), one.more), (1, 100, 1));
        assert!(one.list.iter().any(|f| f.code == "e"));
        let many = found(warnings(5000));
        assert_eq!((many.warnings(), many.list.len(), many.more), (5000, 100, 4900));
    }

    #[test]
    fn a_missing_value_is_shown_at_its_group() {
        let document = crate::read::parse_document("a: 1\nsip:\n  port: 1\n").expect("YAML");
        let sink = Sink::default();
        sink.push(Problem::error("e", &KeyPath::dotted("sip.registrar"), "e").at_key());
        let found = Findings::new("x", "a: 1\nsip:\n  port: 1\n", &document, sink.into_problems());
        assert_eq!((found.list[0].line, found.list[0].column), (2, 1));
    }
}
