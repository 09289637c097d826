//! What a request may say: bodies and query words with unknown, repeated or misspelt names are refused as a whole. A name that
//! is silently ignored would turn "hang up this call" into "hang up every call".

use super::server::refuse;
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The query words of a request. `T` denies unknown ones.
#[derive(Debug)]
pub struct Words<T>(pub T);

/// For resources without query words.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoWords {}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Words<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(words)) => Ok(Self(words)),
            Err(error) => Err(refuse(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// The JSON body of a request that has no query words. `T` denies unknown names.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Words(NoWords {}) = Words::from_request_parts(&mut parts, state).await?;
        match Json::<T>::from_request(Request::from_parts(parts, body), state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(error) => Err(refuse(error.status(), error.body_text())),
        }
    }
}
