//! Two profiles as trees, key by key along the schema.

use super::Change;
use crate::diagnose::shown_raw;
use crate::model::secret::HIDDEN;
use crate::model::{FIRST_CARRIER, Profile};
use crate::read::Tree;
use crate::schema::{Group, Key, Kind, PROFILE, Takes, Text};
use crate::write;
use std::collections::{HashMap, HashSet};

/// Which tunnels a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Tunnel(String),
    /// An entry of the keyring: a number, or `any`.
    Key(String),
    Certificate(String),
    /// The tunnels that call over a carrier.
    Carrier(String),
}

#[derive(Debug, Default)]
pub struct Compare {
    pub changes: Vec<Change>,
    /// What ends calls, and why.
    pub hangs_up: Vec<(Scope, String)>,
}

/// Places of tunnels: in both, in the new profile alone, in the old profile alone.
type Places<'a> = (&'a [(usize, usize)], &'a [usize], &'a [usize]);

/// The tree with its secrets, which are compared and never shown.
fn revealed(profile: &Profile) -> Tree {
    let mut tree = write::tree(profile);
    write::reveal(profile, &mut tree);
    tree
}

impl Compare {
    pub fn profiles(&mut self, old: &Profile, new: &Profile, tunnels: Places<'_>) {
        let (a, b) = (revealed(old), revealed(new));
        for key in PROFILE.keys {
            match (key.name, key.kind.group()) {
                ("tunnels", Some(group)) => self.tunnels(group, &a[key.name], &b[key.name], tunnels),
                ("sip", Some(group)) => {
                    let scope = Scope::Carrier(FIRST_CARRIER.to_owned());
                    self.group(key.name, group, a.get(key.name), b.get(key.name), &scope);
                }
                _ => self.key("", key, a.get(key.name), b.get(key.name), &Scope::All),
            }
        }
    }

    fn tunnels(&mut self, group: &Group, a: &Tree, b: &Tree, (kept, added, removed): Places<'_>) {
        for &(i, j) in kept {
            let path = format!("tunnels[{}]", text(&a[i]["name"]));
            let scope = Scope::Tunnel(text(&b[j]["name"]));
            self.group(&path, group, Some(&a[i]), Some(&b[j]), &scope);
        }
        for &j in added {
            self.push(format!("tunnels[{}]", text(&b[j]["name"])), None, Some(tunnel(&b[j])), Takes::Now);
        }
        for &i in removed {
            self.push(format!("tunnels[{}]", text(&a[i]["name"])), Some(tunnel(&a[i])), None, Takes::HangsUp);
        }
    }

    fn group(&mut self, path: &str, group: &Group, a: Option<&Tree>, b: Option<&Tree>, scope: &Scope) {
        for key in group.keys {
            self.key(path, key, a.and_then(|a| a.get(key.name)), b.and_then(|b| b.get(key.name)), scope);
        }
    }

    fn key(&mut self, prefix: &str, key: &Key, a: Option<&Tree>, b: Option<&Tree>, scope: &Scope) {
        if a == b {
            return;
        }
        let path = if prefix.is_empty() { key.name.to_owned() } else { format!("{prefix}.{}", key.name) };
        match key.kind {
            Kind::Group(group) => self.group(&path, group, a, b, scope),
            Kind::List(Kind::Group(group)) => self.list(&path, key, group, a, b, scope),
            _ => {
                if key.takes == Takes::HangsUp {
                    self.hangs_up.push((scope.clone(), reason(&path, scope)));
                }
                let shown = |tree: &Tree| value(&key.kind, tree);
                self.push(path, a.map(shown), b.map(shown), key.takes);
            }
        }
    }

    /// Entries belong together by their names or numbers.
    fn list(
        &mut self,
        path: &str,
        key: &Key,
        group: &Group,
        a: Option<&Tree>,
        b: Option<&Tree>,
        scope: &Scope,
    ) {
        let (a, b) = (entries(group, a), entries(group, b));
        let of_b: HashMap<&str, &Tree> = b.iter().map(|(name, item)| (name.as_str(), *item)).collect();
        let known: HashSet<&String> = a.iter().map(|(name, _)| name).collect();
        for (name, before) in &a {
            let at = format!("{path}[{name}]");
            match of_b.get(name.as_str()) {
                Some(after) => {
                    let scope = match path {
                        "ike.keyring" => Scope::Key(name.clone()),
                        "ike.certificates" => Scope::Certificate(name.clone()),
                        "carriers" => Scope::Carrier(name.clone()),
                        _ => scope.clone(),
                    };
                    self.group(&at, group, Some(before), Some(after), &scope);
                }
                // The carrier's binding of the line would stay.
                None if path.ends_with("sip.lines") => {
                    self.push(at, Some("there".to_owned()), None, Takes::Restart);
                }
                None if path == "carriers" => {
                    let reason = format!("the carrier {name} is removed");
                    self.hangs_up.push((Scope::Carrier(name.clone()), reason));
                    self.push(at, Some("there".to_owned()), None, Takes::HangsUp);
                }
                None => self.push(at, Some("there".to_owned()), None, key.takes),
            }
        }
        for (name, _) in b.iter().filter(|(name, _)| !known.contains(name)) {
            self.push(format!("{path}[{name}]"), None, Some("there".to_owned()), key.takes);
        }
    }

    fn push(&mut self, path: String, before: Option<String>, after: Option<String>, takes: Takes) {
        self.changes.push(Change { path, before, after, takes });
    }
}

/// The key, as seen from a tunnel.
fn reason(path: &str, scope: &Scope) -> String {
    let key = match scope {
        Scope::Tunnel(_) => path.rsplit('.').next().unwrap_or(path),
        _ => path,
    };
    format!("{key} changes")
}

/// Each with what names it, or its place. Of several with one name, all but the first have their number as well.
fn entries<'a>(group: &Group, list: Option<&'a Tree>) -> Vec<(String, &'a Tree)> {
    let identity = ["prefix", "id", "number", "name"].into_iter().find(|name| group.key(name).is_some());
    let Some(Tree::Sequence(items)) = list else { return Vec::new() };
    let mut seen: HashMap<String, usize> = HashMap::new();
    let named = |(i, item): (usize, &'a Tree)| {
        let mut name = identity.and_then(|key| item.get(key)).map_or_else(|| i.to_string(), text);
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            name = format!("{name} #{count}");
        }
        (name, item)
    };
    items.iter().enumerate().map(named).collect()
}

fn text(tree: &Tree) -> String {
    match tree {
        Tree::String(text) => shown_raw(text),
        Tree::Number(n) => n.to_string(),
        Tree::Bool(b) => b.to_string(),
        Tree::Sequence(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Tree::Mapping(map) => {
            map.iter().map(|(k, v)| format!("{}: {}", text(k), text(v))).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

fn value(kind: &Kind, tree: &Tree) -> String {
    match (kind, tree) {
        (Kind::Text(Text::Secret), _) => HIDDEN.to_owned(),
        // An argument may be a secret.
        (Kind::Several(Text::Command), Tree::Sequence(words)) => {
            shown_raw(&format!("{} …", words.first().map(text).unwrap_or_default()))
        }
        _ => shown_raw(&text(tree)),
    }
}

fn tunnel(tree: &Tree) -> String {
    let part = |key: &str| text(&tree[key]);
    format!("{} to {}, {} kbps", part("local_number"), part("remote_number"), part("bandwidth_kbps"))
}
