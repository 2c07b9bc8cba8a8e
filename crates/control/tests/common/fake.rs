//! The server that is none.

use control::metrics::{Family, Kind};
use control::view::{
    Check, Cut, Export, ExportSettings, Hanging, Level, Operations, Outcome, Plan, Problem, Reload, Session,
    State, Status,
};
use control::{Caller, Controls, Events, Refusal};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Exports and sessions in memory.
#[derive(Default)]
pub struct Fake {
    inner: Mutex<Inner>,
    changed: Condvar,
    events: Events,
}

#[derive(Default)]
struct Inner {
    exports: Vec<Export>,
    sessions: Vec<Session>,
    level: Option<Level>,
    generation: u64,
    calls: Vec<String>,
    refusal: Option<Refusal>,
    outcome: Option<Outcome>,
    hanging: bool,
    panicking: bool,
    held: bool,
    inside: usize,
}

impl Fake {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn add(&self, export: Export) {
        self.inner().exports.push(export);
    }

    pub fn add_session(&self, session: Session) {
        self.inner().sessions.push(session);
    }

    /// From now on whatever can be refused is.
    pub fn refuse(&self, refusal: Refusal) {
        self.inner().refusal = Some(refusal);
    }

    /// How reloads end from now on.
    pub fn end_reloads(&self, outcome: Outcome) {
        self.inner().outcome = Some(outcome);
    }

    /// From now on a request hangs on each export.
    pub fn hang(&self) {
        self.inner().hanging = true;
    }

    /// Whether each call panics from now on.
    pub fn panic(&self, panicking: bool) {
        self.inner().panicking = panicking;
    }

    /// From now on calls that may wait do, until [`Fake::release`].
    pub fn hold(&self) {
        self.inner().held = true;
    }

    pub fn release(&self) {
        self.inner().held = false;
        self.changed.notify_all();
    }

    /// Waits until so many calls wait.
    pub fn wait_until_inside(&self, calls: usize) {
        let inner = self.inner();
        let waited =
            self.changed.wait_timeout_while(inner, Duration::from_secs(60), |inner| inner.inside != calls);
        let (inner, result) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!result.timed_out(), "{} calls wait", inner.inside);
    }

    /// What was asked for, with what, by whom.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().calls)
    }

    /// Notes a call that answers at once.
    fn quick(&self) -> MutexGuard<'_, Inner> {
        let inner = self.inner();
        assert!(!inner.panicking, "this is the panic that was wanted");
        inner
    }

    /// Notes a call that may wait, and does if it is to.
    fn call(&self, call: String) -> Result<MutexGuard<'_, Inner>, Refusal> {
        let mut inner = self.quick();
        inner.calls.push(call);
        inner.inside += 1;
        self.changed.notify_all();
        let mut inner = self
            .changed
            .wait_while(inner, |inner| inner.held)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.inside -= 1;
        match inner.refusal.clone() {
            Some(refusal) => Err(refusal),
            None => Ok(inner),
        }
    }
}

impl Inner {
    fn find(&self, name: &str) -> Result<usize, Refusal> {
        let at = self.exports.iter().position(|export| export.name == name);
        at.ok_or_else(|| Refusal::NotFound(format!("there is no export '{name}'")))
    }

    fn reload(&mut self) -> Reload {
        let outcome = self.outcome.unwrap_or(Outcome::Complete);
        self.generation += u64::from(outcome != Outcome::Refused);
        Reload {
            outcome,
            reason: (outcome != Outcome::Complete).then(|| "it was told to".into()),
            generation: self.generation,
            plan: Plan::default(),
            added: 0,
            changed: 0,
            removed: 0,
            kept: 0,
            fenced: 0,
            hanging: Vec::new(),
            took_ms: 3,
        }
    }

    fn cut(&self, export: &str, sessions: u64) -> Cut {
        let hanging = Hanging { export: export.into(), path: "/dev/vdc".into(), peer: None, age_ms: 9 };
        Cut { sessions, hanging: if self.hanging { vec![hanging] } else { Vec::new() }, took_ms: 2 }
    }
}

impl Controls for Fake {
    fn status(&self) -> Status {
        let inner = self.quick();
        Status {
            version: "0".into(),
            pid: std::process::id(),
            since: "2026-01-02T03:04:05.006Z".into(),
            configuration: "/etc/nbd-server/config".into(),
            generation: inner.generation,
            reloading: false,
            last_reload: None,
            listening: vec!["127.0.0.1:10809".into()],
            exports: inner.exports.len() as u64,
            exports_not_serving: 0,
            sessions: inner.sessions.len() as u64,
            handshakes: 0,
            log_level: inner.level.unwrap_or(Level::Info),
        }
    }

