//! What a reload says and did, as the values that are told on the control socket.

use crate::decide::Decision;
use crate::tls;
use config::{Loaded, Refused};
use control::Closing;
use control::view::{Check, Hanging, KeptBack, Plan, Problem, Reload, Setting};
use std::time::Duration;

/// Why a changed setting does not apply.
const RESTART: &str = "it needs a restart";

/// The decisions and all that belongs to them.
#[must_use]
pub fn plan(
    loaded: &Loaded,
    known: &[config::Problem],
    settings: Vec<Setting>,
    decisions: &[Decision<'_>],
    warnings: &[String],
) -> Plan {
    // What the running texts gave cause to say was said.
    let texts = loaded.warnings.iter().filter(|one| !known.contains(one)).map(ToString::to_string);
    Plan {
        steps: decisions.iter().flat_map(|decision| decision.steps.iter().cloned()).collect(),
        settings,
        kept_back: kept_back(loaded),
        unavailable: decisions.iter().flat_map(Decision::unavailable).collect(),
        refused: Vec::new(),
        warnings: texts.chain(warnings.iter().cloned()).collect(),
    }
}

/// A plan of which nothing would be applied.
#[must_use]
pub fn refused(refused: &Refused) -> Plan {
    Plan { refused: problems(&refused.problems), ..Plan::default() }
}

/// What a reload did, with its closing line's facts.
#[must_use]
pub fn reload(closing: &Closing, reason: Option<&str>, plan: Plan, hanging: Vec<Hanging>) -> Reload {
    Reload {
        outcome: closing.outcome,
        reason: reason.map(Into::into),
        generation: closing.generation,
        plan,
        added: count(closing.added),
        changed: count(closing.changed),
        removed: count(closing.removed),
        kept: count(closing.kept),
        fenced: count(closing.fenced),
        hanging,
        took_ms: ms(closing.took),
    }
}

/// What a start with this would amount to.
#[must_use]
pub fn check(result: &Result<Loaded, Refused>) -> Check {
    match result {
        Ok(loaded) => Check {
            ok: loaded.kept_back.is_empty(),
            exports: loaded
                .config
                .exports
                .iter()
                .map(|export| (export.name.to_string(), export.storage.path.clone()))
                .collect(),
            refused: Vec::new(),
            kept_back: kept_back(loaded),
            warnings: problems(&loaded.warnings),
        },
        Err(refused) => Check {
            ok: false,
            exports: Default::default(),
            refused: problems(&refused.problems),
            kept_back: Vec::new(),
            warnings: Vec::new(),
        },
    }
}

/// Settings of `[generic]` that are others now. Those that need a restart, or cannot be used, say so (P9).
#[must_use]
pub fn settings(old: &config::Generic, new: &config::Generic, tls: Option<&tls::Problem>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = config::generic_changes(old, new)
        .into_iter()
        .map(|change| {
            let held = tls.filter(|_| tls::KEYS.contains(&change.key));
            let restart = (!change.live).then_some(RESTART);
            let not_applied = held.map(|problem| problem.reason.as_str()).or(restart).map(Into::into);
            Setting { key: change.key.into(), old: change.old, new: change.new, not_applied }
        })
        .collect();
    // The texts are the same, and the files they name are others that cannot be used.
    let unsaid = tls.filter(|problem| settings.iter().all(|setting| setting.key != problem.key));
    settings.extend(unsaid.map(|problem| Setting {
        key: problem.key.into(),
        old: String::new(),
        new: String::new(),
        not_applied: Some(problem.reason.clone()),
    }));
    settings
}

fn kept_back(loaded: &Loaded) -> Vec<KeptBack> {
    let told = |held: &config::KeptBack| KeptBack {
        exports: held.exports.iter().map(ToString::to_string).collect(),
        problem: problem(&held.problem),
    };
    loaded.kept_back.iter().map(told).collect()
}

/// A problem of the texts.
fn problem(problem: &config::Problem) -> Problem {
    Problem {
        file: problem.file.display().to_string(),
        line: problem.line,
        key: problem.key.clone(),
        reason: problem.sentence(),
    }
}

/// Several of them.
#[must_use]
pub fn problems(problems: &[config::Problem]) -> Vec<Problem> {
    problems.iter().map(problem).collect()
}

/// A number as it is told.
#[must_use]
pub fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A duration as it is told: milliseconds.
#[must_use]
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
