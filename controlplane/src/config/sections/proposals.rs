//! `ike.proposals` and `ike.esp_proposals`

use crate::config::diagnostic::Problem;
use crate::config::nearest::nearest;
use crate::config::reader::{Item, Table};
use sipsec_ike::algorithm::{EspProposal, IkeProposal, ProposalError, words};
use std::str::FromStr;

/// More would not fit one IKE_SA_INIT datagram, and nobody compares that many.
const PROPOSALS_MAX: usize = 8;

/// In order of preference; what sipsec offers by itself if the key is absent.
pub fn ike(table: &Table<'_>) -> Option<Vec<IkeProposal>> {
    read(table, "proposals", IkeProposal::defaults)
}

pub fn esp(table: &Table<'_>) -> Option<Vec<EspProposal>> {
    read(table, "esp_proposals", EspProposal::defaults)
}

fn read<T>(table: &Table<'_>, key: &'static str, defaults: fn() -> Vec<T>) -> Option<Vec<T>>
where
    T: FromStr<Err = ProposalError>,
{
    let Some(item) = table.optional(key) else { return Some(defaults()) };
    let items = item.list()?;
    if items.is_empty() || items.len() > PROPOSALS_MAX {
        let message = format!("`{}` has {} entries", item.path, items.len());
        item.report(
            Problem::error("ike::proposals", &item.path, message)
                .cure(format!("write 1 to {PROPOSALS_MAX} proposals, or leave `{key}` out for all of them")),
        );
        return None;
    }
    let wanted = items.len();
    let read: Vec<_> = items.iter().filter_map(one).collect();
    (read.len() == wanted).then_some(read)
}

fn one<T: FromStr<Err = ProposalError>>(item: &Item<'_>) -> Option<T> {
    let text = item.text()?;
    let error = match text.trim().parse() {
        Ok(proposal) => return Some(proposal),
        Err(error) => error,
    };
    let message = format!("`{}` is \"{text}\", which is no proposal", item.path);
    let meant = match &error {
        ProposalError::UnknownKeyword(word) => nearest(word, words()),
        _ => None,
    };
    let cure = match meant {
        Some(meant) => format!("did you mean `{meant}`? {}", error.cure()),
        None => error.cure(),
    };
    item.report(Problem::error("ike::proposal", &item.path, message).label(error.to_string()).cure(cure));
    None
}
