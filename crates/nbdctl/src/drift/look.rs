//! Everything that was seen at one time, and what follows from it for the files.

use super::claims::Row;
use super::database::Database;
use crate::client::{Ask, Client, Failure, Path};
use control::view::{Action, Export, ExportSettings, Plan, Status, Step};
use std::collections::{BTreeMap, BTreeSet};

/// One look at all of them.
#[derive(Clone, Debug)]
pub struct Look {
    /// What the database says; none where nobody asked for one.
    pub rows: Option<Vec<Row>>,
    /// What the server would do to follow its files.
    pub plan: Plan,
    /// What it serves.
    pub exports: Vec<Export>,
    /// Its main file.
    pub main: String,
}

impl Look {
    /// The database first: an export that is being made now is in one of the later ones too, and what is not the same at a
    /// second look is not mended.
    pub fn take(client: &Client, database: Option<&Database>) -> Result<Self, Failure> {
        let rows = database.map(|database| database.rows(client.timeout())).transpose()?;
        // A reload that is under way has ended when this is answered.
        let plan = client.ask(&Ask::get(Path::v1("plan").within(client.timeout())))?.value()?;
        let exports = client.ask(&Ask::get(Path::v1("exports")))?.value()?;
        let status: Status = client.ask(&Ask::get(Path::v1("status")))?.value()?;
        Ok(Self { rows, plan, exports, main: status.configuration })
    }
}

/// What the files say of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its path.
    pub path: String,
    /// Its settings that are not the default.
    pub settings: ExportSettings,
    /// Where it stands.
    pub file: Option<String>,
}

/// What the files say: what runs, and what a reload would make of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    described: BTreeMap<String, Described>,
    /// Their files cannot be followed. What is known of them is what runs.
    unclear: BTreeSet<String>,
    /// None of them can.
    refused: bool,
    main: String,
}

impl Files {
    /// According to a look.
    pub fn of(look: &Look) -> Self {
        let mut described: BTreeMap<String, Described> = BTreeMap::new();
        for export in look.exports.iter().filter(|export| export.configured) {
            let (path, settings) = (export.path.clone(), export.settings.clone());
            described.insert(export.name.clone(), Described { path, settings, file: export.file.clone() });
        }
        for step in &look.plan.steps {
            match (step.action, &step.new) {
                (Action::Remove, _) | (_, None) => described.remove(&step.export),
                (_, Some(path)) => described.insert(step.export.clone(), from_now_on(step, path)),
            };
        }
        let unclear = look.plan.kept_back.iter().flat_map(|kept| kept.exports.iter().cloned()).collect();
        Self { described, unclear, refused: !look.plan.refused.is_empty(), main: look.main.clone() }
    }

    /// What is said of an export; what runs of it, where that is not clear.
    pub fn get(&self, name: &str) -> Option<&Described> {
        self.described.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Described)> {
        self.described.iter().map(|(name, described)| (name.as_str(), described))
    }

    /// What the files say of it cannot be followed.
    pub fn is_unclear(&self, name: &str) -> bool {
        // An empty path is half of one: somebody is writing it.
        let half = self.get(name).is_some_and(|at| at.path.is_empty());
        self.refused || half || self.unclear.contains(name)
    }

    /// Whether an export is a database's business: those of the main file and the command line are not.
    pub fn is_included(&self, described: &Described) -> bool {
        described.file.as_ref().is_some_and(|file| *file != self.main)
    }

    /// Other exports whose path leads to this disk.
    pub fn holders<'a>(
        &'a self,
        name: &'a str,
        is_it: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(other, at)| *other != name && is_it(&at.path)).map(|(other, _)| other)
    }
}

fn from_now_on(step: &Step, path: &str) -> Described {
    Described { path: path.into(), settings: step.settings.clone(), file: step.file.clone() }
}
