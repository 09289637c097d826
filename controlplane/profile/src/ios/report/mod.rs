//! What is said about the lines of a configuration.

mod html;
mod text;

use serde::Serialize;

/// A line: file and number, both as the operator counts them (files in the order given, from 0; lines from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct At {
    pub file: u16,
    pub line: u32,
}

/// Why a line shapes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Prompts, headers, remarks, output, prose.
    Noise,
    /// Linux does it: addresses, switching, firewall, management.
    System,
    /// Another feature.
    Unrelated,
    /// A command that is done once.
    Once,
}

impl Class {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::System => "system",
            Self::Unrelated => "unrelated",
            Self::Once => "once",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing stands there, or `!` alone.
    Blank,
    Converted,
    Ignored {
        class: Class,
        why: &'static str,
    },
    Error,
}

/// One line and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct LineReport {
    pub number: u32,
    /// The text with secrets hidden.
    pub text: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    pub name: String,
    /// `None`: UTF-8.
    pub encoding: Option<&'static str>,
    pub lines: Vec<LineReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    /// Worth knowing; does not show in the exit status.
    Note,
}

impl Severity {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Consecutive lines of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    pub file: u16,
    pub first: u32,
    pub last: u32,
}

impl Span {
    #[must_use]
    pub const fn holds(&self, at: At) -> bool {
        self.file == at.file && self.first <= at.line && at.line <= self.last
    }
}

/// Something to say, with its place and what to do about it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Empty: about the whole.
    pub places: Vec<Span>,
    pub message: String,
    pub hint: String,
}

/// What no configuration of a router holds, and the operator has to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ask {
    /// The key of the profile.
    pub key: String,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Converted,
    /// With warnings.
    Warnings,
    Errors,
    /// Not a configuration of IOS.
    Refused,
}

/// How much of a kind is kept; more is counted.
const FINDINGS_MAX: usize = 5_000;
const ASKS_MAX: usize = 1_000;

/// Everything there is to say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub files: Vec<FileReport>,
    pub findings: Vec<Finding>,
    /// Findings beyond those kept.
    pub more: usize,
    pub asks: Vec<Ask>,
    #[serde(skip)]
    refused: bool,
    #[serde(skip)]
    errors: usize,
    #[serde(skip)]
    warnings: usize,
}

impl Report {
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (self.refused, self.errors, self.warnings) {
            (true, ..) => Outcome::Refused,
            (_, 0, 0) => Outcome::Converted,
            (_, 0, _) => Outcome::Warnings,
            _ => Outcome::Errors,
        }
    }

    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    #[must_use]
    pub const fn warnings(&self) -> usize {
        self.warnings
    }

    pub(crate) const fn refuse(&mut self) {
        self.refused = true;
    }

    /// One error in place of everything that was said: the whole is not what it was taken for.
    pub(crate) fn refuse_whole(&mut self, message: &str, hint: &str) {
        *self = Self { files: std::mem::take(&mut self.files), refused: true, ..Self::default() };
        for line in self.files.iter_mut().flat_map(|f| &mut f.lines).filter(|l| l.verdict == Verdict::Error) {
            line.verdict = Verdict::Ignored { class: Class::Noise, why: "not a command of IOS" };
        }
        self.error(&[], message, hint);
    }

    #[must_use]
    pub fn line(&self, at: At) -> Option<&LineReport> {
        self.files.get(usize::from(at.file))?.lines.get((at.line as usize).checked_sub(1)?)
    }

    #[must_use]
    pub fn verdict(&self, at: At) -> Option<Verdict> {
        self.line(at).map(|l| l.verdict)
    }

    fn line_mut(&mut self, at: At) -> Option<&mut LineReport> {
        self.files.get_mut(usize::from(at.file))?.lines.get_mut((at.line as usize).checked_sub(1)?)
    }

    /// An error stays one.
    pub(crate) fn set(&mut self, at: At, verdict: Verdict) {
        if let Some(line) = self.line_mut(at)
            && !matches!(line.verdict, Verdict::Error | Verdict::Blank)
        {
            line.verdict = verdict;
        }
    }

    pub(crate) fn ignore(&mut self, lines: &[At], class: Class, why: &'static str) {
        for at in lines {
            self.set(*at, Verdict::Ignored { class, why });
        }
    }

    pub(crate) fn error(&mut self, lines: &[At], message: impl Into<String>, hint: impl Into<String>) {
        for at in lines {
            self.set(*at, Verdict::Error);
        }
        self.errors += 1;
        self.find(Severity::Error, lines, message.into(), hint.into());
    }

    pub(crate) fn warn(&mut self, lines: &[At], message: impl Into<String>, hint: impl Into<String>) {
        self.warnings += 1;
        self.find(Severity::Warning, lines, message.into(), hint.into());
    }

    pub(crate) fn note(&mut self, lines: &[At], message: impl Into<String>, hint: impl Into<String>) {
        self.find(Severity::Note, lines, message.into(), hint.into());
    }

    fn find(&mut self, severity: Severity, lines: &[At], message: String, hint: String) {
        if self.findings.len() == FINDINGS_MAX {
            self.more += 1;
            return;
        }
        self.findings.push(Finding { severity, places: spans(lines), message, hint });
    }

    pub(crate) fn ask(&mut self, key: impl Into<String>, what: impl Into<String>) {
        let ask = Ask { key: key.into(), what: what.into() };
        if self.asks.len() < ASKS_MAX && !self.asks.contains(&ask) {
            self.asks.push(ask);
        }
    }

    /// Errors first, then by place.
    pub(crate) fn sort(&mut self) {
        self.findings.sort_by(|a, b| (a.severity, &a.places).cmp(&(b.severity, &b.places)));
    }

    /// Lines of each kind: converted, ignored, error.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let mut out = [0; 3];
        for line in self.files.iter().flat_map(|f| &f.lines) {
            match line.verdict {
                Verdict::Blank => {}
                Verdict::Converted => out[0] += 1,
                Verdict::Ignored { .. } => out[1] += 1,
                Verdict::Error => out[2] += 1,
            }
        }
        out
    }
}

fn spans(lines: &[At]) -> Vec<Span> {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    lines.dedup();
    let mut out: Vec<Span> = Vec::new();
    for at in lines {
        match out.last_mut() {
            Some(span) if span.file == at.file && span.last + 1 == at.line => span.last = at.line,
            _ => out.push(Span { file: at.file, first: at.line, last: at.line }),
        }
    }
    out
}
