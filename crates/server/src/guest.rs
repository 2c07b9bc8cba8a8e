//! The server as one client may see it.

use crate::access::{self, Allowed, Peer};
use crate::catalog::Entry;
use crate::log::{Level, Log};
use crate::medium::Closed;
use crate::state::Shared;
use session::{Entered, ExportName, Host, Limits, Note, Offer, OptionRefusal, Sitter, Workers};
use std::sync::Arc;

/// How often a session asks the catalog again when a reload overtakes it.
const OVERTAKEN_MAX: usize = 16;

/// One client's view of the server.
pub struct Guest {
    shared: Arc<Shared>,
    peer: Peer,
}

impl Guest {
    /// For a client at this address.
    #[must_use]
    pub fn new(shared: Arc<Shared>, peer: Peer) -> Self {
        Self { shared, peer }
    }

    fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Finds the export and asks `visit` of it; again, when a reload replaced it in between.
    fn visit<T>(&self, name: &[u8], visit: impl Fn(&Entry) -> Result<T, Closed>) -> Result<T, OptionRefusal> {
        for _ in 0..OVERTAKEN_MAX {
            let catalog = self.shared.catalog();
            let entry = catalog.find(name).ok_or(OptionRefusal::UnknownExport)?;
            self.authorize(entry)?;
            if let Some(why) = &entry.blocked {
                return Err(self.closed(entry, why.clone()));
            }
            match visit(entry) {
                Ok(answer) => return Ok(answer),
                Err(Closed::Because(why)) => return Err(self.closed(entry, why)),
                Err(Closed::Replaced) => {}
            }
        }
        Err(OptionRefusal::Policy("The export is being replaced; try again".into()))
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
                Err(OptionRefusal::Policy(access_denied("this client is not in the list of those allowed")))
            }
        }
    }

    fn closed(&self, entry: &Entry, why: String) -> OptionRefusal {
        self.log().error(format!("export {} refused to {}: {why}", entry.name, self.peer));
        OptionRefusal::Policy(access_denied(&why))
    }
}

/// The sentence of the original stays at the front, because people search for it; the reason is new.
fn access_denied(why: &str) -> String {
    format!("Access denied by server configuration: {why}")
}

impl Host for Guest {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        let catalog = self.shared.catalog();
        if !catalog.allowlist {
            self.log().error("Client tried disallowed list option");
            return Err(OptionRefusal::Policy("Listing of exports denied by server configuration".into()));
        }
        Ok(catalog.entries().iter().map(|entry| entry.name.clone()).collect())
    }

    fn look(&self, name: &[u8]) -> Result<Offer, OptionRefusal> {
        self.visit(name, |entry| entry.medium.offer(&entry.settings, &self.shared.limits))
    }

    fn enter(&self, name: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        self.shared.sessions.admit().map_err(OptionRefusal::Policy)?;
        self.visit(name, |entry| entry.medium.enter(&entry.settings, &self.shared.limits, sitter))
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
                let path = self.shared.path_of(export);
                self.log().info(format!("connect from {}, assigned file is {path}", self.peer));
                self.log().info(format!("Size of exported file/device is {}", export.offer.size));
            }
        }
    }
}
