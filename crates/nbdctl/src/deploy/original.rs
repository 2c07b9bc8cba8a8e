//! What 3.24 makes of a configuration otherwise than ours, where that decides which disk a client gets: it does not start
//! without an export (D-12 of `docs/differences.md`), knows one name twice (D-36), and passes over links in `includedir`
//! (D-37).

use super::leads::Disk;
use super::program::Kind;
use crate::text::{name, shown};
use control::view::{KeptBack, Problem, Startup, StartupExport};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A name that several files describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice {
    /// The name.
    pub name: String,
    /// All files that describe it.
    pub files: Vec<String>,
    /// Where it leads in ours.
    pub ours: String,
    /// Where it leads in 3.24 who asks by GO; none where 3.24 has none of them.
    pub by_go: Option<String>,
    /// Where it leads there who asks by EXPORT_NAME, as old clients do.
    pub by_export_name: Option<String>,
    /// All of them lead to one disk.
    pub one_disk: bool,
}

/// What a start of this program comes to, of what a start of ours would.
pub fn startup_of(kind: Kind, ours: &Startup) -> Startup {
    let mut startup = ours.clone();
    if kind == Kind::Enhanced {
        return startup;
    }
    let order = Order::of(ours);
    let is_left_out = |kept: &KeptBack| {
        let twice = |one: &StartupExport| {
            one.file.as_ref() == Some(&kept.problem.file) && kept.exports.contains(&one.name)
        };
        ours.twice.iter().any(twice) || order.is_link(&kept.problem.file)
    };
    startup.kept_back.retain(|kept| !is_left_out(kept));
    for export in &mut startup.exports {
        let there = order.descriptions(ours, &export.name);
        match there.last() {
            Some(last) if last.file != export.file => *export = alone(last),
            Some(last) if is_kept_out(last) => *export = StartupExport { unavailable: None, ..alone(last) },
            Some(_) => {}
            None => {
                let file = export.file.clone().unwrap_or_default();
                export.unavailable = Some(format!("3.24 passes over {file}, which is a link"));
            }
        }
    }
    if startup.starts
        && startup.exports.iter().all(|export| order.descriptions(ours, &export.name).is_empty())
    {
        startup.starts = false;
        let reason = "the original does not start without an export that it can see".into();
        startup.refused.push(Problem { file: ours.configuration.clone(), line: None, key: None, reason });
    }
    startup
}

/// Keys that keep clients from a disk, or one client's writes from another's, and what 3.24 does, which has none of them.
const GUARDS: [(&str, &str); 4] = [
    ("overlay", "would be written to itself"),
    ("identity", "would be served whichever disk it is"),
    ("exclusive", "would be served whoever else writes to it"),
    ("tls_allow", "would be served to clients of every name"),
];

/// What keeps clients from disks in ours, and would not any more.
pub fn unguarded(startup: &Startup) -> Vec<String> {
    let of = |export: &StartupExport| {
        let keys = GUARDS.iter().filter(|(key, _)| export.settings.contains_key(*key));
        let say = |(key, what): &(&str, &str)| {
            let (named, path) = (name(&export.name), shown(&export.path));
            format!("{named} has {key}, which 3.24 passes over: {path} {what}")
        };
        keys.map(say).collect::<Vec<_>>()
    };
    startup.exports.iter().flat_map(of).collect()
}

/// Ours keeps it out by a key that 3.24 does not know.
fn is_kept_out(export: &StartupExport) -> bool {
    let guarded = ["identity", "exclusive"].iter().any(|key| export.settings.contains_key(*key));
    export.unavailable.is_some() && guarded && Disk::at(&export.path).is_some()
}

