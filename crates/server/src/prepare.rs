//! What can fail, or be found out, before a reload changes anything: looking at every path, and who claims which disk.

use crate::assemble::Assembly;
use crate::catalog::{Catalog, Entry};
use crate::look::{Found, look, unseen};
use crate::medium::Medium;
use crate::writers::{Writer, Writers, both, refusal};
use config::{Config, Export, OnChange};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use store::{Identity, Probe};

/// What one wanted export's path leads to at this moment.
pub struct Finding {
    /// What is there, also if it may not be served.
    pub found: Option<Probe>,
    /// What is there, or why it cannot be served. Nothing where the path depends on the client.
    pub probe: Result<Option<Probe>, String>,
    /// What is at the paths of single clients, where the path depends on the client.
    pub scattered: Vec<(PathBuf, Option<Probe>)>,
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
    pub fn look(wanted: &Config, catalog: &Catalog) -> Self {
        let running = |export: &Export| same_storage(export, catalog);
        let errands: Vec<Errand> =
            wanted.exports.iter().map(|export| Errand::new(export, running(export))).collect();
        let mut probes = look(errands.iter().flat_map(Errand::assemblies).cloned().collect()).into_iter();
        let findings: Vec<Finding> = errands.into_iter().map(|errand| errand.judge(&mut probes)).collect();
        let moved = wanted
            .exports
            .iter()
            .zip(&findings)
            .filter(|(_, finding)| finding.moved())
            .map(|(export, _)| export.name.clone())
            .collect();
        Self { findings, moved, blocked: HashMap::new(), warnings: Vec::new() }
    }

    /// The disks that sessions write to that stay where they are, though their export goes (`on_change = keep`): those of
    /// earlier reloads, and those of this one.
    fn stayers(
        &self,
        wanted: &Config,
        running: &Catalog,
        retired: &[Arc<Medium>],
    ) -> Vec<(Writer, Identity)> {
        let named: HashMap<&[u8], _> = wanted
            .exports
            .iter()
            .zip(&self.findings)
            .map(|(export, finding)| (export.name.as_bytes(), (export, finding)))
            .collect();
        let left = |entry: &Entry| match named.get(entry.name.as_bytes()) {
            None if entry.settings.on_change == OnChange::Keep => entry.medium.written(),
            Some((export, finding)) if export.on_change == OnChange::Keep => {
                if finding.running.is_none() || self.moved.contains(&export.name) {
                    let written = entry.medium.written().into_iter();
                    written.filter(|disk| !finding.takes_along(disk)).collect()
                } else {
                    entry.medium.written_elsewhere(&finding.scattered)
                }
            }
            _ => Vec::new(),
        };
        let going = running.entries().iter().map(|entry| (&entry.medium, left(entry)));
        // To one that was closed nobody comes.
        let retired = retired.iter().filter(|medium| !medium.sitters().is_empty());
        let stayed = retired.map(|medium| (medium, medium.written()));
        let writer = |medium: &Arc<Medium>| Writer::stayer(&medium.name);
        going
            .chain(stayed)
            .flat_map(|(medium, disks)| disks.into_iter().map(move |disk| (writer(medium), disk)))
            .collect()
    }

    /// The disks that sessions of exports write to that stay, and of which nobody can tell what is at their path: it does not
    /// answer, is away for a moment, or depends on the client.
    fn unseen_writers<'a>(&self, wanted: &'a Config, running: &Catalog) -> Vec<(&'a Export, Identity)> {
        let unseen = wanted.exports.iter().zip(&self.findings).filter(|(export, finding)| {
            !export.readonly && !self.moved.contains(&export.name) && !matches!(&finding.probe, Ok(Some(_)))
        });
        let written = |(export, finding): (&'a Export, &Finding)| {
            let medium = finding.running.as_ref()?;
            running.find(export.name.as_bytes()).filter(|entry| entry.blocked.is_none())?;
            let leaves = medium.written_elsewhere(&finding.scattered);
            let stays = medium.written().into_iter().filter(move |disk| !leaves.contains(disk));
            Some(stays.map(move |disk| (export, disk)))
        };
        unseen.filter_map(written).flatten().collect()
    }

    /// P5: two writable exports on one disk are allowed and warned of; `exclusive` on either makes it an error, and the
    /// one being served goes on. Who stays on a disk of an export that goes writes there too.
    ///
    /// `retired`: what sessions kept from exports that are no more.
    pub fn claim(&mut self, wanted: &Config, running: &Catalog, retired: &[Arc<Medium>]) {
        let mut writable: Vec<(&Export, &Probe)> = wanted
            .exports
            .iter()
            .zip(&self.findings)
            .filter(|(export, _)| !export.readonly && export.storage.changes.reach_the_path())
            .filter_map(|(export, finding)| Some((export, finding.probe.as_ref().ok()?.as_ref()?)))
            .collect();
        // Who writes there comes first, then who was to, so that the newcomer is the one to give way.
        let turn = |export: &Export, probe: &Probe| {
            let entry = running.find(export.name.as_bytes()).filter(|entry| {
                entry.blocked.is_none()
                    && !entry.settings.readonly
                    && entry.settings.storage == export.storage
            });
            let Some(entry) = entry else { return Turn::Comes };
            // Files follow their path: where one was replaced, sessions may be on the new one already.
            if entry.medium.written().iter().any(|disk| disk.same_disk(&probe.identity)) {
                return Turn::Writes;
            }
            let is_its_own = entry.medium.is_judged() && !self.moved.contains(&export.name);
            if is_its_own { Turn::Served } else { Turn::Comes }
        };
        writable.sort_by_cached_key(|(export, probe)| turn(export, probe));
        let mut writers = Writers::default();
        for (writer, disk) in self.stayers(wanted, running, retired) {
            writers.add(&disk.places(), &writer);
        }
        for (export, disk) in self.unseen_writers(wanted, running) {
            writers.add(&disk.places(), &Writer::unseen(export));
        }
        let was_exclusive = |export: &Export| {
            running.find(export.name.as_bytes()).is_some_and(|entry| entry.settings.exclusive)
        };
        for (export, probe) in writable {
            let places = probe.identity.places();
            let (writer, others) = (Writer::export(export), writers.of(&places));
            if let Some(holder) = others.first() {
                let path = &export.storage.path;
                let exclusive = writer.exclusive || others.iter().any(|other| other.exclusive);
                // Turning to `exclusive` does not end those who are served, as long as nobody else is to come.
                let is_there = match turn(export, probe) {
                    Turn::Writes => true,
                    Turn::Served => was_exclusive(export),
                    Turn::Comes => false,
                };
                let served = is_there && others.iter().all(|other| other.goes_on);
                if exclusive && !served {
                    self.blocked.insert(export.name.clone(), refusal(holder, &writer, path));
                    continue;
                }
                self.warnings.push(both(holder, &writer, path));
            }
            writers.add(&places, &writer);
        }
    }
}

