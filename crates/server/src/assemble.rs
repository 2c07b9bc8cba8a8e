//! From an export's configuration to what is opened and offered. The one place where both are known.

use crate::access::Peer;
use config::{Changes, Storage};
use session::{Limits, Offer, Permits};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{
    Access, Capabilities, Cause, Identity, Kind, Layout, OverlayStore, Poison, Probe, Spec, Store,
    StoreError, Verb, WaitingStore, Wanted,
};

/// What one client's store is made from. It owns all of it, so that a look at a path that does not answer can be left
/// behind.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// The file or device, with the client's name in it where the configuration wants that.
    pub path: PathBuf,
    /// What clients may do.
    pub access: Access,
    /// The client's name in the names of files that are its own.
    client: String,
    storage: Storage,
    wanted: Option<Wanted>,
    /// What is served is not there yet (`waitfile`).
    waits: bool,
}

/// An opened store and what it stands on.
pub struct Assembled {
    /// The store as sessions see it.
    pub store: Arc<dyn Store>,
    /// The disk or file beneath.
    pub identity: Identity,
    /// The same store, where it waits for its file.
    pub waiting: Option<Arc<WaitingStore>>,
}

impl Assembly {
    /// For this client.
    #[must_use]
    pub fn for_client(settings: &config::Export, peer: &Peer) -> Self {
        let storage = &settings.storage;
        let path = match storage.client {
            Some(style) => filled(&storage.path, &peer.named(Some(style))),
            None => storage.path.clone(),
        };
        Self::new(storage, access(settings), path, peer.named(None))
    }

    /// For any client; none where the path depends on the client.
    #[must_use]
    pub fn for_all(settings: &config::Export) -> Option<Self> {
        Self::common(&settings.storage).map(|common| Self { access: access(settings), ..common })
    }

    /// For a look at what all clients have in common.
    #[must_use]
    pub fn common(storage: &Storage) -> Option<Self> {
        storage
            .client
            .is_none()
            .then(|| Self::new(storage, Access::ReadWrite, storage.path.clone(), String::new()))
    }

    /// For whoever was at this path before.
    #[must_use]
    pub fn at(settings: &config::Export, path: &Path) -> Self {
        Self {
            path: path.into(),
            ..Self::new(&settings.storage, access(settings), String::new(), String::new())
        }
    }

    fn new(storage: &Storage, access: Access, path: String, client: String) -> Self {
        let (wanted, storage) = (wanted(storage), storage.clone());
        Self { path: path.into(), access, client, wanted, storage, waits: false }
    }

    /// What is served is not there yet, or is.
    #[must_use]
    pub fn waiting(self, waits: bool) -> Self {
        Self { waits: waits && self.may_wait(), ..self }
    }

    /// The file may come later (`waitfile`).
    #[must_use]
    pub fn may_wait(&self) -> bool {
        matches!(self.storage.changes, Changes::UntilThere(_))
    }

