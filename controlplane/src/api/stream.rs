//! `GET /v1/events`

use super::asked::Words;
use super::model::EventLine;
use super::query::{Query, Reply};
use super::server::{PastParams, Shared};
use crate::events::PastEvents;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Past events if they are asked for, then each new one, of all tunnels or of one.
pub async fn event_stream(
    State(shared): State<Shared>,
    Words(params): Words<PastParams>,
    headers: HeaderMap,
) -> Response {
    let wanted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let sse = wanted.contains("text/event-stream");
    // Subscribed first, so that no event falls between the past and what follows.
    let receiver = shared.events.subscribe();
    let mut past = VecDeque::new();
    if params.since_s.is_some() {
        let query = PastEvents { interface: params.interface.clone(), since_s: params.since_s };
        match shared.reply(Query::PastEvents(query)).await {
            Ok(Reply::PastEvents(lines)) => past = lines.into(),
            Ok(_) => {}
            Err(refusal) => return *refusal,
        }
    }
    let after = past.back().map_or(0, |line: &Arc<EventLine>| line.sequence);
    let follow = Follow { past, receiver, after, interface: params.interface };
    let stream = futures_util::stream::unfold(follow, move |mut follow| async move {
        let line = serde_json::to_string(&*follow.next().await?).ok()?;
        let text = if sse { format!("data: {line}\n\n") } else { line + "\n" };
        Some((Ok::<_, Infallible>(Bytes::from(text)), follow))
    });
    let kind = if sse { "text/event-stream" } else { "application/x-ndjson" };
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response()
}

struct Follow {
    past: VecDeque<Arc<EventLine>>,
    receiver: broadcast::Receiver<Arc<EventLine>>,
    /// The last of the past.
    after: u64,
    interface: Option<String>,
}

impl Follow {
    async fn next(&mut self) -> Option<Arc<EventLine>> {
        if let Some(line) = self.past.pop_front() {
            return Some(line);
        }
        loop {
            match self.receiver.recv().await {
                Ok(line) if line.sequence != 0 && line.sequence <= self.after => {}
                Ok(line) if !self.covers(&line) => {}
                Ok(line) => return Some(line),
                Err(RecvError::Lagged(lost)) => {
                    return Some(Arc::new(EventLine {
                        time_us: crate::clock::wall_us(),
                        event: "events-lost".to_owned(),
                        warning: true,
                        text: format!("{lost} events were not read in time"),
                        ..EventLine::default()
                    }));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn covers(&self, line: &EventLine) -> bool {
        self.interface.as_deref().is_none_or(|wanted| {
            line.interface.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        })
    }
}
