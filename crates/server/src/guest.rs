//! The server as one client may see it.

use crate::access::{self, Allowed, Peer};
use crate::assemble::Assembly;
use crate::catalog::Entry;
use crate::hooks::{self, Farewell, Hooks};
use crate::log::{Level, Log};
use crate::medium::{Closed, Visit};
use crate::rivals::Rivals;
use crate::roll::Present;
use crate::socket::Socket;
use crate::state::Shared;
use crate::tls::{Identity, NotSecure};
use crate::transactionlog::TransactionLog;
use control::Line;
use session::{Entered, ExportName, Host, Journal, Limits, Note, Offer, OptionRefusal, Sitter, Workers};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use wire::OptionKind;

/// How often a session asks the catalog again when a reload overtakes it.
const OVERTAKEN_MAX: usize = 16;

/// One client's view of the server.
pub struct Guest {
    shared: Arc<Shared>,
    peer: Peer,
    socket: Arc<Socket>,
    /// The path of the export that it entered, for the log.
    assigned: Mutex<String>,
    /// What the refusal at hand is counted as, where the specification has one error for many reasons.
    policy: Mutex<Option<&'static str>>,
}

/// Reasons of a policy, as they are counted: who has come to a limit must wait, who is not allowed in must be let in by
/// somebody, and what is unavailable must be brought back.
const LIMIT: &str = "limit";
const NOT_ALLOWED: &str = "not_allowed";
const UNAVAILABLE: &str = "unavailable";

impl Guest {
    /// For a client at this address, on this socket.
    #[must_use]
    pub fn new(shared: Arc<Shared>, peer: Peer, socket: Arc<Socket>) -> Self {
        Self { shared, peer, socket, assigned: Mutex::default(), policy: Mutex::default() }
    }

