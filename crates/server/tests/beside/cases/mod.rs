//! The configurations.

use crate::case::Case;

/// All of them.
pub fn all() -> Vec<Case> {
    vec![Case::one("plain", "")]
}
