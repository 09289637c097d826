//! The control plane's side of the API.

use super::asked::{Body as JsonBody, NoWords, Words};
use super::model::{
    Answer, Clear, Dial, EventLine, LogFilter, NatClear, NatStatistics, PrimaryStatistics, Refusal,
    Translation, TranslationKind,
};
use super::profile;
use super::query::{Page, Query, Reply, Request, Target};
use super::stream::event_stream;
use crate::change::Changer;
use crate::logging::LogControl;
use crate::net::primary::PrimaryView;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot};

/// The loop answers between two events; a longer wait means that it is stuck.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Events that a slow reader may be behind; it is told how many it has lost.
pub const EVENTS_MAX: usize = 4096;
/// Lines of one answer.
const TRANSLATIONS_MAX: usize = 100_000;
/// Owner and group: the same who may stop the service.
const MODE: u32 = 0o660;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("a control plane serves {} already: stop it first", .0.display())]
    AlreadyRunning(PathBuf),
    #[error("cannot listen on {}: {error}", path.display())]
    Listen { path: PathBuf, error: std::io::Error },
}

#[derive(Clone, Debug)]
pub(super) struct Shared {
    gateway: Arc<str>,
    requests: mpsc::Sender<Request>,
    pub(super) events: broadcast::Sender<Arc<EventLine>>,
    log: LogControl,
    pub(super) changer: Changer,
    primary: PrimaryView,
}

/// The client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    uid: Option<u32>,
}

impl Peer {
    pub(super) const fn uid(self) -> Option<u32> {
        self.uid
    }
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
    // Connecting needs write permission. Until the mode is set only the owner has it.
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(fail)?;
    Ok(listener)
}

/// Serves until the runtime ends.
pub async fn serve(
    listener: UnixListener,
    gateway: &str,
    requests: mpsc::Sender<Request>,
    changer: Changer,
    events: broadcast::Sender<Arc<EventLine>>,
    log: LogControl,
    primary: PrimaryView,
) {
    let shared = Shared { gateway: gateway.into(), requests, events, log, changer, primary };
    let app = Router::new()
        .route("/v1/sessions", get(sessions))
        .route(
            "/v1/registrations",
            get(|State(s): State<Shared>, Words(p): Words<RegistrationParams>| async move {
                s.ask(Query::Registrations { registered: p.registered }).await
            }),
        )
        .route(
            "/v1/dhcp",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Dhcp).await }),
        )
        .route(
            "/v1/crypto-sessions",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.crypto_sessions().await }),
        )
        .route(
            "/v1/nat-translations",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.translations().await }),
        )
        .route(
            "/v1/nat-statistics",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.nat_statistics().await }),
        )
        .route("/v1/nat-clear", post(nat_clear))
        .route(
            "/v1/policy-maps",
            get(|State(s): State<Shared>, Words(p): Words<PolicyParams>| async move {
                s.policy_maps(p.interface.map_or(Target::All, Target::Interface)).await
            }),
        )
        .route(
            "/v1/dataplane",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Dataplane).await }),
        )
        .route(
            "/v1/dataplane/topology",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.topology().await }),
        )
        .route(
            "/v1/control",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Control).await }),
        )
        .route(
            "/v1/interfaces",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.interfaces().await }),
        )
        .route(
            "/v1/sla",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Sla).await }),
        )
        .route(
            "/v1/track",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Track).await }),
        )
        .route(
            "/v1/routes",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Routes).await }),
        )
        .route("/v1/events", get(event_stream))
        .route(
            "/v1/summary",
            get(|State(s): State<Shared>, _: Words<NoWords>| async move { s.ask(Query::Summary).await }),
        )
        .route(
            "/v1/history",
            get(|State(s): State<Shared>, Words(p): Words<PastParams>| async move {
                s.ask(Query::History { interface: p.interface, since_s: p.since_s }).await
            }),
        )
        .route(
            "/v1/call",
            get(|State(s): State<Shared>, Words(p): Words<CallParams>| async move {
                s.ask(Query::Call(p.call_id)).await
            }),
        )
        .route("/v1/clear", post(clear))
        .route("/v1/call", post(dial))
        .route("/v1/log-filter", put(log_filter).get(show_log_filter))
        .merge(profile::routes())
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "this resource does not have this method")
        })
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such resource") })
        .with_state(shared);
    let served = axum::serve(listener, app.into_make_service_with_connect_info::<Peer>()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API has ended");
    }
}

