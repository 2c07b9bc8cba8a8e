//! Who is connected.

use crate::answer::{Answer, Failure};
use crate::ask::{Limit, Number, Query};
use crate::controls::Caller;
use crate::desk::Desk;
use crate::view::{Cut, Session};
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(sessions)).routes(routes!(session, end_session))
}

/// All sessions, in the order in which they began.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions",
    responses((status = 200, description = "The sessions", body = [Session])))]
async fn sessions(State(desk): State<Arc<Desk>>) -> Json<Vec<Session>> {
    Json(desk.controls().sessions())
}

/// One session.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = u64, Path, description = "Its number")),
    responses(
        (status = 200, description = "The session", body = Session),
        (status = 400, description = "That is no number"),
        (status = 404, description = "There is no such session"),
    ))]
async fn session(State(desk): State<Arc<Desk>>, Number(id): Number) -> Answer<Json<Session>> {
    let found = desk.controls().sessions().into_iter().find(|session| session.id == id);
    found.map(Json).ok_or_else(|| Failure::not_found(format!("there is no session {id}")))
}

/// Ends a session. Its client may come again.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = u64, Path, description = "Its number"), Limit),
    responses(
        (status = 200, description = "It has ended", body = Cut),
        (status = 207, description = "A request of its hangs: the disk is not free", body = Cut),
        (status = 400, description = "The number or the query makes no sense"),
        (status = 404, description = "There is no such session"),
        (status = 504, description = "Not within this time; it may still happen"),
    ))]
async fn end_session(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    Number(id): Number,
    Query(limit): Query<Limit>,
) -> Answer<Response> {
    super::cut(desk.wait(move |controls| controls.end_session(id, limit.timeout_ms.0, by)).await)
}
