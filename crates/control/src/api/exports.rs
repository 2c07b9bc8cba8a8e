//! Exports: what is served, and changing one of them.

use super::params::{Applied, Asked, Given, Named, Timeout};
use super::{Answer, Api, Shared};
use crate::answer::{Failure, ProblemDetails};
use crate::controls::{Caller, Controls};
use crate::view::{Cleared, Cut, Export, ExportSettings, Outcome, Reload};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

/// All exports in the order of the configuration, and behind them those that are gone and hang.
#[utoipa::path(get, path = "/v1/exports", responses((status = 200, body = Vec<Export>)))]
pub async fn exports(State(api): Shared) -> Answer<Vec<Export>> {
    api.now(Controls::exports).map(Json)
}

/// One export. The one of the command line has the empty name: `/v1/exports/`.
#[utoipa::path(get, path = "/v1/exports/{name}", params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, body = Export),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn export(State(api): Shared, Named(name): Named<String>) -> Answer<Export> {
    find(&api, &name)
}

/// The export of the command line.
pub async fn nameless(State(api): Shared) -> Answer<Export> {
    find(&api, "")
}

fn find(api: &Api, name: &str) -> Answer<Export> {
    let mut exports = api.now(Controls::exports)?.into_iter();
    match exports.find(|export| export.name == name) {
        Some(export) => Ok(Json(export)),
        None => Err(Failure::new(StatusCode::NOT_FOUND, format!("there is no export {name}"))),
    }
}

/// Writes the export's file in includedir, and reloads. 204 where a later reload is to follow it.
#[utoipa::path(put, path = "/v1/exports/{name}", request_body = ExportSettings,
    params(("name" = String, Path, description = "Its name"), Applied), responses(
    (status = 200, description = "Applied", body = Reload),
    (status = 204, description = "Written; nothing is applied yet"),
    (status = 207, description = "Applied in part", body = Reload),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "Nothing was applied", content(
        (ProblemDetails = "application/problem+json"), (Reload = "application/json"))),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn put(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Named(name): Named<String>,
    Asked(asked): Asked<Applied>,
    Given(settings): Given<ExportSettings>,
) -> Result<Response, Failure> {
    let timeout = asked.duration()?;
    let apply = asked.apply;
    let put = api.wait(move |controls| controls.put_export(&name, &settings, apply, timeout, caller));
    Ok(applied(put.await??))
}

/// Deletes the export's file in includedir, and reloads. 204 where a later reload is to follow it.
#[utoipa::path(delete, path = "/v1/exports/{name}", params(("name" = String, Path, description = "Its name"), Applied),
    responses(
    (status = 200, description = "Applied", body = Reload),
    (status = 204, description = "Deleted; nothing is applied yet"),
    (status = 207, description = "Applied in part", body = Reload),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "Nothing was applied", content(
        (ProblemDetails = "application/problem+json"), (Reload = "application/json"))),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Named(name): Named<String>,
    Asked(asked): Asked<Applied>,
) -> Result<Response, Failure> {
    let timeout = asked.duration()?;
    let remove = api.wait(move |controls| controls.remove_export(&name, asked.apply, timeout, caller));
    Ok(applied(remove.await??))
}

/// Ends every session of the export and closes its disk. Clients may come again.
#[utoipa::path(post, path = "/v1/exports/{name}/fence",
    params(("name" = String, Path, description = "Its name"), Timeout), responses(
    (status = 200, description = "Its disk is closed", body = Cut),
    (status = 207, description = "Something hangs", body = Cut),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn fence(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Named(name): Named<String>,
    Asked(asked): Asked<Timeout>,
) -> Result<Response, Failure> {
    let timeout = asked.duration()?;
    Ok(cut(api.wait(move |controls| controls.fence(&name, timeout, caller)).await??))
}

/// Forgets a failed sync of the export: somebody has accepted the loss.
#[utoipa::path(post, path = "/v1/exports/{name}/clear", params(("name" = String, Path, description = "Its name")),
    responses(
    (status = 200, body = Cleared),
    (status = 400, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, body = ProblemDetails, content_type = "application/problem+json"),
))]
pub async fn clear(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Named(name): Named<String>,
) -> Answer<Cleared> {
    let cleared = api.wait(move |controls| controls.clear(&name, caller)).await??;
    Ok(Json(Cleared { cleared }))
}

/// A reload, with the status that fits its outcome.
pub fn reloaded(reload: Reload) -> Response {
    let status = match reload.outcome {
        Outcome::Complete => StatusCode::OK,
        Outcome::Incomplete => StatusCode::MULTI_STATUS,
        Outcome::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Json(reload)).into_response()
}

fn applied(reload: Option<Reload>) -> Response {
    reload.map_or_else(|| StatusCode::NO_CONTENT.into_response(), reloaded)
}

/// Sessions that were cut off, with the status that fits.
pub fn cut(cut: Cut) -> Response {
    let status = if cut.hanging.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    (status, Json(cut)).into_response()
}
