//! What is wrong with a configuration.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something in a file that cannot be followed, or is worth a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// From 1; none where the file as a whole is meant.
    pub line: Option<u32>,
    /// The key.
    pub key: Option<String>,
    /// What is wrong and what to do, in a sentence.
    pub reason: String,
}
