//! One NBD client from greeting to goodbye.
//!
//! ```text
//! bytes → Request → admit → Operation → Store → Outcome → Reply → bytes
//! ```
//!
//! Follow one read: [`serve`] greets and haggles (`haggling.rs`), `transmission.rs` receives and understands,
//! [`admit`](admit::admit) judges, `execute.rs` reads from the store and writes the reply, `line.rs` sends it.
//!
//! A session knows neither sockets nor configuration: it speaks over a [`Channel`], asks a [`Host`] for exports, and
//! hands what would block to the host's [`Workers`].
#![forbid(unsafe_code)]

pub mod admit;
mod buffer;
mod channel;
mod direct;
mod ending;
mod execute;
mod export;
pub mod gate;
mod greeting;
pub mod haggling;
mod host;
mod journal;
mod limits;
mod line;
mod meter;
mod name;
mod offer;
mod pieces;
mod refusal;
mod streaming;
mod tally;
mod transmission;
mod writing;

pub use channel::{Channel, Interest, Ready};
pub use ending::Ending;
pub use export::{Export, Guard, Seat, Seats, Sitter, uptime_ms};
pub use greeting::serve;
pub use haggling::{Farewell, Haggling};
pub use host::{Entered, Host, Note, Workers};
pub use journal::{Journal, payloads_follow};
pub use limits::Limits;
pub use meter::{BOUNDS_US, Class, Meter, Reading, Readings};
pub use name::ExportName;
pub use offer::{Offer, Permits};
pub use refusal::{OptionRefusal, Refusal};
