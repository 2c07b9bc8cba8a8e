//! The server as a whole: its status, its log level, its figures, and this interface's own description.

use crate::answer::Answer;
use crate::ask;
use crate::controls::Caller;
use crate::desk::Desk;
use crate::openapi;
use crate::view::{LogLevel, Status};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use std::sync::{Arc, OnceLock};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(log_level, set_log_level))
        .routes(routes!(metrics))
        .routes(routes!(description))
}

/// The server as a whole.
#[utoipa::path(get, path = "/v1/status", tag = "server",
    responses((status = 200, description = "What it is and how it does", body = Status)))]
async fn status(State(desk): State<Arc<Desk>>) -> Json<Status> {
    Json(desk.controls().status())
}

/// From which level on lines are logged.
#[utoipa::path(get, path = "/v1/log-level", tag = "server",
    responses((status = 200, description = "The level", body = LogLevel)))]
async fn log_level(State(desk): State<Arc<Desk>>) -> Json<LogLevel> {
    Json(LogLevel { level: desk.controls().status().log_level })
}

/// Sets from which level on lines are logged, until the next start.
#[utoipa::path(put, path = "/v1/log-level", tag = "server", request_body = LogLevel,
    responses(
        (status = 200, description = "The level from now on", body = LogLevel),
        (status = 400, description = "The body makes no sense"),
        (status = 408, description = "The body did not arrive"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is not JSON"),
    ))]
async fn set_log_level(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    request: Request,
) -> Answer<Json<LogLevel>> {
    let wanted: LogLevel = ask::json(request).await?;
    desk.controls().set_log_level(wanted.level, by);
    Ok(Json(wanted))
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, description = "Prometheus' text format",
        content_type = "text/plain; version=0.0.4", body = String)))]
async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    super::figures(&desk)
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
async fn description() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    ([(CONTENT_TYPE, "application/json")], TEXT.get_or_init(openapi::openapi).as_str()).into_response()
}
