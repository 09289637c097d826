//! The terminal: its width, its characters, its colours, its time.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::IsTerminal;

/// Without a terminal lines are not folded: programs read them.
const UNLIMITED: usize = usize::MAX;
/// Default width of a terminal.
const WIDTH: usize = 80;
/// Narrower than this nothing is readable anyway.
const WIDTH_MIN: usize = 40;

/// The columns of a terminal. One on a serial line does not know its size; then `COLUMNS` may say it, or else it is 80.
fn columns_of(size: Option<usize>, columns: Option<&str>) -> usize {
    size.or_else(|| columns?.parse().ok()).unwrap_or(WIDTH).max(WIDTH_MIN)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    width: usize,
    pub utf8: bool,
    pub colour: bool,
}

impl Screen {
    /// That of answers.
    #[must_use]
    pub fn detect() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// That of errors.
    #[must_use]
    pub fn of_errors() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let size = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let columns = std::env::var("COLUMNS").ok();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        Self {
            width: if terminal { columns_of(size, columns.as_deref()) } else { UNLIMITED },
            utf8: locale.is_some_and(|l| is_utf8(&l)),
            // https://no-color.org
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }

    #[must_use]
    pub const fn new(width: usize, utf8: bool, colour: bool) -> Self {
        Self { width, utf8, colour }
    }

    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The terminal's, or without one [`WIDTH`]: for what is laid out to a width.
    #[must_use]
    pub const fn width_or_default(&self) -> usize {
        if self.width == UNLIMITED { WIDTH } else { self.width }
    }

    /// Folds lines that are too wide at blanks; what follows is indented to the value of a `Name : value` line. Characters that
    /// the terminal cannot show are replaced.
    #[must_use]
    pub fn fit(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
            self.fold(&mut out, line);
            out.push_str(end);
        }
        if self.utf8 { out } else { ascii(&out) }
    }

    fn fold(&self, out: &mut String, line: &str) {
        let indent = indent(line).min(self.width / 2);
        let (mut rest, mut room) = (line, self.width);
        while rest.chars().count() > room {
            let limit = rest.char_indices().nth(room).map_or(rest.len(), |(at, _)| at);
            let from = rest.len() - rest.trim_start().len();
            let Some(at) = rest.get(..=limit).and_then(|head| head.rfind(' ')).filter(|at| *at > from) else {
                break; // one long word: the terminal wraps it
            };
            out.push_str(rest.get(..at).unwrap_or_default().trim_end());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            rest = rest.get(at..).unwrap_or_default().trim_start();
            room = self.width - indent;
        }
        out.push_str(rest);
    }

    #[must_use]
    pub fn red(&self, text: &str) -> String {
        if self.colour { format!("\x1b[31m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Where the value of a line begins.
fn indent(line: &str) -> usize {
    let begins = line.len() - line.trim_start().len();
    match line.find(": ") {
        Some(at) if at < 32 => at + 2,
        _ => begins + 2,
    }
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '→' => out.push_str("->"),
            '←' => out.push_str("<-"),
            '─' | '━' => out.push('-'),
            '│' | '┃' => out.push('|'),
            '…' => out.push_str("..."),
            '·' | '•' => out.push('*'),
            '×' => out.push('x'),
            '⚠' => out.push('!'),
            '“' | '”' => out.push('"'),
            '’' => out.push('\''),
            // Colours are escape sequences, which are ASCII.
            c if c.is_ascii() => out.push(c),
            '╭' | '╰' | '╮' | '╯' | '├' | '┤' | '┬' | '┴' | '┼' => out.push('+'),
            '▲' => out.push('^'),
            '▶' | '☞' => out.push('>'),
            _ => out.push('?'),
        }
    }
    out
}

/// A clock for the eye: local time with its offset, or UTC.
#[derive(Clone, Debug)]
pub struct Wall(TimeZone);

impl Wall {
    #[must_use]
    pub fn new(utc: bool) -> Self {
        Self(if utc { TimeZone::UTC } else { TimeZone::system() })
    }

    #[must_use]
    pub const fn in_zone(zone: TimeZone) -> Self {
        Self(zone)
    }

    /// `2026-11-30 14:57:21.234 +09:00`
    #[must_use]
    pub fn time(&self, time_us: u64) -> String {
        self.format(time_us, "%Y-%m-%d %H:%M:%S%.3f %:z")
    }

    /// `2026-11-30 14:57:21`
    #[must_use]
    pub fn second(&self, time_us: u64) -> String {
        self.format(time_us, "%Y-%m-%d %H:%M:%S")
    }

    /// `2026-11-30T14:57:21+09:00`
    #[must_use]
    pub fn rfc3339(&self, time_us: u64) -> String {
        self.format(time_us, "%Y-%m-%dT%H:%M:%S%:z")
    }

    /// `+09:00`
    #[must_use]
    pub fn offset(&self, time_us: u64) -> String {
        self.format(time_us, "%:z")
    }

    fn format(&self, time_us: u64, format: &str) -> String {
        let time = i64::try_from(time_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
        time.map_or_else(
            || "?".to_owned(),
            |t| t.to_zoned_datetime(self.0.clone()).strftime(format).to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_at_blanks_below_their_values() {
        let screen = Screen::new(40, true, false);
        let line = "   Last failure  : call refused: 486 Busy Here (status-486, 00:01:01 ago)\n";
        assert_eq!(
            screen.fit(line),
            "   Last failure  : call refused: 486\n                   Busy Here\n                   (status-486, 00:01:01\n                   ago)\n"
        );
        assert_eq!(screen.fit("short\n\n"), "short\n\n");
        let word = "x".repeat(100);
        assert_eq!(screen.fit(&word), word);
        assert_eq!(Screen::new(UNLIMITED, true, false).fit(line), line);
        for line in screen.fit(&"word ".repeat(200)).lines() {
            assert!(line.chars().count() <= 40, "{line}");
        }
    }

    #[test]
    fn a_terminal_of_unknown_size_has_the_columns_of_the_environment_or_80() {
        for (size, columns, width) in [
            (Some(132), Some("60"), 132),
            (Some(7), None, WIDTH_MIN),
            (None, Some("60"), 60),
            (None, Some("wide"), 80),
            (None, Some("0"), WIDTH_MIN),
            (None, None, 80),
        ] {
            assert_eq!(columns_of(size, columns), width, "{size:?} {columns:?}");
        }
    }

    #[test]
    fn a_terminal_without_utf8_gets_ascii() {
        let screen = Screen::new(80, false, false);
        assert_eq!(screen.fit("a → b ─│ … é"), "a -> b -| ... ?");
        assert!(is_utf8("ja_JP.UTF-8") && is_utf8("C.utf8") && !is_utf8("C") && !is_utf8("POSIX"));
    }

    #[test]
    fn times_have_a_date_and_an_offset() {
        let tokyo = Wall::in_zone(TimeZone::fixed(jiff::tz::offset(9)));
        assert_eq!(tokyo.time(45_296_000_123), "1970-01-01 21:34:56.000 +09:00");
        assert_eq!(Wall::new(true).time(45_296_789_123), "1970-01-01 12:34:56.789 +00:00");
        assert_eq!(Wall::new(true).time(u64::MAX), "?");
    }
}
