//! What is wrong with a profile, where it stands, and what to write instead.

use super::mask::mask;
use super::path::KeyPath;
use super::yaml::{self, Of, Place};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use serde::Serialize;
use std::fmt;

/// Problems shown at most; a file that has more is not a profile.
pub const PROBLEMS_MAX: usize = 100;

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The gateway would not do what the profile says, so it does not start.
    Error,
    /// It starts, but somebody should look.
    Warning,
}

/// One finding. Texts never hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Stable name of the check.
    pub code: &'static str,
    pub path: KeyPath,
    pub of: Of,
    /// What is wrong, with the value.
    pub message: String,
    /// What stands under the line.
    pub label: String,
    /// What to do.
    pub cure: String,
    /// If the library has told the place already (bad syntax has no path).
    pub place: Option<Place>,
}

impl Problem {
    pub fn error(code: &'static str, path: &KeyPath, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            path: path.clone(),
            of: Of::Value,
            message: message.into(),
            label: String::new(),
            cure: String::new(),
            place: None,
        }
    }

    pub fn warning(code: &'static str, path: &KeyPath, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, path, message) }
    }

    #[must_use]
    pub fn at_key(mut self) -> Self {
        self.of = Of::Key;
        self
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }
}

/// A problem with its place, as `sipsec check --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub code: &'static str,
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub path: String,
    pub message: String,
    pub cure: String,
    #[serde(skip)]
    label: String,
}

/// All problems of one profile in the order of the file.
#[derive(Clone, Debug)]
pub struct Findings {
    file: String,
    /// The text with its secrets blanked out: what is shown is a part of it.
    source: String,
    pub list: Vec<Finding>,
    /// Beyond [`PROBLEMS_MAX`]: those that matter least.
    pub more: usize,
    errors: usize,
    warnings: usize,
}

impl Findings {
    #[must_use]
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
        let warnings = problems.len() - errors;
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.sort_by_key(|p| p.severity);
        problems.truncate(PROBLEMS_MAX);
        let mut list: Vec<Finding> = problems
            .into_iter()
            .map(|p| {
                let place =
                    p.place.or_else(|| find(text, &p.path, p.of)).unwrap_or(Place { line: 1, column: 1 });
                Finding {
                    severity: p.severity,
                    code: p.code,
                    file: file.to_owned(),
                    line: place.line,
                    column: place.column,
                    path: p.path.to_string(),
                    message: p.message,
                    cure: p.cure,
                    label: p.label,
                }
            })
            .collect();
        list.sort_by_key(|f| (f.line, f.column));
        Self { file: file.to_owned(), source: mask(text), list, more, errors, warnings }
    }

    /// Shown or not.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    #[must_use]
    pub const fn warnings(&self) -> usize {
        self.warnings
    }

    /// Each finding with its lines of the file, then a summary.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(1).with_links(false);
        let source = NamedSource::new(&self.file, self.source.clone());
        let mut out = String::new();
        for finding in &self.list {
            let shown = Shown { finding, source: &source, offset: offset(&self.source, finding) };
            if handler.render_report(&mut out, &shown).is_err() {
                out.push_str(&finding.to_string()); // only a String that cannot grow refuses
            }
            out.push('\n');
        }
        if self.more > 0 {
            out.push_str(&format!("… and {} more\n", self.more));
        }
        out.push_str(&format!(
            "{}: {}, {}\n",
            self.file,
            counted(self.errors(), "error"),
            counted(self.warnings(), "warning")
        ));
        out
    }
}

fn counted(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// A missing value has no place; the group that lacks it has.
fn find(text: &str, path: &KeyPath, of: Of) -> Option<Place> {
    let mut path = path.clone();
    let mut of = of;
    loop {
        if let Some(place) = yaml::locate(text, &path, of) {
            return Some(place);
        }
        path.0.pop()?;
        of = Of::Key;
    }
}

/// Byte offset of the place, at most the end of the text.
fn offset(text: &str, finding: &Finding) -> usize {
    let mut at = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        if i + 1 == finding.line {
            let within =
                line.char_indices().nth(finding.column.saturating_sub(1)).map_or(line.len(), |(b, _)| b);
            return at + within;
        }
        at += line.len();
    }
    text.len()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[derive(Debug)]
struct Shown<'a> {
    finding: &'a Finding,
    source: &'a NamedSource<String>,
    offset: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.finding.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.finding.cure.is_empty() { None } else { Some(Box::new(&self.finding.cure)) }
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let text = self.source.inner();
        let len = token_len(text.get(self.offset..).unwrap_or_default());
        let label = if self.finding.label.is_empty() { &self.finding.path } else { &self.finding.label };
        let span = SourceSpan::new(self.offset.into(), len);
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(Some(label.clone()), span))))
    }
}

/// How much to underline: the quoted text or the word at the place.
fn token_len(rest: &str) -> usize {
    let line = rest.lines().next().unwrap_or_default();
    let end = match line.chars().next() {
        Some(q @ ('"' | '\'')) => line[1..].find(q).map(|i| i + 2),
        Some('[' | '{') => Some(1),
        _ => line.find([',', '}', ']', '#']).map(|i| line[..i].trim_end().len()),
    };
    let word = line.find(": ").or_else(|| line.ends_with(':').then(|| line.len() - 1));
    let end = end.unwrap_or_else(|| line.trim_end().len());
    word.map_or(end, |w| end.min(w)).max(usize::from(!line.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_are_no_errors_and_hide_none() {
        let path = KeyPath::dotted("tunnels");
        let warnings = (0..PROBLEMS_MAX).map(|i| Problem::warning("w", &path.index(i), "w"));
        let only = Findings::new("x", "tunnels: []", warnings.clone().chain(warnings.clone()).collect());
        assert_eq!((only.errors(), only.warnings(), only.more), (0, 200, 100));
        let last = Problem::error("e", &path, "e");
        let one = Findings::new("x", "tunnels: []", warnings.chain([last]).collect());
        assert_eq!((one.errors(), one.warnings(), one.more), (1, 100, 1));
        assert!(one.list.iter().any(|f| f.code == "e"));
    }
}
