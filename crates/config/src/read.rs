//! From the groups of a document to settings: every key checked against the table, all problems told.

mod client;
mod export;
mod generic;
mod reader;
mod storage;

pub(crate) use export::export;
pub(crate) use generic::generic;

use crate::problem::Problem;

/// What one group said.
pub(crate) struct Found<T> {
    pub(crate) settings: T,
    /// It cannot be used.
    pub(crate) errors: Vec<Problem>,
    /// Worth a word.
    pub(crate) warnings: Vec<Problem>,
}
