//! One problem, and the place where problems are collected.

use crate::read::{KeyPath, Of, Span, Step};
use serde::Serialize;
use std::cell::RefCell;

/// Line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    pub const START: Self = Self { line: 1, column: 1 };
}

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The gateway would not do what the profile says, so it does not start.
    Error,
    /// It starts, but the operator should look.
    Warning,
}

/// One problem, before its place in the text is known. Texts never hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Stable name of the check.
    pub code: &'static str,
    pub path: KeyPath,
    pub of: Of,
    /// The value to point at, if it is not the one of `path`.
    pub at: Option<(KeyPath, Of)>,
    /// What is wrong, with the value.
    pub message: String,
    /// Stands below the line of the text.
    pub label: String,
    /// What to do.
    pub hint: String,
    /// Known already where the path does not lead to it: bad syntax, templates, included files.
    pub span: Option<Span>,
}

impl Problem {
    pub fn error(code: &'static str, path: &KeyPath, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: in_section(code, path),
            path: path.clone(),
            of: Of::Value,
            at: None,
            message: message.into(),
            label: String::new(),
            hint: String::new(),
            span: None,
        }
    }

    pub fn warning(code: &'static str, path: &KeyPath, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, path, message) }
    }

    #[must_use]
    pub fn span(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
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
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// The dataplane's section has codes of its own.
fn in_section(code: &'static str, path: &KeyPath) -> &'static str {
    match (path.0.first(), code) {
        (Some(Step::Key(key)), "config::range" | "config::value") if key == "dataplane" => "dataplane::value",
        (Some(Step::Key(key)), "config::type" | "config::missing" | "config::unknown-key")
            if key == "dataplane" && path.0.len() > 1 =>
        {
            "dataplane::syntax"
        }
        (Some(Step::Key(key)), "config::value") if key == "gateway" => "dataplane::value",
        _ => code,
    }
}

/// Problems that a sink keeps of each severity. More of them are counted only.
const KEPT_MAX: usize = 1000;

/// Collects problems.
#[derive(Debug, Default)]
pub struct Sink(RefCell<Problems>);

/// The problems that were kept, and how many there were.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    pub list: Vec<Problem>,
    pub errors: usize,
    pub warnings: usize,
}

impl Sink {
    pub fn push(&self, problem: Problem) {
        let mut all = self.0.borrow_mut();
        let count = match problem.severity {
            Severity::Error => &mut all.errors,
            Severity::Warning => &mut all.warnings,
        };
        *count += 1;
        if *count <= KEPT_MAX {
            all.list.push(problem);
        }
    }

    /// Whether more errors would be counted only: they need not be worded.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.borrow().errors > KEPT_MAX
    }

    #[must_use]
    pub fn into_problems(self) -> Problems {
        self.0.into_inner()
    }
}
