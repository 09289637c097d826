//! The report as text of at most 80 columns.

use super::{At, FileReport, Finding, Outcome, Report, Severity, Span, Verdict};
use std::fmt::Write;

const COLUMNS: usize = 80;
/// Findings and rows that are printed; `--json` has all.
const FINDINGS_SHOWN: usize = 200;
const ROWS_SHOWN: usize = 400;

impl Outcome {
    /// What the exit status says, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Warnings => "converted, with warnings",
            Self::Errors => "errors",
            Self::Refused => "refused",
        }
    }
}

impl Report {
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let names: Vec<&str> = self.files.iter().map(|f| f.name.as_str()).collect();
        wrap(&mut out, "", &format!("{}: {}", names.join(", "), self.outcome().words()));
        let [converted, ignored, errors] = self.counts();
        let notes = self.findings.iter().filter(|f| f.severity == Severity::Note).count();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{converted} lines converted, {ignored} ignored, {errors} wrong; {} errors, {} warnings, {notes} notes",
            self.errors(),
            self.warnings()
        );
        for finding in self.findings.iter().take(FINDINGS_SHOWN) {
            out.push('\n');
            self.finding(&mut out, finding);
        }
        let more = self.findings.len().saturating_sub(FINDINGS_SHOWN) + self.more;
        if more > 0 {
            let _ = writeln!(out, "\n… and {more} more: see --json");
        }
        if !self.asks.is_empty() {
            out.push_str("\nTo be filled in, since no configuration of a router holds it:\n");
            for ask in &self.asks {
                wrap(&mut out, "  ", &ask.key);
                wrap(&mut out, "      ", &ask.what);
            }
        }
        for file in &self.files {
            lines(&mut out, file, self.files.len() > 1);
        }
        out
    }

    fn finding(&self, out: &mut String, finding: &Finding) {
        let place = self.places(&finding.places);
        let place = if place.is_empty() { String::new() } else { format!(" {place}") };
        wrap(out, "", &format!("{}{place}", finding.severity.name()));
        if let Some(span) = finding.places.first()
            && let Some(line) = self.line(At { file: span.file, line: span.first })
        {
            let text: String = line.text.trim().chars().take(COLUMNS - 6).collect();
            let _ = writeln!(out, "    | {}", printable(&text));
        }
        wrap(out, "    ", &finding.message);
        if !finding.hint.is_empty() {
            wrap(out, "    ", &format!("hint: {}", finding.hint));
        }
    }

    /// `line 3`, `lines 3-5, 9`, with the file's name if there are several.
    #[must_use]
    pub fn places(&self, spans: &[Span]) -> String {
        const SHOWN: usize = 8;
        let range = |s: &Span| {
            if s.first == s.last { s.first.to_string() } else { format!("{}-{}", s.first, s.last) }
        };
        let mut out = String::new();
        let mut file = None;
        for span in spans.iter().take(SHOWN) {
            if file.is_some_and(|f| f == span.file) {
                let _ = write!(out, ", {}", range(span));
                continue;
            }
            let name = self.files.get(usize::from(span.file)).map_or("", |f| f.name.as_str());
            let of = if self.files.len() > 1 { format!("{name} ") } else { String::new() };
            let separator = if out.is_empty() { "" } else { "; " };
            let several = spans.len() > 1 || span.first != span.last;
            let _ = write!(out, "{separator}{of}line{} {}", if several { "s" } else { "" }, range(span));
            file = Some(span.file);
        }
        if spans.len() > SHOWN {
            let _ = write!(out, " and {} more", spans.len() - SHOWN);
        }
        out
    }
}

/// Every line, those of one verdict together.
fn lines(out: &mut String, file: &FileReport, named: bool) {
    if file.lines.is_empty() {
        return;
    }
    let name = if named { format!(" of {}", file.name) } else { String::new() };
    wrap(out, "", &format!("\nLines{name}:"));
    let mut rows: Vec<(u32, u32, Verdict)> = Vec::new();
    for line in &file.lines {
        match rows.last_mut() {
            // Blank lines do not part what belongs together.
            Some((_, last, verdict)) if *verdict == line.verdict => *last = line.number,
            _ if line.verdict == Verdict::Blank => {}
            _ => rows.push((line.number, line.number, line.verdict)),
        }
    }
    for (first, last, verdict) in rows.iter().take(ROWS_SHOWN) {
        let place = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let (word, why) = match verdict {
            Verdict::Blank => continue,
            Verdict::Converted => ("converted".to_owned(), ""),
            Verdict::Error => ("error".to_owned(), ""),
            Verdict::Ignored { class, why } => (format!("ignored, {}", class.name()), *why),
        };
        let row = format!("  {place:<13} {word:<19} {why}");
        wrap_hanging(out, row.trim_end(), 36);
    }
    if rows.len() > ROWS_SHOWN {
        let _ = writeln!(out, "  … and {} more: see --json or --html", rows.len() - ROWS_SHOWN);
    }
}

/// Control characters would do things to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

/// Columns of a terminal: East Asian characters take two.
fn width(c: char) -> usize {
    let wide = matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{33ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{20000}'..='\u{3fffd}');
    if wide { 2 } else { 1 }
}

fn wrap(out: &mut String, indent: &str, text: &str) {
    for line in text.split('\n') {
        wrap_from(out, indent, indent, line);
    }
}

fn wrap_hanging(out: &mut String, text: &str, hang: usize) {
    wrap_from(out, "", &" ".repeat(hang), text);
}

fn wrap_from(out: &mut String, first: &str, then: &str, text: &str) {
    let text = printable(text);
    let mut line = first.to_owned();
    let mut used = first.len();
    let mut fresh = true;
    // Blanks of a table stay: only where a line is full does a blank end it.
    for word in text.split(' ') {
        let mut word = word;
        let columns = |w: &str| w.chars().map(width).sum::<usize>();
        if !fresh && used + 1 + columns(word) > COLUMNS {
            out.push_str(line.trim_end());
            out.push('\n');
            line = then.to_owned();
            used = then.len();
            fresh = true;
        }
        if !fresh {
            line.push(' ');
            used += 1;
        }
        // A word longer than a line is cut.
        while used + columns(word) > COLUMNS {
            let mut room = COLUMNS - used;
            let end = word.char_indices().find(|(_, c)| {
                let fits = width(*c) <= room;
                room = room.saturating_sub(width(*c));
                !fits
            });
            let (head, tail) = word.split_at(end.map_or(word.len(), |(i, _)| i));
            if head.is_empty() {
                break;
            }
            out.push_str(&line);
            out.push_str(head);
            out.push('\n');
            line = then.to_owned();
            used = then.len();
            word = tail;
        }
        line.push_str(word);
        used += columns(word);
        fresh = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let mut out = String::new();
        wrap(
            &mut out,
            "    ",
            &format!("{} {} {}", "word ".repeat(40), "x".repeat(300), "支店の回線".repeat(30)),
        );
        for line in out.lines() {
            assert!(line.chars().map(width).sum::<usize>() <= COLUMNS, "{line}");
        }
        assert_eq!(out.matches('x').count(), 300);
    }
}
