//! What `--fix` would do: files follow the database, as far as nobody has to guess. A pure decision, nothing is done.
//!
//! A disk is given to an export only where the database agrees with itself about it, it is there, nobody else is given it,
//! and no other export that stays has it. Changes that need each other (two exports that swap their disks) go together.

mod reload;

use super::claims::{Claim, Claims};
use super::look::{Described, Files, Look};
use super::node::{Node, Nodes, clash, same};
use control::view::ExportSettings;
use std::collections::BTreeMap;

pub use reload::needs_reload;

/// The keys that the appliance writes beside the path, as it writes them.
const AS_WRITTEN: [&str; 3] = ["readonly", "multifile", "copyonwrite"];

/// What is done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The export.
    pub export: String,
    /// Its settings from now on; none where the file goes.
    pub to: Option<ExportSettings>,
    /// What would bring back what is there now; none where the export is new.
    pub back: Option<ExportSettings>,
}

/// What is done, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mending {
    /// Changes that need each other, in their order: all of a group, or none of it.
    pub groups: Vec<Vec<Change>>,
    /// Exports that are left alone, and why.
    pub left: BTreeMap<String, String>,
    /// Why nothing at all may be done.
    pub held: Option<String>,
}

/// A change, and the disks that it is about.
struct Candidate {
    change: Change,
    /// The path that it takes; none where it only lets go.
    takes: Option<String>,
    /// The path that it lets go.
    leaves: Option<String>,
}

/// What was asked for.
pub struct Wanted<'a> {
    /// Exports that are looked at.
    pub prefix: &'a str,
    /// An empty database is meant.
    pub allow_empty: bool,
    /// Whether what is said of an export has been the same for long enough.
    pub lasting: &'a dyn Fn(&str) -> bool,
}

/// What would be done after this look.
pub fn mend(look: &Look, wanted: &Wanted<'_>, nodes: Nodes<'_>) -> Mending {
    let Wanted { prefix, allow_empty, lasting } = *wanted;
    let files = Files::of(look);
    let claims = look.rows.as_ref().map(|rows| Claims::of(rows, prefix, nodes));
    let mut mending = Mending::default();
    let mut candidates = BTreeMap::new();
    if let Some(claims) = &claims {
        let judge = Judge { claims, files: &files, allow_empty, nodes };
        for name in judge.names(prefix) {
            match judge.candidate(&name) {
                Ok(Some(candidate)) if lasting(&name) => {
                    candidates.insert(name, candidate);
                }
                Ok(Some(_)) => {
                    mending.left.insert(name, "not written: it has only just changed".into());
                }
                Ok(None) => {}
                Err(why) => {
                    mending.left.insert(name, why);
                }
            }
        }
        drop_what_is_taken(look, &files, &mut candidates, &mut mending.left, nodes);
    }
    let judged = reload::Judged { look, prefix, claims: claims.as_ref(), files: &files, lasting, nodes };
    mending.held = judged.held(&|name| candidates.contains_key(name));
    mending.groups = grouped(candidates, nodes);
    mending
}

/// Why a reload may not be asked for after this look, files being what they are.
pub fn held_back(look: &Look, wanted: &Wanted<'_>, nodes: Nodes<'_>) -> Option<String> {
    let Wanted { prefix, lasting, .. } = *wanted;
    let claims = look.rows.as_ref().map(|rows| Claims::of(rows, prefix, nodes));
    let files = Files::of(look);
    reload::Judged { look, prefix, claims: claims.as_ref(), files: &files, lasting, nodes }.held(&|_| false)
}

/// Decides about one export after the other.
struct Judge<'a> {
    claims: &'a Claims,
    files: &'a Files,
    allow_empty: bool,
    nodes: Nodes<'a>,
}

