//! Whether the server may be replaced now: decided from what was seen, and nothing is done.

use super::leads::Lead;
use super::listing::{Announced, Reading, Seen};
use super::original::{Twice, unguarded};
use super::program::Kind;
use crate::text::{counted, name, shown};
use crate::words::problem;
use control::view::{Startup, StartupExport};
use std::collections::BTreeMap;

/// What was seen.
pub struct Facts<'a> {
    /// What serves from now on.
    pub coming: Kind,
    /// What serves now.
    pub running: Option<Kind>,
    /// What a start of what is coming comes to, as ours says; none where nobody of ours can be asked.
    pub startup: Option<&'a Startup>,
    /// Names that several files describe.
    pub twice: Vec<Twice>,
    /// What of the exports of now leads to another disk then.
    pub leads: Option<BTreeMap<String, Lead>>,
    /// Exports of which ours refuses the disk that is at their path now, and why.
    pub swapped: BTreeMap<String, String>,
    /// What is served now; none where no server runs.
    pub now: Option<&'a [Seen]>,
    /// Who is connected, each a sentence.
    pub clients: &'a [String],
    /// Bytes that are free where the backup goes, and that are needed.
    pub room_for_backup: (u64, u64),
    /// The same beside the target.
    pub room_for_target: (u64, u64),
    /// What has no rights here, or is in the way.
    pub obstacles: Vec<String>,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is not done, whatever is said.
    pub refused: Vec<String>,
    /// Why it is done with `--yes` only.
    pub asks: Vec<String>,
    /// What changes for exports, like a plan.
    pub changes: Vec<String>,
    /// Exports that are served now, and nobody has seen from which disk.
    pub unseen: Vec<String>,
    /// What is no failure afterwards.
    pub announced: Announced,
}

/// Decides.
pub fn decide(facts: &Facts<'_>) -> Verdict {
    let mut verdict = Verdict { refused: facts.obstacles.clone(), ..Verdict::default() };
    for (what, (free, needed)) in
        [("the backup", facts.room_for_backup), ("the target", facts.room_for_target)]
    {
        if free < needed {
            verdict
                .refused
                .push(format!("there is no room for {what}: {free} bytes are free, {needed} are needed"));
        }
    }
    if let Some(startup) = facts.startup {
        judge_start(facts.coming, startup, &mut verdict);
        if facts.coming == Kind::Original && facts.running != Some(Kind::Original) {
            verdict.asks.extend(unguarded(startup));
        }
        facts.twice.iter().for_each(|twice| judge_twice(facts, twice, &mut verdict));
        match (facts.running, facts.now) {
            (Some(_), None) => verdict.unseen = served(startup),
            (_, now) => compare(facts, startup, now.unwrap_or_default(), &mut verdict),
        }
    }
    if !facts.clients.is_empty() {
        let many = counted(
            facts.clients.len() as u64,
            "connection is open and ends",
            "connections are open and end",
        );
        verdict.asks.push(format!("{many} with the restart: {}", facts.clients.join("; ")));
    }
    verdict
}

/// What of an earlier look is not as it was, whoever serves.
pub fn since(startup: Option<&Startup>, before: &[Seen]) -> Announced {
    let Some(startup) = startup else { return Announced::default() };
    let facts = Facts {
        coming: Kind::Enhanced,
        running: None,
        startup: Some(startup),
        twice: Vec::new(),
        leads: None,
        swapped: BTreeMap::new(),
        now: Some(before),
        clients: &[],
        room_for_backup: (0, 0),
        room_for_target: (0, 0),
        obstacles: Vec::new(),
    };
    decide(&facts).announced
}

impl Verdict {
    /// What becomes of the exports, and no more than was seen.
    pub fn about_exports(&self) -> Vec<String> {
        let mut lines = self.changes.clone();
        let unseen: Vec<_> = self.unseen.iter().map(|export| name(export)).collect();
        match (lines.is_empty(), unseen.is_empty()) {
            (true, true) => lines.push("no export will be another than now".into()),
            (true, false) => lines.push("no export is seen to become another than now".into()),
            (false, _) => {}
        }
        if !unseen.is_empty() {
            lines.push(format!("? it cannot be seen which disk is served now as {}", unseen.join(", ")));
        }
        lines
    }
}

