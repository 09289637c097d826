//! `ike:`

use super::item::{Item, Table};
use super::text::{number, path};
use super::values::Node;
use super::{certificates, proposals, secrets};
use crate::diagnose::Problem;
use crate::model::limits::{
    CHILD_LIFETIME_KB_MIN, PPK_ID_MAX, REPLAY_WINDOW, REPLAY_WINDOW_MAX, REPLAY_WINDOW_MIN,
};
use crate::model::secret::{PPK, PSK, PSK_NEXT, SecretSource};
use crate::model::{IkeSection, KeyOwner, KeyringEntry, Lifetimes, PpkEntry, Proof};
use crate::surroundings::{ProposalFor, Surroundings};
use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

pub fn read(item: &Item<'_>, around: &dyn Surroundings) -> Option<IkeSection> {
    let table = item.table()?;
    let keyring = table.required("keyring").and_then(|i| keyring(&i));
    let certificates = table.value("certificates", Vec::new(), certificates::read);
    let force_encap = table.flag("force_encap");
    let dpd = table.seconds("dpd_s");
    let dpd_mode = table.word("dpd_mode");
    let replay_window = table.value("replay_window", REPLAY_WINDOW, window);
    let nat_keepalive = table.seconds("nat_keepalive_s");
    let (fragmentation, fragment_bytes) = (table.flag("fragmentation"), table.int("fragment_bytes"));
    let fragments = fragments_agree(&table, fragmentation);
    let negotiation_deadline = table.seconds("negotiation_deadline_s");
    // Off by default: a hash of a weak key in clear-text SIP can be tried out at leisure by anyone on the path.
    let psk_fingerprint = table.flag("psk_fingerprint");
    let crash_detection = table.flag("crash_detection");
    let proposals = proposals::read(&table, "proposals", ProposalFor::Ike, around);
    let esp_proposals = proposals::read(&table, "esp_proposals", ProposalFor::Esp, around);
    let lifetime = table.value("lifetime", Lifetimes::default(), lifetimes);
    let lab_key_log = table.value("lab_key_log", None, |i| key_log(i).map(Some));
    table.finish();
    fragments?;
    if let (Some(ike), Some(esp)) = (&proposals, &esp_proposals) {
        hybrid_from_the_start(&table, ike, esp);
    }
    Some(IkeSection {
        keyring: keyring?,
        certificates: certificates?,
        force_encap: force_encap?,
        dpd: dpd?,
        dpd_mode: dpd_mode?,
        replay_window: replay_window?,
        nat_keepalive: nat_keepalive.map(|idle| (!idle.is_zero()).then_some(idle))?,
        fragmentation: fragmentation?,
        fragment_bytes: fragment_bytes?,
        negotiation_deadline: negotiation_deadline?,
        psk_fingerprint: psk_fingerprint?,
        crash_detection: crash_detection?,
        proposals: proposals?,
        esp_proposals: esp_proposals?,
        lifetime: lifetime?,
        lab_key_log: lab_key_log?,
    })
}

fn fragments_agree(table: &Table<'_>, fragmentation: Option<bool>) -> Option<()> {
    let (Some(false), Some(item)) = (fragmentation, table.optional("fragment_bytes")) else {
        return Some(());
    };
    let message = format!("`{}` has no meaning without fragmentation", item.path);
    let problem = Problem::error("ike::fragmentation", &item.path, message).at_key();
    table.report(problem.hint("remove it, or remove `fragmentation: false`"));
    None
}

/// The first SA of ESP takes its keys from the IKE SA (RFC 7296 §1.2), so an additional key exchange of ESP alone protects
/// what is sent after the first renewal.
fn hybrid_from_the_start(table: &Table<'_>, ike: &[String], esp: &[String]) {
    const ADDITIONAL: &str = "-ke1_mlkem";
    let has = |proposals: &[String]| proposals.iter().any(|p| p.contains(ADDITIONAL));
    let Some(item) = table.optional("esp_proposals").filter(|_| has(esp) && !has(ike)) else { return };
    let message = format!("`{}` has ML-KEM and `ike.proposals` has not", item.path);
    let problem = Problem::warning("ike::hybrid-esp-only", &item.path, message).at_key();
    table.report(
        problem
            .label("the first SA of a call is without it")
            .hint("add the same `ke1_mlkem…` word to `ike.proposals`"),
    );
}

fn window(item: &Item<'_>) -> Option<u32> {
    let packets: u32 = item.int()?;
    if packets.is_power_of_two() && (REPLAY_WINDOW_MIN..=REPLAY_WINDOW_MAX).contains(&packets) {
        return Some(packets);
    }
    let next = packets.clamp(REPLAY_WINDOW_MIN, REPLAY_WINDOW_MAX).next_power_of_two();
    let message = format!("`{}` is {packets}, which is no power of two", item.path);
    let problem = Problem::error("config::range", &item.path, message);
    item.report(problem.label("between two windows").hint(format!("write {next}")));
    None
}

fn lifetimes(item: &Item<'_>) -> Option<Lifetimes> {
    let table = item.table()?;
    let (ike, child) = (table.seconds("ike_s"), table.seconds("child_s"));
    let default = Lifetimes::default().child_kb;
    let kb = table.value("child_kb", default, |item| {
        let kb: u64 = item.int()?;
        if !(1..CHILD_LIFETIME_KB_MIN).contains(&kb) {
            return Some(kb);
        }
        let message = format!("`{}` is {kb}: an SA would be renewed every few packets", item.path);
        let problem = Problem::error("config::range", &item.path, message).label("too small");
        item.report(problem.hint(format!("write {CHILD_LIFETIME_KB_MIN} or more, or 0 for no limit")));
        None
    });
    table.finish();
    Some(Lifetimes { ike: ike?, child: child?, child_kb: kb? })
}

