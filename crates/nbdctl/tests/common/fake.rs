//! The server that is none: it says what a test put into it, and remembers what it was asked for.

use control::metrics::{Family, Kind};
use control::view::{
    Check, Cut, Export, ExportSettings, Level, Operations, Outcome, Plan, Reload, Session, State, Status,
};
use control::{Caller, Controls, Events, Line, Refusal};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What it says.
pub struct Says {
    pub status: Status,
    pub exports: Vec<Export>,
    pub sessions: Vec<Session>,
    pub reload: Reload,
    pub plan: Plan,
    pub check: Check,
    pub cut: Cut,
    pub cleared: bool,
    /// Whatever can be refused is.
    pub refusal: Option<Refusal>,
    /// What it was asked to do.
    pub calls: Vec<String>,
}

/// The server.
pub struct Fake {
    says: Mutex<Says>,
    events: Events,
}

impl Fake {
    pub fn new() -> Self {
        Self { says: Mutex::new(says()), events: Events::default() }
    }

    pub fn says(&self) -> MutexGuard<'_, Says> {
        self.says.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was asked to do since the last time.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.says().calls)
    }

    pub fn publish(&self, level: Level, line: &Line) {
        self.events.publish(level, line);
    }

    fn asked(&self, call: String) -> Result<MutexGuard<'_, Says>, Refusal> {
        let mut says = self.says();
        says.calls.push(call);
        match says.refusal.clone() {
            Some(refusal) => Err(refusal),
            None => Ok(says),
        }
    }
}

impl Controls for Fake {
    fn status(&self) -> Status {
        self.says().status.clone()
    }

    fn exports(&self) -> Vec<Export> {
        self.says().exports.clone()
    }

    fn sessions(&self) -> Vec<Session> {
        self.says().sessions.clone()
    }

    fn metrics(&self) -> Vec<Family> {
        let sessions = self.says().sessions.len();
        vec![Family::new("nbd_sessions", Kind::Gauge, "Sessions now.").with(&[], sessions as f64)]
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn set_log_level(&self, level: Level, _: Caller) {
        let mut says = self.says();
        says.calls.push(format!("log level {level}"));
        says.status.log_level = level;
    }

    fn reload(&self, timeout: Duration, _: Caller) -> Result<Reload, Refusal> {
        Ok(self.asked(format!("reload within {timeout:?}"))?.reload.clone())
    }

    fn plan(&self, timeout: Duration) -> Result<Plan, Refusal> {
        Ok(self.asked(format!("plan within {timeout:?}"))?.plan.clone())
    }

    fn check(&self, text: Option<&str>) -> Check {
        let mut says = self.says();
        says.calls.push(format!("check {text:?}"));
        says.check.clone()
    }

    fn fence(&self, export: &str, timeout: Duration, _: Caller) -> Result<Cut, Refusal> {
        Ok(self.asked(format!("fence {export:?} within {timeout:?}"))?.cut.clone())
    }

    fn end_session(&self, id: u64, timeout: Duration, _: Caller) -> Result<Cut, Refusal> {
        Ok(self.asked(format!("end {id} within {timeout:?}"))?.cut.clone())
    }

    fn clear(&self, export: &str, _: Caller) -> Result<bool, Refusal> {
        Ok(self.asked(format!("clear {export:?}"))?.cleared)
    }

    fn put_export(
        &self,
        export: &str,
        settings: &ExportSettings,
        apply: bool,
        _: Duration,
        _: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        let says = self.asked(format!("put {export:?} {settings:?} apply {apply}"))?;
        Ok(apply.then(|| says.reload.clone()))
    }

    fn remove_export(
        &self,
        export: &str,
        apply: bool,
        _: Duration,
        _: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        let says = self.asked(format!("remove {export:?} apply {apply}"))?;
        Ok(apply.then(|| says.reload.clone()))
    }
}

/// All is well, and there is nothing.
fn says() -> Says {
    Says {
        status: Status {
            version: "0.1.0".into(),
            pid: 4711,
            since: control::now(),
            configuration: "/etc/nbd-server/config".into(),
            generation: 7,
            reloading: false,
            last_reload: None,
            listening: vec!["127.0.0.1:10809".into()],
            exports: 0,
            exports_not_serving: 0,
            sessions: 0,
            handshakes: 0,
            log_level: Level::Info,
        },
        exports: Vec::new(),
        sessions: Vec::new(),
        reload: reload(Outcome::Complete),
        plan: Plan::default(),
        check: Check {
            ok: true,
            exports: BTreeMap::new(),
            refused: Vec::new(),
            kept_back: Vec::new(),
            warnings: Vec::new(),
        },
        cut: Cut { sessions: 2, hanging: Vec::new(), took_ms: 12 },
        cleared: true,
        refusal: None,
        calls: Vec::new(),
    }
}

/// A reload that found nothing to do.
pub fn reload(outcome: Outcome) -> Reload {
    Reload {
        outcome,
        reason: None,
        generation: 8,
        plan: Plan::default(),
        added: 0,
        changed: 0,
        removed: 0,
        kept: 0,
        fenced: 0,
        hanging: Vec::new(),
        took_ms: 60,
    }
}

/// An export that is served.
pub fn export(name: &str, path: &str) -> Export {
    Export {
        name: name.into(),
        state: State::Serving,
        reason: None,
        since: None,
        configured: true,
        file: Some("/etc/nbd-server/conf.d/a.conf".into()),
        line: Some(1),
        path: path.into(),
        device: Some(path.into()),
        identity: Some("serial:42".into()),
        size: Some(10 << 30),
        read_only: false,
        flags: vec!["NBD_FLAG_HAS_FLAGS".into(), "NBD_FLAG_SEND_FLUSH".into()],
        open: true,
        sessions: 0,
        generation: 1,
        operations: Operations::default(),
        hanging: Vec::new(),
        settings: BTreeMap::new(),
    }
}

/// A session on an export.
pub fn session(id: u64, export: &str) -> Session {
    Session {
        id,
        peer: format!("127.0.0.1:{}", 40_000 + id),
        tls: None,
        export: export.into(),
        path: "/dev/vdb".into(),
        generation: 7,
        since: control::now(),
        read_only: false,
        operations: Operations::default(),
        in_flight: 0,
        oldest_ms: None,
        idle_ms: Some(20),
    }
}
