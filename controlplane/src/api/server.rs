//! The control plane's side of the API.

use super::model::{
    Answer, Clear, Cleared, Control, CryptoSession, Dataplane, EventLine, LogFilter, Refusal, Registration,
    Session, Translation,
};
use crate::logging::LogControl;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Query as Params, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sipsec_net::TelNumber;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

/// The loop answers between two events; a longer wait means that it is stuck.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Events that a slow reader may be behind; it is told how many it has lost.
pub const EVENTS_MAX: usize = 4096;
/// Owner and group: the same who may stop the service.
const MODE: u32 = 0o660;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("a control plane serves {} already: stop it first", .0.display())]
    AlreadyRunning(PathBuf),
    #[error("cannot listen on {}: {error}", path.display())]
    Listen { path: PathBuf, error: std::io::Error },
}

/// A question to the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    Sessions {
        remote_number: Option<TelNumber>,
    },
    /// Those that are registered, or all lines.
    Registrations {
        registered: bool,
    },
    CryptoSessions,
    NatTranslations,
    Dataplane,
    Control,
    Clear {
        remote_number: Option<TelNumber>,
    },
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    Sessions(Vec<Session>),
    Registrations(Vec<Registration>),
    CryptoSessions(Vec<CryptoSession>),
    NatTranslations(Vec<Translation>),
    Dataplane(Box<Dataplane>),
    Control(Box<Control>),
    Cleared(Cleared),
    /// No tunnel has this number.
    UnknownNumber(String),
}

#[derive(Debug)]
pub struct Request {
    pub query: Query,
    pub reply: oneshot::Sender<Reply>,
}

#[derive(Clone, Debug)]
struct Shared {
    gateway: Arc<str>,
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Arc<EventLine>>,
    log: LogControl,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|c| c.uid()) }
    }
}

/// Takes the socket, unless a living process has it.
///
/// # Errors
/// If it is taken, or cannot be made.
pub async fn listen(path: &Path) -> Result<UnixListener, ApiError> {
    let fail = |error| ApiError::Listen { path: path.to_owned(), error };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(ApiError::AlreadyRunning(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    // Until the mode is set nobody but the owner may write, and connecting is writing.
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(fail)?;
    Ok(listener)
}

/// Serves until the runtime ends.
pub async fn serve(
    listener: UnixListener,
    gateway: &str,
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Arc<EventLine>>,
    log: LogControl,
) {
    let shared = Shared { gateway: gateway.into(), requests, events, log };
    let app = Router::new()
        .route("/v1/sessions", get(sessions))
        .route(
            "/v1/registrations",
            get(|State(s): State<Shared>, Params(p): Params<RegistrationParams>| async move {
                s.ask(Query::Registrations { registered: p.registered }).await
            }),
        )
        .route(
            "/v1/crypto-sessions",
            get(|State(s): State<Shared>| async move { s.ask(Query::CryptoSessions).await }),
        )
        .route(
            "/v1/nat-translations",
            get(|State(s): State<Shared>| async move { s.ask(Query::NatTranslations).await }),
        )
        .route("/v1/dataplane", get(|State(s): State<Shared>| async move { s.ask(Query::Dataplane).await }))
        .route("/v1/control", get(|State(s): State<Shared>| async move { s.ask(Query::Control).await }))
        .route("/v1/events", get(event_stream))
        .route("/v1/clear", post(clear))
        .route("/v1/log-filter", put(log_filter))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such resource") })
        .with_state(shared);
    let served = axum::serve(listener, app.into_make_service_with_connect_info::<Peer>()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API has ended");
    }
}

fn refuse(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Refusal { error: error.into() })).into_response()
}

impl Shared {
    fn answer<T: Serialize>(&self, data: T) -> Response {
        Json(Answer::new(Some(&self.gateway), data)).into_response()
    }

    async fn ask(&self, query: Query) -> Response {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.requests.send(Request { query, reply }).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Some(Reply::UnknownNumber(number))) => {
                refuse(StatusCode::NOT_FOUND, format!("no tunnel has the remote number {number}"))
            }
            Ok(Some(reply)) => self.answer(reply),
            Ok(None) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the control plane is shutting down"),
            Err(_) => refuse(
                StatusCode::GATEWAY_TIMEOUT,
                "the control plane is too busy to answer; its log may say why",
            ),
        }
    }
}

#[derive(Debug, Deserialize)]
struct SessionParams {
    remote_number: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RegistrationParams {
    #[serde(default)]
    registered: bool,
}

async fn sessions(State(shared): State<Shared>, Params(params): Params<SessionParams>) -> Response {
    match number(params.remote_number.as_deref()) {
        Ok(remote_number) => shared.ask(Query::Sessions { remote_number }).await,
        Err(refusal) => *refusal,
    }
}

async fn clear(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(body): Json<Clear>,
) -> Response {
    match number(body.remote_number.as_deref()) {
        Ok(remote_number) => {
            tracing::info!(
                uid = peer.uid,
                remote_number = body.remote_number,
                "sessions are cleared by command"
            );
            shared.ask(Query::Clear { remote_number }).await
        }
        Err(refusal) => *refusal,
    }
}

fn number(text: Option<&str>) -> Result<Option<TelNumber>, Box<Response>> {
    let Some(text) = text else { return Ok(None) };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| {
        Box::new(refuse(StatusCode::BAD_REQUEST, format!("\"{text}\" is not a telephone number")))
    })
}