    fn assigned(&self) -> MutexGuard<'_, String> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Finds the export and asks `visit` of it; again, when a reload replaced it in between.
    fn visit<T>(
        &self,
        name: &[u8],
        visit: impl Fn(&Entry, &Visit<'_>) -> Result<T, Closed>,
    ) -> Result<T, OptionRefusal> {
        for _ in 0..OVERTAKEN_MAX {
            let catalog = self.shared.catalog();
            let entry = catalog.find(name).ok_or(OptionRefusal::UnknownExport)?;
            self.identify(entry)?;
            self.authorize(entry)?;
            if let Some(why) = &entry.blocked {
                return Err(self.closed(entry, UNAVAILABLE, why.clone()));
            }
            let assembly = Assembly::for_client(&entry.settings, &self.peer);
            let told = Visit {
                settings: &entry.settings,
                assembly: &assembly,
                limits: &self.shared.limits,
                rivals: &Rivals::of(&self.shared, entry),
            };
            match visit(entry, &told) {
                Ok(answer) => return Ok(answer),
                Err(Closed::Because(why)) => return Err(self.closed(entry, UNAVAILABLE, why)),
                Err(Closed::Full(why)) => return Err(self.closed(entry, LIMIT, why)),
                Err(Closed::Replaced) => {}
            }
        }
        Err(self.refuse(UNAVAILABLE, "The export is being replaced; try again".into()))
    }

    /// Who TLS says the client is (`force_tls`, `tls_allow`). A stranger inside TLS learns what he would learn of an
    /// export that is not there; the log knows better.
    fn identify(&self, entry: &Entry) -> Result<(), OptionRefusal> {
        if self.may_see(entry) {
            return Ok(());
        }
        let Some(identity) = self.socket.identity() else {
            return Err(OptionRefusal::TlsRequired("TLS is required for that export"));
        };
        let line =
            format!("export {} is hidden from {} ({identity}): not in tls_allow", entry.name, self.peer);
        self.log().quietly(Level::Info, "tls_allow", &line);
        Err(OptionRefusal::UnknownExport)
    }

    fn may_see(&self, entry: &Entry) -> bool {
        let allow = &entry.settings.tls_allow;
        match self.socket.identity() {
            None => !entry.settings.force_tls && allow.is_empty(),
            Some(identity) => allow.is_empty() || allow.iter().any(|one| identity.is(one)),
        }
    }

    fn secured(&self, identity: &Identity) {
        let who = format!("{} is {identity}", self.peer);
        if identity.subject.is_some() {
            self.log().info(format!("client certificate verification successful: {who}"));
        } else if identity.psk.is_some() {
            self.log().info(format!("pre-shared key verification successful: {who}"));
        }
    }

    fn authorize(&self, entry: &Entry) -> Result<(), OptionRefusal> {
        let Some(authfile) = &entry.settings.authfile else { return Ok(()) };
        match access::allowed(authfile, &self.peer) {
            Ok(Allowed::Listed) => Ok(()),
            Ok(Allowed::NoList) => {
                self.log().quietly(Level::Info, "authfile", "No authorization file, granting access.");
                Ok(())
            }
            Err(denied) => {
                let name = &entry.name;
                self.log()
                    .info(format!("Client '{}' is not authorized to access {name}: {denied}", self.peer));
                Err(self
                    .refuse(NOT_ALLOWED, access_denied("this client is not in the list of those allowed")))
            }
        }
    }

    /// `prerun`, and the promise of `postrun`.
    fn begin(&self, told: &Visit<'_>) -> Result<Farewell, Closed> {
        let config::Export { prerun, postrun, .. } = told.settings;
        let file = told.assembly.path.display().to_string();
        let hooks = Hooks::new(prerun.clone(), postrun.clone(), file, &self.shared.hooks, self.log());
        hooks.begin().map_err(|why| {
            self.log().info(hooks::refused(&self.peer, &why));
            Closed::Because(why)
        })
    }

    fn journal(&self, settings: &config::Export) -> Option<Arc<dyn Journal>> {
        let path = settings.transactionlog.as_ref()?;
        let log = self.log().clone();
        TransactionLog::open_or_say(path, settings.datalog, move |what| log.warning(what))
    }

    /// From here on the session is told of.
    fn present(&self, entry: &Entry, told: &Visit<'_>, entered: &Entered, sitter: &Arc<Sitter>) {
        let path = told.assembly.path.display().to_string();
        let tls = self.socket.identity().map(ToString::to_string);
        let line = Line::new("session begun")
            .with("id", sitter.id)
            .with("peer", &sitter.peer)
            .with("export", &entry.name)
            .with("path", &path)
            .maybe("tls", tls.as_ref());
        self.shared.roll.enter(Present {
            sitter: sitter.clone(),
            seats: entered.export.seats.clone(),
            export: entry.name.clone(),
            path,
            tls,
            generation: self.shared.catalog().generation,
            since: SystemTime::now(),
            read_only: entered.export.offer.read_only(),
        });
        self.log().tell(Level::Info, &line);
    }

    /// Who is refused is counted, and told to whoever listens. The log has words of its own.
    fn tell_refused(&self, option: OptionKind, name: Option<&[u8]>, refusal: &OptionRefusal) {
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner).take();
        let kind = kind(refusal, policy);
        self.shared.roll.refused(kind);
        let event = if name.is_some() { "session refused" } else { "option refused" };
        let line = Line::new(event)
            .with("peer", self.peer)
            .maybe("export", name.map(ExportName::from))
            .with("option", option)
            .with("kind", kind)
            .with("reason", refusal);
        self.log().tell_some(Level::Info, &format!("{event} {kind}"), &line);
    }

    fn closed(&self, entry: &Entry, kind: &'static str, why: String) -> OptionRefusal {
        self.log().error(format!("export {} refused to {}: {why}", entry.name, self.peer));
        self.refuse(kind, access_denied(&why))
    }

    fn refuse(&self, kind: &'static str, why: String) -> OptionRefusal {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind);
        OptionRefusal::Policy(why)
    }
}

/// The sentence of the original stays at the front, because people search for it; the reason is new.
fn access_denied(why: &str) -> String {
    format!("Access denied by server configuration: {why}")
}

