//! Tests that need the inside: both ends of one segment in this process, and hands on its bytes.

mod arbitrary;
mod golden;
mod hostile;
mod model;
mod round_trip;
mod transactions;

use crate::command::{CommandReceiver, CommandSender};
use crate::doorbell::Ringer;
use crate::segment::{Role, Segment};
use crate::sync::{AtomicU64, Ordering};
use rustix::event::{EventfdFlags, eventfd};
use std::sync::Arc;

fn segment() -> Arc<Segment> {
    Segment::create(1).expect("a segment")
}

/// A doorbell without a listener.
fn ringer(segment: &Arc<Segment>, wakes: Role) -> Ringer {
    Ringer::new(segment, wakes, eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd"))
}

fn commands(segment: &Arc<Segment>) -> (CommandSender, CommandReceiver) {
    (CommandSender::new(segment, ringer(segment, Role::Dataplane)), CommandReceiver::new(segment))
}

fn store(words: &[AtomicU64], values: impl IntoIterator<Item = u64>) {
    for (word, value) in words.iter().zip(values) {
        word.store(value, Ordering::Relaxed);
    }
}
