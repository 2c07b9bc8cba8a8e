//! What stands in a query, a path and a body, checked before anything is done.

use crate::answer::Failure;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::IntoParams;

const TIMEOUT_DEFAULT_MS: u64 = 30_000;
const TIMEOUT_MAX_MS: u64 = 600_000;

/// How long an answer may take.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    /// Milliseconds.
    #[param(minimum = 1, maximum = 600_000)]
    #[serde(default = "timeout_default")]
    timeout_ms: u64,
}

/// How long an answer may take, and whether a reload belongs to it.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Milliseconds.
    #[param(minimum = 1, maximum = 600_000)]
    #[serde(default = "timeout_default")]
    timeout_ms: u64,
    /// Reload behind it; `false` leaves that to a later one.
    #[serde(default = "applied")]
    pub apply: bool,
}

fn timeout_default() -> u64 {
    TIMEOUT_DEFAULT_MS
}

fn applied() -> bool {
    true
}

impl Timeout {
    pub fn duration(self) -> Result<Duration, Failure> {
        duration(self.timeout_ms)
    }
}

impl Applied {
    pub fn duration(self) -> Result<Duration, Failure> {
        duration(self.timeout_ms)
    }
}

fn duration(timeout_ms: u64) -> Result<Duration, Failure> {
    if (1..=TIMEOUT_MAX_MS).contains(&timeout_ms) {
        return Ok(Duration::from_millis(timeout_ms));
    }
    let detail = format!("timeout_ms must be 1 to {TIMEOUT_MAX_MS}");
    Err(Failure::new(StatusCode::BAD_REQUEST, detail))
}

/// A query, refused as everything else is.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// A part of the path, decoded.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(value) = Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// A JSON body.
pub struct Given<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Given<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        is_of_type(&request, "application/json")?;
        let body = Bytes::from_request(request, state).await?;
        let value = serde_json::from_slice(&body)
            .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        Ok(Self(value))
    }
}

/// A text, or none where the body is empty.
pub struct GivenText(pub Option<String>);

impl<S: Send + Sync> FromRequest<S> for GivenText {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        if typed {
            is_of_type(&request, "text/plain")?;
        }
        let body = Bytes::from_request(request, state).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        match String::from_utf8(body.to_vec()) {
            Ok(text) => Ok(Self(Some(text))),
            Err(_) => Err(Failure::new(StatusCode::BAD_REQUEST, "the text is not UTF-8")),
        }
    }
}

fn is_of_type(request: &Request, wanted: &str) -> Result<(), Failure> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must be {wanted}")))
}
