//! How a run of the program ends: the one place where answers become exit codes.

use control::view::{Action, Check, Cut, Outcome, Plan, Reload};

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// It is done, or all is well.
    Done,
    /// It was refused, and nothing was changed.
    Refused,
    /// It is done in part, or nobody can tell: no disk may be taken away yet.
    Partly,
    /// Nobody who could be asked: nothing was changed by asking.
    NoServer,
    /// It failed, and so did the way back: it is not known what serves, and somebody has to look.
    Stranded,
    /// The command line makes no sense.
    Usage,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Refused, Self::Partly, Self::NoServer, Self::Stranded, Self::Usage];

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Partly => 2,
            Self::NoServer => 3,
            // Its own number: what wakes somebody up at night must not look like what has been put right.
            Self::Stranded => 4,
            // EX_USAGE of sysexits.h: clap's own 2 means something else here.
            Self::Usage => 64,
        }
    }

    /// What it tells whoever called.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Done => "done, or all is well",
            Self::Refused => "refused, nothing was changed",
            Self::Partly => {
                "done in part, or not known: something hangs, was kept back, or no answer came in time"
            }
            Self::NoServer => "no server, or none that answers; nothing was changed",
            Self::Stranded => "a deploy or rollback failed, and the way back too: an operator is needed",
            Self::Usage => "the command line makes no sense",
        }
    }

    /// What a reload came to.
    #[must_use]
    pub fn of_reload(reload: &Reload) -> Self {
        match reload.outcome {
            Outcome::Complete => Self::Done,
            Outcome::Incomplete => Self::Partly,
            Outcome::Refused => Self::Refused,
        }
    }

    /// What a reload came to for the export whose file was changed before it. What is broken elsewhere harms only itself
    /// (P5): it holds up nobody who wants to detach this disk. Once anything hangs, nobody is told that all is well.
    #[must_use]
    pub fn of_change(reload: &Reload, export: &str) -> Self {
        let plan = &reload.plan;
        let kept = plan.kept_back.iter().any(|kept| kept.exports.iter().any(|name| name == export));
        let blocked = plan.steps.iter().any(|step| step.action == Action::Block && step.export == export);
        if plan.unavailable.iter().any(|one| one.export == export) {
            // What was asked for is written, and is not to be had.
            return Self::Partly;
        }
        // A reason is there for what hangs, or was not settled, or cannot be used; not for what was kept back.
        let elsewhere = reload.hanging.is_empty() && reload.reason.is_none() && !kept && !blocked;
        match reload.outcome {
            Outcome::Complete => Self::Done,
            Outcome::Incomplete if elsewhere => Self::Done,
            // Its file is another than before all the same.
            Outcome::Incomplete | Outcome::Refused => Self::Partly,
        }
    }

    /// What a reload would come to, as far as that can be seen beforehand: nobody knows what will hang.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        if !plan.refused.is_empty() {
            return Self::Refused;
        }
        let blocked = plan.steps.iter().any(|step| step.action == Action::Block);
        let unusable =
            plan.settings.iter().any(|setting| setting.not_applied.is_some() && live(&setting.key));
        if blocked || unusable || !plan.kept_back.is_empty() { Self::Partly } else { Self::Done }
    }

    /// What a start would come to.
    #[must_use]
    pub fn of_check(check: &Check) -> Self {
        match check {
            Check { ok: true, .. } => Self::Done,
            Check { refused, .. } if refused.is_empty() => Self::Partly,
            _ => Self::Refused,
        }
    }

    /// What became of sessions that were told to go.
    #[must_use]
    pub fn of_cut(cut: &Cut) -> Self {
        if cut.hanging.is_empty() { Self::Done } else { Self::Partly }
    }
}

