//! Session events: into the log, and to whoever watches.

use crate::api::model::EventLine;
use crate::clock;
use sipsec_session::SessionEvent;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Logs an event and hands it to the watchers, if there are any.
pub fn publish(watchers: &broadcast::Sender<Arc<EventLine>>, event: &SessionEvent) {
    let (name, interface) = (event.kind.name(), event.interface.as_deref());
    if event.kind.is_warning() {
        tracing::warn!(target: "sipsec::event", event = name, interface, "{}", event.kind);
    } else {
        tracing::info!(target: "sipsec::event", event = name, interface, "{}", event.kind);
    }
    if watchers.receiver_count() > 0 {
        let line = EventLine {
            time_us: clock::wall_us(),
            event: name.to_owned(),
            interface: event.interface.clone(),
            text: event.kind.to_string(),
        };
        // A watcher that left in this moment misses nothing.
        let _ = watchers.send(Arc::new(line));
    }
}