async fn log_filter(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(body): Json<LogFilter>,
) -> Response {
    match shared.log.set(&body.filter) {
        Ok(()) => {
            tracing::info!(uid = peer.uid, filter = body.filter, "log filter changed");
            shared.answer(body)
        }
        Err(error) => refuse(
            StatusCode::BAD_REQUEST,
            format!("\"{}\" is not a log filter: {error}\n{}", body.filter, crate::logging::EXAMPLES),
        ),
    }
}

async fn event_stream(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let wanted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let sse = wanted.contains("text/event-stream");
    let receiver = shared.events.subscribe();
    let stream = futures_util::stream::unfold(receiver, move |mut receiver| async move {
        let line = match receiver.recv().await {
            Ok(event) => serde_json::to_string(&*event).ok()?,
            Err(RecvError::Lagged(lost)) => {
                let event = EventLine {
                    time_us: crate::clock::wall_us(),
                    event: "events-lost".to_owned(),
                    interface: None,
                    text: format!("{lost} events were not read in time"),
                };
                serde_json::to_string(&event).ok()?
            }
            Err(RecvError::Closed) => return None,
        };
        let text = if sse { format!("data: {line}\n\n") } else { line + "\n" };
        Some((Ok::<_, Infallible>(Bytes::from(text)), receiver))
    });
    let kind = if sse { "text/event-stream" } else { "application/x-ndjson" };
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::client::{Client, ClientError};
    use crate::api::model;

    /// A loop that knows one tunnel.
    async fn answer(mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            let reply = match request.query {
                Query::Clear { remote_number: Some(n) } => Reply::UnknownNumber(n.to_string()),
                Query::Clear { remote_number: None } => Reply::Cleared(Cleared { sessions: 3 }),
                Query::Registrations { .. } => Reply::Registrations(Vec::new()),
                _ => continue, // and drop the reply: a loop that ends
            };
            let _ = request.reply.send(reply);
        }
    }

    #[tokio::test]
    async fn client_and_server_understand_each_other() {
        let dir = std::env::temp_dir().join(format!("sipsec-api-{}", std::process::id()));
        let path = dir.join("control.sock");
        let listener = listen(&path).await.expect("listens");
        let (requests, receiver) = mpsc::channel(8);
        let (events, _) = broadcast::channel(8);
        tokio::spawn(answer(receiver));
        tokio::spawn({
            let events = events.clone();
            async move { serve(listener, "branch", requests, events, LogControl::none()).await }
        });
        assert!(matches!(listen(&path).await, Err(ApiError::AlreadyRunning(_))));
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, MODE);

        let asked = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                let client = Client::new(&path);
                let text = client.get_text("/v1/registrations").expect("answered");
                assert_eq!(text, "{\"schema\":\"sipsec/1\",\"gateway\":\"branch\",\"data\":[]}");
                let all = client.send::<_, Cleared>("POST", "/v1/clear", &Clear::default());
                assert_eq!(all.expect("cleared").sessions, 3);
                let one = Clear { remote_number: Some("0312345678".into()) };
                let refused = client.send::<_, Cleared>("POST", "/v1/clear", &one);
                assert!(matches!(refused, Err(ClientError::Refused(e)) if e.contains("0312345678")));
                let refused = client.get::<Vec<Session>>("/v1/sessions?remote_number=abc");
                assert!(
                    matches!(refused, Err(ClientError::Refused(e)) if e.contains("not a telephone number"))
                );
                let gone = client.get::<model::Control>("/v1/control");
                assert!(matches!(gone, Err(ClientError::Refused(e)) if e.contains("shutting down")));
                let bad = model::LogFilter { filter: "sipsec=nonsense".into() };
                assert!(client.send::<_, LogFilter>("PUT", "/v1/log-filter", &bad).is_err());
                client.stream("/v1/events").expect("streams")
            }
        });
        let mut lines = asked.await.expect("no panic");
        for event in ["invite-sent", "session-up"] {
            let line = EventLine { time_us: 1, event: event.into(), interface: None, text: "x".into() };
            events.send(Arc::new(line)).expect("somebody listens");
        }
        let read = tokio::task::spawn_blocking(move || [lines.next(), lines.next()]).await.expect("no panic");
        let read = read.map(|l| l.expect("a line").expect("read"));
        assert!(read[0].contains("invite-sent") && read[1].contains("session-up"), "{read:?}");

        let nobody = Client::new(&dir.join("other.sock")).get_text("/v1/control");
        assert!(matches!(nobody, Err(ClientError::NotRunning(_))));
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