/// What a refusal is counted as.
fn kind(refusal: &OptionRefusal, policy: Option<&'static str>) -> &'static str {
    match refusal {
        OptionRefusal::UnknownExport => "unknown_export",
        OptionRefusal::Policy(_) => policy.unwrap_or(NOT_ALLOWED),
        OptionRefusal::Invalid(_) => "invalid",
        OptionRefusal::Unsupported(_) => "unsupported",
        OptionRefusal::TooBig(_) => "too_big",
        OptionRefusal::TlsRequired(_) => "tls_required",
        OptionRefusal::ShuttingDown => "shutting_down",
    }
}

impl Host for Guest {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        let catalog = self.shared.catalog();
        if !catalog.allowlist {
            self.log().error("Client tried disallowed list option");
            return Err(self.refuse(NOT_ALLOWED, "Listing of exports denied by server configuration".into()));
        }
        let seen = catalog.entries().iter().filter(|entry| self.may_see(entry));
        Ok(seen.map(|entry| entry.name.clone()).collect())
    }

    fn look(&self, name: &[u8]) -> Result<Offer, OptionRefusal> {
        self.visit(name, |entry, told| entry.medium.offer(told))
    }

    fn enter(&self, name: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        self.shared.sessions.admit().map_err(|why| self.refuse(LIMIT, why))?;
        self.visit(name, |entry, told| {
            // Before anything is done for it: a command, a file of its own.
            let room = entry.medium.let_come(told.settings)?;
            let farewell = self.begin(told)?;
            let mut entered = entry.medium.enter(told, sitter, room)?;
            entered.journal = self.journal(told.settings);
            entered.idle_timeout = told.settings.timeout;
            entered.hold = Some(Box::new(farewell));
            *self.assigned() = told.assembly.path.display().to_string();
            self.present(entry, told, &entered, sitter);
            Ok(entered)
        })
    }

    fn tls_offered(&self) -> bool {
        self.shared.tls.context(self.log()).is_some()
    }

    fn tls_required(&self) -> bool {
        self.shared.tls.required()
    }

    fn secure(&self, _: &Arc<Sitter>, deadline: Instant) -> Result<(), String> {
        let context = self.shared.tls.context(self.log()).ok_or("TLS was switched off meanwhile")?;
        let (what, key, why) = match self.socket.secure(&context, deadline) {
            Ok(identity) => {
                self.secured(identity);
                return Ok(());
            }
            Err(NotSecure::Other(why)) => return Err(why),
            Err(NotSecure::Certificate(why)) => ("client certificate", "client certificate", why),
            Err(NotSecure::UnknownKey(why)) => ("pre-shared key", "unknown key", why),
            Err(NotSecure::WrongKey(why)) => ("pre-shared key", "wrong key", why),
        };
        let line = format!("E: {what} verification failed: {}: {why}", self.peer);
        self.log().quietly(Level::Error, key, &line);
        Err(why)
    }

    fn workers(&self) -> Arc<dyn Workers> {
        Arc::new(self.shared.pool.clone())
    }

    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    fn note(&self, note: Note<'_>) {
        match note {
            Note::OptionRefused { option, name, refusal } => {
                self.tell_refused(option, name, refusal);
                let name =
                    name.map(|name| format!(" for export {}", ExportName::from(name))).unwrap_or_default();
                let line = format!("{}: {option}{name} refused: {refusal}", self.peer);
                // Who asks for a name that is not there is the first thing to look for after a reload.
                if *refusal == OptionRefusal::UnknownExport {
                    self.log().quietly(Level::Info, "unknown export", &line);
                } else {
                    self.log().write(Level::Debug, &line);
                }
            }
            Note::Entered { export } => {
                let path = self.assigned().clone();
                self.log().info(format!("connect from {}, assigned file is {path}", self.peer));
                self.log().info(format!("Size of exported file/device is {}", export.offer.size));
            }
        }
    }
}
