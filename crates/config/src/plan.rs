//! What has to be done so that the running set becomes the wanted set. A pure comparison: opens nothing, asks no clock.

use crate::keys::{self, Place};
use crate::name::ExportName;
use crate::settings::{Config, Export, Generic, Storage};
use std::collections::BTreeSet;

/// What one export needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep(ExportName),
    /// It is new.
    Open(ExportName),
    /// Same storage, other settings; open sessions keep the settings they were given.
    Retune(ExportName),
    /// Another store under the same name: other storage, or another disk at the same path.
    Replace(ExportName),
    /// It is gone.
    Close(ExportName),
}

impl Step {
    /// Of which export.
    #[must_use]
    pub fn export(&self) -> &ExportName {
        let (Self::Keep(name)
        | Self::Open(name)
        | Self::Retune(name)
        | Self::Replace(name)
        | Self::Close(name)) = self;
        name
    }
}

/// Steps for all wanted exports in their order, and then for those that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    steps: Vec<Step>,
}

impl Plan {
    /// Compares two complete configurations. `moved` are exports whose path leads to another disk than when it was
    /// last looked at, though no text changed (P4).
    #[must_use]
    pub fn between(running: &Config, wanted: &Config, moved: &BTreeSet<ExportName>) -> Self {
        let wanted_steps = wanted.exports.iter().map(|new| {
            let step = match running.exports.get(&new.name) {
                None => Step::Open,
                Some(old) if old.storage != new.storage || moved.contains(&new.name) => Step::Replace,
                Some(old) if old == new => Step::Keep,
                Some(_) => Step::Retune,
            };
            step(new.name.clone())
        });
        let gone = running.exports.iter().filter(|old| wanted.exports.get(&old.name).is_none());
        Self { steps: wanted_steps.chain(gone.map(|old| Step::Close(old.name.clone()))).collect() }
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// One setting that is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// Before.
    pub old: String,
    /// Now.
    pub new: String,
    /// It applies without a restart.
    pub live: bool,
}

/// Settings besides the storage that differ.
#[must_use]
pub fn export_changes(old: &Export, new: &Export) -> Vec<Change> {
    changes(old.shown(), new.shown(), Place::Export)
}

/// Settings of the storage that differ: what makes it another store.
#[must_use]
pub fn storage_changes(old: &Storage, new: &Storage) -> Vec<Change> {
    changes(old.shown(), new.shown(), Place::Export)
}

/// Settings of `[generic]` that differ.
#[must_use]
pub fn generic_changes(old: &Generic, new: &Generic) -> Vec<Change> {
    changes(old.shown(), new.shown(), Place::Generic)
}

/// Both name the same keys in the same order.
fn changes(old: Vec<(&'static str, String)>, new: Vec<(&'static str, String)>, place: Place) -> Vec<Change> {
    let changed = old.into_iter().zip(new).filter(|(old, new)| old != new);
    changed
        .map(|((key, old), (_, new))| {
            let live = keys::find(place, key.as_bytes()).is_some_and(|key| key.live);
            Change { key, old, new, live }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(name: &str, path: &str) -> Export {
        Export::new(name.into(), path.into())
    }

    fn config(exports: &[Export]) -> Config {
        let mut config = Config::default();
        for export in exports {
            config.exports.push(export.clone());
        }
        config
    }

    #[test]
    fn each_difference_has_its_step() {
        let readonly = Export { readonly: true, ..export("tuned", "/t") };
        let running = config(&[
            export("same", "/s"),
            export("tuned", "/t"),
            export("moved", "/m"),
            export("repointed", "/r"),
            export("gone", "/g"),
        ]);
        let wanted = config(&[
            export("new", "/n"),
            export("repointed", "/other"),
            readonly,
            export("moved", "/m"),
            export("same", "/s"),
        ]);
        let plan = Plan::between(&running, &wanted, &BTreeSet::from(["moved".into()]));
        let expected = [
            Step::Open("new".into()),
            Step::Replace("repointed".into()),
            Step::Retune("tuned".into()),
            Step::Replace("moved".into()),
            Step::Keep("same".into()),
            Step::Close("gone".into()),
        ];
        assert_eq!(plan.steps(), expected);
    }

    /// P1: a reload with nothing to do changes nothing.
    #[test]
    fn equal_configurations_need_nothing_wherever_they_are_described() {
        let running = config(&[export("a", "/a"), export("b", "/b")]);
        let mut elsewhere = export("b", "/b");
        elsewhere.origin.line = 77;
        let plan = Plan::between(&running, &config(&[elsewhere, export("a", "/a")]), &BTreeSet::new());
        assert_eq!(plan.steps(), [Step::Keep("b".into()), Step::Keep("a".into())]);
    }

    #[test]
    fn changes_name_key_and_both_values() {
        let changes = export_changes(&export("a", "/a"), &Export { readonly: true, ..export("a", "/a") });
        let readonly = Change { key: "readonly", old: "false".into(), new: "true".into(), live: true };
        assert_eq!(changes, [readonly]);
        let old = Generic::default();
        let new = Generic { port: "1".into(), allowlist: true, ..Generic::default() };
        let changes: Vec<_> =
            generic_changes(&old, &new).into_iter().map(|change| (change.key, change.live)).collect();
        assert_eq!(changes, [("port", false), ("allowlist", true)]);
    }
}
