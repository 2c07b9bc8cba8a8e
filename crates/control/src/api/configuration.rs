//! The configuration as a whole: follow it, say what that would do, check one.

use crate::answer::Answer;
use crate::ask::{self, Limit, Query};
use crate::controls::Caller;
use crate::desk::Desk;
use crate::view::{Check, Plan, Reload};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(reload)).routes(routes!(plan)).routes(routes!(check))
}

/// Follows the configuration, as SIGHUP does. The answer comes when the fence is done, or names what hangs.
#[utoipa::path(post, path = "/v1/reload", tag = "configuration", params(Limit),
    responses(
        (status = 200, description = "The running set is the configured set", body = Reload),
        (status = 207, description = "Applied in part: something was kept back or hangs", body = Reload),
        (status = 400, description = "The query makes no sense"),
        (status = 422, description = "Nothing was applied", body = Reload),
        (status = 504, description = "An earlier reload has not ended within this time; this one may still happen"),
    ))]
async fn reload(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    Query(limit): Query<Limit>,
) -> Answer<Response> {
    let reload = desk.wait(move |controls| controls.reload(limit.timeout_ms.0, by)).await??;
    Ok(super::reloaded(reload))
}

/// What a reload would do now. Nothing is done by asking.
#[utoipa::path(get, path = "/v1/plan", tag = "configuration", params(Limit),
    responses(
        (status = 200, description = "What it would do", body = Plan),
        (status = 400, description = "The query makes no sense"),
        (status = 504, description = "A reload under way has not ended within this time"),
    ))]
async fn plan(State(desk): State<Arc<Desk>>, Query(limit): Query<Limit>) -> Answer<Json<Plan>> {
    Ok(Json(desk.wait(move |controls| controls.plan(limit.timeout_ms.0)).await??))
}

/// What a start with this main file would amount to. Without a text the file on the disk is checked; snippets are read
/// from the disk in both cases.
#[utoipa::path(post, path = "/v1/check", tag = "configuration",
    request_body(content = Option<String>, content_type = "text/plain", description = "The text of a main file"),
    responses(
        (status = 200, description = "What it amounts to; `ok` says whether all of it could be served", body = Check),
        (status = 400, description = "The text is not UTF-8"),
        (status = 408, description = "The text did not arrive"),
        (status = 413, description = "The text is too large"),
        (status = 415, description = "The text is not `text/plain`"),
    ))]
async fn check(State(desk): State<Arc<Desk>>, request: Request) -> Answer<Json<Check>> {
    let text = ask::text(request).await?;
    Ok(Json(desk.wait(move |controls| controls.check(text.as_deref())).await?))
}