    fn exports(&self) -> Vec<Export> {
        self.quick().exports.clone()
    }

    fn sessions(&self) -> Vec<Session> {
        self.quick().sessions.clone()
    }

    fn metrics(&self) -> Vec<Family> {
        let sessions = self.quick().sessions.len();
        vec![Family::new("nbd_sessions", Kind::Gauge, "Sessions now.").with(&[], sessions as f64)]
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn set_log_level(&self, level: Level, by: Caller) {
        let mut inner = self.quick();
        inner.calls.push(format!("log level {level} by {by}"));
        inner.level = Some(level);
    }

    fn reload(&self, timeout: Duration, by: Caller) -> Result<Reload, Refusal> {
        Ok(self.call(format!("reload {timeout:?} by {by}"))?.reload())
    }

    fn plan(&self, timeout: Duration) -> Result<Plan, Refusal> {
        self.call(format!("plan {timeout:?}")).map(|_| Plan::default())
    }

    fn check(&self, text: Option<&str>) -> Check {
        let _told = self.call(format!("check {text:?}"));
        Check {
            ok: text != Some("broken"),
            exports: BTreeMap::new(),
            refused: Vec::new(),
            kept_back: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn fence(&self, export: &str, timeout: Duration, by: Caller) -> Result<Cut, Refusal> {
        let inner = self.call(format!("fence {export:?} {timeout:?} by {by}"))?;
        inner.find(export)?;
        Ok(inner.cut(export, 2))
    }

    fn end_session(&self, id: u64, timeout: Duration, by: Caller) -> Result<Cut, Refusal> {
        let mut inner = self.call(format!("end session {id} {timeout:?} by {by}"))?;
        let at = inner.sessions.iter().position(|session| session.id == id);
        let at = at.ok_or_else(|| Refusal::NotFound(format!("there is no session {id}")))?;
        let session = inner.sessions.remove(at);
        Ok(inner.cut(&session.export, 1))
    }

    fn clear(&self, export: &str, by: Caller) -> Result<bool, Refusal> {
        let mut inner = self.call(format!("clear {export:?} by {by}"))?;
        let at = inner.find(export)?;
        let poisoned = inner.exports[at].state == State::Poisoned;
        inner.exports[at].state = State::Serving;
        Ok(poisoned)
    }

    fn put_export(
        &self,
        export: &str,
        settings: &ExportSettings,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        let mut inner = self.call(format!("put {export:?} {settings:?} {apply} {timeout:?} by {by}"))?;
        let Some(path) = settings.get("exportname") else {
            let reason = "exportname is missing: say which disk it is".into();
            return Err(Refusal::Invalid(vec![Problem {
                file: String::new(),
                line: None,
                key: None,
                reason,
            }]));
        };
        let new = Export { path: path.clone(), settings: settings.clone(), ..self::export(export) };
        match inner.find(export) {
            Ok(at) => inner.exports[at] = new,
            Err(_) => inner.exports.push(new),
        }
        Ok(apply.then(|| inner.reload()))
    }

    fn remove_export(
        &self,
        export: &str,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        let mut inner = self.call(format!("remove {export:?} {apply} {timeout:?} by {by}"))?;
        let at = inner.find(export)?;
        inner.exports.remove(at);
        Ok(apply.then(|| inner.reload()))
    }
}

/// An export that is served.
pub fn export(name: &str) -> Export {
    Export {
        name: name.into(),
        state: State::Serving,
        reason: None,
        since: None,
        configured: true,
        file: Some("/etc/nbd-server/conf.d/a.conf".into()),
        line: Some(1),
        path: "/dev/vdc".into(),
        device: Some("/dev/vdc".into()),
        identity: Some("serial:42".into()),
        size: Some(1 << 30),
        read_only: false,
        flags: vec!["NBD_FLAG_SEND_FLUSH".into()],
        open: true,
        sessions: 1,
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
        peer: "127.0.0.1:40000".into(),
        tls: None,
        export: export.into(),
        path: "/dev/vdc".into(),
        generation: 1,
        since: "2026-01-02T03:04:05.006Z".into(),
        read_only: false,
        operations: Operations::default(),
        in_flight: 0,
        oldest_ms: None,
        idle_ms: Some(5),
    }
}