/// The names that several files describe, and where they lead.
pub fn twice(ours: &Startup) -> Vec<Twice> {
    let order = Order::of(ours);
    let winner = |one: &StartupExport| ours.exports.iter().find(|export| export.name == one.name);
    let mut all: BTreeMap<&str, Twice> = BTreeMap::new();
    for (one, winner) in ours.twice.iter().filter_map(|one| Some((one, winner(one)?))) {
        let there = order.descriptions(ours, &one.name);
        let disks = described(ours, &one.name).map(|one| (one.path.as_str(), Disk::at(&one.path)));
        let disks: Vec<_> = disks.collect();
        let is_first = |(path, disk): &(&str, Option<Disk>)| match (disk, &disks[0].1) {
            (Some(disk), Some(first)) => disk.is(first),
            _ => *path == disks[0].0,
        };
        all.insert(
            &one.name,
            Twice {
                name: one.name.clone(),
                files: described(ours, &one.name).filter_map(|one| one.file.clone()).collect(),
                ours: winner.path.clone(),
                by_go: there.last().map(|one| one.path.clone()),
                by_export_name: there.first().map(|one| one.path.clone()),
                one_disk: disks.iter().all(is_first),
            },
        );
    }
    all.into_values().collect()
}

impl Twice {
    /// Where it leads in such a server; `open` is what that was seen to have open for who asks by GO.
    pub fn leads_to(&self, kind: Kind, open: Option<&str>) -> String {
        let (go, export_name) = match kind {
            Kind::Enhanced => (Some(&self.ours), Some(&self.ours)),
            Kind::Original => (self.by_go.as_ref(), self.by_export_name.as_ref()),
        };
        let go = open.or(go.map(String::as_str)).unwrap_or("nothing");
        match export_name.filter(|path| path.as_str() != go) {
            Some(other) => format!("{}, and who asks by EXPORT_NAME to {}", shown(go), shown(other)),
            None => shown(go).into_owned(),
        }
    }

    /// What it is about.
    pub fn about(&self) -> String {
        format!("{} is described in {}", name(&self.name), shown(&self.files.join(" and in ")))
    }
}

/// Everything that describes a name: what ours takes first.
fn described<'a>(ours: &'a Startup, name: &'a str) -> impl Iterator<Item = &'a StartupExport> {
    ours.exports.iter().chain(&ours.twice).filter(move |one| one.name == name)
}

/// A description that ours does not follow, and so has not looked at.
fn alone(export: &StartupExport) -> StartupExport {
    let size = fs::metadata(&export.path).ok().filter(fs::Metadata::is_file).map(|file| file.len());
    StartupExport { size: size.filter(|_| !export.settings.contains_key("filesize")), ..export.clone() }
}

/// In which order 3.24 reads: the main file, and its directory as the system lists it.
struct Order {
    main: PathBuf,
    places: BTreeMap<PathBuf, usize>,
}

impl Order {
    fn of(startup: &Startup) -> Self {
        let main = PathBuf::from(&startup.configuration);
        let all = startup.exports.iter().chain(&startup.twice).filter_map(|one| one.file.as_ref());
        let dirs = all.map(Path::new).filter(|file| *file != main).filter_map(Path::parent);
        let mut dirs: Vec<&Path> = dirs.collect();
        dirs.dedup();
        let mut places = BTreeMap::new();
        for entry in dirs.into_iter().flat_map(fs::read_dir).flatten().flatten() {
            let next = places.len() + 1;
            places.entry(entry.path()).or_insert(next);
        }
        Self { main, places }
    }

    fn is_link(&self, file: &str) -> bool {
        Path::new(file) != self.main
            && fs::symlink_metadata(file).is_ok_and(|what| what.file_type().is_symlink())
    }

    /// What 3.24 has of a name, in its order.
    fn descriptions<'a>(&self, ours: &'a Startup, name: &'a str) -> Vec<&'a StartupExport> {
        let is_read = |one: &&StartupExport| one.file.as_ref().is_none_or(|file| !self.is_link(file));
        let mut all: Vec<&StartupExport> = described(ours, name).filter(is_read).collect();
        all.sort_by_key(|one| one.file.as_ref().and_then(|file| self.places.get(Path::new(file))));
        all
    }
}

#[cfg(test)]
#[path = "original/tests.rs"]
mod tests;