fn key_log(item: &Item<'_>) -> Option<PathBuf> {
    let directory = path(item)?;
    let message = format!("every key of every session is written to {} in clear", directory.display());
    let problem = Problem::warning("ike::key-log", &item.path, message).at_key();
    item.report(
        problem.label("for captures in a lab").hint("remove it from every gateway that carries real traffic"),
    );
    Some(directory)
}

fn keyring(item: &Item<'_>) -> Option<Vec<KeyringEntry>> {
    let mut out = Vec::new();
    let mut seen: HashMap<KeyOwner, String> = HashMap::new();
    let items = item.list()?;
    let wanted = items.len();
    for entry in items {
        let Some(table) = entry.table() else { continue };
        let number_item = table.required("number");
        let owner = number_item.as_ref().and_then(|i| match i.node {
            Node::Str(s) if s == "any" => Some(KeyOwner::Any),
            _ => number(i).map(KeyOwner::Number),
        });
        let proof = proof(&table);
        let next_psk = next_psk(&table);
        let ppk = ppk(&table);
        let peer = table.word("peer");
        let own = table.value("identity", None, |i| identity(i, FORMS).map(Some));
        let theirs = table.value("peer_identity", None, |i| identity(i, PEER_FORMS).map(Some));
        table.finish();
        let (Some(owner), Some(at)) = (owner, number_item) else { continue };
        if let Some(first) = seen.insert(owner, at.path.to_string()) {
            let problem = Problem::error("ike::duplicate-key", &at.path, format!("{owner} has two keys"));
            at.report(
                problem.label(format!("already {first}")).hint("keep the entry whose key the peer has"),
            );
            continue;
        }
        if let (Some(proof), Some(next_psk), Some(ppk), Some(peer), Some(identity), Some(peer_identity)) =
            (proof, next_psk, ppk, peer, own, theirs)
        {
            out.push(KeyringEntry { owner, proof, next_psk, ppk, peer, identity, peer_identity });
        }
    }
    (out.len() == wanted).then_some(out)
}

const FORMS: &str = "write `key-id TEXT`, `fqdn NAME`, `email USER@NAME` or `address IP`";
const PEER_FORMS: &str =
    "write `key-id TEXT`, `fqdn NAME`, `fqdn *.DOMAIN`, `email USER@NAME`, `email *@DOMAIN` or `address IP`";

fn identity<T: FromStr>(item: &Item<'_>, hint: &str) -> Option<T> {
    let text = item.text()?;
    let read = text.parse().ok();
    if read.is_none() {
        item.bad_value(text, "an identity of IKE", hint);
    }
    read
}

/// A pre-shared key or the name of a certificate.
fn proof(table: &Table<'_>) -> Option<Proof> {
    let Some(named) = table.optional("certificate") else { return secrets::one(table, PSK).map(Proof::Psk) };
    if let Some(psk) = PSK.all().find_map(|key| table.optional(key)) {
        let message = format!("`{}` has a pre-shared key and a certificate", table.path);
        let problem = Problem::error("ike::two-proofs", &psk.path, message).at_key();
        table.report(problem.label("the other one").hint("keep the one that the peer uses, too"));
        return None;
    }
    named.text().map(|name| Proof::Certificate(name.to_owned()))
}

/// The outer `None` is an error; the inner one, that there is none.
fn next_psk(table: &Table<'_>) -> Option<Option<SecretSource>> {
    let Some(next) = PSK_NEXT.all().find_map(|key| table.optional(key)) else { return Some(None) };
    if table.optional("certificate").is_some() {
        let message = format!("`{}` has a certificate and a next pre-shared key", table.path);
        let problem = Problem::error("ike::two-proofs", &next.path, message).at_key();
        let hint = "remove it; a certificate is replaced in its file, and SIGHUP reads that";
        table.report(problem.label("only beside a pre-shared key").hint(hint));
        return None;
    }
    secrets::one(table, PSK_NEXT).map(Some)
}

/// RFC 8784 §5.1 recommends the base64 alphabet; other products' names may have these too.
const PPK_ID_PUNCTUATION: &str = "+/=-_.@:";

/// The outer `None` is an error; the inner one, that there is none.
fn ppk(table: &Table<'_>) -> Option<Option<PpkEntry>> {
    let required = table.flag("ppk_required");
    let written = PPK.all().any(|key| table.optional(key).is_some());
    let Some(id) = table.optional("ppk_id") else {
        if written || required == Some(true) {
            let message = format!("`{}` has a PPK without a name", table.path);
            let problem = Problem::error("ike::ppk", &table.path, message);
            table.report(
                problem.hint("add `ppk_id: NAME`, the same at both ends; the peer finds the key by it"),
            );
            return None;
        }
        return required.map(|_| None);
    };
    let text = id.text()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || PPK_ID_PUNCTUATION.contains(c);
    if text.is_empty() || text.len() > PPK_ID_MAX || !text.chars().all(allowed) {
        let hint = format!("write 1 to {PPK_ID_MAX} letters, digits or any of {PPK_ID_PUNCTUATION}");
        id.bad_value(text, "the name of a PPK", &hint);
        return None;
    }
    let key = secrets::one(table, PPK)?;
    Some(Some(PpkEntry { id: text.to_owned(), key, required: required? }))
}
