//! What the server can be asked for. The server implements it; the socket only carries it.

use crate::events::Events;
use crate::metrics::Family;
use crate::view::{Check, Cut, Export, ExportSettings, Level, Plan, Problem, Reload, Session, Status};
use std::fmt::{self, Display};
use std::time::Duration;

/// Who asks, as the kernel says (`SO_PEERCRED`). Each change is logged with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Process.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} uid {}", self.pid, self.uid)
    }
}

/// Why something is not done. In every case nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such export or session.
    NotFound(String),
    /// What is asked for makes no sense: which key, and what to do.
    Invalid(Vec<Problem>),
    /// It contradicts what is there: another file describes the export, or one file describes several.
    Conflict(String),
    /// The system does not let us: a file cannot be written.
    Forbidden(String),
    /// Not within the time that was given; what was asked for may still happen.
    Late(String),
}

/// The server, as an operator may ask it. Everything in the first block answers at once; the others may take as long as
/// `timeout`, and are called on threads that may wait.
pub trait Controls: Send + Sync + 'static {
    /// The server as a whole.
    fn status(&self) -> Status;
    /// All exports in the order of the configuration, and behind them those that are gone and hang.
    fn exports(&self) -> Vec<Export>;
    /// All sessions in the order in which they began.
    fn sessions(&self) -> Vec<Session>;
    /// Figures for Prometheus.
    fn metrics(&self) -> Vec<Family>;
    /// What happens.
    fn events(&self) -> &Events;
    /// From which level on lines are logged.
    fn set_log_level(&self, level: Level, by: Caller);

    /// Follows the configuration. Answers when the fence is done, or names what hangs after `timeout`.
    ///
    /// # Errors
    /// [`Refusal::Late`]: an earlier reload has not ended.
    fn reload(&self, timeout: Duration, by: Caller) -> Result<Reload, Refusal>;

    /// What a reload would do now.
    ///
    /// # Errors
    /// [`Refusal::Late`]: a reload is under way.
    fn plan(&self, timeout: Duration) -> Result<Plan, Refusal>;

    /// What a start with this main file would amount to; with the one on disk where there is no text. Snippets are read
    /// from the disk in both cases.
    fn check(&self, text: Option<&str>) -> Check;

    /// Ends every session of an export and closes its disk. Clients may come again.
    ///
    /// # Errors
    /// There is no such export.
    fn fence(&self, export: &str, timeout: Duration, by: Caller) -> Result<Cut, Refusal>;

    /// Ends one session.
    ///
    /// # Errors
    /// There is no such session.
    fn end_session(&self, id: u64, timeout: Duration, by: Caller) -> Result<Cut, Refusal>;

    /// Forgets a failed sync, because the operator accepts the loss. `false`: none had failed.
    ///
    /// # Errors
    /// There is no such export.
    fn clear(&self, export: &str, by: Caller) -> Result<bool, Refusal>;

    /// Writes the export's file in `includedir`, atomically, and reloads. `apply: false` leaves the reload to a later one.
    ///
    /// # Errors
    /// A setting that cannot be used; a file of somebody else describes the export; the file cannot be written.
    fn put_export(
        &self,
        export: &str,
        settings: &ExportSettings,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal>;

    /// Deletes the export's file in `includedir` and reloads.
    ///
    /// # Errors
    /// There is no such export, or its file is not its own.
    fn remove_export(
        &self,
        export: &str,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal>;
}
