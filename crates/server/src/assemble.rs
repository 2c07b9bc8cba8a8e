//! From an export's configuration to what is opened and offered. The one place where both are known.

use session::{Limits, Offer, Permits};
use std::path::PathBuf;
use store::{Access, Identity, Layout, Spec, Store, Wanted};

/// What a session's store is made from.
pub struct Assembly<'a> {
    /// What to open.
    pub spec: Spec,
    /// The settings that it was made from.
    pub settings: &'a config::Export,
    wanted: Option<Wanted>,
}

impl<'a> Assembly<'a> {
    /// For a session under these settings.
    #[must_use]
    pub fn new(settings: &'a config::Export) -> Self {
        let access = if settings.readonly { Access::ReadOnly } else { Access::ReadWrite };
        Self { spec: spec(&settings.storage, access), wanted: wanted(&settings.storage), settings }
    }

    /// Whether this is the disk that `identity = …` asks for.
    ///
    /// # Errors
    /// A sentence that says what is there instead.
    pub fn is_wanted(&self, identity: &Identity) -> Result<(), String> {
        match &self.wanted {
            Some(wanted) => identity.matches(wanted).map_err(|why| {
                format!("{} is not the disk that is meant: {why}", self.settings.storage.path)
            }),
            None => Ok(()),
        }
    }
}

/// What to open for this storage.
#[must_use]
pub fn spec(storage: &config::Storage, write: Access) -> Spec {
    Spec { path: PathBuf::from(&storage.path), filesize: storage.filesize, write, layout: Layout::One }
}

fn wanted(storage: &config::Storage) -> Option<Wanted> {
    storage.identity.as_ref().map(|identity| match identity {
        config::WantedIdentity::Serial(serial) => Wanted::Serial(serial.clone()),
        config::WantedIdentity::Wwid(wwid) => Wanted::Wwid(wwid.clone()),
        config::WantedIdentity::Diskseq(number) => Wanted::Diskseq(*number),
    })
}

/// What is advertised and admitted: what the store can do, unless a key says `false`.
#[must_use]
pub fn offer(store: &dyn Store, settings: &config::Export, limits: &Limits) -> Offer {
    let permits = Permits {
        read_only: settings.readonly,
        flush: settings.flush.unwrap_or(true),
        fua: settings.fua.unwrap_or(true),
        trim: settings.trim.unwrap_or(true),
        rotational: settings.rotational,
        sync: settings.sync,
    };
    Offer::new(store.geometry(), store.capabilities(), permits, limits)
}
