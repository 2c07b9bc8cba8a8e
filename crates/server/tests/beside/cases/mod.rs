//! The configurations, by what they are about.

mod access;
mod command;
mod generic;
mod hooks;
mod keys;
mod kinds;
mod reload;
mod session;
mod sizes;
mod syntax;
mod tls;

use crate::case::Case;

/// All of them.
pub fn all() -> Vec<Case> {
    [
        access::cases(),
        command::cases(),
        generic::cases(),
        hooks::cases(),
        keys::cases(),
        kinds::cases(),
        reload::cases(),
        session::cases(),
        sizes::cases(),
        syntax::cases(),
        tls::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
