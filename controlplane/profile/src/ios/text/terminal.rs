//! What a terminal shows of a line: carriage returns, backspaces, escape sequences and the pager's prompt are obeyed.

/// A line as it was to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// The pager's prompt was in it.
    pub pager: bool,
}

const PAGERS: [&str; 6] =
    ["<--- More --->", "--More--", "-- More --", "---- More ----", "--- more ---", "---More---"];
/// Columns that an escape sequence may ask for.
const COLUMNS_MAX: usize = 4096;

/// The visible text of one line.
#[must_use]
pub fn show(line: &str) -> Shown {
    let line = line.trim_end_matches('\r');
    let (line, pager) = without_pager(line);
    if !line.chars().any(|c| c.is_control() && c != '\t') {
        return Shown { text: line.trim_end().to_owned(), pager };
    }
    let mut screen = Screen::default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => screen.column = 0,
            '\u{8}' => screen.column = screen.column.saturating_sub(1),
            '\u{1b}' => screen.escape(&mut chars),
            '\t' => screen.put('\t'),
            // ^C and ^Z are written in banners and at the end of typed commands.
            '\u{3}' => screen.put('\u{3}'),
            c if c.is_control() => {}
            c => screen.put(c),
        }
    }
    Shown { text: screen.text(), pager }
}

/// Pagers write at the beginning of a line, so the marks count there alone.
fn without_pager(line: &str) -> (String, bool) {
    let start = line.find(|c: char| !c.is_whitespace() && !c.is_control()).unwrap_or(line.len());
    let (before, rest) = line.split_at(start);
    // Reverse video: ESC [7m--More--ESC [27m
    let rest = rest.strip_prefix("[7m").or_else(|| rest.strip_prefix("[0;7m")).unwrap_or(rest);
    match PAGERS.iter().find_map(|mark| rest.strip_prefix(mark)) {
        Some(after) => (format!("{}{after}", before.trim_end_matches('\u{1b}')), true),
        None => (line.to_owned(), false),
    }
}

#[derive(Default)]
struct Screen {
    cells: Vec<char>,
    column: usize,
}

impl Screen {
    fn put(&mut self, c: char) {
        while self.cells.len() < self.column {
            self.cells.push(' ');
        }
        match self.cells.get_mut(self.column) {
            Some(cell) => *cell = c,
            None => self.cells.push(c),
        }
        self.column += 1;
    }

    /// ECMA-48 control sequences; others are passed over.
    fn escape(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        if chars.next_if_eq(&'[').is_none() {
            chars.next();
            return;
        }
        let mut number = String::new();
        let end = loop {
            match chars.next() {
                Some(c @ ('0'..='9' | ';' | '?')) if number.len() < 16 => number.push(c),
                Some(c) => break c,
                None => return,
            }
        };
        let count = number.parse::<usize>().unwrap_or(0).min(COLUMNS_MAX);
        match (end, count) {
            ('K', 0) => self.cells.truncate(self.column),
            ('K', 2) => self.cells.clear(),
            ('K', 1) => self.cells.iter_mut().take(self.column).for_each(|c| *c = ' '),
            ('D', n) => self.column = self.column.saturating_sub(n.max(1)),
            ('C', n) => self.column = (self.column + n.max(1)).min(COLUMNS_MAX.max(self.cells.len())),
            ('G', n) => self.column = n.saturating_sub(1),
            _ => {}
        }
    }

    fn text(self) -> String {
        let mut text: String = self.cells.into_iter().collect();
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> String {
        show(line).text.trim_start().to_owned()
    }

    #[test]
    fn pagers_and_what_erases_them_vanish_and_the_rest_of_the_line_stays() {
        let erased = "\u{8}".repeat(9) + "         " + &"\u{8}".repeat(9);
        for line in [
            format!(" --More-- {erased} identity key-id 1"),
            format!("{erased} identity key-id 1\r"),
            " --More-- \r         \r identity key-id 1".to_owned(),
            "\r\u{1b}[K identity key-id 1\r".to_owned(),
            "\u{1b}[7m--More--\u{1b}[27m\r        \r identity key-id 1".to_owned(),
            "<--- More --->\r              \ridentity key-id 1".to_owned(),
            "\u{7}identity key-id 1".to_owned(),
            "\u{1b}[0midentity \u{1b}[1mkey-id\u{1b}[m 1".to_owned(),
        ] {
            assert_eq!(text(&line), "identity key-id 1", "{line:?}");
        }
        assert_eq!(show(" --More-- \r"), Shown { text: String::new(), pager: true });
        assert_eq!(show(" --More--\u{1b}[K"), Shown { text: String::new(), pager: true });
        assert_eq!(text("description see --More-- below"), "description see --More-- below");
    }

    #[test]
    fn sequences_that_never_end_are_bounded() {
        assert_eq!(text("\u{1b}[999999999999Cx").len(), 1);
        assert_eq!(text("a\u{1b}["), "a");
        assert_eq!(text("\u{1b}"), "");
    }
}
