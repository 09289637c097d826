//! `ike.proposals` and `ike.esp_proposals`. The algorithms are the IKE crate's; the caller lends its parser.

use super::item::{Item, Table};
use crate::diagnose::{Problem, nearest, shown};
use crate::model::limits::PROPOSALS_MAX;
use crate::surroundings::{ProposalFor, Surroundings};

pub fn read(
    table: &Table<'_>,
    key: &'static str,
    purpose: ProposalFor,
    around: &dyn Surroundings,
) -> Option<Vec<String>> {
    let Some(item) = table.optional(key) else { return Some(Vec::new()) };
    let items = item.list()?;
    if items.is_empty() || items.len() > PROPOSALS_MAX {
        let message = format!("`{}` has {} entries", item.path, items.len());
        item.report(
            Problem::error("ike::proposals", &item.path, message)
                .hint(format!("write 1 to {PROPOSALS_MAX} proposals, or leave `{key}` out for all of them")),
        );
        return None;
    }
    let wanted = items.len();
    let read: Vec<_> = items.iter().filter_map(|item| one(item, purpose, around)).collect();
    (read.len() == wanted).then_some(read)
}

fn one(item: &Item<'_>, purpose: ProposalFor, around: &dyn Surroundings) -> Option<String> {
    let text = item.text()?.trim();
    let flaw = match around.proposal(purpose, text) {
        Ok(()) => return Some(text.to_owned()),
        Err(flaw) => flaw,
    };
    let message = format!("`{}` is {}, which is no proposal", item.path, shown(text));
    let meant = flaw.unknown_word.as_deref().and_then(|word| nearest(word, flaw.known_words.iter().copied()));
    let hint = match meant {
        Some(meant) => format!("did you mean `{meant}`? {}", flaw.hint),
        None => flaw.hint,
    };
    item.report(Problem::error("ike::proposal", &item.path, message).label(flaw.reason).hint(hint));
    None
}
