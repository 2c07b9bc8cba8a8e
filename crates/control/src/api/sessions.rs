//! Sessions: who is connected, and ending one of them.

use super::params::{Asked, Named, Timeout};
use super::{Answer, Shared, exports};
use crate::answer::{Failure, ProblemDetails};
use crate::controls::{Caller, Controls};
use crate::view::{Cut, Session};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};

/// All sessions in the order in which they began.
#[utoipa::path(get, path = "/v1/sessions", responses((status = 200, body = Vec<Session>)))]
pub async fn sessions(State(api): Shared) -> Answer<Vec<Session>> {
    api.now(Controls::sessions).map(Json)
}

/// One session.
#[utoipa::path(get, path = "/v1/sessions/{id}", params(("id" = u64, Path, description = "Its number")), responses(
    (status = 200, body = Session),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn session(State(api): Shared, Named(id): Named<u64>) -> Answer<Session> {
    let mut sessions = api.now(Controls::sessions)?.into_iter();
    match sessions.find(|session| session.id == id) {
        Some(session) => Ok(Json(session)),
        None => Err(Failure::new(StatusCode::NOT_FOUND, format!("there is no session {id}"))),
    }
}

/// Ends one session.
#[utoipa::path(delete, path = "/v1/sessions/{id}",
    params(("id" = u64, Path, description = "Its number"), Timeout), responses(
    (status = 200, description = "It has ended", body = Cut),
    (status = 207, description = "A request of it hangs", body = Cut),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn end(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Named(id): Named<u64>,
    Asked(asked): Asked<Timeout>,
) -> Result<Response, Failure> {
    let timeout = asked.duration()?;
    Ok(exports::cut(api.wait(move |controls| controls.end_session(id, timeout, caller)).await??))
}
