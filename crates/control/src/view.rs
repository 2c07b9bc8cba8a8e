//! Everything that is said on the control socket, as values. Their JSON is the interface: what is here stays, new fields
//! may come. `GET /v1/openapi.json` is made from these types.
//!
//! Times are RFC 3339 in UTC, sizes are bytes, durations are milliseconds and say so in their name.

mod details;
mod event;
mod export;
mod problem;
mod reload;
mod session;
mod startup;
mod status;

pub use details::ProblemDetails;
pub use event::{Event, Level};
pub use export::{Cleared, Export, ExportSettings, Hanging, State};
pub use problem::Problem;
pub use reload::{Action, Change, Check, Cut, KeptBack, Outcome, Plan, Reload, Setting, Step, Unavailable};
pub use session::{Operations, Session};
pub use startup::{Listening, Startup, StartupExport};
pub use status::{LastReload, LogLevel, Status};
