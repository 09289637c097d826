//! From bytes to lines.

pub mod decode;
pub mod lookalike;
pub mod terminal;

pub use lookalike::LookAlike;

use super::mask;

/// One line of a file, ready to be understood.
#[derive(Debug)]
pub struct TextLine {
    /// What a terminal would show.
    pub shown: String,
    /// The same with plain characters for look-alikes.
    pub plain: String,
    pub lookalikes: Vec<LookAlike>,
    pub pager: bool,
    /// Control characters moved the cursor in a line with the name of a secret: where the secret stands is not known.
    overwritten_secret: bool,
}

impl TextLine {
    #[must_use]
    pub fn new(raw: &str) -> Self {
        let terminal::Shown { text: shown, pager } = terminal::show(raw);
        let (mut plain, lookalikes) = lookalike::plain(&shown);
        plain.truncate(plain.trim_end().len());
        let drawn = raw.trim_end_matches('\r').contains(|c: char| c.is_control() && c != '\t');
        let overwritten_secret = drawn && (mask::names_secret(raw) || mask::names_secret(&shown));
        Self { shown, plain, lookalikes, pager, overwritten_secret }
    }

    /// The line without secrets, of which no more is known.
    #[must_use]
    pub fn safe(&self) -> String {
        if self.overwritten_secret { "<hidden>".to_owned() } else { mask::hide(&self.shown) }
    }

    /// Begins with a blank.
    #[must_use]
    pub fn indented(&self) -> bool {
        self.plain.starts_with([' ', '\t'])
    }
}

/// Lines as an editor counts them: LF ends one, or CR where there is no LF in the whole file.
pub fn lines(text: &str) -> impl Iterator<Item = &str> + Clone {
    let end = if text.contains('\n') { '\n' } else { '\r' };
    let text = text.strip_suffix(end).unwrap_or(text);
    text.split(end)
}
