//! The interface's own description, made from the types and handlers.

use crate::answer::PROBLEM_JSON;
use crate::api;
use crate::view::ProblemDetails;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, Ref, RefOr, Response};

/// What may happen to any request.
const ALWAYS: &[(&str, &str)] = &[
    ("429", "More is asked than the control socket answers; `Retry-After` says when to come again"),
    ("500", "The server has a bug"),
    ("503", "A limit is reached, and `detail` names it"),
];

/// The OpenAPI 3.1 document that is served at `/v1/openapi.json`.
#[must_use]
pub fn openapi() -> String {
    let (_, mut document) = api::routes().split_for_parts();
    for path in document.paths.paths.values_mut() {
        for operation in operations(path) {
            complete(operation);
        }
    }
    document.to_pretty_json().expect("a document of strings and numbers is JSON")
}

/// Its head.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "nbd-server control socket",
        description = "HTTP and JSON over a Unix socket. Names in paths are percent-encoded; the export whose name is empty \
            (the command line's) is at `/v1/exports/`, `/v1/exports//fence` and `/v1/exports//clear`. Whatever is not answered \
            is `application/problem+json` (RFC 9457). New fields and new values of `event` may come; what is here stays.",
    ),
    components(schemas(ProblemDetails))
)]
struct Head;

/// Its head, before there is a path.
pub(crate) fn about() -> OpenApi {
    <Head as utoipa::OpenApi>::openapi()
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.delete].into_iter().flatten()
}

/// What handlers do not say each by itself.
fn complete(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    for (status, description) in ALWAYS {
        responses.insert((*status).into(), RefOr::T(Response::new(*description)));
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            let schema = Ref::from_schema_name("ProblemDetails");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            response.content.insert(PROBLEM_JSON.into(), RefOr::T(content));
        }
    }
}
