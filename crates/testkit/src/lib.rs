//! What the tests of every room share: a raw client, stores that fail on request, the server as a process, loop
//! devices, patterns. A dev-dependency only.
//!
//! It shares no code with `wire`: the client is written from the specification with numbers of its own
//! ([`spec`]), so that an error on our side cannot cancel itself out.
#![forbid(unsafe_code)]

pub mod client;
pub mod control;
mod failing;
pub mod fault;
pub mod log;
pub mod loopdev;
pub mod memory;
pub mod model;
pub mod need;
mod original;
pub mod pattern;
pub mod process;
mod program;
mod schemathesis;
pub mod setup;
pub mod spec;
mod stream;
pub mod temp;
pub mod terminal;
mod transmission;

pub use client::{Client, ExportInfo, OptionReply, Refused};
pub use control::{Control, EventStream};
pub use failing::Failing;
pub use fault::{Fault, FaultStore};
pub use log::{Closing, Event, Log, Outcome, Reloaded};
pub use loopdev::LoopDevice;
pub use memory::MemoryStore;
pub use model::Model;
pub use need::{is_root, raise_descriptors, skip_or_fail, tool, without_root};
pub use original::starts_at_once;
pub use process::ServerProcess;
pub use program::{nbdctl, program};
pub use schemathesis::schemathesis;
pub use setup::Setup;
pub use stream::Link;
pub use temp::TempDir;
pub use terminal::Terminal;
pub use transmission::{Answer, CLOSED, Chunk, TIMED_OUT, request_header};
