//! Reads lines into a [`Document`], one after another: each line gets its verdict here, which the conversion may still
//! change.

mod algorithm;
mod block;
mod broken;
mod dispatch;
mod global;
mod ike;
mod interface;
mod keyring;
mod list;
mod pki;
mod route;
mod session;
mod watch;

use super::document::{Block, Document, Said};
use super::grammar::Mode;
use super::noise;
use super::report::{At, Class, LineReport, Report, Verdict};
use super::text::TextLine;

/// What a command did.
#[derive(Debug)]
pub(super) enum Did {
    Converted,
    Ignored(Class, &'static str),
    /// Another command of that beginning is meant, of the mode above.
    NotMine,
    /// Message and hint.
    Wrong(String, String),
}

pub(super) const ADDRESSES: &str = "the system does it: addresses, links and switching";
const ROUTER: Did = Did::Ignored(Class::System, "the gateway does this by itself");

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Did {
    Did::Wrong(message.into(), hint.into())
}

/// Where the commands of blocks go: the index of the block that is open, by mode.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    block: usize,
    peer: usize,
    /// The sequence number of a certificate map.
    sequence: u32,
}

/// What the lines between commands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Configuration,
    /// Output of an exec command, or of one that asks.
    Output,
    /// What a command asked and was answered.
    Dialogue,
    /// A second configuration in the same file.
    Second,
}

/// Unknown features that one message names.
const FEATURES_NAMED_MAX: usize = 8;

#[derive(Debug)]
pub struct Reader {
    pub(super) doc: Document,
    pub(super) report: Report,
    mode: Mode,
    open: Open,
    at: At,
    context: Context,
    /// Commands of the block that is open are not indented, although those of other blocks may be.
    flat_block: bool,
    /// Commands of blocks are not indented in this file.
    flat: bool,
    version: bool,
    /// The header of a configuration that was whole when another header came: a second one does not make it incomplete.
    whole: Option<At>,
    /// The line before was a remark, which may go on.
    after_remark: bool,
    /// Lines that begin features which the import does not know.
    features: Vec<At>,
    lookalikes: std::collections::BTreeMap<char, (Vec<(At, usize)>, usize)>,
}

impl Reader {
    pub fn new() -> Self {
        Self {
            doc: Document::default(),
            report: Report::default(),
            mode: Mode::Global,
            open: Open::default(),
            at: At { file: 0, line: 0 },
            context: Context::Configuration,
            flat: false,
            flat_block: false,
            version: false,
            whole: None,
            after_remark: false,
            features: Vec::new(),
            lookalikes: std::collections::BTreeMap::new(),
        }
    }

    /// Reads a file whose `FileReport` has been added, without lines.
    pub fn file(&mut self, file: u16, lines: &[TextLine]) {
        self.mode = Mode::Global;
        self.context = Context::Configuration;
        self.version = false;
        self.after_remark = false;
        let commands =
            lines.iter().filter(|l| !l.plain.trim_start().is_empty() && !noise::is_remark(&l.plain));
        let (indented, all) = commands.fold((0, 0), |(i, n), l| (i + usize::from(l.indented()), n + 1));
        self.flat = indented * 10 < all;
        self.flat_block = false;
        let refused = refused_lines(lines);
        let mut i = 0;
        while i < lines.len() {
            self.at = At { file, line: u32::try_from(i + 1).unwrap_or(u32::MAX) };
            let taken = self.take(lines, i, refused[i]).max(1);
            i += taken;
        }
    }

    pub fn finish(mut self) -> (Document, Report) {
        let seen = std::mem::take(&mut self.lookalikes);
        for (found, (places, count)) in seen {
            let mut named: Vec<_> =
                places.iter().map(|(at, column)| format!("{}:{column}", at.line)).collect();
            if count > named.len() {
                named.push(format!("{} more", count - named.len()));
            }
            let message = format!(
                "U+{:04X} ({}) stands at {} and was read as its plain form",
                u32::from(found),
                super::text::lookalike::name(found),
                named.join(", ")
            );
            let lines: Vec<At> = places.iter().map(|(at, _)| *at).collect();
            self.report.warn(
                &lines,
                message,
                "export the configuration from the router rather than from a page",
            );
        }
        self.unknown_features();
        (self.doc, self.report)
    }

