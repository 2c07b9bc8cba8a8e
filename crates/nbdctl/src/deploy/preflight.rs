//! Whether the server may be replaced now: decided from what was seen, and nothing is done.

use super::listing::{Announced, Reading, Seen};
use super::program::Kind;
use crate::text::{counted, name, shown};
use crate::words::problem;
use control::view::{Startup, StartupExport};
use std::collections::BTreeMap;

/// What was seen.
pub struct Facts<'a> {
    /// What serves from now on.
    pub coming: Kind,
    /// What a start with the configuration comes to, as ours says; none where nobody of ours can be asked.
    pub startup: Option<&'a Startup>,
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
        compare(startup, facts.now.unwrap_or_default(), &mut verdict);
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

/// What of an earlier look cannot be served whoever serves, and why.
pub fn lost(startup: Option<&Startup>, before: &[Seen]) -> BTreeMap<String, String> {
    let mut verdict = Verdict::default();
    if let Some(startup) = startup {
        compare(startup, before, &mut verdict);
    }
    verdict.announced.lost
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

fn compare(startup: &Startup, now: &[Seen], verdict: &mut Verdict) {
    let wanted: BTreeMap<&str, &StartupExport> =
        startup.exports.iter().map(|export| (export.name.as_str(), export)).collect();
    for seen in now {
        match wanted.get(seen.name.as_str()) {
            None => lose(seen, "the configuration has it no more", '-', verdict),
            Some(export) => match &export.unavailable {
                Some(why) => lose(seen, why, '!', verdict),
                None => resize(seen, export, verdict),
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

fn resize(seen: &Seen, export: &StartupExport, verdict: &mut Verdict) {
    if let Reading::Strange(why) = &seen.reading {
        let line = format!("~ {} will be what its path leads to now: {}", name(&seen.name), shown(why));
        verdict.changes.push(line);
    }
    let (Some(was), Some(is)) = (seen.size, export.size) else { return };
    if was != is {
        verdict.changes.push(format!("~ {} size: {was} → {is}", name(&seen.name)));
        verdict.announced.resized.insert(seen.name.clone(), is);
    }
}

#[cfg(test)]
#[path = "preflight/tests.rs"]
mod tests;
