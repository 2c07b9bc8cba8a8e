//! What tests put on the table: a look that nobody took, and disks that are numbers.

use super::claims::Row;
use super::look::Look;
use super::node::{Id, Node};
use control::view::{
    Action, Change, Export, Hanging, KeptBack, Operations, Plan, Problem, State, Step, Unavailable,
};

/// The main file.
pub const MAIN: &str = "/etc/config";

/// `/dev/x` and `/by-id/x` are one disk; everything else is not there.
pub fn nodes(path: &str) -> Node {
    let disk = path.strip_prefix("/dev/").or(path.strip_prefix("/by-id/"));
    let number = |disk: &str| disk.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(257) + u64::from(byte));
    disk.map_or(Node::Nothing("is not there".into()), |disk| Node::alone(Id::Device(number(disk))))
}

impl Look {
    /// Exports of `conf.d` that run as they are described; the database was asked and has no rows.
    pub fn at(exports: &[(&str, &str)]) -> Self {
        let exports = exports.iter().map(|(name, path)| export(name, path)).collect();
        Self { rows: Some(Vec::new()), plan: Plan::default(), exports, main: MAIN.into() }
    }

    pub fn row(mut self, name: &str, path: &str) -> Self {
        self.rows.get_or_insert_default().push(Row {
            name: name.into(),
            path: Some(path.into()),
            other: None,
            doubt: None,
        });
        self
    }

    pub fn torn(mut self, name: &str, path: &str, other: &str) -> Self {
        self.rows.get_or_insert_default().push(Row {
            name: name.into(),
            path: Some(path.into()),
            other: Some(other.into()),
            doubt: None,
        });
        self
    }

    pub fn doubt(mut self, name: &str, path: &str, why: &str) -> Self {
        self.rows.get_or_insert_default().push(Row {
            name: name.into(),
            path: Some(path.into()),
            other: None,
            doubt: Some(why.into()),
        });
        self
    }

    pub fn without_database(mut self) -> Self {
        self.rows = None;
        self
    }

    pub fn step(mut self, step: Step) -> Self {
        self.plan.steps.push(step);
        self
    }

    pub fn kept(mut self, exports: &[&str], file: &str) -> Self {
        let exports = exports.iter().map(|name| (*name).to_owned()).collect();
        self.plan.kept_back.push(KeptBack { exports, problem: problem(file) });
        self
    }

    pub fn unavailable(mut self, export: &str, path: &str) -> Self {
        let reason = "no such device".into();
        self.plan.unavailable.push(Unavailable { export: export.into(), path: path.into(), reason });
        self
    }

    pub fn change(mut self, name: &str, change: impl FnOnce(&mut Export)) -> Self {
        change(self.exports.iter_mut().find(|export| export.name == name).expect("it is there"));
        self
    }
}

pub fn export(name: &str, path: &str) -> Export {
    Export {
        name: name.into(),
        state: State::Serving,
        reason: None,
        since: None,
        configured: true,
        file: Some(format!("/etc/conf.d/{name}.conf")),
        line: Some(1),
        path: path.into(),
        device: None,
        identity: None,
        size: None,
        read_only: false,
        flags: Vec::new(),
        open: false,
        sessions: 0,
        generation: 1,
        operations: Operations::default(),
        hanging: Vec::new(),
        settings: [("exportname".to_owned(), path.to_owned())].into(),
    }
}

/// `old` or `new` may be empty.
pub fn step(action: Action, name: &str, old: &str, new: &str) -> Step {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let export = export(name, new);
    Step {
        action,
        export: name.into(),
        old: some(old),
        new: some(new),
        size: None,
        changes: Vec::new(),
        reason: None,
        keeps_sessions: false,
        file: export.file.filter(|_| !new.is_empty()),
        settings: export.settings,
    }
}

pub fn changed(mut step: Step, key: &str, old: &str, new: &str) -> Step {
    step.changes.push(Change { key: key.into(), old: old.into(), new: new.into() });
    step
}

pub fn problem(file: &str) -> Problem {
    Problem { file: file.into(), line: Some(3), key: None, reason: "it is broken".into() }
}

pub fn hanging(export: &str, path: &str) -> Hanging {
    Hanging { export: export.into(), path: path.into(), peer: None, age_ms: 1000 }
}
