//! Text to [`Document`] to [`Config`] to [`Plan`], and the table of all keys.
//!
//! Nothing in here opens a file, asks a clock or knows a socket: texts come through [`Sources`], so every rule of P5 is
//! tested as a table.
#![forbid(unsafe_code)]

pub mod document;
mod keys;
mod load;
mod name;
mod plan;
mod problem;
mod read;
mod settings;
pub mod tlsprio;
pub mod value;
mod write;

pub use document::Document;
pub use keys::{Key, Kind, Place, Status, find, keys, suggestion};
pub use load::{KeptBack, Loaded, Options, Refused, SourceError, Sources, load};
pub use name::ExportName;
pub use plan::{Change, Plan, Step, export_changes, generic_changes, storage_changes};
pub use problem::Problem;
pub use settings::{
    Changes, Config, Control, ControlSocket, DeviceChanges, Export, Exports, Generic, Layout, MaxConnections,
    OnChange, Origin, Storage, Tls, TlsIdentity, Virtstyle, WantedIdentity,
};
pub use tlsprio::TlsPriority;
pub use write::{describe, described, settings_of};