    /// Whether the router itself printed the file, rather than people wrote it.
    fn is_printed(&self) -> bool {
        self.version || self.doc.header.is_some()
    }

    /// A router's own output has no misspelt commands: what is not known there is another feature.
    fn unknown_features(&mut self) {
        if self.features.is_empty() {
            return;
        }
        let mut names: Vec<String> = Vec::new();
        for at in &self.features {
            let text = self.report.line(*at).map(|l| l.text.trim().to_owned()).unwrap_or_default();
            let name = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            if names.len() <= FEATURES_NAMED_MAX && !names.contains(&name) {
                names.push(name);
            }
        }
        let more = if names.len() > FEATURES_NAMED_MAX { " and others" } else { "" };
        names.truncate(FEATURES_NAMED_MAX);
        let message = format!("features that the import does not know: {}{more}", names.join(", "));
        let hint = "nothing of them is imported: see whether the tunnels need them";
        let lines = std::mem::take(&mut self.features);
        self.report.warn(&lines, message, hint);
    }

    /// Takes the line, and those that belong to it; how many it took.
    fn take(&mut self, lines: &[TextLine], i: usize, refused: bool) -> usize {
        let line = &lines[i];
        let text = line.plain.trim();
        if text.is_empty() {
            if line.pager {
                self.put(line, Class::Noise, "the pager's prompt");
            } else {
                self.push("", Verdict::Blank);
            }
            return 1;
        }
        if text.chars().all(|c| c == '!') {
            self.push("!", Verdict::Blank);
            return 1;
        }
        if text.starts_with("-----BEGIN ") {
            return self.pem(lines, i);
        }
        if let Some(show) = section(text) {
            self.context = if show { Context::Configuration } else { Context::Output };
            self.mode = Mode::Global;
            self.put(line, Class::Noise, "a heading of show tech-support");
            return 1;
        }
        let after_remark = std::mem::take(&mut self.after_remark);
        if let Some(prompt) = noise::prompt(&line.plain) {
            self.prompted(prompt.host);
            return self.typed(lines, i, prompt.mode, prompt.typed, refused);
        }
        if noise::is_caret(text) || noise::is_log(text) {
            self.put(line, Class::Noise, "a message of the router");
            return 1;
        }
        if noise::is_header(text) {
            if self.context == Context::Output || self.context == Context::Dialogue {
                self.context = Context::Configuration;
            }
            // What `write memory` and `copy` say.
            let saved = lines.get(i + 1).is_some_and(|next| next.plain.trim() == "[OK]");
            if noise::promises_end(text) && !saved && self.context == Context::Configuration {
                if self.doc.ended {
                    self.whole = self.doc.header;
                }
                self.doc.header = Some(self.at);
                self.doc.ended = false;
                self.mode = Mode::Global;
            }
            self.put(line, Class::Noise, "a header of the configuration");
            return 1;
        }
        if noise::is_remark(text) {
            self.after_remark = true;
            self.remark(line);
            return 1;
        }
        match self.context {
            Context::Output => {
                self.put(line, Class::Noise, "output of a command");
                return 1;
            }
            Context::Second => {
                self.second(line, text);
                return 1;
            }
            Context::Dialogue if !self.is_global(text) => {
                self.put(line, Class::Noise, "a dialogue with the router");
                return 1;
            }
            _ => self.context = Context::Configuration,
        }
        if refused {
            self.put(line, Class::Noise, "the router refused this command itself");
            return 1;
        }
        self.command(lines, i, None, &line.plain, after_remark)
    }

