//! What can fail, or be found out, before a reload changes anything: looking at every path, and who claims which disk.

use crate::assemble::Assembly;
use crate::catalog::{Catalog, Entry};
use crate::look::look;
use crate::medium::Medium;
use config::{Config, Export};
use session::ExportName;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use store::{Place, Probe};

/// What one wanted export's path leads to at this moment.
pub struct Finding {
    /// What is there, also if it may not be served.
    pub found: Option<Probe>,
    /// What is there, or why it cannot be served.
    pub probe: Result<Probe, String>,
    /// The medium of the running export of that name, if its storage is the same.
    pub running: Option<Arc<Medium>>,
}

/// The findings for a wanted configuration, in its order.
pub struct Prepared {
    /// One for each wanted export.
    pub findings: Vec<Finding>,
    /// Exports whose path leads to another disk than last seen, though no text changed.
    pub moved: BTreeSet<config::ExportName>,
    /// Exports that may not be served because of an exclusive claim, and why.
    pub blocked: HashMap<config::ExportName, String>,
    /// Two writable exports on one disk, allowed but worth a warning.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// Looks at every path. Opens nothing for writing, changes nothing.
    #[must_use]
    pub fn look(wanted: &Config, running: &Catalog) -> Self {
        let assemblies: Vec<Assembly<'_>> = wanted.exports.iter().map(Assembly::new).collect();
        let probes = look(assemblies.iter().map(|assembly| assembly.spec.clone()).collect());
        let findings: Vec<Finding> =
            assemblies.iter().zip(probes).map(|(assembly, probe)| judge(assembly, probe, running)).collect();
        let moved = wanted
            .exports
            .iter()
            .zip(&findings)
            .filter(|(_, finding)| finding.moved())
            .map(|(export, _)| export.name.clone())
            .collect();
        let mut prepared = Self { findings, moved, blocked: HashMap::new(), warnings: Vec::new() };
        prepared.claim(wanted, running);
        prepared
    }

    /// P5: two writable exports on one disk are allowed and warned of; `exclusive` on either makes it an error, and the
    /// one being served goes on.
    fn claim(&mut self, wanted: &Config, running: &Catalog) {
        let mut writable: Vec<(&Export, &Probe)> = wanted
            .exports
            .iter()
            .zip(&self.findings)
            .filter(|(export, _)| !export.readonly)
            .filter_map(|(export, finding)| Some((export, finding.probe.as_ref().ok()?)))
            .collect();
        // Those who write there already come first, so that the newcomer is the one to give way.
        writable.sort_by_key(|(export, _)| {
            let writes = running.find(export.name.as_bytes()).is_some_and(|entry| {
                entry.blocked.is_none()
                    && !entry.settings.readonly
                    && entry.settings.storage == export.storage
                    && !self.moved.contains(&export.name)
                    && entry.medium.seen().is_some()
            });
            !writes
        });
        let mut holders: HashMap<Place, Vec<&Export>> = HashMap::new();
        for (export, probe) in writable {
            let places = probe.identity.places();
            let others: Vec<&Export> =
                places.iter().flat_map(|place| holders.get(place)).flatten().copied().collect();
            if let Some(holder) = others.first() {
                let both = format!(
                    "exports {} ({}:{}) and {} ({}:{}) both write to the disk at {}",
                    holder.name,
                    holder.origin.file.display(),
                    holder.origin.line,
                    export.name,
                    export.origin.file.display(),
                    export.origin.line,
                    export.storage.path
                );
                if export.exclusive || others.iter().any(|other| other.exclusive) {
                    self.blocked.insert(export.name.clone(), format!("{both}, and one of them is exclusive"));
                    continue;
                }
                self.warnings.push(both);
            }
            for place in places {
                holders.entry(place).or_default().push(export);
            }
        }
    }
}

impl Finding {
    fn moved(&self) -> bool {
        // Also where it is not the disk that is wanted: sessions on it have to go.
        let (Some(probe), Some(medium)) = (&self.found, &self.running) else { return false };
        medium.seen().is_some_and(|seen| !seen.identity.same_disk(&probe.identity))
    }

    /// Old and new size, when the disk is the same and its size is not.
    #[must_use]
    pub fn resized(&self) -> Option<(u64, u64)> {
        let (Ok(probe), Some(medium)) = (&self.probe, &self.running) else { return None };
        let seen = medium.seen()?;
        (seen.size != probe.size && seen.identity.same_disk(&probe.identity))
            .then_some((seen.size, probe.size))
    }
}

fn judge(assembly: &Assembly<'_>, probe: Result<Probe, String>, running: &Catalog) -> Finding {
    let export = assembly.settings;
    let found = probe.as_ref().ok().cloned();
    let probe = probe
        .map_err(|why| format!("{}: {why}", export.storage.path))
        .and_then(|probe| assembly.is_wanted(&probe.identity).map(|()| probe));
    let running = running
        .find(export.name.as_bytes())
        .filter(|entry| entry.settings.storage == export.storage)
        .map(|entry| entry.medium.clone());
    Finding { found, probe, running }
}

/// Whether two media lead to one disk, as far as both were seen.
#[must_use]
pub fn same_disk(one: &Medium, other: &Medium) -> bool {
    let places = |medium: &Medium| medium.seen().map_or_else(Vec::new, |seen| seen.identity.places());
    let other = places(other);
    places(one).iter().any(|place| other.contains(place))
}

/// The entry of a running export that stays as it is, or one made anew with the same medium.
#[must_use]
pub fn entry(settings: &Export, medium: Arc<Medium>, blocked: Option<String>) -> Arc<Entry> {
    let name = ExportName::from(settings.name.as_bytes());
    Arc::new(Entry { name, settings: settings.clone(), medium, blocked })
}
