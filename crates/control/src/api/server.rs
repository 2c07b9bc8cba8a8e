//! The server as a whole.

use super::params::Given;
use super::{Answer, Shared};
use crate::answer::{Failure, ProblemDetails};
use crate::controls::{Caller, Controls};
use crate::view::{LogLevel, Status};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Json};

/// The server as a whole.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub async fn status(State(api): Shared) -> Answer<Status> {
    api.now(Controls::status).map(Json)
}

/// From which level on lines are logged.
#[utoipa::path(get, path = "/v1/log-level", responses((status = 200, body = LogLevel)))]
pub async fn log_level(State(api): Shared) -> Answer<LogLevel> {
    api.now(|controls| LogLevel { level: controls.status().log_level }).map(Json)
}

/// Logs lines from this level on, until the server ends.
#[utoipa::path(put, path = "/v1/log-level", request_body = LogLevel, responses(
    (status = 200, body = LogLevel),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn set_log_level(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Given(wanted): Given<LogLevel>,
) -> Answer<LogLevel> {
    api.now(|controls| controls.set_log_level(wanted.level, caller))?;
    Ok(Json(wanted))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"),
))]
pub async fn openapi() -> Result<impl IntoResponse, Failure> {
    Ok(([(header::CONTENT_TYPE, "application/json")], super::openapi()))
}
