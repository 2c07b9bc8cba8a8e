//! What runs, beside the files and beside the devices.

use super::super::finding::{Finding, Party};
use super::super::look::Look;
use crate::words;
use control::view::{Action, Change, Export, State, Step};

const FILES: [Party; 2] = [Party::Files, Party::Memory];
const DEVICES: [Party; 2] = [Party::Memory, Party::Devices];

/// Keys of a step's changes that no file says: they are of the disk.
const OF_THE_DISK: [&str; 2] = ["disk", "size"];

/// The files and what runs.
pub fn with_files(look: &Look, prefix: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for problem in &look.plan.refused {
        let what = format!("the files cannot be followed: {}", words::problem(problem));
        findings.push(Finding::about(Vec::new(), FILES, what));
    }
    for kept in &look.plan.kept_back {
        let ours: Vec<String> =
            kept.exports.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        if !ours.is_empty() || kept.exports.is_empty() {
            let what = format!("the files cannot be followed here: {}", words::problem(&kept.problem));
            findings.push(Finding::about(ours, FILES, what));
        }
    }
    for setting in &look.plan.settings {
        let why = setting.not_applied.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let what = format!(
            "[generic] {}: the files say {}, the server has {}{why}",
            setting.key,
            value(&setting.new),
            value(&setting.old)
        );
        findings.push(Finding::about(Vec::new(), FILES, what));
    }
    let steps = look.plan.steps.iter().filter(|step| step.export.starts_with(prefix));
    findings.extend(steps.filter_map(followed));
    let gone = look.exports.iter().filter(|export| !export.configured && export.name.starts_with(prefix));
    findings.extend(gone.map(|export| {
        let why = export.reason.as_deref().unwrap_or("it is in use");
        let what = format!("the files do not have it, the server still holds {}: {why}", export.path);
        Finding::of(&export.name, FILES, what).with(Party::Memory, &export.path)
    }));
    findings
}

/// What the files say otherwise than it runs; nothing where only the disk is another one.
fn followed(step: &Step) -> Option<Finding> {
    let old = step.old.as_deref().unwrap_or_default();
    let new = step.new.as_deref().unwrap_or_default();
    let finding = |what: String| Finding::of(&step.export, FILES, what);
    let finding = match step.action {
        Action::Add => {
            finding(format!("the files say {new}, the server does not have it")).with(Party::Files, new)
        }
        Action::Remove => {
            finding(format!("the files do not have it, the server has {old}")).with(Party::Memory, old)
        }
        Action::Block => {
            let why = step.reason.as_deref().unwrap_or("it is blocked");
            finding(format!("the files do not let {old} be served any more: {why}"))
        }
        Action::ReplaceForSome => return None,
        Action::Retune | Action::Replace => {
            let Some((says, has)) = words_of(step, old, new) else {
                let why = step.reason.as_deref().filter(|_| step.changes.is_empty());
                let lead = why.filter(|_| step.action == Action::Replace);
                return lead.map(|why| finding(format!("the files and the server differ: {why}")));
            };
            let moved = finding(format!("the files say {says}, the server has {has}"));
            moved.with(Party::Files, new).with(Party::Memory, old)
        }
    };
    Some(finding)
}

/// Paths, and settings behind them where they differ.
fn words_of(step: &Step, old: &str, new: &str) -> Option<(String, String)> {
    let moved = old != new;
    let texts = step.changes.iter().filter(|change| !of_the_disk(change));
    let texts: Vec<&Change> = texts.filter(|change| !(moved && change.key == "exportname")).collect();
    let mut says: Vec<String> = moved.then(|| new.to_owned()).into_iter().collect();
    let mut has: Vec<String> = moved.then(|| old.to_owned()).into_iter().collect();
    says.extend(texts.iter().map(|change| format!("{} = {}", change.key, value(&change.new))));
    has.extend(texts.iter().map(|change| format!("{} = {}", change.key, value(&change.old))));
    (!says.is_empty()).then(|| (says.join(", "), has.join(", ")))
}

fn of_the_disk(change: &Change) -> bool {
    OF_THE_DISK.contains(&change.key.as_str())
}

fn value(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

/// What runs, and what is at its path.
pub fn with_devices(look: &Look, prefix: &str) -> Vec<Finding> {
    let ours = look.exports.iter().filter(|export| export.configured && export.name.starts_with(prefix));
    ours.filter_map(|export| {
        let what = disk(look, export)?;
        Some(Finding::of(&export.name, DEVICES, what).with(Party::Memory, &export.path))
    })
    .collect()
}

/// What is wrong with an export's disk. What the plan found comes first: it has just looked.
fn disk(look: &Look, export: &Export) -> Option<String> {
    let path = &export.path;
    let step = look.plan.steps.iter().find(|step| step.export == export.name);
    let changed = |key: &str| step?.changes.iter().find(|change| change.key == key);
    if let Some(change) = changed("disk") {
        return Some(format!(
            "another disk is at {path}: the server means {}, there is {}",
            value(&change.old),
            value(&change.new)
        ));
    }
    let scattered = look
        .plan
        .steps
        .iter()
        .any(|step| step.export == export.name && step.action == Action::ReplaceForSome);
    if scattered {
        return Some(format!("another disk is at {path} for some of its clients"));
    }
    let elsewhere = step.is_some_and(|step| step.new.as_ref() != Some(path));
    let looked = look.plan.unavailable.iter().find(|one| one.export == export.name && !elsewhere);
    if let Some(one) = looked {
        return Some(because(path, "cannot be served", &one.reason));
    }
    if let Some(change) = changed("size") {
        let (old, new) = (&change.old, &change.new);
        return Some(format!("{path} has {new} bytes, the server has it with {old}"));
    }
    let reason = export.reason.as_deref().unwrap_or("see the log");
    match export.state {
        State::Unavailable => Some(because(path, "could not be served when it was last tried", reason)),
        State::Fencing => Some(because(path, "is not served", reason)),
        State::Serving | State::KeptBack | State::Poisoned | State::Placeholder => None,
    }
}

/// Most reasons begin with the path.
fn because(path: &str, what: &str, reason: &str) -> String {
    if reason.starts_with(path) { format!("it {what}: {reason}") } else { format!("{path} {what}: {reason}") }
}
