//! Why something was not answered: RFC 9457, one shape for all of it.

use crate::controls::Refusal;
use crate::pace::TooMany;
use crate::view::{Problem, ProblemDetails};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// The type of an answer that is none.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// An answer, or why there is none.
pub(crate) type Answer<T> = Result<T, Failure>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    detail: String,
    problems: Vec<Problem>,
    again_after: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), problems: Vec::new(), again_after: None }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn too_many_requests(too_many: &TooMany) -> Self {
        let detail =
            "more is asked than the control socket answers: 1000 requests a second, a fifth of a processor";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).again_after(too_many.0)
    }

    /// Our own fault.
    pub(crate) fn bug() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server has a bug: its log has the panic")
    }

    /// With the seconds after which it may be otherwise.
    pub(crate) fn again_after(mut self, seconds: u64) -> Self {
        self.again_after = Some(seconds);
        self
    }

    fn json(&self) -> String {
        let details = ProblemDetails {
            r#type: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or_default().into(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            problems: self.problems.clone(),
        };
        serde_json::to_string(&details).expect("strings and numbers are always JSON")
    }

    /// As bytes of HTTP, for a connection that nobody will read a request from.
    pub(crate) fn in_full(&self) -> String {
        let json = self.json();
        format!(
            "HTTP/1.1 {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nretry-after: 1\r\n\
             connection: close\r\n\r\n{json}",
            self.status,
            json.len()
        )
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(detail) => Self::not_found(detail),
            Refusal::Conflict(detail) => Self::new(StatusCode::CONFLICT, detail),
            Refusal::Forbidden(detail) => Self::new(StatusCode::FORBIDDEN, detail),
            Refusal::Late(detail) => Self::new(StatusCode::GATEWAY_TIMEOUT, detail),
            Refusal::Invalid(problems) => {
                let reasons: Vec<&str> = problems.iter().map(|problem| problem.reason.as_str()).collect();
                let detail = reasons.join("; ");
                Self { problems, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(CONTENT_TYPE, PROBLEM_JSON)], self.json()).into_response();
        if let Some(seconds) = self.again_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
