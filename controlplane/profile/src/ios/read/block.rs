//! Blocks of text that are no commands: banners, menus, macros, certificates, PEM.

use super::Reader;
use crate::ios::report::{At, Class, Verdict};
use crate::ios::text::TextLine;
use crate::ios::words::Words;

/// Longer ones have no end.
const TEXT_LINES_MAX: usize = 1_000;
const CERTIFICATE_LINES_MAX: usize = 2_000;

impl Reader {
    /// Pushes the lines up to `last` (an index) as parts of a block whose head has been pushed.
    fn body(&mut self, lines: &[TextLine], i: usize, last: usize, class: Class, why: &'static str) -> usize {
        let head = self.at;
        for line in &lines[i + 1..=last] {
            self.at = At { line: self.at.line + 1, ..self.at };
            self.put(line, class, why);
        }
        self.at = head;
        last - i + 1
    }

    /// `banner TYPE ^C` … `^C`, `menu NAME title ^C` … `^C`: the delimiter is the first character of the text, where `^C`
    /// counts as one.
    pub(super) fn delimited(&mut self, lines: &[TextLine], i: usize, rest: &str) -> usize {
        const KINDS: &[&str] =
            &["motd", "login", "exec", "incoming", "slip-ppp", "prompt-timeout", "config-save", "title"];
        let mut text = rest.trim_start();
        while let Some((word, after)) = text.split_once(char::is_whitespace) {
            let known = KINDS.iter().any(|k| k.eq_ignore_ascii_case(word));
            let named = after.trim_start().to_ascii_lowercase().starts_with("title ");
            if !known && !named {
                break;
            }
            text = after.trim_start();
        }
        let delimiter = match text.get(..2) {
            Some("^C") => "^C".to_owned(),
            _ => match text.chars().next() {
                Some(c) => c.to_string(),
                None => return 1,
            },
        };
        if text[delimiter.len()..].contains(&delimiter) {
            return 1;
        }
        let after = lines.iter().enumerate().skip(i + 1).take(TEXT_LINES_MAX);
        let Some((last, _)) = after.clone().find(|(_, l)| l.shown.contains(&delimiter)) else {
            let at = self.at;
            self.report.error(
                &[at],
                "this text is never closed, so where the configuration goes on cannot be told for sure",
                "close it with its delimiter, or remove it; the lines below were read as commands",
            );
            return 1;
        };
        self.body(lines, i, last, Class::Noise, "a text for people who log in")
    }

    /// `macro name X` … `@`
    pub(super) fn macro_body(&mut self, lines: &[TextLine], i: usize) -> usize {
        let after = lines.iter().enumerate().skip(i + 1).take(TEXT_LINES_MAX);
        match after.clone().find(|(_, l)| l.plain.trim() == "@") {
            Some((last, _)) => self.body(lines, i, last, Class::System, "a macro of the router"),
            None => 1,
        }
    }

    /// `certificate … SERIAL`, hexadecimal, `quit`; or the name of a file alone.
    pub(super) fn certificate_body(&mut self, lines: &[TextLine], i: usize, rest: Words<'_>) -> usize {
        if rest.iter().any(|w| w.starts_with("nvram:")) {
            return 1;
        }
        let hex = |text: &str| {
            !text.is_empty()
                && text.split_whitespace().all(|w| w.len() <= 64 && w.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let mut last = i;
        for (n, line) in lines.iter().enumerate().skip(i + 1).take(CERTIFICATE_LINES_MAX) {
            let text = line.plain.trim();
            if text == "quit" {
                last = n;
                break;
            }
            // The pager's lines stand in certificates, too.
            if !hex(text) && !text.is_empty() {
                break;
            }
            last = n;
        }
        let ended = lines[last].plain.trim() == "quit";
        // Blank lines behind a certificate that is cut off are not its own.
        while !ended && last > i && lines[last].plain.trim().is_empty() {
            last -= 1;
        }
        if !ended && last > i {
            let at = self.at;
            self.report.warn(
                &[at],
                "this certificate has no `quit`: the capture is not whole",
                "export the configuration anew",
            );
        }
        let first = self.at;
        let taken =
            self.body(lines, i, last, Class::System, "the gateway is given certificates as PEM files");
        let file = first.file;
        if let Some(block) = self.block_lines() {
            block.extend((1..taken).map(|n| At { file, line: first.line + u32::try_from(n).unwrap_or(0) }));
        }
        taken
    }

    /// `-----BEGIN …-----`
    pub(super) fn pem(&mut self, lines: &[TextLine], i: usize) -> usize {
        let after = lines.iter().enumerate().skip(i + 1).take(CERTIFICATE_LINES_MAX);
        let last = after.clone().find(|(_, l)| l.plain.trim().starts_with("-----END ")).map_or(i, |(n, _)| n);
        let private = lines[i].plain.contains("PRIVATE KEY");
        let first = self.at;
        for line in &lines[i..=last] {
            let text = if line.plain.contains("-----") { line.shown.trim() } else { "<hidden>" };
            self.push(text, Verdict::Ignored { class: Class::Once, why: "PEM is imported by `sipsec pki`" });
            self.at = At { line: self.at.line + 1, ..self.at };
        }
        self.at = first;
        if private {
            self.report.warn(
                &[first],
                "a private key stands in this file",
                "keep the file as you keep keys; `sipsec pki` imports certificates",
            );
        }
        last - i + 1
    }
}
