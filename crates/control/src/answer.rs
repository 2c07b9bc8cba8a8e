//! How things are said over HTTP: values as JSON, refusals as problem details (RFC 9457).

use crate::Refusal;
use crate::view::Problem;
use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not done (RFC 9457). In every case but 504 nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// Always `about:blank`: the status says of which kind it is.
    pub r#type: String,
    /// The words of the status.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// Each thing that is wrong with what was given.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// A request that is not done.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    detail: String,
    problems: Vec<Problem>,
}

impl Failure {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), problems: Vec::new() }
    }

    /// A limit is reached; it is named.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, detail) = match refusal {
            Refusal::NotFound(why) => (StatusCode::NOT_FOUND, why),
            Refusal::Conflict(why) => (StatusCode::CONFLICT, why),
            Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, why),
            Refusal::Late(why) => (StatusCode::GATEWAY_TIMEOUT, why),
            Refusal::Invalid(problems) => {
                let reasons: Vec<&str> = problems.iter().map(|problem| problem.reason.as_str()).collect();
                let detail = reasons.join("; ");
                return Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail, problems };
            }
        };
        Self::new(status, detail)
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let details = ProblemDetails {
            r#type: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or_default().into(),
            status: self.status.as_u16(),
            detail: self.detail,
            problems: self.problems,
        };
        let mut response = (self.status, Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
