//! Secrets that stand in a file which others may read. Each file is looked at as it is written, before templates are worked
//! out.

use super::document::{Below, Span, Spans};
use super::item::counted;
use super::path::KeyPath;
use super::values::Node;
use crate::diagnose::{Problem, Sink};
use crate::schema::{Kind, PROFILE, Text};

/// Bits of a mode that let others read a file.
const OTHERS: u32 = 0o077;

/// Warns if a file has inline secrets and a mode that lets others read it. `name` begins the message.
pub fn check((root, spans): (&Node, &Spans), name: &str, mode: Option<u32>, sink: &Sink) {
    let Some(mode) = mode.filter(|mode| mode & OTHERS != 0) else { return };
    let mut secrets = Secrets::default();
    secrets.value(root, spans, &Kind::Group(&PROFILE), &KeyPath::default());
    let Some((path, span)) = secrets.first else { return };
    let count = counted(secrets.count, "secret");
    let message = format!("{name} has {count} in it and can be read by others (mode {mode:04o})");
    let problem = Problem::warning("secret::permissions", &path, message).label("a secret").span(span);
    sink.push(problem.hint(format!("chmod 600 {name}, or move each secret to a file of its own")));
}

#[derive(Default)]
struct Secrets {
    first: Option<(KeyPath, Span)>,
    count: usize,
}

impl Secrets {
    fn value(&mut self, node: &Node, spans: &Spans, kind: &Kind, path: &KeyPath) {
        match (node, &spans.below, kind) {
            (Node::Map(entries), Below::Map(places), Kind::Group(group) | Kind::Either(_, group)) => {
                for ((name, node), (_, spans)) in entries.iter().zip(places) {
                    if let Some(key) = group.key(name) {
                        self.value(node, spans, &key.kind, &path.key(name));
                    }
                }
            }
            (Node::List(items), Below::List(places), Kind::List(kind)) => {
                for (i, (item, place)) in items.iter().zip(places).enumerate() {
                    self.value(item, place, kind, &path.index(i));
                }
            }
            (Node::Null, ..) => {}
            (_, Below::Leaf, Kind::Text(Text::Secret)) => {
                self.count += 1;
                self.first.get_or_insert_with(|| (path.clone(), spans.span));
            }
            _ => {}
        }
    }
}
