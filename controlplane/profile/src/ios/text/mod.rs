//! From bytes to lines.

pub mod decode;
pub mod lookalike;
pub mod terminal;

pub use lookalike::LookAlike;

/// One line of a file, ready to be understood.
#[derive(Debug)]
pub struct TextLine {
    /// What a terminal would show.
    pub shown: String,
    /// The same with plain characters for look-alikes.
    pub plain: String,
    pub lookalikes: Vec<LookAlike>,
    pub pager: bool,
}

impl TextLine {
    #[must_use]
    pub fn new(raw: &str) -> Self {
        let terminal::Shown { text: shown, pager } = terminal::show(raw);
        let (mut plain, lookalikes) = lookalike::plain(&shown);
        plain.truncate(plain.trim_end().len());
        Self { shown, plain, lookalikes, pager }
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