/// A key of `[generic]` that follows at once: where it is not applied, its value cannot be used. The others wait for a
/// restart, and a reload is complete without them.
fn live(key: &str) -> bool {
    config::keys()
        .iter()
        .any(|known| known.place == config::Place::Generic && known.name == key && known.live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::view::{KeptBack, Problem, Setting, Step};

    fn problem() -> Problem {
        Problem { file: "a.conf".into(), line: Some(3), key: None, reason: "it is broken".into() }
    }

    fn step(action: Action) -> Step {
        let (old, new) = (Some("/dev/vdb".to_owned()), None);
        let export = "vol-1".to_owned();
        Step {
            action,
            export,
            old,
            new,
            size: None,
            changes: Vec::new(),
            reason: None,
            keeps_sessions: false,
            file: None,
            settings: Default::default(),
        }
    }

    fn setting(key: &str) -> Setting {
        let not_applied = Some("why".to_owned());
        Setting { key: key.into(), old: "1".into(), new: "2".into(), not_applied }
    }

    #[test]
    fn a_plan_ends_as_its_reload_would() {
        let plan = |change: fn(&mut Plan)| {
            let mut plan = Plan::default();
            change(&mut plan);
            Exit::of_plan(&plan)
        };
        assert_eq!(plan(|_| {}), Exit::Done);
        assert_eq!(plan(|plan| plan.steps.push(step(Action::Remove))), Exit::Done);
        assert_eq!(plan(|plan| plan.steps.push(step(Action::Block))), Exit::Partly);
        assert_eq!(plan(|plan| plan.settings.push(setting("port"))), Exit::Done, "a restart is waited for");
        assert_eq!(plan(|plan| plan.settings.push(setting("certfile"))), Exit::Partly, "it cannot be used");
        let kept = || KeptBack { exports: vec!["vol-1".into()], problem: problem() };
        let mut held = Plan { kept_back: vec![kept()], ..Plan::default() };
        assert_eq!(Exit::of_plan(&held), Exit::Partly);
        held.refused.push(problem());
        assert_eq!(Exit::of_plan(&held), Exit::Refused, "a refusal counts more than what is kept back");
    }

    #[test]
    fn a_file_that_is_broken_elsewhere_does_not_hold_up_a_change() {
        let reload = |outcome, kept: &str| Reload {
            outcome,
            reason: None,
            generation: 2,
            plan: Plan {
                kept_back: vec![KeptBack { exports: vec![kept.into()], problem: problem() }],
                ..Plan::default()
            },
            added: 0,
            changed: 0,
            removed: 1,
            kept: 1,
            fenced: 0,
            hanging: Vec::new(),
            took_ms: 1,
        };
        let elsewhere = reload(Outcome::Incomplete, "vol-2");
        assert_eq!(Exit::of_reload(&elsewhere), Exit::Partly);
        assert_eq!(Exit::of_change(&elsewhere, "vol-1"), Exit::Done);
        assert_eq!(Exit::of_change(&elsewhere, "vol-2"), Exit::Partly);
        let unsettled = Reload { reason: Some("something hangs".into()), ..elsewhere.clone() };
        assert_eq!(Exit::of_change(&unsettled, "vol-1"), Exit::Partly);
        let mut blocked = elsewhere;
        blocked.plan.steps = vec![step(Action::Block)];
        assert_eq!(Exit::of_change(&blocked, "vol-1"), Exit::Partly);
        assert_eq!(Exit::of_change(&blocked, "vol-3"), Exit::Done);
        assert_eq!(
            Exit::of_change(&reload(Outcome::Refused, "x"), "vol-1"),
            Exit::Partly,
            "the file is changed"
        );
    }

    #[test]
    fn a_check_tells_a_refusal_from_what_would_be_left_out() {
        let empty = Check {
            ok: true,
            exports: std::collections::BTreeMap::new(),
            refused: Vec::new(),
            kept_back: Vec::new(),
            warnings: vec![problem()],
        };
        assert_eq!(Exit::of_check(&empty), Exit::Done, "warnings are words");
        let partly = Check { ok: false, ..empty.clone() };
        assert_eq!(Exit::of_check(&partly), Exit::Partly);
        assert_eq!(Exit::of_check(&Check { refused: vec![problem()], ..partly }), Exit::Refused);
    }

    #[test]
    fn no_two_endings_share_a_code() {
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 64]);
    }
}