impl Judge<'_> {
    /// All exports that are the database's business.
    fn names(&self, prefix: &str) -> Vec<String> {
        let in_files =
            self.files.iter().filter(|(name, at)| name.starts_with(prefix) && self.files.is_included(at));
        let mut names: Vec<String> = self
            .claims
            .iter()
            .map(|(name, _)| name)
            .chain(in_files.map(|(name, _)| name))
            .map(Into::into)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What is to be done about an export: nothing where all is well, or why it is left alone.
    fn candidate(&self, name: &str) -> Result<Option<Candidate>, String> {
        let at = self.files.get(name);
        let unclear = || -> Result<(), String> {
            let it = if self.files.is_unclear(name) { Err("left: mend its file first") } else { Ok(()) };
            it.map_err(Into::into)
        };
        let Some(claim) = self.claims.get(name) else {
            let Some(at) = at else { return Ok(None) };
            unclear()?;
            if self.claims.iter().next().is_none() && !self.allow_empty {
                return Err("the database has no exports at all: --allow-empty removes them all".into());
            }
            return Ok(Some(removal(name, at)));
        };
        let path = match claim {
            Claim::Path(path) => path,
            Claim::Failed(_) if at.is_some() => return Err("left: it has failed, see to it".into()),
            Claim::Failed(_) => return Ok(None),
            Claim::NoPath | Claim::Torn(_) | Claim::Doubtful(..) => {
                return Err("left: mend the database first".into());
            }
        };
        if at.is_some_and(|at| same(path, &at.path, self.nodes)) {
            return Ok(None);
        }
        unclear()?;
        if let Some(at) = at
            && !self.files.is_included(at)
        {
            let whose = at.file.as_deref().unwrap_or("the command line");
            return Err(format!("{whose} describes it: change it there"));
        }
        if let Node::Nothing(why) = (self.nodes)(path) {
            return Err(format!("not written: {path} {why}"));
        }
        if let Some(rival) = self.claims.rival(name, path, self.nodes) {
            return Err(format!("not written: the database gives {path} to {rival} too"));
        }
        Ok(Some(placing(name, path, at)))
    }
}

fn removal(name: &str, at: &Described) -> Candidate {
    let change = Change { export: name.into(), to: None, back: Some(written(&at.settings)) };
    Candidate { change, takes: None, leaves: Some(at.path.clone()) }
}

fn placing(name: &str, path: &str, at: Option<&Described>) -> Candidate {
    let mut to = written(at.map(|at| &at.settings).unwrap_or(&ExportSettings::new()));
    // A path in a file is a template.
    to.insert("exportname".into(), path.replace('%', "%%"));
    let back = at.map(|at| written(&at.settings));
    let change = Change { export: name.into(), to: Some(to), back };
    Candidate { change, takes: Some(path.into()), leaves: at.map(|at| at.path.clone()) }
}

/// With the keys that the appliance writes always, so that its programs find what they expect.
fn written(settings: &ExportSettings) -> ExportSettings {
    let mut written: ExportSettings =
        AS_WRITTEN.iter().map(|key| ((*key).to_owned(), "false".to_owned())).collect();
    written.extend(settings.clone());
    written
}

/// Nobody is given a disk that an export has which stays there. Who is left alone for that stays too.
fn drop_what_is_taken(
    look: &Look,
    files: &Files,
    candidates: &mut BTreeMap<String, Candidate>,
    left: &mut BTreeMap<String, String>,
    nodes: Nodes<'_>,
) {
    let hanging: Vec<(&str, &str)> = look
        .exports
        .iter()
        .flat_map(|export| &export.hanging)
        .map(|hanging| (hanging.export.as_str(), hanging.path.as_str()))
        .collect();
    loop {
        let taken = candidates.iter().find_map(|(name, candidate)| {
            let path = candidate.takes.as_deref()?;
            let is_it = |other: &str| clash(path, other, nodes);
            let mut stay = files.holders(name, is_it).filter(|other| !candidates.contains_key(*other));
            let hangs = hanging
                .iter()
                .find(|(_, other)| is_it(other))
                .map(|(other, _)| format!("not written: a request of {other} to {path} does not come back"));
            let stays = stay.next().map(|other| format!("not written: {other} has {path}"));
            Some((name.clone(), stays.or(hangs)?))
        });
        let Some((name, why)) = taken else { return };
        candidates.remove(&name);
        left.insert(name, why);
    }
}

/// Together is what takes a disk that another lets go. Those that only let go come first.
fn grouped(candidates: BTreeMap<String, Candidate>, nodes: Nodes<'_>) -> Vec<Vec<Change>> {
    let mut groups: Vec<Vec<Candidate>> = Vec::new();
    for candidate in candidates.into_values() {
        let (joined, apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| need(other, &candidate, nodes)));
        groups = apart;
        groups.push(joined.into_iter().flatten().chain([candidate]).collect());
    }
    let changes = |mut group: Vec<Candidate>| {
        group.sort_by_key(|candidate| candidate.takes.is_some());
        group.into_iter().map(|candidate| candidate.change).collect()
    };
    groups.into_iter().map(changes).collect()
}

fn need(one: &Candidate, other: &Candidate, nodes: Nodes<'_>) -> bool {
    let takes = |taker: &Candidate, giver: &Candidate| match (&taker.takes, &giver.leaves) {
        (Some(takes), Some(leaves)) => clash(takes, leaves, nodes),
        _ => false,
    };
    takes(one, other) || takes(other, one)
}

#[cfg(test)]
mod tests;
