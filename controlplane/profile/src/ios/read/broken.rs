//! Lines that a terminal has broken in two at its last column.

use super::Reader;
use crate::ios::grammar::{self, Command, Found, Mode};
use crate::ios::mask;
use crate::ios::noise;
use crate::ios::report::{At, Verdict};
use crate::ios::text::TextLine;
use crate::ios::words::split;

/// Columns of a terminal that broke lines.
const TERMINAL_COLUMNS: [usize; 2] = [80, 132];

impl Reader {
    /// The line and the next, if a terminal broke one line in two.
    pub(super) fn joined(&self, lines: &[TextLine], i: usize, text: &str) -> Option<String> {
        let line = &lines[i];
        if !TERMINAL_COLUMNS.contains(&line.shown.chars().count()) {
            return None;
        }
        let next = lines.get(i + 1)?;
        let tail = next.plain.trim_start();
        if matches!(self.mode, Mode::Other(..)) || noise::is_prose(tail) {
            return None;
        }
        if tail.is_empty()
            || noise::is_remark(tail)
            || noise::is_log(tail)
            || noise::prompt(&next.plain).is_some()
        {
            return None;
        }
        let words = split(tail);
        let known = |mode: &Mode| {
            matches!(grammar::table(*mode).map(|t| t.find(&words)), Some(Found::Command { .. }))
        };
        let is_command = self.modes(false).iter().any(known)
            || words.first().is_some_and(|w| w.text.eq_ignore_ascii_case("no"));
        (!is_command).then(|| format!("{text}{}", next.plain))
    }

    pub(super) fn broken(
        &mut self,
        lines: &[TextLine],
        i: usize,
        typed: Option<&str>,
        joined: &str,
    ) -> usize {
        let words = split(joined);
        let table = grammar::table(self.mode);
        let is_key = matches!(
            table.map(|t| t.find(&words)),
            Some(Found::Command { command: Command::PeerKey | Command::PeerPpk, .. })
        ) || joined.to_ascii_lowercase().contains("pre-share");
        let at = self.at;
        let next = At { line: at.line + 1, ..at };
        if is_key {
            self.push(&mask::keep(&lines[i].shown, 1), Verdict::Converted);
            self.cut_key();
            self.at = next;
            self.push("<hidden>", Verdict::Converted);
            self.report.error(
                &[at, next],
                "the line goes on in the next one: a terminal broke it, and where the key ends cannot be told",
                "export the configuration with `terminal width 0`, or write the key in one line",
            );
            return 2;
        }
        let taken = self.dispatch(lines, i, typed, joined, lines[i].indented(), false);
        if taken != 1 {
            return taken;
        }
        let verdict = self.report.verdict(at).unwrap_or(Verdict::Blank);
        self.at = next;
        self.push(&lines[i + 1].safe(), verdict);
        self.report.warn(
            &[at, next],
            "a terminal broke this line in two; both were read as one",
            "compare with the router",
        );
        2
    }
}
