//! Whole machines for tests: a Docker engine of their own, base images made from a distribution's packages, what the
//! `Dockerfile` builds, an appliance under systemd, a virtual machine. For tests alone.
//!
//! What takes long is kept in `target/lab` and made anew when its recipe changes.
#![forbid(unsafe_code)]

mod appliance;
mod base;
mod container;
mod engine;
mod machine;
mod place;
mod product;
mod ran;

pub use appliance::Appliance;
pub use base::{Base, Toolchain};
pub use container::Container;
pub use engine::Engine;
pub use machine::Machine;
pub use place::{kept, missing, repository};
pub use product::Product;
pub use ran::{Ran, run, sh, wait_until};
