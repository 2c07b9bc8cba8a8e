//! Following the configuration, and asking what that would mean.

use super::params::{Asked, GivenText, Timeout};
use super::{Answer, Shared, exports};
use crate::answer::{Failure, ProblemDetails};
use crate::controls::Caller;
use crate::view::{Check, Plan, Reload};
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

/// Follows the configuration. The answer comes when the fence is done, or names what hangs.
#[utoipa::path(post, path = "/v1/reload", params(Timeout), responses(
    (status = 200, description = "The running set is the configured set", body = Reload),
    (status = 207, description = "Applied in part: something was kept back or hangs", body = Reload),
    (status = 422, description = "Nothing was applied", body = Reload),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn reload(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Asked(asked): Asked<Timeout>,
) -> Result<Response, Failure> {
    let timeout = asked.duration()?;
    Ok(exports::reloaded(api.wait(move |controls| controls.reload(timeout, caller)).await??))
}

/// What a reload would do at this moment. Nothing is done.
#[utoipa::path(get, path = "/v1/plan", params(Timeout), responses(
    (status = 200, body = Plan),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn plan(State(api): Shared, Asked(asked): Asked<Timeout>) -> Answer<Plan> {
    let timeout = asked.duration()?;
    Ok(Json(api.wait(move |controls| controls.plan(timeout)).await??))
}

/// What a start with this main file would amount to; with the one on disk where the body is empty.
#[utoipa::path(post, path = "/v1/check",
    request_body(content = Option<String>, content_type = "text/plain", description = "A main file"), responses(
    (status = 200, body = Check),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn check(State(api): Shared, GivenText(text): GivenText) -> Answer<Check> {
    Ok(Json(api.wait(move |controls| controls.check(text.as_deref())).await?))
}
