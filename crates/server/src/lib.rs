//! The process: sockets, signals, workers, and the reconciling of what runs with what is configured.
//!
//! Follow one read: `listen.rs` accepts, `connections.rs` gives it a thread, `guest.rs` finds the export in the
//! `catalog.rs`, `medium.rs` opens its store; the rest is in the session crate.
//! Follow one reload: `launch.rs` takes the signal, `reconcile.rs` reads and plans, `prepare.rs` looks, `commit.rs` swaps,
//! `fence.rs` cuts off, `report.rs` says it.
#![forbid(unsafe_code)]
// They panic where an end is closed or full, and that may be the end of a server: see `launch/words.rs`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod access;
mod answer;
mod assemble;
mod bind;
mod catalog;
mod changes;
mod check;
mod cli;
mod commit;
mod connections;
mod daemon;
mod datagram;
mod decide;
mod exit;
mod fence;
mod guest;
mod hooks;
mod journald;
mod launch;
mod listen;
mod log;
mod look;
mod medium;
mod notify;
mod operator;
mod overlays;
mod pidfile;
mod pool;
mod prepare;
mod privileges;
mod rate;
mod reconcile;
mod reloads;
mod report;
mod requests;
mod rivals;
mod roll;
mod snippets;
mod socket;
mod sources;
mod state;
mod stderr;
mod syslog;
mod tls;
mod transactionlog;
mod watch;
mod writers;

pub use launch::main;
/// What a session needs from a process, for whoever serves one without the rest of it: tests do.
pub use pool::Pool;
pub use socket::Socket;
pub use transactionlog::TransactionLog;
