//! What an operator may ask of the server, answered. Nothing in here looks at a disk: what was last found is told.

mod exports;
mod figures;
mod process;
mod sessions;

use crate::answer::count;
use crate::changes::Changes;
use crate::fence::Waits;
use crate::state::Shared;
use control::metrics::Family;
use control::view::{Check, Cut, Export, ExportSettings, Level, Plan, Reload, Session, Status};
use control::{Caller, Controls, Events, Refusal};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// See the module.
pub struct Operator {
    shared: Arc<Shared>,
    changes: Changes,
    since: SystemTime,
    configuration: String,
    listening: Vec<String>,
}

impl Operator {
    /// For a server that begins to serve now.
    #[must_use]
    pub fn new(shared: Arc<Shared>, changes: Changes, configuration: String, listening: Vec<String>) -> Self {
        Self { shared, changes, since: SystemTime::now(), configuration, listening }
    }
}

impl Controls for Operator {
    fn status(&self) -> Status {
        let catalog = self.shared.catalog();
        let states = exports::states(&catalog);
        let reloads = self.shared.reloads.now();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            since: control::time(self.since),
            configuration: self.configuration.clone(),
            generation: catalog.generation,
            reloading: reloads.under_way,
            last_reload: reloads.last,
            listening: self.listening.clone(),
            exports: count(catalog.entries().len()),
            exports_not_serving: count(states.filter(|(state, _)| !state.is_well()).count()),
            sessions: count(self.shared.roll.present().len()),
            handshakes: count(self.shared.sessions.handshakes()),
            log_level: self.shared.log.level().into(),
        }
    }

    fn exports(&self) -> Vec<Export> {
        let hanging = self.shared.hanging.lock().unwrap_or_else(PoisonError::into_inner).clone();
        exports::exports(&self.shared, &hanging)
    }

    fn sessions(&self) -> Vec<Session> {
        self.shared.roll.present().iter().map(|present| sessions::session(present)).collect()
    }

    fn metrics(&self) -> Vec<Family> {
        let hanging = self.shared.hanging.lock().unwrap_or_else(PoisonError::into_inner).len();
        figures::figures(&self.shared, hanging, self.since)
    }

    fn events(&self) -> &Events {
        &self.shared.events
    }

    fn set_log_level(&self, level: Level, by: Caller) {
        self.changes.say("log-level", Some(("level", &level.to_string())), by);
        self.shared.log.set_level(level.into());
    }

    fn reload(&self, timeout: Duration, by: Caller) -> Result<Reload, Refusal> {
        self.changes.reload(timeout, by)
    }

    fn plan(&self, timeout: Duration) -> Result<Plan, Refusal> {
        self.changes.plan(timeout)
    }

    fn check(&self, text: Option<&str>) -> Check {
        self.changes.check(text)
    }

    fn fence(&self, export: &str, timeout: Duration, by: Caller) -> Result<Cut, Refusal> {
        self.changes.fence(export, timeout, by)
    }

    fn end_session(&self, id: u64, timeout: Duration, by: Caller) -> Result<Cut, Refusal> {
        let found = self.shared.roll.find(id);
        let present = found.ok_or_else(|| Refusal::NotFound(format!("there is no session {id}")))?;
        self.changes.say("end", Some(("session", &id.to_string())), by);
        let waits = Waits::until(Instant::now() + timeout);
        Ok(sessions::end(&self.shared.roll, &present, waits))
    }

    fn clear(&self, export: &str, by: Caller) -> Result<bool, Refusal> {
        self.changes.say("clear", Some(("export", export)), by);
        let catalog = self.shared.catalog();
        let entry = catalog.find(export.as_bytes());
        let entry = entry.ok_or_else(|| Refusal::NotFound(format!("there is no export {export}")))?;
        Ok(entry.medium.clear_poison())
    }

    fn put_export(
        &self,
        export: &str,
        settings: &ExportSettings,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        self.changes.put(export, settings, apply, timeout, by)
    }

    fn remove_export(
        &self,
        export: &str,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        self.changes.remove(export, apply, timeout, by)
    }
}
