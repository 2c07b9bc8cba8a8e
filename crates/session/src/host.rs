//! What a session asks of the process that it lives in.

use crate::export::{Export, Seat, Sitter};
use crate::journal::Journal;
use crate::limits::Limits;
use crate::name::ExportName;
use crate::offer::Offer;
use crate::refusal::OptionRefusal;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The catalog as one client may see it. Each call looks at the exports of that moment, so a client that connected
/// before a reload and asks after it sees the new ones.
pub trait Host: Send + Sync {
    /// Names to list, in the order of the configuration.
    ///
    /// # Errors
    /// [`OptionRefusal::Policy`] when listing is not allowed.
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal>;

    /// What GO would offer, without entering.
    fn look(&self, name: &[u8]) -> Result<Offer, OptionRefusal>;

    /// Opens the export (or shares the open one) for this session.
    fn enter(&self, name: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal>;

    /// Whether STARTTLS is answered. Asked for each one, at its moment.
    fn tls_offered(&self) -> bool {
        false
    }

    /// Whether nothing else is answered before it.
    fn tls_required(&self) -> bool {
        false
    }

    /// Does the TLS handshake on this session's channel, which carries TLS from then on. STARTTLS has been
    /// acknowledged, and nothing of the client has been received behind it.
    ///
    /// # Errors
    /// Why there is no TLS now; the connection ends.
    fn secure(&self, sitter: &Arc<Sitter>, deadline: Instant) -> Result<(), String> {
        let _ = (sitter, deadline);
        Err("there is no TLS here".into())
    }

    /// Where operations that would block are done.
    fn workers(&self) -> Arc<dyn Workers>;

    /// The limits for this client.
    fn limits(&self) -> &Limits;

    /// Says something about this session to the operator.
    fn note(&self, note: Note<'_>);
}

/// What a session says to the operator; the host chooses words, level and rate.
#[expect(missing_docs, reason = "each variant's sentence says what its fields are")]
#[derive(Debug)]
pub enum Note<'a> {
    /// An option was refused.
    OptionRefused { option: wire::OptionKind, name: Option<&'a [u8]>, refusal: &'a OptionRefusal },
    /// Haggling is over, and transmission begins.
    Entered { export: &'a Export },
}

/// An export with a seat at it, and what this session alone has. Fields drop in this order, however the session ends:
/// the store first, then the seat, and last what the host keeps.
pub struct Entered {
    /// Shared by all sessions at it.
    pub export: Arc<Export>,
    /// Told of every request and reply.
    pub journal: Option<Arc<dyn Journal>>,
    /// A client that has nothing under way and sends nothing for so long is told to go; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Left when nothing of the session holds the store or the journal any more.
    pub seat: Seat,
    /// The host's own, dropped when the seat has been left: what has to be done after each session, once.
    pub hold: Option<Box<dyn Send>>,
}

impl Entered {
    /// A session without anything of its own.
    #[must_use]
    pub fn new(export: Arc<Export>, seat: Seat) -> Self {
        Self { export, journal: None, idle_timeout: None, seat, hold: None }
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("export", &self.export).finish_non_exhaustive()
    }
}

/// A bounded pool shared by all sessions, with a fair share for each export.
pub trait Workers: Send + Sync {
    /// Runs `job` soon, on a thread of the pool. Jobs of one `share` are started in order.
    fn submit(&self, share: usize, job: Box<dyn FnOnce() + Send>);

    /// One operation at a time for each export: sessions then do not overtake waiting operations inline either.
    fn in_order(&self) -> bool;
}