/// Whether it starts at all. The original starts with all files or not at all.
fn judge_start(coming: Kind, startup: &Startup, verdict: &mut Verdict) {
    for refused in &startup.refused {
        verdict.refused.push(format!("it would not start with this configuration: {}", problem(refused)));
    }
    if !startup.starts && startup.refused.is_empty() {
        verdict.refused.push("it would not start with this configuration".into());
    }
    for kept in &startup.kept_back {
        let what = problem(&kept.problem);
        verdict.changes.push(format!("= kept back: {what}"));
        if coming == Kind::Original {
            verdict.asks.push(format!("the original does not start with a file that is broken: {what}"));
        }
    }
}

/// One name, several disks. Whoever wrote the files knows which one is meant.
fn judge_twice(facts: &Facts<'_>, twice: &Twice, verdict: &mut Verdict) {
    let seen = facts.now.and_then(|now| now.iter().find(|seen| seen.name == twice.name));
    let open = seen.and_then(|seen| seen.disk.as_ref()).map(|disk| disk.path.as_str());
    let then = twice.leads_to(facts.coming, None);
    let now = facts.running.map(|kind| format!("it leads to {} now, and ", twice.leads_to(kind, open)));
    let line = format!("{}: {}will lead to {then}", twice.about(), now.unwrap_or_default());
    verdict.changes.push(format!("~ {line}"));
    if !twice.one_disk {
        verdict.asks.push(format!("{line}; remove or rename one of them"));
    }
}

/// What is configured for clients.
fn served(startup: &Startup) -> Vec<String> {
    let exports = startup.exports.iter();
    let exports = exports.filter(|export| !export.placeholder && export.unavailable.is_none());
    exports.map(|export| export.name.clone()).collect()
}

fn compare(facts: &Facts<'_>, startup: &Startup, now: &[Seen], verdict: &mut Verdict) {
    let wanted: BTreeMap<&str, &StartupExport> =
        startup.exports.iter().map(|export| (export.name.as_str(), export)).collect();
    for seen in now {
        match wanted.get(seen.name.as_str()) {
            None => lose(seen, "the configuration has it no more", '-', verdict),
            Some(export) => match &export.unavailable {
                Some(why) => lose(seen, why, '!', verdict),
                None => become_another(facts, seen, export, verdict),
            },
        }
    }
    for export in startup.exports.iter().filter(|export| now.iter().all(|seen| seen.name != export.name)) {
        let (path, named) = (shown(&export.path), name(&export.name));
        verdict.changes.push(match (&export.unavailable, export.size) {
            (Some(why), _) => format!("! {named} {path} unavailable: {}", shown(why)),
            (None, Some(size)) => format!("+ {named} {path} {size} bytes"),
            (None, None) => format!("+ {named} {path}"),
        });
    }
}

/// An export of today that will not be served.
fn lose(seen: &Seen, why: &str, sign: char, verdict: &mut Verdict) {
    let (export, why) = (name(&seen.name), shown(why));
    verdict.changes.push(format!("{sign} {export} will not be served: {why}"));
    if matches!(seen.reading, Reading::Good | Reading::Strange(_)) {
        verdict.asks.push(format!("{export} can be read now and would not be served: {why}"));
    }
    verdict.announced.lost.insert(seen.name.clone(), why.into_owned());
}

/// Another disk, or another size. A migration that goes on afterwards would write there.
fn become_another(facts: &Facts<'_>, seen: &Seen, export: &StartupExport, verdict: &mut Verdict) {
    let named = name(&seen.name);
    let mut lines = Vec::new();
    let lead = facts.leads.as_ref().and_then(|leads| leads.get(&seen.name));
    match (lead, &seen.reading) {
        (Some(Lead::Other(now, then)), _) => {
            lines.push(format!("{named} leads to {} now, and will lead to {}", shown(now), shown(then)));
        }
        (_, Reading::Strange(why)) => {
            lines.push(format!("{named} will be what its path leads to now: {}", shown(why)));
        }
        (Some(Lead::Unknown), _) => verdict.unseen.push(seen.name.clone()),
        // A start is a word that the disk of now is meant, as a reload is.
        _ => lines.extend(facts.swapped.get(&seen.name).cloned()),
    }
    if let (Some(was), Some(is)) = (seen.size, export.size)
        && was != is
    {
        lines.push(format!("{named} size: {was} → {is}"));
        verdict.announced.resized.insert(seen.name.clone(), is);
    }
    verdict.changes.extend(lines.iter().map(|line| format!("~ {line}")));
    let is_asked_about = facts.twice.iter().any(|twice| twice.name == seen.name && !twice.one_disk);
    if lead != Some(&Lead::Same) && !is_asked_about {
        verdict.asks.extend(lines);
    }
}

#[cfg(test)]
#[path = "preflight/tests.rs"]
mod tests;