    /// `! pre-shared-key <removed>` is what backup tools leave of a key.
    fn remark(&mut self, line: &TextLine) {
        let words: Vec<_> = line.plain.split_whitespace().skip_while(|w| *w == "!").collect();
        let is_key = matches!(self.mode, Mode::Peer | Mode::Keyring)
            && words
                .first()
                .is_some_and(|w| w.trim_start_matches('!').eq_ignore_ascii_case("pre-shared-key"));
        if is_key && super::key::is_mask(&words[1..].join(" ")) {
            self.push(&line.safe(), Verdict::Converted);
            self.masked_remark();
            return;
        }
        self.put(line, Class::Noise, "a remark");
    }

    fn push(&mut self, text: &str, verdict: Verdict) {
        let line = LineReport { number: self.at.line, text: text.to_owned(), verdict };
        if let Some(file) = self.report.files.get_mut(usize::from(self.at.file)) {
            file.lines.push(line);
        }
    }

    fn put(&mut self, line: &TextLine, class: Class, why: &'static str) {
        self.push(&line.safe(), Verdict::Ignored { class, why });
    }

    /// The lines of the block that is open.
    fn block_lines(&mut self) -> Option<&mut Vec<At>> {
        let (doc, i) = (&mut self.doc, self.open.block);
        match self.mode {
            Mode::Interface => doc.interfaces.items.get_mut(i).map(Block::lines),
            Mode::Keyring => doc.keyrings.items.get_mut(i).map(Block::lines),
            Mode::Peer => {
                let peer = doc.keyrings.items.get_mut(i)?.peers.get_mut(self.open.peer)?;
                Some(&mut peer.lines)
            }
            Mode::IkeProfile => doc.ike_profiles.items.get_mut(i).map(Block::lines),
            Mode::IkeProposal => doc.proposals.items.get_mut(i).map(Block::lines),
            Mode::IkePolicy => doc.policies.items.get_mut(i).map(Block::lines),
            Mode::IpsecProfile => doc.ipsec_profiles.items.get_mut(i).map(Block::lines),
            Mode::TransformSet => doc.transforms.items.get_mut(i).map(Block::lines),
            Mode::Trustpoint => doc.trustpoints.items.get_mut(i).map(Block::lines),
            Mode::CertificateMap => doc.maps.items.get_mut(i).map(Block::lines),
            Mode::CertificateChain => doc.chains.items.get_mut(i).map(Block::lines),
            Mode::Acl => doc.acls.items.get_mut(i).map(Block::lines),
            Mode::RouteMap => doc.route_maps.items.get_mut(i).map(Block::lines),
            Mode::ClassMap => doc.class_maps.items.get_mut(i).map(Block::lines),
            Mode::PolicyMap => doc.policy_maps.items.get_mut(i).map(Block::lines),
            Mode::Vrf => doc.vrfs.items.get_mut(i).map(Block::lines),
            Mode::Sla => doc.probes.items.get_mut(i).map(Block::lines),
            Mode::Track => doc.tracks.items.get_mut(i).map(Block::lines),
            Mode::Applet => doc.applets.items.get_mut(i).map(Block::lines),
            Mode::Global | Mode::ZonePair | Mode::Other(..) => None,
        }
    }

    fn said<T>(&self, value: T) -> Said<T> {
        Said::new(value, self.at)
    }

    fn enter(&mut self, mode: Mode, block: usize) {
        self.mode = mode;
        self.open = Open { block, peer: 0, sequence: 0 };
    }
}

/// `------------------ show running-config ------------------`: whether a configuration follows.
fn section(text: &str) -> Option<bool> {
    let inner = text.strip_prefix("-----")?.trim_start_matches('-').trim_end_matches('-').trim();
    let shown = inner.strip_prefix("show ")?;
    Some(shown.starts_with("running-config") && !shown.contains(" | "))
}

/// Lines that the router refused: a `^` or a `% …` comes right after.
fn refused_lines(lines: &[TextLine]) -> Vec<bool> {
    let mut out = vec![false; lines.len()];
    let mut last = None;
    for (i, line) in lines.iter().enumerate() {
        let text = line.plain.trim();
        if text.is_empty() || noise::is_caret(text) {
            continue;
        }
        if noise::is_refusal(text) {
            if let Some(at) = last.take() {
                out[at] = true;
            }
        } else {
            last = Some(i);
        }
    }
    out
}
