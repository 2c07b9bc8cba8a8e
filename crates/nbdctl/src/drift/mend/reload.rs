//! Whether the reload behind `--fix` may be asked for. It follows everything that the files say, and takes whatever disk
//! is at a path for the one that is meant: that is not asked for where nobody has said that it is.

use super::super::claims::{Claim, Claims};
use super::super::look::{Files, Look};
use super::super::node::{Nodes, same};
use control::view::{Action, State, Step};

/// Names that lead to one disk only, whatever else comes and goes.
const LASTING: [&str; 2] = ["/dev/disk/by-id/", "/dev/mapper/"];

/// What is known when it is decided.
pub struct Judged<'a> {
    pub look: &'a Look,
    pub prefix: &'a str,
    pub claims: Option<&'a Claims>,
    pub files: &'a Files,
    pub lasting: &'a dyn Fn(&str) -> bool,
    pub nodes: Nodes<'a>,
}

impl Judged<'_> {
    /// Why there may be no reload. `changes` says whose file is written or deleted before.
    pub fn held(&self, changes: &dyn Fn(&str) -> bool) -> Option<String> {
        if !self.look.plan.refused.is_empty() {
            return Some("nothing would be followed: mend the main file first".into());
        }
        let steps = self.look.plan.steps.iter().filter(|step| !changes(&step.export));
        let mut doubts = steps.filter_map(|step| Some((step, self.doubt(step)?)));
        let (step, doubt) = doubts.next()?;
        let what = match (step.action, &step.new) {
            (Action::Add | Action::Replace | Action::ReplaceForSome, Some(path)) => {
                format!("let {} serve the disk that is at {path} now", step.export)
            }
            _ => format!("end {}", step.export),
        };
        Some(format!("a reload would {what}, and {doubt}: see to it, then run nbdctl reload"))
    }

    /// Why a step of the reload is not to be taken without a person.
    fn doubt(&self, step: &Step) -> Option<&'static str> {
        let name = step.export.as_str();
        match step.action {
            // Its disk and its sessions stay.
            Action::Retune => None,
            _ if !name.starts_with(self.prefix) => Some("its name is another one than was asked for"),
            _ if !(self.lasting)(name) => Some("that has only just changed"),
            Action::Remove | Action::Block => {
                let wanted = self.claims.is_some_and(|claims| claims.get(name).is_some());
                wanted.then_some("the database has it")
            }
            Action::Add | Action::Replace | Action::ReplaceForSome => {
                if is_another_disk(step) && !has_lasting_name(step) {
                    // A row that names a path was there before the disk was.
                    return Some("it is another disk than before");
                }
                (!self.is_said(step)).then_some("it is not certain that this is its own")
            }
        }
    }

    /// The database says that this path is this export's; or it is none of its business, and the files say so.
    fn is_said(&self, step: &Step) -> bool {
        let (name, path) = (step.export.as_str(), step.new.as_deref().unwrap_or_default());
        let Some(claims) = self.claims else { return true };
        match claims.get(name) {
            Some(Claim::Path(said)) => {
                same(said, path, self.nodes) && claims.rival(name, path, self.nodes).is_none()
            }
            Some(_) => false,
            None => !self.files.get(name).is_some_and(|at| self.files.is_included(at)),
        }
    }
}

fn is_another_disk(step: &Step) -> bool {
    step.action == Action::ReplaceForSome || step.changes.iter().any(|change| change.key == "disk")
}

fn has_lasting_name(step: &Step) -> bool {
    step.new.as_ref().is_some_and(|path| LASTING.iter().any(|place| path.starts_with(place)))
}

/// Whether a reload would come to anything, files that are written aside.
pub fn needs_reload(look: &Look) -> bool {
    let plan = &look.plan;
    let looked = |name: &str| plan.unavailable.iter().any(|one| one.export == name);
    // What could not be served when it was last tried, and is well now.
    let stale = look
        .exports
        .iter()
        .any(|export| export.configured && export.state == State::Unavailable && !looked(&export.name));
    let settings = plan.settings.iter().any(|setting| setting.not_applied.is_none());
    !plan.steps.is_empty() || settings || stale
}
