//! Exports as they are told.

use super::sessions;
use crate::answer::count;
use crate::catalog::{Catalog, Entry};
use crate::fence::all_hanging;
use crate::medium::{Medium, Told};
use crate::state::Shared;
use control::view::{Export, State};
use session::{ExportName, Readings};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Probe;
use wire::TransmissionFlags;

/// Those of the configuration in its order, and behind them those that are gone and hang.
pub fn exports(shared: &Shared, hanging: &[Arc<Medium>]) -> Vec<Export> {
    let catalog = shared.catalog();
    let totals = shared.roll.totals();
    let mut exports: Vec<Export> =
        catalog.entries().iter().map(|entry| configured(entry, &totals, hanging)).collect();
    for medium in hanging.iter().filter(|medium| catalog.find(medium.name.as_bytes()).is_none()) {
        exports.push(gone(medium));
    }
    exports
}

/// Of those of the configuration, with what they are told by.
pub fn states(catalog: &Catalog) -> impl Iterator<Item = (State, Told)> {
    catalog.entries().iter().map(|entry| {
        let told = entry.medium.told();
        (state(entry, &told).0, told)
    })
}

fn configured(
    entry: &Entry,
    totals: &BTreeMap<ExportName, (Readings, u64)>,
    hanging: &[Arc<Medium>],
) -> Export {
    let told = entry.medium.told();
    let (state, reason) = state(entry, &told);
    let (readings, sessions) = totals.get(&entry.name).copied().unwrap_or_default();
    let origin = &entry.settings.origin;
    let described = origin.line > 0;
    let hangs = hanging.iter().filter(|medium| medium.name == entry.name);
    Export {
        name: entry.settings.name.to_string(),
        state,
        reason,
        since: told.offline.as_ref().map(|(_, since)| control::time(*since)),
        configured: true,
        file: described.then(|| origin.file.display().to_string()),
        line: described.then_some(origin.line),
        path: entry.settings.storage.path.clone(),
        device: told.found.as_ref().map(|found| device(found, &entry.settings.storage.path)),
        identity: told.found.as_ref().map(|found| found.identity.to_string()),
        size: told.found.as_ref().map(|found| found.size),
        read_only: entry.settings.readonly,
        flags: told.flags.map(names).unwrap_or_default(),
        open: told.open,
        sessions,
        generation: entry.generation,
        operations: sessions::operations(&readings),
        hanging: all_hanging(hangs),
        settings: config::settings_of(&entry.settings),
    }
}

/// It is not configured any more, and a request to its disk does not come back.
fn gone(medium: &Arc<Medium>) -> Export {
    let told = medium.told();
    Export {
        name: medium.name.to_string(),
        state: State::Fencing,
        reason: Some("it is removed, and a request to its disk does not come back".into()),
        since: told.offline.as_ref().map(|(_, since)| control::time(*since)),
        configured: false,
        file: None,
        line: None,
        path: medium.storage.path.clone(),
        device: None,
        identity: told.found.as_ref().map(|found| found.identity.to_string()),
        size: told.found.as_ref().map(|found| found.size),
        read_only: false,
        flags: Vec::new(),
        open: told.open,
        sessions: count(medium.sitters().len()),
        generation: 0,
        operations: Default::default(),
        hanging: all_hanging([medium]),
        settings: Default::default(),
    }
}

/// What keeps clients out comes first, then what they would not get.
fn state(entry: &Entry, told: &Told) -> (State, Option<String>) {
    if entry.settings.is_placeholder() {
        return (State::Placeholder, None);
    }
    let states = [
        (State::Fencing, told.offline.as_ref().map(|(why, _)| why.clone())),
        (State::Unavailable, entry.blocked.clone()),
        (State::Unavailable, told.trouble.clone()),
        (State::Poisoned, told.poison.clone()),
        (State::KeptBack, entry.kept_back.clone()),
    ];
    let bad = states.into_iter().find_map(|(state, reason)| Some((state, reason?)));
    bad.map_or((State::Serving, None), |(state, reason)| (state, Some(reason)))
}

/// Where the path led when it was looked at. What is not one file or device is known by its path alone.
fn device(found: &Probe, path: &str) -> String {
    found.device.as_ref().map_or_else(|| path.to_owned(), |device| device.display().to_string())
}

fn names(flags: TransmissionFlags) -> Vec<String> {
    let named = TransmissionFlags::NAMED.iter().filter(|(flag, _)| flags.contains(*flag));
    named.map(|(_, name)| (*name).to_owned()).collect()
}
