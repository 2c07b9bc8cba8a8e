//! Whether the reload behind `--fix` may be asked for. It follows everything that the files say, and takes whatever disk
//! is at a path for the one that is meant: that is not asked for where nobody has said that it is.

use super::super::claims::{Claim, Claims};
use super::super::look::{Files, Look};
use super::super::node::{Nodes, same};
use control::view::{Action, State, Step};

/// What is known when it is decided.
pub struct Judged<'a> {
    pub look: &'a Look,
    pub prefix: &'a str,
    pub claims: Option<&'a Claims>,
    pub files: &'a Files,
    pub nodes: Nodes<'a>,
}

impl Judged<'_> {
    /// Why there may be no reload. `changes` says whose file is written or deleted before.
    pub fn held(&self, changes: &dyn Fn(&str) -> bool) -> Option<String> {
        if !self.look.plan.refused.is_empty() {
            return Some("nothing would be followed: mend the main file first".into());
        }
        let steps = self.look.plan.steps.iter().filter(|step| !changes(&step.export));
        let guess = steps.filter(|step| gives_a_disk(step)).find(|step| !self.is_said(step))?;
        let path = guess.new.as_deref().unwrap_or_default();
        Some(format!(
            "a reload would let {} serve the disk that is at {path} now, and it is not certain that this is its own: \
             see to it, then run nbdctl reload",
            guess.export
        ))
    }

    /// The database says that this disk is this export's; or it is none of its business, and the files say so.
    fn is_said(&self, step: &Step) -> bool {
        let (name, path) = (step.export.as_str(), step.new.as_deref().unwrap_or_default());
        let claim = self.claims.and_then(|claims| claims.get(name));
        if let (Some(claims), Some(Claim::Path(said))) = (self.claims, claim) {
            return same(said, path, self.nodes) && claims.rival(name, path, self.nodes).is_none();
        }
        let included = self.files.get(name).is_some_and(|at| self.files.is_included(at));
        let business = self.claims.is_some() && included && name.starts_with(self.prefix);
        claim.is_none() && !business && !is_another_disk(step)
    }
}

fn gives_a_disk(step: &Step) -> bool {
    matches!(step.action, Action::Add | Action::Replace | Action::ReplaceForSome)
}

fn is_another_disk(step: &Step) -> bool {
    step.action == Action::ReplaceForSome || step.changes.iter().any(|change| change.key == "disk")
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
