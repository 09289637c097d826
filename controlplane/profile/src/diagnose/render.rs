//! Findings for people: each with its lines of the file, then a summary.

use super::findings::{Finding, Findings};
use super::problem::Severity;
use crate::read::counted;
use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How findings are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub color: bool,
    /// Box drawing; ASCII otherwise.
    pub unicode: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Style {
    /// For files and tests.
    pub const PLAIN: Self = Self { color: false, unicode: true, width: 100 };
    const WIDTH_MIN: usize = 40;
    const WIDTH_MAX: usize = 240;

    fn columns(self) -> usize {
        self.width.clamp(Self::WIDTH_MIN, Self::WIDTH_MAX)
    }

    fn painted(self, text: &str, code: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

struct Symbols {
    error: &'static str,
    warning: &'static str,
    corner: &'static str,
    end: &'static str,
    bar: &'static str,
    dots: &'static str,
    line: char,
    tee: char,
    hook: &'static str,
    /// Behind a label that has no room to the right.
    hook_left: &'static str,
    more: char,
}

const UNICODE: Symbols = Symbols {
    error: "×",
    warning: "⚠",
    corner: "╭─[",
    end: "╰────",
    bar: "│",
    dots: "·",
    line: '─',
    tee: '┬',
    hook: "╰── ",
    hook_left: " ──╯",
    more: '…',
};
const ASCII: Symbols = Symbols {
    error: "x",
    warning: "!",
    corner: ",-[",
    end: "`----",
    bar: "|",
    dots: ":",
    line: '^',
    tee: '^',
    hook: "`-- ",
    hook_left: " --'",
    more: '~',
};

const RED: &str = "31;1";
const YELLOW: &str = "33;1";
const CYAN: &str = "36";
const DIM: &str = "2";

impl Findings {
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        for finding in &self.list {
            self.one(finding, style, &mut out);
            out.push('\n');
        }
        if self.more > 0 {
            let _ = writeln!(out, "… and {} more", self.more);
        }
        let (errors, warnings) = (counted(self.errors(), "error"), counted(self.warnings(), "warning"));
        let _ = writeln!(out, "{}: {errors}, {warnings}", self.file);
        if style.unicode { out } else { ascii(&out) }
    }

    fn one(&self, finding: &Finding, style: Style, out: &mut String) {
        let symbols = if style.unicode { &UNICODE } else { &ASCII };
        let (sign, color) = match finding.severity {
            Severity::Error => (symbols.error, RED),
            Severity::Warning => (symbols.warning, YELLOW),
        };
        let _ = writeln!(out, "{}\n", style.painted(finding.code, color));
        let text = wrapped(&finding.message, style.columns() - 4);
        for (i, line) in text.iter().enumerate() {
            let lead = if i == 0 { sign } else { symbols.bar };
            let _ = writeln!(out, "  {} {line}", style.painted(lead, color));
        }
        let (file, line) = (finding.number, finding.line);
        let around = (file, line.saturating_sub(1))..=(file, line + 1);
        let shown: Vec<_> = self.lines.range(around).map(|((_, number), text)| (number, text)).collect();
        let margin = shown.last().map_or(finding.line, |(n, _)| **n).to_string().len();
        let blank = " ".repeat(margin + 1);
        let place = format!("{}:{}:{}", finding.file, finding.line, finding.column);
        let _ = writeln!(out, " {blank}{}{place}]", symbols.corner);
        for (number, line) in shown {
            let window = Window::of(line, finding, style.columns() - margin - 5, symbols.more);
            let number_text = style.painted(&format!("{number:>margin$}"), DIM);
            let _ = writeln!(out, " {number_text} {} {}", symbols.bar, window.text);
            if *number == finding.line {
                self.underline(finding, &window, &blank, style, symbols, out);
            }
        }
        let _ = writeln!(out, " {blank}{}", symbols.end);
        for (i, line) in wrapped(&finding.hint, style.columns() - 8).iter().enumerate() {
            let lead = if i == 0 { style.painted("help:", CYAN) } else { "     ".to_owned() };
            let _ = writeln!(out, "  {lead} {line}");
        }
    }

    fn underline(
        &self,
        finding: &Finding,
        window: &Window,
        blank: &str,
        style: Style,
        symbols: &Symbols,
        out: &mut String,
    ) {
        let label = if finding.label.is_empty() { &finding.path } else { &finding.label };
        let half = window.marked / 2;
        let bar: String =
            (0..window.marked).map(|i| if i == half { symbols.tee } else { symbols.line }).collect();
        let room = " ".repeat(window.before);
        let _ = writeln!(out, " {blank}{} {room}{}", symbols.dots, style.painted(&bar, CYAN));
        let columns = style.columns().saturating_sub(blank.len() + 3);
        let (room, text) = hooked(label, window.before + half, columns, symbols);
        let _ = writeln!(out, " {blank}{} {}{}", symbols.dots, " ".repeat(room), style.painted(&text, CYAN));
    }
}

/// A label below the mark at a column, to the right of it if it fits there: how many blanks come before it, and its text.
fn hooked(label: &str, mark: usize, columns: usize, symbols: &Symbols) -> (usize, String) {
    let right = format!("{}{label}", symbols.hook);
    if mark + right.width() <= columns {
        return (mark, right);
    }
    let left = format!("{label}{}", symbols.hook_left);
    match (mark + 1).checked_sub(left.width()) {
        Some(room) => (room, left),
        None => (columns.saturating_sub(label.width()).min(mark), label.to_owned()),
    }
}

/// The part of a line around the place.
struct Window {
    text: String,
    /// Columns before the place.
    before: usize,
    /// Columns to underline.
    marked: usize,
}

impl Window {
    fn of(chars: &[char], finding: &Finding, columns: usize, more: char) -> Self {
        let at = (finding.column - 1).min(chars.len());
        // The parser counts the space after a quoted text.
        let mut end = (at + finding.len).min(chars.len());
        while end > at + 1 && chars.get(end - 1) == Some(&' ') {
            end -= 1;
        }
        let start = if chars.len() <= columns { 0 } else { at.saturating_sub(columns / 3) };
        let mut text = String::new();
        if start > 0 {
            text.push(more);
        }
        let (mut width, mut before, mut marked) = (text.width(), text.width(), 0);
        for (i, c) in chars.iter().enumerate().skip(start) {
            let wide = c.width().unwrap_or(0);
            if width + wide >= columns && i + 1 < chars.len() {
                text.push(more);
                break;
            }
            if i < at {
                before += wide;
            } else if i < end {
                marked += wide;
            }
            text.push(*c);
            width += wide;
        }
        Self { text, before, marked: marked.max(1) }
    }
}

/// Words in lines of at most `columns`; a word that is longer has a line of its own.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// For terminals whose locale is not UTF-8.
fn ascii(text: &str) -> String {
    let one = |c: char| match c {
        '…' => "...".to_owned(),
        '‘' | '’' => "'".to_owned(),
        '“' | '”' => "\"".to_owned(),
        '–' | '—' => "-".to_owned(),
        '→' => "->".to_owned(),
        c if c.is_ascii() => c.to_string(),
        _ => "?".to_owned(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::Nothing;

    fn render(text: &str, style: Style) -> String {
        crate::read::examine("x.yaml", text.as_bytes(), &Nothing).findings.render(style)
    }

    #[test]
    fn a_place_far_to_the_right_is_shown_with_what_is_around_it() {
        let text = format!(
            "version: 1\nsip: {{ {} port: zero }}\n",
            "rport: true, ".to_owned() + &" ".repeat(100_000)
        );
        let out = render(&text, Style::PLAIN);
        assert!(out.contains("port: zero"), "{out}");
        assert!(out.lines().all(|l| l.width() <= 130) && out.len() < 10_000, "{out}");
    }

    #[test]
    fn a_label_without_room_to_the_right_stands_left_of_the_mark() {
        let hooked = |label: &str, mark, columns| hooked(label, mark, columns, &UNICODE);
        assert_eq!(hooked("label", 10, 40), (10, "╰── label".to_owned()));
        assert_eq!(hooked("label", 35, 40), (27, "label ──╯".to_owned()));
        let long = "x".repeat(36);
        assert_eq!(hooked(&long, 20, 40), (4, long.clone()));
        let text = "version: 1\nsip: { interface: wan0, registrar: 192.0.2.1, dscp: 8, port: 70000 }\n";
        let out = render(text, Style { width: 80, ..Style::PLAIN });
        assert!(out.contains("  allowed: 1 to 65535 ──╯\n"), "{out}");
    }

    #[test]
    fn ascii_terminals_get_ascii() {
        let out = render("version: 1\ngateway: \"東京\"\n", Style { unicode: false, ..Style::PLAIN });
        assert!(out.is_ascii(), "{out}");
        assert!(out.contains(",-[x.yaml:2:10]") && out.contains("`-- "), "{out}");
    }

    #[test]
    fn the_mark_stands_below_wide_characters() {
        let out = render("version: 1\ngateway: \"東京\"\n", Style::PLAIN);
        assert!(out.contains(" 2 │ gateway: \"東京\"\n   ·          ───┬──\n"), "{out}");
    }
}
