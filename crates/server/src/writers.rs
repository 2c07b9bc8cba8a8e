//! Who writes to which disk, as far as a reload has come: the sessions that stay where they are, and export after export.

use config::Export;
use session::ExportName;
use std::collections::HashMap;
use std::fmt;
use store::{Ground, Place};

/// Who writes to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    who: String,
    /// Nobody else may.
    pub exclusive: bool,
    /// Whatever a reload finds: it was kept (`on_change = keep`), or nobody can tell what is at its path.
    pub goes_on: bool,
    /// The name of the export that it was kept from.
    stays: Option<String>,
}

impl Writer {
    /// The sessions of an export that is wanted.
    #[must_use]
    pub fn export(export: &Export) -> Self {
        let (name, origin) = (&export.name, &export.origin);
        let who = format!("export {name} ({}:{})", origin.file.display(), origin.line);
        Self { who, exclusive: export.exclusive, goes_on: false, stays: None }
    }

    /// The same, where nobody can tell what is at its path.
    #[must_use]
    pub fn unseen(export: &Export) -> Self {
        Self { goes_on: true, ..Self::export(export) }
    }

    /// A session that stays on its disk though its export goes.
    #[must_use]
    pub fn stayer(export: &ExportName) -> Self {
        let who = format!("a session of {export} that was kept (on_change = keep)");
        Self { who, exclusive: false, goes_on: true, stays: Some(export.to_string()) }
    }

    /// Sessions that are being ended.
    #[must_use]
    pub fn leaver(export: &ExportName) -> Self {
        let who = format!("a session of {export} that is being ended");
        Self { who, exclusive: false, goes_on: false, stays: None }
    }

    /// What to do where another one waits for its disk.
    #[must_use]
    pub fn way_out(&self) -> String {
        let stays = self.stays.as_ref();
        stays
            .map(|name| format!(": reload once it has left, or `nbdctl fence {name}` first"))
            .unwrap_or_default()
    }
}

/// Two who write to one disk.
#[must_use]
pub fn both(holder: &Writer, newcomer: &Writer, path: &str) -> String {
    format!("{holder} and {newcomer} both write to the disk at {path}")
}

/// Why the newcomer does not.
#[must_use]
pub fn refusal(holder: &Writer, newcomer: &Writer, path: &str) -> String {
    let (both, way_out) = (both(holder, newcomer, path), holder.way_out());
    format!("{both}, and one of them is exclusive{way_out}")
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)
    }
}

/// See the module.
#[derive(Default)]
pub struct Writers(HashMap<Ground, Vec<(Place, Writer)>>);

impl Writers {
    /// Those who write to some of these places.
    #[must_use]
    pub fn of(&self, places: &[Place]) -> Vec<&Writer> {
        let near = |place: &Place| self.0.get(&place.ground()).map(Vec::as_slice).unwrap_or_default();
        let overlapping = |place| near(place).iter().filter(|(held, _)| place.overlaps(held));
        places.iter().flat_map(overlapping).map(|(_, writer)| writer).collect()
    }

    /// One more, who writes to all of these places.
    pub fn add(&mut self, places: &[Place], writer: &Writer) {
        for place in places {
            self.0.entry(place.ground()).or_default().push((*place, writer.clone()));
        }
    }
}
