//! What a start of the server with a configuration would come to (`nbd-server --check`).

use super::export::ExportSettings;
use super::problem::Problem;
use super::reload::KeptBack;
use serde::{Deserialize, Serialize};

/// What a start would come to. Nothing is done by asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// `nbd-server-enhanced`.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The main configuration file.
    pub configuration: String,
    /// It would serve something.
    pub starts: bool,
    /// It would serve everything that the files describe.
    pub complete: bool,
    /// Why it would not start; empty where it would.
    pub refused: Vec<Problem>,
    /// What would be left out.
    pub kept_back: Vec<KeptBack>,
    /// Worth a word.
    pub warnings: Vec<String>,
    /// What would be configured, in the order of the files.
    pub exports: Vec<StartupExport>,
    /// Descriptions that another one of the same name keeps out; nobody has looked at their disks.
    #[serde(default)]
    pub twice: Vec<StartupExport>,
    /// Where it would listen, and as whom; none where the configuration cannot be read.
    pub listening: Option<Listening>,
}

/// An export as a start would have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartupExport {
    /// As clients ask for it.
    pub name: String,
    /// The path as it is configured.
    pub path: String,
    /// Bytes, where the disk can be seen.
    pub size: Option<u64>,
    /// Why it would be configured and not served.
    pub unavailable: Option<String>,
    /// It is there because the original does not start without an export; nobody is to come in.
    pub placeholder: bool,
    /// Clients may not write.
    pub read_only: bool,
    /// Clients must have TLS.
    pub force_tls: bool,
    /// The file that describes it; none for the export of the command line.
    pub file: Option<String>,
    /// Settings that are not the default, as the files write them.
    pub settings: ExportSettings,
}

/// Where the server would listen, and as whom it would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Addresses or names; none where it listens on the Unix socket only, or is started by inetd.
    pub addresses: Vec<String>,
    /// Number or service name; `0` for inetd.
    pub port: String,
    /// The Unix socket.
    pub unixsock: Option<String>,
    /// LIST is answered.
    pub allowlist: bool,
    /// Clients must have TLS, whatever they ask for.
    pub force_tls: bool,
    /// The control socket; none where there is to be none.
    pub controlsock: Option<String>,
    /// The user that it would become; none where it stays who started it.
    pub user: Option<String>,
    /// Its group.
    pub group: Option<String>,
}
