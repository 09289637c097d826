//! `/v1/profile/…`

use super::asked::{Body, NoWords, Words};
use super::change::{Apply, Confirmed, NewProfile, Nothing, Rollback, RunningProfile};
use super::server::{Peer, Shared, refuse};
use crate::change::{ChangeError, Source, Wish};
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use sipsec_profile::model::limits::FILE_BYTES_MAX;
use std::time::Duration;
use zeroize::Zeroizing;

/// A profile as JSON text: line ends and quotes take two bytes each.
const BODY_BYTES_MAX: usize = 2 * FILE_BYTES_MAX as usize + 4096;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/profile", get(running))
        .route("/v1/profile/diff", post(diff))
        .route("/v1/profile/apply", post(apply))
        .route("/v1/profile/confirm", post(confirm))
        .route("/v1/profile/rollback", post(rollback))
        .route("/v1/profile/saved", post(saved))
        .route("/v1/profile/history", get(history))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn diff(State(shared): State<Shared>, Body(new): Body<NewProfile>) -> Response {
    match shared.changer.compare(Zeroizing::new(new.profile), new.file).await {
        Ok(difference) => shared.answer(difference),
        Err(error) => refused(&error),
    }
}

async fn apply(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Body(wanted): Body<Apply>,
) -> Response {
    let wish = Wish {
        source: Source::Text { yaml: Zeroizing::new(wanted.profile), file: wanted.file },
        author: wanted.author,
        partial: wanted.partial,
        confirm: wanted.confirm_s.map(Duration::from_secs),
    };
    changed(&shared, peer, wish).await
}

async fn rollback(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Body(wanted): Body<Rollback>,
) -> Response {
    let source = Source::Earlier(wanted.number);
    changed(&shared, peer, Wish { source, author: wanted.author, partial: false, confirm: None }).await
}

async fn changed(shared: &Shared, peer: Peer, wish: Wish) -> Response {
    tracing::info!(uid = peer.uid(), author = wish.author, "a change of the profile is asked for");
    match shared.changer.apply(wish).await {
        Ok(applied) => shared.answer(applied),
        Err(error) => {
            tracing::warn!(uid = peer.uid(), %error, "the profile is not changed");
            refused(&error)
        }
    }
}

async fn confirm(State(shared): State<Shared>, Body(Nothing {}): Body<Nothing>) -> Response {
    match shared.changer.confirm().await {
        Ok(number) => shared.answer(Confirmed { number }),
        Err(error) => refused(&error),
    }
}

async fn saved(State(shared): State<Shared>, Body(Nothing {}): Body<Nothing>) -> Response {
    match shared.changer.saved().await {
        Ok(number) => shared.answer(Confirmed { number }),
        Err(error) => refused(&error),
    }
}

async fn running(State(shared): State<Shared>, _: Words<NoWords>) -> Response {
    match shared.changer.running().await {
        Ok(profile) => shared.answer(RunningProfile { profile }),
        Err(error) => refused(&error),
    }
}

async fn history(State(shared): State<Shared>, _: Words<NoWords>) -> Response {
    shared.answer(shared.changer.versions().await)
}

fn refused(error: &ChangeError) -> Response {
    let status = match error {
        ChangeError::Profile(_) | ChangeError::Setup(_) | ChangeError::Confirm => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ChangeError::NoSuch(_) | ChangeError::NoneBefore => StatusCode::NOT_FOUND,
        ChangeError::Refused { .. }
        | ChangeError::Restart(_)
        | ChangeError::Policy(_)
        | ChangeError::Locked(_)
        | ChangeError::Unconfirmed(_)
        | ChangeError::NothingToConfirm => StatusCode::CONFLICT,
        ChangeError::History(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ChangeError::Ended => StatusCode::SERVICE_UNAVAILABLE,
        ChangeError::Timeout => StatusCode::GATEWAY_TIMEOUT,
    };
    refuse(status, error.to_string())
}
