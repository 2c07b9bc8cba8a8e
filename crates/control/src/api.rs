//! The routes, by noun, and what is said where there is none.

mod configuration;
mod events;
mod exports;
mod server;
mod sessions;

use crate::answer::{Answer, Failure};
use crate::controls::Refusal;
use crate::desk::Desk;
use crate::metrics;
use crate::openapi;
use crate::view::{Cut, Outcome, Reload};
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;

/// Routes and their description, before anybody answers.
pub(crate) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::with_openapi(openapi::about())
        .merge(server::routes())
        .merge(exports::routes())
        .merge(sessions::routes())
        .merge(configuration::routes())
        .merge(events::routes())
}

/// All of it, answered from a desk.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    let (router, _) = routes().split_for_parts();
    router.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(desk)
}

/// What is answered on the network.
pub(crate) fn metrics_only(request: &Request, desk: &Desk) -> Response {
    let asked = [Method::GET, Method::HEAD].contains(request.method()) && request.uri().path() == "/metrics";
    if asked {
        figures(desk)
    } else {
        Failure::not_found("there is nothing here but GET /metrics").into_response()
    }
}

fn figures(desk: &Desk) -> Response {
    let make = || desk.pace.apart(|| metrics::render(&desk.controls().metrics()));
    match desk.renditions.get(make) {
        Ok(text) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(failure) => failure.into_response(),
    }
}

async fn unknown(uri: Uri) -> Failure {
    Failure::not_found(format!("there is nothing at {}: see /v1/openapi.json", uri.path()))
}

/// The router adds `Allow`.
async fn not_allowed(method: Method) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} cannot be done here"))
}

/// What was done in part is not a plain success: a shell script looks at the status only.
fn reloaded(reload: Reload) -> Response {
    let status = match reload.outcome {
        Outcome::Complete => StatusCode::OK,
        Outcome::Incomplete => StatusCode::MULTI_STATUS,
        Outcome::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Json(reload)).into_response()
}

/// The same for sessions that were ended, where one hangs.
fn cut(answer: Answer<Result<Cut, Refusal>>) -> Answer<Response> {
    let cut = answer??;
    let status = if cut.hanging.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok((status, Json(cut)).into_response())
}
