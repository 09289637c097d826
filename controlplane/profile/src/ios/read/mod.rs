//! Reads lines into a [`Document`], one after another: each line gets its verdict here, which the conversion may still
//! change.

mod algorithm;
mod block;
mod global;
mod ike;
mod interface;
mod keyring;
mod list;
mod pki;
mod route;
mod session;

use super::document::{Block, Document, Said};
use super::grammar::{self, Command, Found, Mode};
use super::mask;
use super::noise;
use super::report::{At, Class, LineReport, Report, Verdict};
use super::text::TextLine;
use super::words::{Word, Words, nearest, split};

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
    /// Of a certificate map.
    sequence: u32,
}

/// What the lines between commands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Configuration,
    /// Of an exec command, or of one that asks.
    Output,
    /// What a command asked and was answered.
    Dialogue,
    /// A second configuration in the same file.
    Second,
}

#[derive(Debug)]
pub struct Reader {
    pub(super) doc: Document,
    pub(super) report: Report,
    mode: Mode,
    open: Open,
    at: At,
    context: Context,
    /// Commands of blocks are not indented in this file.
    flat: bool,
    version: bool,
    /// The line before was a remark, which may go on.
    after_remark: bool,
    lookalikes: std::collections::BTreeMap<char, (Vec<(At, usize)>, usize)>,
}