    /// Each session has a store of its own.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self.storage.changes {
            Changes::InPlace | Changes::Overlay(_) => false,
            Changes::Private(_) => self.access == Access::ReadWrite,
            Changes::Temporary => true,
            Changes::UntilThere(_) => self.waits,
        }
    }

    /// Whether this is the disk that `identity = …` asks for.
    ///
    /// # Errors
    /// A sentence that says what is there instead.
    pub fn is_wanted(&self, identity: &Identity) -> Result<(), String> {
        match &self.wanted {
            Some(wanted) if !self.is_nowhere() => identity
                .matches(wanted)
                .map_err(|why| format!("{} is not the disk that is meant: {why}", self.path.display())),
            _ => Ok(()),
        }
    }

    /// There is nothing at the path to look at.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.waits || self.storage.changes == Changes::Temporary
    }

    /// Looks at what is at the path. Creates and changes nothing, and keeps nothing open.
    ///
    /// # Errors
    /// What [`Assembly::open`] would say.
    pub fn probe(&self) -> Result<Probe, StoreError> {
        if self.is_nowhere() {
            let identity = Identity::File { dev: 0, ino: 0 };
            let size = self.storage.filesize.unwrap_or(0);
            return Ok(Probe { identity, size, kind: Kind::File, device: None });
        }
        store::probe(&self.spec(self.access))
    }

    /// The same for whoever is on it already: what is missing will not be made.
    ///
    /// # Errors
    /// There is nothing, or it cannot be told.
    pub fn probe_again(&self) -> Result<Probe, StoreError> {
        store::probe(&self.spec(Access::ReadOnly))
    }

    /// Opens it. `poison` is the memory of failed syncs of what all sessions share; what is a session's own has its own.
    ///
    /// # Errors
    /// As the stores beneath say.
    pub fn open(&self, poison: &Arc<Poison>) -> Result<Assembled, StoreError> {
        match &self.storage.changes {
            Changes::Private(dir) if self.is_private() => self.open_private(dir.as_deref()),
            Changes::Overlay(path) => self.open_overlay(path, poison),
            Changes::Temporary => self.open_temporary(),
            Changes::UntilThere(dir) if self.waits => self.open_waiting(dir.as_deref()),
            Changes::UntilThere(_) => self.open_arrived(poison),
            Changes::InPlace | Changes::Private(_) => self.open_file(poison),
        }
    }

    /// What was waited for. It is never made: somebody else brings it.
    ///
    /// # Errors
    /// It is not there; or as the store says.
    pub fn open_arrived(&self, poison: &Arc<Poison>) -> Result<Assembled, StoreError> {
        self.probe_again()?;
        self.open_file(poison)
    }

    fn open_file(&self, poison: &Arc<Poison>) -> Result<Assembled, StoreError> {
        let opened = store::open(&self.spec(self.access), poison.clone())?;
        Ok(Assembled { store: opened.store, identity: opened.identity, waiting: None })
    }

    /// What is at the path, to be read alone. A size that was asked for makes the file, as always.
    fn open_base(&self) -> Result<store::Opened, StoreError> {
        let makes = self.storage.filesize.is_some() && self.access == Access::ReadWrite;
        let access = if makes { Access::ReadWrite } else { Access::ReadOnly };
        store::open(&self.spec(access), Arc::default())
    }

    fn open_private(&self, dir: Option<&Path>) -> Result<Assembled, StoreError> {
        let base = self.open_base()?;
        let upper = self.scratch(dir, base.store.geometry().size)?;
        let store = Arc::new(OverlayStore::private(base.store, upper)?);
        Ok(Assembled { store, identity: base.identity, waiting: None })
    }

    fn open_overlay(&self, path: &Path, poison: &Arc<Poison>) -> Result<Assembled, StoreError> {
        let base = self.open_base()?;
        let identity = base.identity.clone();
        let store = Arc::new(overlay_over(base, path, poison.clone())?);
        Ok(Assembled { store, identity, waiting: None })
    }

    /// The overlay over a base that may be written, to carry its pages into it.
    ///
    /// # Errors
    /// As the stores beneath say; the base is not the disk that is meant; somebody uses the overlay.
    pub fn open_to_commit(&self, overlay: &Path) -> Result<OverlayStore, StoreError> {
        let base = store::open(&self.spec(Access::ReadWrite), Arc::default())?;
        self.is_wanted(&base.identity).map_err(|why| {
            let cause = Cause::Moved(why);
            StoreError { verb: Verb::Open, offset: 0, len: 0, cause }
        })?;
        overlay_over(base, overlay, Arc::default())
    }

    fn open_temporary(&self) -> Result<Assembled, StoreError> {
        let file = store::open_temporary(&self.path, self.storage.filesize.unwrap_or(0), Arc::default())?;
        let identity = Identity::File { dev: 0, ino: 0 };
        Ok(Assembled { store: Arc::new(file), identity, waiting: None })
    }

    fn open_waiting(&self, dir: Option<&Path>) -> Result<Assembled, StoreError> {
        let size = self.storage.filesize.unwrap_or(0);
        let store = Arc::new(WaitingStore::new(self.scratch(dir, size)?, size)?);
        let identity = Identity::File { dev: 0, ino: 0 };
        Ok(Assembled { store: store.clone(), identity, waiting: Some(store) })
    }

    /// A file for what one session changes, in `cowdir` or beside the export.
    fn scratch(&self, dir: Option<&Path>, size: u64) -> Result<Arc<dyn Store>, StoreError> {
        let beside = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dir = dir.or(beside).unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Arc::new(store::scratch(dir, &name, &self.client, size, Arc::default())?))
    }

    fn spec(&self, write: Access) -> Spec {
        let layout = match self.storage.layout {
            config::Layout::One => Layout::One,
            config::Layout::Files => Layout::Files,
            config::Layout::Tree => Layout::Tree,
        };
        Spec { path: self.path.clone(), filesize: self.storage.filesize, write, layout }
    }
}

fn access(settings: &config::Export) -> Access {
    if settings.readonly { Access::ReadOnly } else { Access::ReadWrite }
}

/// The overlay in that file, of that base.
fn overlay_over(base: store::Opened, path: &Path, poison: Arc<Poison>) -> Result<OverlayStore, StoreError> {
    let size = OverlayStore::kept_size(base.store.geometry().size);
    let upper = Arc::new(store::open_overlay(path, size, poison)?);
    OverlayStore::kept_over(base.store, &base.identity.lasting(), upper)
}

/// A template with the client's name in it (C-159, C-160).
fn filled(template: &str, client: &str) -> String {
    let pieces = template.split("%%").map(|piece| piece.replace("%s", client));
    pieces.collect::<Vec<_>>().join("%")
}

fn wanted(storage: &Storage) -> Option<Wanted> {
    storage.identity.as_ref().map(|identity| match identity {
        config::WantedIdentity::Serial(serial) => Wanted::Serial(serial.clone()),
        config::WantedIdentity::Wwid(wwid) => Wanted::Wwid(wwid.clone()),
        config::WantedIdentity::Diskseq(number) => Wanted::Diskseq(*number),
    })
}

/// What is advertised and admitted: what the store can do, unless a key says `false`. What is written to a store of a
/// session's own no other connection sees, flushed or not.
#[must_use]
pub fn offer(store: &dyn Store, settings: &config::Export, private: bool, limits: &Limits) -> Offer {
    let permits = Permits {
        read_only: settings.readonly,
        flush: settings.flush.unwrap_or(true),
        fua: settings.fua.unwrap_or(true),
        trim: settings.trim.unwrap_or(true),
        rotational: settings.rotational,
        sync: settings.sync,
    };
    let can = store.capabilities();
    let can = Capabilities { multi_conn: can.multi_conn && !private, ..can };
    Offer::new(store.geometry(), can, permits, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-160, C-161: a percent sign that was escaped does not make a client's name.
    #[test]
    fn a_template_is_filled_and_nothing_else() {
        let cases = [
            ("/x/%s", "/x/1.2.3.4"),
            ("/x/%s/%s.img", "/x/1.2.3.4/1.2.3.4.img"),
            ("/x/%%s", "/x/%s"),
            ("/x/%%%s%%", "/x/%1.2.3.4%"),
            ("/x/plain", "/x/plain"),
        ];
        for (template, path) in cases {
            assert_eq!(filled(template, "1.2.3.4"), path, "{template}");
        }
    }
}