/// Of those who may write to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Its sessions are there.
    Writes,
    /// It is served from there, and nobody is.
    Served,
    /// It was not there before, or its disk was not.
    Comes,
}

/// What to look at for one export.
struct Errand {
    path: String,
    common: Option<Assembly>,
    scattered: Vec<Assembly>,
    running: Option<Arc<Medium>>,
}

impl Errand {
    fn new(export: &Export, running: Option<Arc<Medium>>) -> Self {
        let paths = running.as_ref().map(|medium| medium.scattered()).unwrap_or_default();
        let scattered = paths.iter().map(|path| Assembly::at(export, path)).collect();
        Self { path: export.storage.path.clone(), common: Assembly::for_all(export), scattered, running }
    }

    fn assemblies(&self) -> impl Iterator<Item = &Assembly> {
        self.common.iter().chain(&self.scattered)
    }

    /// `probes` gives what was found for each of the assemblies, in their order.
    fn judge(self, probes: &mut impl Iterator<Item = Found>) -> Finding {
        let mut next = || probes.next().unwrap_or_else(|| unseen("it was not looked at".into()));
        let common = self.common.as_ref().map(|assembly| (assembly, next()));
        let scattered = self.scattered.iter().map(|assembly| (assembly.path.clone(), next().ok())).collect();
        let Some((assembly, probe)) = common else {
            return Finding { found: None, probe: Ok(None), scattered, running: self.running };
        };
        // What is still waited for is no other disk than the one that may have come.
        let found = probe.as_ref().ok().filter(|probe| !(assembly.may_wait() && probe.to_be_created()));
        let found = match &probe {
            Err(error) if error.is_missing() => self.running.as_ref().and_then(|medium| medium.deleted()),
            _ => found.cloned(),
        };
        let probe = probe
            .map_err(|error| format!("{}: {}", self.path, error.cause))
            .and_then(|probe| assembly.is_wanted(&probe.identity).map(|()| Some(probe)));
        Finding { found, probe, scattered, running: self.running }
    }
}

impl Finding {
    fn moved(&self) -> bool {
        // Also where it is not the disk that is wanted: sessions on it have to go.
        let (Some(probe), Some(medium)) = (&self.found, &self.running) else { return false };
        medium.seen().is_some_and(|seen| !seen.identity.same_disk(&probe.identity))
    }

    /// Whoever is on this disk already goes on there under the same name ([`Medium::successor`]).
    fn takes_along(&self, disk: &Identity) -> bool {
        self.running.is_some() && self.found.as_ref().is_some_and(|found| found.identity.same_disk(disk))
    }

    /// Old and new size, when the disk is the same and its size is not.
    #[must_use]
    pub fn resized(&self) -> Option<(u64, u64)> {
        let (Ok(Some(probe)), Some(medium)) = (&self.probe, &self.running) else { return None };
        let seen = medium.seen()?;
        (seen.size != probe.size && seen.identity.same_disk(&probe.identity))
            .then_some((seen.size, probe.size))
    }
}

/// The medium of the running export of that name, if its storage is the same.
fn same_storage(export: &Export, running: &Catalog) -> Option<Arc<Medium>> {
    let entry = running.find(export.name.as_bytes());
    let entry = entry.filter(|entry| entry.settings.storage == export.storage);
    entry.map(|entry| entry.medium.clone())
}

/// Whether two media lead to one disk, or one to a part of the other's, as far as both were seen.
#[must_use]
pub fn same_disk(one: &Medium, other: &Medium) -> bool {
    let (one, other) = (one.seen(), other.seen());
    one.zip(other).is_some_and(|(one, other)| one.identity.overlaps(&other.identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use store::{DeviceIdentity, Kind, Partition};

    /// The successor on a partition waits for what hangs on the whole disk.
    #[test]
    fn a_disk_and_its_partition_stand_in_each_others_way() {
        let medium = |partition: Option<Partition>, minor| {
            let device =
                DeviceIdentity { rdev: (8, minor), diskseq: Some(7), partition, ..Default::default() };
            let medium =
                Medium::new(&Export::new("disk".into(), format!("/dev/{minor}")), Log::to(|_, _| ()));
            let (identity, kind) = (Identity::Device(device), Kind::BlockDevice);
            medium.remember(&Probe { identity, size: 4096, kind, device: None });
            medium
        };
        let part = |number| Some(Partition { number, start: number << 20 });
        let (whole, one, two) = (medium(None, 0), medium(part(1), 1), medium(part(2), 2));
        assert!(same_disk(&whole, &one) && same_disk(&two, &whole) && !same_disk(&one, &two));
    }
}