/// Places of one look-alike that are named.
const PLACES_MAX: usize = 8;
/// Columns of a terminal that broke lines.
const TERMINAL_COLUMNS: [usize; 2] = [80, 132];

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
            version: false,
            after_remark: false,
            lookalikes: std::collections::BTreeMap::new(),
        }
    }

    /// Reads a file whose `FileReport` has been added, without lines.
    pub fn file(&mut self, file: u16, lines: &[TextLine]) {
        self.mode = Mode::Global;
        self.context = Context::Configuration;
        self.version = false;
        self.after_remark = false;
        let commands = lines.iter().filter(|l| !l.plain.trim_start().is_empty() && !noise::is_remark(&l.plain));
        let (indented, all) = commands.fold((0, 0), |(i, n), l| (i + usize::from(l.indented()), n + 1));
        self.flat = indented * 10 < all;
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
            let mut named: Vec<_> = places.iter().map(|(at, column)| format!("{}:{column}", at.line)).collect();
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
            self.report.warn(&lines, message, "export the configuration from the router rather than from a page");
        }
        (self.doc, self.report)
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
            if noise::promises_end(text) && self.context == Context::Configuration {
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
            && words.first().is_some_and(|w| w.trim_start_matches('!').eq_ignore_ascii_case("pre-shared-key"));
        if is_key && super::key::is_mask(&words[1..].join(" ")) {
            self.push(&mask::hide(&line.shown), Verdict::Converted);
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
        self.push(&mask::hide(&line.shown), Verdict::Ignored { class, why });
    }

    /// Whether the words are a command of global configuration. Dialogues are not abbreviated.
    fn is_global(&self, text: &str) -> bool {
        let words = split(text);
        let plain = words.first().is_some_and(|w| w.text.len() >= 3 && w.text != "do");
        let found = || matches!(grammar::table(Mode::Global).map(|t| t.find(&words)), Some(Found::Command { .. }));
        plain && !noise::is_prose(text) && found()
    }

    /// A command in configuration: finds it in the modes that it may be of. `typed`: the mode that the prompt showed.
    fn command(
        &mut self,
        lines: &[TextLine],
        i: usize,
        typed: Option<&str>,
        text: &str,
        after_remark: bool,
    ) -> usize {
        if let Some(joined) = self.joined(lines, i, text) {
            return self.broken(lines, i, typed, &joined);
        }
        let indented = lines[i].indented();
        self.dispatch(lines, i, typed, text, indented, after_remark)
    }

    fn dispatch(
        &mut self,
        lines: &[TextLine],
        i: usize,
        typed: Option<&str>,
        text: &str,
        indented: bool,
        after_remark: bool,
    ) -> usize {
        let line = &lines[i];
        let mut words = split(text);
        let mut negated = false;
        while let Some(first) = words.first().filter(|_| words.len() > 1) {
            let negation = first.text.eq_ignore_ascii_case("no") || first.text.eq_ignore_ascii_case("default");
            if !negation || (self.mode == Mode::Trustpoint && first.text.eq_ignore_ascii_case("default")) {
                break;
            }
            negated = true;
            words.remove(0);
        }
        let global_first = typed == Some("config") || (typed.is_none() && !indented && !self.flat);
        let mut best: Option<(usize, Vec<&'static str>, bool)> = None;
        // Of a block that is not read, an indented line is never a command of another mode.
        let closed = matches!(self.mode, Mode::Other(..)) && typed.is_none();
        let modes = if closed && indented && !self.flat { Vec::new() } else { self.modes(global_first) };
        let inside = self.mode;
        for mode in modes {
            let Some(trie) = grammar::table(mode) else { continue };
            // Abbreviations are for people who type, not for the fall from one mode into another.
            let spelled = words.first().is_some_and(|w| trie.first_words().any(|f| f.eq_ignore_ascii_case(w.text)));
            let falls = mode != inside && typed.is_none() && inside != Mode::Global;
            if falls && !spelled && (closed || (indented && !self.flat)) {
                if !closed {
                    better(&mut best, 0, trie.first_words().collect(), false);
                }
                continue;
            }
            let numbered = matches!(mode, Mode::Acl) && words.first().is_some_and(|w| w.text.parse::<u32>().is_ok());
            match trie.find(if numbered { &words[1..] } else { &words }) {
                Found::Command { command, used } => {
                    if self.is_deeper_global(mode, command, used, &words, indented) {
                        continue;
                    }
                    let used = (used + usize::from(numbered)).min(words.len());
                    let did = self.apply(mode, command, &words, used, text, negated, lines, i);
                    match did {
                        Applied::No => {}
                        Applied::Yes(taken) => return taken,
                    }
                }
                Found::Ambiguous { word, of } => better(&mut best, word, of, true),
                Found::Unknown { word, known } => better(&mut best, word, known, false),
            }
        }
        self.unknown(line, text, &words, best, indented, after_remark, lines, i)
    }

    /// Whether the command is one of the block only because the block takes anything of that beginning, while global
    /// configuration knows more of its words.
    fn is_deeper_global(&self, mode: Mode, command: Command, used: usize, words: &[Word<'_>], indented: bool) -> bool {
        if mode == Mode::Global || !matches!(command, Command::Ignore { .. }) || (indented && !self.flat) {
            return false;
        }
        let global = grammar::table(Mode::Global).map(|t| t.find(words));
        matches!(global, Some(Found::Command { used: deeper, .. }) if deeper > used)
    }

    /// The modes in which a command is looked for.
    fn modes(&self, global_first: bool) -> Vec<Mode> {
        let mut modes = vec![self.mode];
        while let Some(above) = modes.last().and_then(|m| m.above()) {
            modes.push(above);
        }
        if global_first && modes.len() > 1 {
            modes.pop();
            modes.insert(0, Mode::Global);
        }
        modes
    }

    #[expect(clippy::too_many_arguments, reason = "the line in all its forms, passed on once")]
    fn apply(
        &mut self,
        mode: Mode,
        command: Command,
        list: &[Word<'_>],
        used: usize,
        text: &str,
        negated: bool,
        lines: &[TextLine],
        i: usize,
    ) -> Applied {
        let line = &lines[i];
        let free = matches!(
            command,
            Command::Description | Command::PeerText | Command::Banner | Command::Menu | Command::PeerKey | Command::PeerPpk
        );
        let end = if free { None } else { noise::trailing_remark(text) };
        let kept: Vec<Word<'_>> = list.iter().copied().filter(|w| end.is_none_or(|e| w.at < e)).collect();
        let text = end.map_or(text, |e| &text[..e]);
        let rest = Words::new(text, kept.get(used..).unwrap_or(&[]));
        let before = (self.mode, self.open);
        // Only a command of the mode that is open may use the block that is open.
        if mode != self.mode {
            self.mode = mode;
        }
        let pushed = self.report.files.get(usize::from(self.at.file)).map_or(0, |f| f.lines.len());
        self.push(&self.shown(command, line), Verdict::Converted);
        let mut taken = 1;
        let did = match command {
            Command::Banner | Command::Menu => {
                taken = self.delimited(lines, i, rest.rest());
                Did::Ignored(Class::System, "a text for people who log in")
            }
            Command::Macro => {
                taken = self.macro_body(lines, i);
                Did::Ignored(Class::System, "a macro of the router")
            }
            Command::CertificateBlock => {
                taken = self.certificate_body(lines, i, rest);
                Did::Ignored(Class::System, "the gateway is given certificates as PEM files")
            }
            _ => self.execute(command, rest, negated, line),
        };
        match did {
            Did::NotMine => {
                (self.mode, self.open) = before;
                if let Some(file) = self.report.files.get_mut(usize::from(self.at.file)) {
                    file.lines.truncate(pushed);
                }
                return Applied::No;
            }
            Did::Converted => {}
            Did::Ignored(class, why) => self.report.set(self.at, Verdict::Ignored { class, why }),
            Did::Wrong(message, hint) => {
                // Prose of a document may begin as a command does.
                if line.plain.chars().any(super::text::lookalike::is_cjk) && end.is_none() {
                    self.report.set(self.at, Verdict::Ignored { class: Class::Noise, why: "a sentence of a document" });
                    (self.mode, self.open) = before;
                    return Applied::Yes(taken);
                }
                self.report.error(&[self.at], message, hint);
            }
        }
        self.doc.commands += 1;
        self.after_remark = end.is_some();
        self.named(line, command);
        let at = self.at;
        if let Some(lines) = self.block_lines() {
            if lines.last() != Some(&at) {
                lines.push(at);
            }
        }
        Applied::Yes(taken)
    }

    /// What is shown of the line.
    fn shown(&self, command: Command, line: &TextLine) -> String {
        let text = &line.shown;
        // A prompt that a blank follows is a word of its own.
        let after = noise::prompt(&line.plain).and_then(|_| text.split_once(['#', '>']));
        let skip = usize::from(after.is_some_and(|(_, typed)| typed.starts_with(char::is_whitespace)));
        match command {
            Command::PeerKey | Command::PeerPpk => mask::keep(text, 1 + skip),
            Command::Ignore { .. } | Command::AuthLocal | Command::AuthRemote | Command::TrustpointText => mask::hide(text),
            _ => mask::hide_known(text),
        }
    }

    /// Look-alikes of a command that was read are named; those of descriptions do no harm.
    fn named(&mut self, line: &TextLine, command: Command) {
        let free = matches!(command, Command::Description | Command::PeerText | Command::PeerKey | Command::PeerPpk);
        for look in &line.lookalikes {
            // Of a key, its own error names those behind the command.
            let before_text = look.column <= line.shown.chars().take_while(|c| c.is_whitespace()).count();
            if free && !before_text {
                continue;
            }
            let entry = self.lookalikes.entry(look.found).or_default();
            entry.1 += 1;
            if entry.0.len() < PLACES_MAX {
                entry.0.push((self.at, look.column));
            }
        }
    }

    /// A line that no mode has a command for.
    #[expect(clippy::too_many_arguments, reason = "the line in all its forms, passed on once")]
    fn unknown(
        &mut self,
        line: &TextLine,
        text: &str,
        words: &[Word<'_>],
        best: Option<(usize, Vec<&'static str>, bool)>,
        indented: bool,
        after_remark: bool,
        lines: &[TextLine],
        i: usize,
    ) -> usize {
        if after_remark && !indented && best.as_ref().is_none_or(|(word, ..)| *word == 0) && noise::is_prose(text) {
            self.after_remark = true;
            self.put(line, Class::Noise, "a remark that goes on");
            return 1;
        }
        let prose = noise::is_prose(text);
        let at = self.at;
        if line.plain.chars().any(super::text::lookalike::is_cjk) && !matches!(self.mode, Mode::Other(..)) && prose {
            self.put(line, Class::Noise, "a sentence of a document");
            return 1;
        }
        match self.mode {
            Mode::Acl | Mode::RouteMap | Mode::ClassMap | Mode::PolicyMap | Mode::ZonePair | Mode::Vrf | Mode::Applet
            | Mode::Sla | Mode::Track
                if indented =>
            {
                self.put(line, Class::System, "belongs to the block above");
                if let Some(lines) = self.block_lines() {
                    lines.push(at);
                }
                return 1;
            }
            Mode::Other(class, why) if indented || (self.flat && !prose) => {
                self.put(line, class, why);
                return 1;
            }
            _ => {}
        }
        if prose {
            self.put(line, Class::Noise, "a sentence of a document");
            return 1;
        }
        if let Some(whole) = lost_letters(text, words, &best) {
            let taken = self.dispatch(lines, i, None, &whole, indented, false);
            let first = whole.split_whitespace().next().unwrap_or_default();
            let message = format!("the line lacks letters at its beginning; it was read as `{first} …`");
            self.report.warn(&[at], message, format!("write `{first}` in front, and compare with the router"));
            return taken;
        }
        if self.mode == Mode::Interface && indented {
            self.put(line, Class::System, "a setting of the interface that the import does not know");
            let name = self.interface_name();
            if super::names::is_tunnel(&name) {
                let message = format!("a setting of {name} that the import does not know is left out");
                self.report.warn(&[at], message, "see whether the tunnel needs it");
            }
            if let Some(lines) = self.block_lines() {
                lines.push(at);
            }
            return 1;
        }
        let keys = matches!(self.mode, Mode::Peer | Mode::Keyring);
        let shown = if keys { mask::keep(&line.shown, 1) } else { mask::hide(&line.shown) };
        self.push(&shown, Verdict::Converted);
        let (message, hint) = self.explain(words, best, keys);
        self.report.error(&[at], message, hint);
        1
    }

    fn explain(
        &self,
        words: &[Word<'_>],
        best: Option<(usize, Vec<&'static str>, bool)>,
        keys: bool,
    ) -> (String, String) {
        let place = self.mode.name();
        let Some((position, known, ambiguous)) = best else {
            return (format!("no command of {place}"), "correct the line, or remove it".to_owned());
        };
        let text = words.get(position).map(|w| w.text);
        // A word after a misspelt command may be a key.
        let safe = text.filter(|_| position == 0 || !keys).map(|t| t.chars().take(40).collect::<String>());
        if ambiguous {
            let message = format!("`{}` may be {}", safe.unwrap_or_default(), known.join(" or "));
            return (message, "write the word out".to_owned());
        }
        let near = text.map(|t| nearest(t, known.iter().copied(), 2)).unwrap_or_default();
        let message = match (&safe, text) {
            (Some(word), _) => format!("`{word}` is no command of {place}"),
            (None, Some(_)) => format!("a word of this line is no command of {place}"),
            (None, None) => format!("the command is not complete in {place}"),
        };
        let hint = match near.as_slice() {
            [] if known.len() <= 8 && !known.is_empty() => format!("known here: {}", known.join(", ")),
            [] => "correct the line, or remove it".to_owned(),
            near => format!("did you mean `{}`?", near.join("` or `")),
        };
        (message, hint)
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

    fn interface_name(&self) -> String {
        self.doc.interfaces.items.get(self.open.block).map(|i| i.name.clone()).unwrap_or_default()
    }

    fn said<T>(&self, value: T) -> Said<T> {
        Said::new(value, self.at)
    }

    fn enter(&mut self, mode: Mode, block: usize) {
        self.mode = mode;
        self.open = Open { block, peer: 0, sequence: 0 };
    }
}

enum Applied {
    Yes(usize),
    No,
}

fn better(best: &mut Option<(usize, Vec<&'static str>, bool)>, word: usize, mut known: Vec<&'static str>, ambiguous: bool) {
    match best {
        Some((at, _, _)) if *at > word => {}
        Some((at, others, was)) if *at == word => {
            others.append(&mut known);
            *was |= ambiguous;
        }
        _ => *best = Some((word, known, ambiguous)),
    }
}

/// Copying loses the first letters of a line now and then.
fn lost_letters(text: &str, words: &[Word<'_>], best: &Option<(usize, Vec<&'static str>, bool)>) -> Option<String> {
    const LOST_MAX: usize = 2;
    let (0, _, false) = best.as_ref()? else { return None };
    let first = words.first().filter(|w| w.text.len() >= 3)?;
    let trie = grammar::table(Mode::Global)?;
    let whole = trie.first_words().find(|w| {
        w.len() > first.text.len() && w.len() - first.text.len() <= LOST_MAX && w.ends_with(&first.text.to_ascii_lowercase())
    })?;
    let line = format!("{whole}{}", &text[first.at + first.text.len()..]);
    matches!(trie.find(&split(&line)), Found::Command { command, .. } if !matches!(command, Command::Ignore { .. }))
        .then_some(line)
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

impl Reader {
    /// The line and the next, if a terminal broke one line in two.
    fn joined(&self, lines: &[TextLine], i: usize, text: &str) -> Option<String> {
        let line = &lines[i];
        if !TERMINAL_COLUMNS.contains(&line.shown.chars().count()) {
            return None;
        }
        let next = lines.get(i + 1)?;
        let tail = next.plain.trim_start();
        if matches!(self.mode, Mode::Other(..)) || noise::is_prose(tail) {
            return None;
        }
        if tail.is_empty() || noise::is_remark(tail) || noise::is_log(tail) || noise::prompt(&next.plain).is_some() {
            return None;
        }
        let words = split(tail);
        let known = |mode: &Mode| matches!(grammar::table(*mode).map(|t| t.find(&words)), Some(Found::Command { .. }));
        let is_command = self.modes(false).iter().any(known)
            || words.first().is_some_and(|w| w.text.eq_ignore_ascii_case("no"));
        (!is_command).then(|| format!("{text}{}", next.plain))
    }

    fn broken(&mut self, lines: &[TextLine], i: usize, typed: Option<&str>, joined: &str) -> usize {
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
        self.push(&mask::hide(&lines[i + 1].shown), verdict);
        self.report.warn(&[at, next], "a terminal broke this line in two; both were read as one", "compare with the router");
        2
    }
}
