//! Who is connected.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One client on one export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its number in the life of the process.
    pub id: u64,
    /// The client's address, as it is logged.
    pub peer: String,
    /// Who TLS says the client is; none without TLS.
    pub tls: Option<String>,
    /// The export.
    pub export: String,
    /// The path that this client was given.
    pub path: String,
    /// The reload after which it began.
    pub generation: u64,
    /// When it entered the export.
    #[schema(format = DateTime)]
    pub since: String,
    /// It may not write.
    pub read_only: bool,
    /// What it did.
    pub operations: Operations,
    /// Requests that have begun and not ended; those that are done in one go without a worker are one.
    pub in_flight: u64,
    /// The age of the oldest of them.
    pub oldest_ms: Option<u64>,
    /// How long ago its last request came; none when none has come.
    pub idle_ms: Option<u64>,
}

/// Counts of what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operations {
    /// READ requests.
    pub reads: u64,
    /// WRITE requests.
    pub writes: u64,
    /// WRITE_ZEROES requests.
    pub zeroes: u64,
    /// TRIM requests.
    pub trims: u64,
    /// FLUSH requests.
    pub flushes: u64,
    /// All others.
    pub others: u64,
    /// Bytes of READ requests that were done.
    pub bytes_read: u64,
    /// Bytes of WRITE requests that were done.
    pub bytes_written: u64,
    /// Requests answered with an error.
    pub errors: u64,
}
