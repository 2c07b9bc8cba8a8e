//! What an operator types.
#![forbid(unsafe_code)]
