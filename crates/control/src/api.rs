//! The routes, by noun. Each handler asks the server through [`Controls`] and answers with a value of `view/`.

mod changes;
mod events;
mod exports;
mod params;
mod server;
mod sessions;

use crate::Controls;
use crate::answer::Failure;
use crate::pace::{self, Pace};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Requests at a time that may wait: for a fence, for a disk to be looked at. The next one is told 503.
pub const WAITING_MAX: usize = 16;
/// Bytes of a body. Nobody's configuration is larger.
const BODY_MAX: usize = 1 << 20;

/// What every handler has.
pub struct Api {
    controls: Arc<dyn Controls>,
    waiting: Arc<Semaphore>,
    pace: Pace,
}

type Shared = State<Arc<Api>>;

impl Api {
    /// Nobody has asked for anything yet.
    #[must_use]
    pub fn new(controls: Arc<dyn Controls>) -> Arc<Self> {
        Arc::new(Self { controls, waiting: Arc::new(Semaphore::new(WAITING_MAX)), pace: Pace::new() })
    }

    /// What is answered at once, on this thread.
    fn now<T>(&self, ask: impl FnOnce(&dyn Controls) -> T) -> Result<T, Failure> {
        catch_unwind(AssertUnwindSafe(|| ask(&*self.controls))).map_err(|_| broken())
    }

    /// What may wait, on a thread that may.
    async fn wait<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Controls) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return Err(Failure::busy(format!("all {WAITING_MAX} places for requests that wait are taken")));
        };
        let controls = self.controls.clone();
        let work = task::spawn_blocking(move || {
            let answer = ask(&*controls);
            drop(place);
            answer
        });
        work.await.map_err(|_| broken())
    }
}

fn broken() -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the server made a mistake; its log says more")
}

#[derive(OpenApi)]
#[openapi(info(
    title = "nbd-server-enhanced",
    description = "What the server serves, from which disk, to whom; and changing it with an answer."
))]
struct Document;

fn described() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(server::status))
        .routes(routes!(server::log_level, server::set_log_level))
        .routes(routes!(server::openapi))
        .routes(routes!(metrics))
        .routes(routes!(exports::exports))
        .routes(routes!(exports::export, exports::put, exports::remove))
        .routes(routes!(exports::fence))
        .routes(routes!(exports::clear))
        .routes(routes!(sessions::sessions))
        .routes(routes!(sessions::session, sessions::end))
        .routes(routes!(changes::reload))
        .routes(routes!(changes::plan))
        .routes(routes!(changes::check))
        .routes(routes!(events::events))
}

/// The OpenAPI document of the control socket, as JSON.
#[must_use]
pub fn openapi() -> String {
    let (_, mut document) = described().split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    document.to_pretty_json().unwrap_or_default()
}

/// Everything.
pub fn router(api: Arc<Api>) -> Router {
    let (router, _) = described().split_for_parts();
    router
        // The export of the command line has no name.
        .route("/v1/exports/", get(exports::nameless))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), pace::keep))
        .with_state(api)
}

/// Metrics and nothing else.
pub fn metrics_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), pace::keep))
        .with_state(api)
}

impl AsRef<Pace> for Api {
    fn as_ref(&self) -> &Pace {
        &self.pace
    }
}

async fn unknown() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "there is no such route; GET /v1/openapi.json lists them")
}

async fn not_allowed() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "not by this method; GET /v1/openapi.json lists them")
}

/// Figures in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "Figures", body = String, content_type = "text/plain"),
))]
async fn metrics(State(api): Shared) -> Result<impl IntoResponse, Failure> {
    let families = api.now(Controls::metrics)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], crate::metrics::render(&families)))
}

/// What a handler answers with where there is one value.
type Answer<T> = Result<Json<T>, Failure>;
