//! What a reload has to do to each export, decided and not done. A plan that is shown and one that is carried out are
//! the same decisions.

use crate::catalog::{Catalog, Entry};
use crate::prepare::{Finding, Prepared};
use config::{Config, Export, ExportName, OnChange, Plan, Storage};
use control::view::{Action, Change, Step, Unavailable};
use std::sync::Arc;

/// One export's lot.
pub struct Decision<'a> {
    /// Its name.
    pub name: &'a ExportName,
    /// What the configuration says of it.
    pub act: Act<'a>,
    /// What runs under that name.
    pub before: Option<&'a Arc<Entry>>,
    /// As it is told: nothing where nothing changes.
    pub steps: Vec<Step>,
}

/// What becomes of it.
#[derive(Clone, Copy)]
pub enum Act<'a> {
    /// It goes.
    Remove,
    /// It stays on its disk, with these settings.
    Stay(Wanted<'a>),
    /// It gets another disk, or comes.
    Place {
        /// What is wanted.
        wanted: Wanted<'a>,
        /// Another disk is at the same path.
        moved: bool,
    },
}

/// What is wanted of an export, and what is there for it.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// What the configuration says.
    pub settings: &'a Export,
    /// What its path leads to.
    pub finding: &'a Finding,
    /// Another export has its disk for itself.
    pub blocked: Option<&'a String>,
}

/// Everything that a configuration asks for now, in its order, and then what is gone.
#[must_use]
pub fn decide<'a>(
    plan: &'a Plan,
    before: &'a Catalog,
    wanted: &'a Config,
    prepared: &'a Prepared,
) -> Vec<Decision<'a>> {
    let mut findings = prepared.findings.iter();
    let decide = |step: &'a config::Step| {
        let name = step.export();
        let before = before.find(name.as_bytes());
        let Some(settings) = wanted.exports.get(name) else {
            return Some(Decision { name, act: Act::Remove, before, steps: removal(name, before) });
        };
        let blocked = prepared.blocked.get(name);
        let wanted = Wanted { settings, finding: findings.next()?, blocked };
        let moved = prepared.moved.contains(name);
        let stays = matches!(step, config::Step::Keep(_) | config::Step::Retune(_));
        let (act, steps) = match before {
            Some(before) if stays => (Act::Stay(wanted), stay(&wanted, before)),
            _ => (Act::Place { wanted, moved }, vec![place(&wanted, before, moved)]),
        };
        Some(Decision { name, act, before, steps })
    };
    plan.steps().iter().filter_map(decide).collect()
}

impl Decision<'_> {
    /// Why the export will be configured and not served. A placeholder is not worth a word.
    pub fn unavailable(&self) -> impl Iterator<Item = Unavailable> {
        let wanted = match self.act {
            Act::Remove => None,
            Act::Stay(wanted) | Act::Place { wanted, .. } => Some(wanted),
        };
        let wanted = wanted.filter(|wanted| !wanted.settings.is_placeholder());
        wanted.into_iter().flat_map(|wanted| {
            let reasons = wanted.finding.probe.as_ref().err().into_iter().chain(wanted.blocked);
            reasons.map(move |reason| Unavailable {
                export: wanted.settings.name.to_string(),
                path: wanted.settings.storage.path.clone(),
                reason: reason.clone(),
            })
        })
    }
}

/// What is served until now goes on being served, also where its export is blocked from now on.
pub fn is_newly_blocked(wanted: &Wanted<'_>, before: &Entry) -> bool {
    wanted.blocked.is_some() && before.blocked.is_none()
}

fn removal(name: &ExportName, before: Option<&Arc<Entry>>) -> Vec<Step> {
    let step = before.map(|before| Step {
        old: Some(before.settings.storage.path.clone()),
        keeps_sessions: before.settings.on_change == OnChange::Keep,
        ..step(Action::Remove, name)
    });
    step.into_iter().collect()
}

/// Same storage: other settings, another size, other disks for some clients, or no right to the disk any more.
fn stay(wanted: &Wanted<'_>, before: &Entry) -> Vec<Step> {
    let path = Some(wanted.settings.storage.path.clone());
    let here = |action| Step { old: path.clone(), ..wanted_step(action, wanted.settings) };
    let mut steps = Vec::new();
    let mut changes = told(config::export_changes(&before.settings, wanted.settings));
    let resized = wanted.finding.resized();
    changes.extend(resized.map(|(old, new)| change("size", old, new)));
    let freed = before.blocked.is_some() && wanted.blocked.is_none();
    if !changes.is_empty() || freed {
        let size = resized.map(|(_, new)| new);
        let reason = freed.then(|| "its disk is free".to_owned());
        steps.push(Step { changes, size, reason, ..here(Action::Retune) });
    }
    if before.medium.would_split_off(&wanted.finding.scattered) {
        steps.push(Step {
            reason: Some("another disk is at the path of some clients".into()),
            keeps_sessions: wanted.settings.on_change == OnChange::Keep,
            ..here(Action::ReplaceForSome)
        });
    }
    if is_newly_blocked(wanted, before) {
        steps.push(Step { reason: wanted.blocked.cloned(), ..here(Action::Block) });
    }
    steps
}

/// It is new, or leads to another store.
fn place(wanted: &Wanted<'_>, before: Option<&Arc<Entry>>, moved: bool) -> Step {
    let Wanted { settings, finding, .. } = wanted;
    let size = finding.probe.as_ref().ok().and_then(|probe| Some(probe.as_ref()?.size));
    let Some(before) = before else {
        return Step { size, ..wanted_step(Action::Add, settings) };
    };
    let (reason, mut changes) = if moved {
        let identity = |probe: &store::Probe| probe.identity.to_string();
        let is = finding.found.as_ref().map(identity).unwrap_or_default();
        let was = before.medium.seen().as_ref().map(identity).unwrap_or_default();
        let gone = finding.found.as_ref().is_some_and(store::Probe::to_be_created);
        let reason = if gone { "its file was deleted" } else { "another disk is at the path" };
        (reason, vec![change("disk", was, is)])
    } else {
        ("the export leads to another store", storage(&before.settings.storage, &settings.storage))
    };
    changes.extend(told(config::export_changes(&before.settings, settings)));
    Step {
        old: Some(before.settings.storage.path.clone()),
        size,
        changes,
        reason: Some(reason.into()),
        keeps_sessions: settings.on_change == OnChange::Keep,
        ..wanted_step(Action::Replace, settings)
    }
}

fn storage(old: &Storage, new: &Storage) -> Vec<Change> {
    told(config::storage_changes(old, new))
}

/// As the configuration wants it from now on.
fn wanted_step(action: Action, settings: &Export) -> Step {
    let origin = &settings.origin;
    Step {
        new: Some(settings.storage.path.clone()),
        file: (origin.line > 0).then(|| origin.file.display().to_string()),
        settings: config::settings_of(settings),
        ..step(action, &settings.name)
    }
}

fn step(action: Action, name: &ExportName) -> Step {
    Step {
        action,
        export: name.to_string(),
        old: None,
        new: None,
        size: None,
        changes: Vec::new(),
        reason: None,
        keeps_sessions: false,
        file: None,
        settings: Default::default(),
    }
}

fn told(changes: Vec<config::Change>) -> Vec<Change> {
    changes.into_iter().map(|one| change(one.key, one.old, one.new)).collect()
}

fn change(key: &str, old: impl ToString, new: impl ToString) -> Change {
    Change { key: key.into(), old: old.to_string(), new: new.to_string() }
}
