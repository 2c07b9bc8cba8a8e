//! What is served.

use crate::answer::{Answer, Failure};
use crate::ask::{self, Applying, Limit, Name, Query};
use crate::controls::{Caller, Refusal};
use crate::desk::Desk;
use crate::view::{Cleared, Cut, Export, ExportSettings, Reload};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new()
        .routes(routes!(exports))
        .routes(routes!(export, put_export, remove_export))
        .routes(routes!(fence))
        .routes(routes!(clear))
        // The same for the export whose name is empty: a parameter is never empty.
        .route("/v1/exports/", get(export).put(put_export).delete(remove_export))
        .route("/v1/exports//fence", post(fence))
        .route("/v1/exports//clear", post(clear))
}

/// All exports in the order of the configuration, and behind them those that are gone and hang.
#[utoipa::path(get, path = "/v1/exports", tag = "exports",
    responses((status = 200, description = "The exports", body = [Export])))]
async fn exports(State(desk): State<Arc<Desk>>) -> Json<Vec<Export>> {
    Json(desk.controls().exports())
}

/// One export.
#[utoipa::path(get, path = "/v1/exports/{name}", tag = "exports",
    params(("name" = String, Path, description = "Its name", min_length = 1)),
    responses(
        (status = 200, description = "The export", body = Export),
        (status = 400, description = "The name is not UTF-8"),
        (status = 404, description = "There is no such export"),
    ))]
async fn export(State(desk): State<Arc<Desk>>, Name(name): Name) -> Answer<Json<Export>> {
    let found = desk.controls().exports().into_iter().find(|export| export.name == name);
    found.map(Json).ok_or_else(|| Failure::not_found(format!("there is no export '{name}'")))
}

/// Writes the export's file in `includedir`, atomically, and reloads.
#[utoipa::path(put, path = "/v1/exports/{name}", tag = "exports",
    params(("name" = String, Path, description = "Its name", min_length = 1), Applying),
    request_body = ExportSettings,
    responses(
        (status = 200, description = "Written, and the running set is the configured set", body = Reload),
        (status = 204, description = "Written, and left to a later reload"),
        (status = 207, description = "Written, and applied in part", body = Reload),
        (status = 400, description = "The name, the query or the body makes no sense"),
        (status = 403, description = "The file cannot be written"),
        (status = 408, description = "The body did not arrive"),
        (status = 409, description = "Another file describes the export"),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "The body is not JSON"),
        (status = 422, description = "A setting cannot be used, or the reload was refused", body = Reload),
        (status = 504, description = "Not within this time; it may still happen"),
    ))]
async fn put_export(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    Name(name): Name,
    Query(applying): Query<Applying>,
    request: Request,
) -> Answer<Response> {
    let ask::Settings(settings) = ask::json(request).await?;
    let Applying { apply, timeout_ms } = applying;
    let put = desk.wait(move |controls| controls.put_export(&name, &settings, apply, timeout_ms.0, by));
    followed(put.await)
}

/// Deletes the export's file in `includedir` and reloads.
#[utoipa::path(delete, path = "/v1/exports/{name}", tag = "exports",
    params(("name" = String, Path, description = "Its name", min_length = 1), Applying),
    responses(
        (status = 200, description = "Deleted, and the running set is the configured set", body = Reload),
        (status = 204, description = "Deleted, and left to a later reload"),
        (status = 207, description = "Deleted, and applied in part", body = Reload),
        (status = 400, description = "The name or the query makes no sense"),
        (status = 403, description = "The file cannot be deleted"),
        (status = 404, description = "There is no such export"),
        (status = 409, description = "Its file is not its own"),
        (status = 422, description = "The reload was refused", body = Reload),
        (status = 504, description = "Not within this time; it may still happen"),
    ))]
async fn remove_export(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    Name(name): Name,
    Query(applying): Query<Applying>,
) -> Answer<Response> {
    let Applying { apply, timeout_ms } = applying;
    followed(desk.wait(move |controls| controls.remove_export(&name, apply, timeout_ms.0, by)).await)
}

fn followed(answer: Answer<Result<Option<Reload>, Refusal>>) -> Answer<Response> {
    Ok(answer??.map_or_else(|| StatusCode::NO_CONTENT.into_response(), super::reloaded))
}

/// Ends every session of an export and closes its disk. Clients may come again.
#[utoipa::path(post, path = "/v1/exports/{name}/fence", tag = "exports",
    params(("name" = String, Path, description = "Its name", min_length = 1), Limit),
    responses(
        (status = 200, description = "They have ended, and the disk is closed", body = Cut),
        (status = 207, description = "A request hangs: the disk is not free", body = Cut),
        (status = 400, description = "The name or the query makes no sense"),
        (status = 404, description = "There is no such export"),
        (status = 504, description = "Not within this time; it may still happen"),
    ))]
async fn fence(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    Name(name): Name,
    Query(limit): Query<Limit>,
) -> Answer<Response> {
    super::cut(desk.wait(move |controls| controls.fence(&name, limit.timeout_ms.0, by)).await)
}

/// Forgets a failed sync, because the operator accepts the loss.
#[utoipa::path(post, path = "/v1/exports/{name}/clear", tag = "exports",
    params(("name" = String, Path, description = "Its name", min_length = 1)),
    responses(
        (status = 200, description = "Whether one had failed", body = Cleared),
        (status = 400, description = "The name is not UTF-8"),
        (status = 404, description = "There is no such export"),
    ))]
async fn clear(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<Caller>,
    Name(name): Name,
) -> Answer<Json<Cleared>> {
    let cleared = desk.wait(move |controls| controls.clear(&name, by)).await??;
    Ok(Json(Cleared { cleared }))
}
