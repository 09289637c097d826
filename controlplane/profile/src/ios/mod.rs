//! Reads the running configuration of an IOS router and converts it into a profile.
//!
//! ```text
//! bytes ─ text ─> lines ─ read (grammar) ─> Document ─ convert ─> Conversion ─ write ─> profile (YAML), key files
//!                             └────────────── Report: a verdict for every line, findings, questions
//! ```
//! Any bytes may come in: files and lines are bounded, each line is looked at a bounded number of times, and nothing panics.

pub mod conversion;
mod convert;
mod document;
mod foreign;
mod grammar;
mod key;
mod left_out;
mod mask;
pub mod names;
mod noise;
mod read;
pub mod report;
pub mod show;
mod show_esp;
mod show_filter;
mod show_nat;
mod show_qos;
mod show_watch;
mod text;
mod words;
pub mod write;

pub use conversion::Conversion;
pub use document::Secret;
pub use left_out::left_out;
pub use report::{Outcome, Report};

use document::Document;
use report::{At, Class, FileReport, LineReport, Verdict};
use std::collections::BTreeMap;
use text::TextLine;

/// Files of one import.
pub const FILES_MAX: usize = 64;
/// Octets of all files of one import.
pub const BYTES_MAX: usize = 10 << 20;
/// Lines of all files of one import.
pub const LINES_MAX: usize = 400_000;
/// Characters of one line; IOS takes 254.
pub const LINE_CHARS_MAX: usize = 4_096;

/// A file and its name in the report.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// What the operator says beside the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of interfaces on the router ([`names::canonical`]) and the devices that take their places.
    pub interfaces: BTreeMap<String, String>,
    /// The gateway's name; the hostname of the router unless given.
    pub gateway: Option<String>,
}

/// What came of an import.
#[derive(Debug)]
pub struct Import {
    pub report: Report,
    pub conversion: Conversion,
    /// There are tunnels of vpn-sip: the conversion is a profile rather than a part of one.
    pub is_profile: bool,
}

/// Reads files as one configuration: later ones add to earlier ones.
#[must_use]
pub fn import(sources: &[Source<'_>], options: &Options) -> Import {
    let mut reader = read::Reader::new();
    let (mut bytes, mut lines_all) = (0, 0);
    for (i, source) in sources.iter().enumerate() {
        bytes += source.bytes.len();
        let file = u16::try_from(i).unwrap_or(u16::MAX);
        reader.report.files.push(FileReport {
            name: source.name.to_owned(),
            encoding: None,
            lines: Vec::new(),
        });
        if i >= FILES_MAX || bytes > BYTES_MAX {
            let message = format!(
                "{} is too much: {FILES_MAX} files of {} MiB together are read",
                source.name,
                BYTES_MAX >> 20
            );
            return refused(reader, message, "import the configurations of one router alone");
        }
        let Ok(decoded) = text::decode::decode(source.bytes) else {
            let message = format!("{} is no text", source.name);
            return refused(reader, message, "export the running configuration as text");
        };
        lines_all += text::lines(&decoded.text).count();
        if lines_all > LINES_MAX {
            let message = format!("{} has too many lines: {LINES_MAX} are read", source.name);
            return refused(reader, message, "import the configuration of one router alone");
        }
        let foreign = foreign::recognise(text::lines(&decoded.text).map(|l| l.trim_end_matches('\r')));
        if let Some(foreign) = foreign {
            foreign_lines(&mut reader.report, file, &decoded.text, &foreign);
            return finish(reader, None);
        }
        if let Some(encoding) = decoded.encoding {
            if let Some(report) = reader.report.files.last_mut() {
                report.encoding = Some(encoding);
            }
            let message = format!("{} is not UTF-8; it was read as {encoding}", source.name);
            if decoded.replaced {
                reader.report.warn(
                    &[],
                    message,
                    "characters that could not be read are shown as U+FFFD; they stand in no key",
                );
            } else {
                reader.report.note(&[], message, "nothing to do");
            }
        }
        let long = text::lines(&decoded.text).enumerate().find(|(_, l)| l.len() > LINE_CHARS_MAX);
        if let Some((n, _)) = long {
            let message = format!(
                "line {} of {} has more than {LINE_CHARS_MAX} bytes, which no configuration of IOS has",
                n + 1,
                source.name
            );
            return refused(reader, message, "export the running configuration as text");
        }
        let lines: Vec<TextLine> = text::lines(&decoded.text).map(TextLine::new).collect();
        reader.file(file, &lines);
    }
    finish(reader, Some(options))
}

/// Not a configuration at all.
fn refused(mut reader: read::Reader, message: String, hint: &str) -> Import {
    reader.report.error(&[], message, hint);
    finish(reader, None)
}

fn foreign_lines(report: &mut Report, file: u16, text: &str, foreign: &foreign::Foreign) {
    let lines = (1u32..).zip(text::lines(text)).map(|(number, line)| {
        let shown = text::terminal::show(line).text;
        let verdict = match number {
            _ if shown.trim().is_empty() => Verdict::Blank,
            n if n <= foreign.header_lines => Verdict::Ignored { class: Class::Noise, why: "a header" },
            _ => Verdict::Ignored { class: Class::Unrelated, why: "not read: not a configuration of IOS" },
        };
        LineReport { number, text: mask::hide(&shown), verdict }
    });
    let lines = lines.collect();
    if let Some(report) = report.files.last_mut() {
        report.lines = lines;
    }
    report.error(&[At { file, line: foreign.line }], foreign.message.clone(), foreign.hint.clone());
}

fn finish(reader: read::Reader, options: Option<&Options>) -> Import {
    let (doc, mut report) = reader.finish();
    let Some(options) = options else {
        report.refuse();
        report.sort();
        return Import { report, conversion: Conversion::default(), is_profile: false };
    };
    let conversion = convert::convert(&doc, &mut report, options);
    if is_nothing(&doc) {
        report.refuse_whole(
            "not one line of this is a command of IOS",
            "export the running configuration of the router (`show running-config`)",
        );
    }
    report.sort();
    Import { report, is_profile: !conversion.tunnels.is_empty(), conversion }
}

/// Not one command was understood.
const fn is_nothing(doc: &Document) -> bool {
    doc.commands == 0
}
