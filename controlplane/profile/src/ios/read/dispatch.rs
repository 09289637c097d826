//! Finds the command of a line in the modes that it may be of, and says what is wrong with a line that is none.

use super::{Did, Reader};
use crate::ios::grammar::{self, Command, Found, Mode};
use crate::ios::mask;
use crate::ios::noise;
use crate::ios::report::{Class, Verdict};
use crate::ios::text::TextLine;
use crate::ios::text::lookalike::is_cjk;
use crate::ios::words::{Word, Words, is_misspelt, nearest, shortens, split};

/// Places of one look-alike that are named.
const PLACES_MAX: usize = 8;
/// Errors for which the nearest word is looked for.
const EXPLAINED_MAX: usize = 500;

enum Applied {
    Yes(usize),
    No,
}

impl Reader {
    /// Whether the words are a command of global configuration. Dialogues are not abbreviated.
    pub(super) fn is_global(&self, text: &str) -> bool {
        let words = split(text);
        let plain = words.first().is_some_and(|w| w.text.len() >= 3 && w.text != "do");
        let found =
            || matches!(grammar::table(Mode::Global).map(|t| t.find(&words)), Some(Found::Command { .. }));
        plain && !noise::is_prose(text) && found()
    }

    /// A command in configuration: finds it in the modes that it may be of. `typed`: the mode that the prompt showed.
    pub(super) fn command(
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

    pub(super) fn dispatch(
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
            let negation =
                first.text.eq_ignore_ascii_case("no") || first.text.eq_ignore_ascii_case("default");
            if !negation || (self.mode == Mode::Trustpoint && first.text.eq_ignore_ascii_case("default")) {
                break;
            }
            negated = true;
            words.remove(0);
        }
        let global_first = typed == Some("config") || (typed.is_none() && !indented && !self.is_flat());
        let mut best: Option<(usize, Vec<&'static str>, bool)> = None;
        // An indented line of a block that is not read is never a command of another mode.
        let closed = matches!(self.mode, Mode::Other(..)) && typed.is_none();
        let modes = if closed && indented && !self.flat { Vec::new() } else { self.modes(global_first) };
        let inside = self.mode;
        for mode in modes {
            let Some(trie) = grammar::table(mode) else { continue };
            // Abbreviations are for people who type, not for the fall from one mode into another.
            let spelled =
                words.first().is_some_and(|w| trie.first_words().any(|f| f.eq_ignore_ascii_case(w.text)));
            let falls = mode != inside && typed.is_none() && inside != Mode::Global;
            if falls && !spelled && (closed || (indented && !self.flat)) {
                if !closed {
                    better(&mut best, 0, trie.first_words().collect(), false);
                }
                continue;
            }
            let numbered =
                matches!(mode, Mode::Acl) && words.first().is_some_and(|w| w.text.parse::<u32>().is_ok());
            match trie.find(if numbered { &words[1..] } else { &words }) {
                Found::Command { command, used } => {
                    if self.is_deeper_global(mode, command, used, &words, indented) {
                        continue;
                    }
                    // What global configuration cannot tell apart is not lost in a block that takes anything.
                    let vague = best.as_ref().is_some_and(|(word, _, ambiguous)| *ambiguous && used <= *word);
                    if vague && matches!(command, Command::Ignore { .. }) {
                        continue;
                    }
                    let used = (used + usize::from(numbered)).min(words.len());
                    let did = self.apply(mode, command, &words, used, text, negated, lines, i);
                    match did {
                        Applied::No => {}
                        Applied::Yes(taken) => {
                            if !indented && typed.is_none() {
                                self.flat_block = mode != Mode::Global;
                            }
                            return taken;
                        }
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
    fn is_deeper_global(
        &self,
        mode: Mode,
        command: Command,
        used: usize,
        words: &[Word<'_>],
        indented: bool,
    ) -> bool {
        if mode == Mode::Global || !matches!(command, Command::Ignore { .. }) || (indented && !self.flat) {
            return false;
        }
        let global = grammar::table(Mode::Global).map(|t| t.find(words));
        matches!(global, Some(Found::Command { used: deeper, .. }) if deeper > used)
    }

    /// The modes in which a command is looked for.
    /// Whether an unindented line belongs to the block that is open rather than to global configuration.
    const fn is_flat(&self) -> bool {
        self.flat || self.flat_block
    }

    pub(super) fn modes(&self, global_first: bool) -> Vec<Mode> {
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
            Command::Description
                | Command::PeerText
                | Command::Banner
                | Command::Menu
                | Command::PeerKey
                | Command::PeerPpk
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
                if line.plain.chars().any(is_cjk) && end.is_none() {
                    self.report.set(
                        self.at,
                        Verdict::Ignored { class: Class::Noise, why: "a sentence of a document" },
                    );
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
        if let Some(lines) = self.block_lines()
            && lines.last() != Some(&at)
        {
            lines.push(at);
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
            Command::Ignore { .. }
            | Command::AuthLocal
            | Command::AuthRemote
            | Command::TrustpointText
            | Command::Protect
            | Command::Routing
            | Command::Rate => mask::hide(text),
            _ => mask::hide_known(text),
        }
    }

    /// Look-alikes of a command that was read are named; those of descriptions do no harm.
    fn named(&mut self, line: &TextLine, command: Command) {
        let free =
            matches!(command, Command::Description | Command::PeerText | Command::PeerKey | Command::PeerPpk);
        for look in &line.lookalikes {
            // A key's own error names those behind the command.
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
        if after_remark
            && !indented
            && best.as_ref().is_none_or(|(word, ..)| *word == 0)
            && noise::is_prose(text)
        {
            self.after_remark = true;
            self.put(line, Class::Noise, "a remark that goes on");
            return 1;
        }
        let prose = noise::is_prose(text);
        let at = self.at;
        if line.plain.chars().any(is_cjk) && !matches!(self.mode, Mode::Other(..)) && prose {
            self.put(line, Class::Noise, "a sentence of a document");
            return 1;
        }
        match self.mode {
            Mode::Acl
            | Mode::RouteMap
            | Mode::ClassMap
            | Mode::PolicyMap
            | Mode::ZonePair
            | Mode::Vrf
            | Mode::Applet
            | Mode::Sla
            | Mode::Track
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
            self.report.warn(
                &[at],
                message,
                format!("write `{first}` in front, and compare with the router"),
            );
            return taken;
        }
        if self.mode == Mode::Interface && indented {
            self.put(line, Class::System, "a setting of the interface that the import does not know");
            if let Some(lines) = self.block_lines() {
                lines.push(at);
            }
            if let Some(interface) = self.doc.interfaces.items.get_mut(self.open.block) {
                interface.unknown.push(at);
            }
            return 1;
        }
        if self.is_printed()
            && (!indented || matches!(self.mode, Mode::Other(..)))
            && is_feature(words, &best)
        {
            const WHY: &str = "a feature that the import does not know";
            self.put(line, Class::Unrelated, WHY);
            self.features.push(at);
            if !indented {
                self.enter(Mode::Other(Class::Unrelated, WHY), 0);
            }
            return 1;
        }
        let keys = matches!(self.mode, Mode::Peer | Mode::Keyring);
        let shown = if keys { mask::keep(&line.shown, 1) } else { line.safe() };
        self.push(&shown, Verdict::Converted);
        let (message, hint) = self.explain(words, best, keys, &shown);
        self.report.error(&[at], message, hint);
        1
    }

    fn explain(
        &self,
        words: &[Word<'_>],
        best: Option<(usize, Vec<&'static str>, bool)>,
        keys: bool,
        shown: &str,
    ) -> (String, String) {
        let place = self.mode.name();
        let Some((position, known, ambiguous)) = best else {
            return (format!("no command of {place}"), "correct the line, or remove it".to_owned());
        };
        let text = words.get(position).map(|w| w.text);
        // A word after a misspelt command may be a key.
        let safe = text.filter(|_| position == 0 || !keys);
        // What is hidden of the line is not told of it.
        let safe = safe.filter(|t| shown.contains(t)).map(|t| t.chars().take(40).collect::<String>());
        if ambiguous {
            let message = format!("`{}` may be {}", safe.unwrap_or_default(), known.join(" or "));
            return (message, "write the word out".to_owned());
        }
        // A file of nothing but unknown lines is not worth the search.
        let search = text.filter(|_| self.report.errors() < EXPLAINED_MAX);
        let near = search.map(|t| nearest(t, known.iter().copied(), 2)).unwrap_or_default();
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
}

fn better(
    best: &mut Option<(usize, Vec<&'static str>, bool)>,
    word: usize,
    mut known: Vec<&'static str>,
    ambiguous: bool,
) {
    match best {
        Some((at, _, _)) if *at > word => {}
        Some((at, others, was)) if *at == word => {
            others.append(&mut known);
            *was |= ambiguous;
        }
        _ => *best = Some((word, known, ambiguous)),
    }
}

/// Whether the line begins a feature that no command of the import is near: not vpn-sip, and not what its tunnels use.
fn is_feature(words: &[Word<'_>], best: &Option<(usize, Vec<&'static str>, bool)>) -> bool {
    const USED: [&str; 3] = ["ikev2", "ipsec", "pki"];
    let (position, known) = match best {
        Some((position @ (0 | 1), known, false)) => (*position, known.clone()),
        // Behind a block that is not read.
        None => (0, grammar::table(Mode::Global).map(|t| t.first_words().collect()).unwrap_or_default()),
        Some(_) => return false,
    };
    let Some(word) = words.get(position).map(|w| w.text) else { return false };
    let ours = position == 1
        && words.first().is_some_and(|first| {
            shortens(first.text, "vpn-sip") || (shortens(first.text, "crypto") && USED.contains(&word))
        });
    !ours && !known.iter().any(|k| is_misspelt(word, k))
}

/// Copying loses the first letters of a line now and then.
fn lost_letters(
    text: &str,
    words: &[Word<'_>],
    best: &Option<(usize, Vec<&'static str>, bool)>,
) -> Option<String> {
    const LOST_MAX: usize = 2;
    let (0, _, false) = best.as_ref()? else { return None };
    let first = words.first().filter(|w| w.text.len() >= 3)?;
    let trie = grammar::table(Mode::Global)?;
    let whole = trie.first_words().find(|w| {
        w.len() > first.text.len()
            && w.len() - first.text.len() <= LOST_MAX
            && w.ends_with(&first.text.to_ascii_lowercase())
    })?;
    let line = format!("{whole}{}", &text[first.at + first.text.len()..]);
    matches!(trie.find(&split(&line)), Found::Command { command, .. } if !matches!(command, Command::Ignore { .. }))
        .then_some(line)
}
