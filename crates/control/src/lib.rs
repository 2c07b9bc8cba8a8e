//! What an operator is told and may ask for: plain values that the server fills in, and the socket on which they are
//! had (HTTP and JSON, on a thread of its own).
//!
//! Follow one question: `serve.rs` accepts, `connection.rs` reads a request, `pace.rs` lets it in, `api/` has its route, `ask.rs`
//! says what it brings, `desk.rs` asks the server through [`Controls`] and waits where that may take long, a value of
//! `view/` goes back as JSON. How anything runs is not known in here.
#![forbid(unsafe_code)]

// The fake server of the tests names us as they do.
#[cfg(test)]
extern crate self as control;

mod answer;
mod api;
mod ask;
mod connection;
mod controls;
mod desk;
mod events;
mod line;
pub mod metrics;
mod openapi;
mod pace;
mod patient;
mod rendition;
mod serve;
pub mod view;

pub use controls::{Caller, Controls, Refusal};
pub use events::{Events, now, time};
pub use line::{Closing, Line};
pub use openapi::openapi;
pub use serve::{Running, Sockets, serve};
pub use view::{Outcome, ProblemDetails};
