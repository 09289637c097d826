//! What a service tells systemd (sd_notify(3)): that it is ready, alive, or takes time to end. Without systemd nothing is sent.

use sd_notify::{NotifyState, notify};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// States that may wait for systemd.
const QUEUE: usize = 8;

/// Sends from a thread of its own: a systemd that does not read must not stop the loop.
#[derive(Debug)]
pub struct Supervisor {
    queue: Option<SyncSender<Vec<NotifyState<'static>>>>,
}

impl Supervisor {
    #[must_use]
    pub fn from_env() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { queue: None };
        }
        let (queue, states) = sync_channel::<Vec<NotifyState<'static>>>(QUEUE);
        let send = move || {
            for states in states {
                if let Err(error) = notify(&states) {
                    tracing::debug!(%error, "systemd was not notified");
                }
            }
        };
        let started = std::thread::Builder::new().name("notify".to_owned()).spawn(send);
        if let Err(error) = &started {
            tracing::warn!(%error, "systemd will not be notified");
        }
        Self { queue: started.is_ok().then_some(queue) }
    }

    pub fn ready(&self) {
        self.send(vec![NotifyState::Ready]);
    }

    /// The stop may take this long.
    pub fn stopping(&self, limit: Duration) {
        let limit_us = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        self.send(vec![NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit_us)]);
    }

    pub fn alive(&self) {
        self.send(vec![NotifyState::Watchdog]);
    }

    fn send(&self, states: Vec<NotifyState<'static>>) {
        if let Some(queue) = &self.queue {
            // A full queue means that systemd does not read; its next state follows soon.
            let _ = queue.try_send(states);
        }
    }
}
