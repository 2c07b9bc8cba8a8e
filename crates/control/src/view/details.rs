//! Why a question has no answer.

use super::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a question has no answer, as RFC 9457 has it (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// `about:blank`: the status says it all.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong and what to do, in a sentence.
    pub detail: String,
    /// What is wrong with settings, one by one; left out where it is nothing of the kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}