pub(super) fn refuse(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Refusal { error: error.into() })).into_response()
}

fn no_such(target: &Target) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("no tunnel has the {target}"))
}

impl Shared {
    pub(super) fn answer<T: Serialize>(&self, data: T) -> Response {
        Json(Answer::new(Some(&self.gateway), data)).into_response()
    }

    /// Asks the loop.
    pub(super) async fn reply(&self, query: Query) -> Result<Reply, Box<Response>> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.requests.send(Request { query, reply }).await.ok()?;
            answer.await.ok()
        };
        let (status, error) = match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the control plane is shutting down"),
            Err(_) => {
                let busy = "the control plane is too busy to answer; its log may say why";
                (StatusCode::GATEWAY_TIMEOUT, busy)
            }
        };
        Err(Box::new(refuse(status, error)))
    }

    /// All pages of a list; `None` if what came is no page.
    async fn pages<T>(
        &self,
        query: impl Fn(Page) -> Query,
        list: impl Fn(Reply) -> Option<(Vec<T>, Option<Page>)>,
    ) -> Result<Vec<T>, Box<Response>> {
        let (mut out, mut page) = (Vec::new(), Some(Page::default()));
        while let Some(wanted) = page {
            let (part, next) = list(self.reply(query(wanted)).await?).unwrap_or_default();
            out.extend(part);
            page = next.filter(|p| p.from > wanted.from);
        }
        Ok(out)
    }

    async fn sessions(&self, target: Target) -> Response {
        let list = |reply| match reply {
            Reply::Sessions(part, next) => Some((part, next)),
            _ => None,
        };
        match self.pages(|page| Query::Sessions(target.clone(), page), list).await {
            Ok(list) if list.is_empty() && target != Target::All => no_such(&target),
            Ok(list) => self.answer(list),
            Err(refusal) => *refusal,
        }
    }

    async fn policy_maps(&self, target: Target) -> Response {
        let list = |reply| match reply {
            Reply::PolicyMaps(part, next) => Some((part, next)),
            _ => None,
        };
        match self.pages(|page| Query::PolicyMaps(target.clone(), page), list).await {
            Ok(list) if list.is_empty() && target != Target::All => no_such(&target),
            Ok(list) => self.answer(list),
            Err(refusal) => *refusal,
        }
    }

    async fn crypto_sessions(&self) -> Response {
        let list = |reply| match reply {
            Reply::CryptoSessions(part, next) => Some((part, next)),
            _ => None,
        };
        match self.pages(Query::CryptoSessions, list).await {
            Ok(list) => self.answer(list),
            Err(refusal) => *refusal,
        }
    }

    /// Those that are known here.
    async fn fixed_translations(&self) -> Result<Vec<Translation>, Box<Response>> {
        Ok(match self.reply(Query::NatTranslations).await? {
            Reply::NatTranslations(list) => list,
            _ => Vec::new(),
        })
    }

    async fn nat_page(
        &self,
        from: u32,
    ) -> Result<(Vec<Translation>, Option<u32>, NatStatistics), Box<Response>> {
        Ok(match self.reply(Query::NatPage(from)).await? {
            Reply::NatPage(list, next, statistics) => (list, next.filter(|next| *next > from), statistics),
            _ => (Vec::new(), None, NatStatistics::default()),
        })
    }

    async fn all_translations(&self) -> Result<Vec<Translation>, Box<Response>> {
        let mut all = self.fixed_translations().await?;
        let mut from = Some(0);
        while let Some(row) = from.filter(|_| all.len() < TRANSLATIONS_MAX) {
            let (list, next, _) = self.nat_page(row).await?;
            all.extend(list);
            from = next;
        }
        // What the kernel does not tell is missing; `show ip nat statistics` says why.
        let kernel = self.primary.translations(TRANSLATIONS_MAX).await.unwrap_or_default();
        all.extend(kernel.iter().map(Translation::from));
        all.truncate(TRANSLATIONS_MAX);
        Ok(all)
    }

    async fn translations(&self) -> Response {
        match self.all_translations().await {
            Ok(list) => self.answer(list),
            Err(refusal) => *refusal,
        }
    }

    async fn nat_statistics(&self) -> Response {
        let asked = async {
            let fixed = self.fixed_translations().await?;
            let (_, _, mut statistics) = self.nat_page(0).await?;
            let calls = fixed.iter().filter(|t| t.kind == TranslationKind::Call).count();
            statistics.calls = calls as u32;
            statistics.statics = (fixed.len() - calls) as u32;
            statistics.primary = match self.primary.state() {
                None => None,
                Some(Err(reason)) => Some(PrimaryStatistics { translations: 0, failure: Some(reason) }),
                Some(Ok(())) => Some(match self.primary.translations(TRANSLATIONS_MAX).await {
                    Ok(list) => PrimaryStatistics { translations: list.len() as u32, failure: None },
                    Err(error) => PrimaryStatistics { translations: 0, failure: Some(error.to_string()) },
                }),
            };
            Ok(statistics)
        };
        match asked.await {
            Ok(statistics) => self.answer(statistics),
            Err::<_, Box<Response>>(refusal) => *refusal,
        }
    }

    async fn interfaces(&self) -> Response {
        let list = |reply| match reply {
            Reply::Sessions(part, next) => Some((part, next)),
            _ => None,
        };
        let mut out = match super::interfaces::devices().await {
            Ok(devices) => devices,
            Err(error) => {
                let message = format!("the kernel does not name its devices: {error}");
                return refuse(StatusCode::SERVICE_UNAVAILABLE, message);
            }
        };
        match self.pages(|page| Query::Sessions(Target::All, page), list).await {
            Ok(sessions) => out.extend(sessions.iter().map(super::interfaces::tunnel)),
            Err(refusal) => return *refusal,
        }
        self.answer(out)
    }

    async fn topology(&self) -> Response {
        let dataplane = match self.reply(Query::Dataplane).await {
            Ok(Reply::Dataplane(dataplane)) => dataplane,
            Ok(_) => {
                return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the loop has answered something else");
            }
            Err(refusal) => return *refusal,
        };
        if !dataplane.connected {
            let reason = dataplane.reason.as_deref().unwrap_or("unknown");
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the dataplane is not connected: {reason}"),
            );
        }
        // A machine with many cores has megabytes in /proc/interrupts.
        match tokio::task::spawn_blocking(move || crate::topology::of_this_machine(&dataplane)).await {
            Ok(topology) => self.answer(topology),
            Err(error) => {
                refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read the topology: {error}"))
            }
        }
    }

    async fn ask(&self, query: Query) -> Response {
        match self.reply(query).await {
            Err(refusal) => *refusal,
            Ok(reply) => match reply {
                Reply::NoSuch(target) => no_such(&target),
                Reply::Sessions(data, _) => self.answer(data),
                Reply::Registrations(data) => self.answer(data),
                Reply::Dhcp(data) => self.answer(data),
                Reply::CryptoSessions(data, _) => self.answer(data),
                Reply::NatTranslations(data) | Reply::NatPage(data, ..) => self.answer(data),
                Reply::Done => self.answer(()),
                Reply::PolicyMaps(data, _) => self.answer(data),
                Reply::Dataplane(data) => self.answer(data),
                Reply::Control(data) => self.answer(data),
                Reply::Sla(data) => self.answer(data),
                Reply::Track(data) => self.answer(data),
                Reply::Routes(data) => self.answer(data),
                Reply::Cleared(data) => self.answer(data),
                Reply::Dialled => self.answer(()),
                Reply::NotNow(why) => refuse(StatusCode::CONFLICT, why),
                Reply::Summary(data) => self.answer(data),
                Reply::PastEvents(data) => self.answer(data.iter().map(|line| &**line).collect::<Vec<_>>()),
                Reply::History(data) => self.answer(data.iter().map(|call| &**call).collect::<Vec<_>>()),
                Reply::Call(data) => self.answer(data),
                Reply::NoSuchCall(id) => refuse(
                    StatusCode::NOT_FOUND,
                    format!("no call with the Call-ID {id} is kept: only the latest are"),
                ),
            },
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyParams {
    interface: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionParams {
    remote_number: Option<String>,
    interface: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PastParams {
    pub(super) interface: Option<String>,
    pub(super) since_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallParams {
    call_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistrationParams {
    #[serde(default)]
    registered: bool,
}

async fn sessions(State(shared): State<Shared>, Words(params): Words<SessionParams>) -> Response {
    match target(params.remote_number.as_deref(), params.interface) {
        Ok(target) => shared.sessions(target.unwrap_or(Target::All)).await,
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

async fn clear(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(body): JsonBody<Clear>,
) -> Response {
    let target = match (target(body.remote_number.as_deref(), body.interface), body.all) {
        (Err(error), _) => return refuse(StatusCode::BAD_REQUEST, error),
        (Ok(Some(target)), false) => target,
        (Ok(None), true) => Target::All,
        (Ok(_), _) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "name exactly one of remote_number, interface, and all: true; nothing was hung up",
            );
        }
    };
    tracing::info!(uid = peer.uid, %target, "sessions are cleared by command");
    shared.ask(Query::Clear(target)).await
}

async fn nat_clear(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(body): JsonBody<NatClear>,
) -> Response {
    if body.inside.is_some() == body.all {
        let error = "name exactly one of inside and all: true; nothing was cleared";
        return refuse(StatusCode::BAD_REQUEST, error);
    }
    tracing::info!(uid = peer.uid, inside = ?body.inside, "address translations are cleared by command");
    if let Err(error) = shared.primary.clear(body.inside).await {
        let message = format!("the kernel does not end its translations: {error}");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, message);
    }
    shared.ask(Query::NatClear(body.inside)).await
}

async fn dial(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(body): JsonBody<Dial>,
) -> Response {
    tracing::info!(uid = peer.uid, interface = body.interface, "a call is placed by command");
    shared.ask(Query::Dial(body.interface)).await
}

/// Which sessions two optional names mean; `None` without either.
fn target(number: Option<&str>, interface: Option<String>) -> Result<Option<Target>, String> {
    match (number, interface) {
        (None, None) => Ok(None),
        (Some(text), None) => match text.parse() {
            Ok(number) => Ok(Some(Target::Number(number))),
            Err(_) => Err(format!("\"{text}\" is not a telephone number")),
        },
        (None, Some(name)) => Ok(Some(Target::Interface(name))),
        (Some(_), Some(_)) => Err("remote_number and interface exclude each other".to_owned()),
    }
}

async fn show_log_filter(State(shared): State<Shared>, _: Words<NoWords>) -> Response {
    shared.answer(shared.log.shown())
}

async fn log_filter(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(body): JsonBody<LogFilter>,
) -> Response {
    match shared.log.set(&body.filter, body.for_s.map(Duration::from_secs)) {
        Ok(()) => {
            let now = shared.log.shown();
            tracing::info!(uid = peer.uid, filter = now.filter, for_s = now.for_s, "log filter changed");
            shared.answer(now)
        }
        Err(error) => refuse(
            StatusCode::BAD_REQUEST,
            format!("\"{}\" is not a log filter: {error}\n{}", body.filter, crate::logging::EXAMPLES),
        ),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
