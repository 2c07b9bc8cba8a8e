//! From decisions to the next catalog: entries made, media to let go, and every step said.
//!
//! Nothing in here can fail: what could was found out by `prepare.rs`.

use crate::catalog::Entry;
use crate::decide::{Act, Decision, Wanted, is_newly_blocked};
use crate::fence::Retired;
use crate::log::Level;
use crate::medium::Medium;
use crate::report::Report;
use config::{Export, KeptBack, OnChange};
use control::Line;
use control::view::{Action, Step, Unavailable};
use std::sync::{Arc, PoisonError};

/// What applying a configuration did.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    pub blocked: usize,
    pub fenced: usize,
    pub hanging: usize,
    /// Exports that became read-only, with requests inside that do not come back.
    pub unsettled: usize,
}

/// Carries decisions out, in their order.
pub struct Commit<'a> {
    /// For the log.
    report: &'a Report,
    /// Each change has its line; at start there would be one for every export.
    aloud: bool,
    /// Where media go whose sessions may stay (`on_change = keep`).
    retired: &'a Retired,
    /// What is not followed.
    kept_back: &'a [KeptBack],
    /// Of the next catalog.
    generation: u64,
    done: Done,
}

/// The next catalog's entries, the media to fence with the reason, and the counts.
#[derive(Default)]
pub struct Done {
    pub entries: Vec<Arc<Entry>>,
    pub old: Vec<(Arc<Medium>, String)>,
    /// Media of which sessions lost the right to write.
    pub losing: Vec<Arc<Medium>>,
    pub tally: Tally,
}

impl<'a> Commit<'a> {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(report: &'a Report, retired: &'a Retired, kept_back: &'a [KeptBack], generation: u64) -> Self {
        Self { report, aloud: generation > 1, retired, kept_back, generation, done: Done::default() }
    }

    /// Carries them out.
    #[must_use]
    pub fn carry_out(mut self, decisions: &[Decision<'_>]) -> Done {
        for decision in decisions {
            self.export(decision);
        }
        self.done
    }

    fn export(&mut self, decision: &Decision<'_>) {
        for step in &decision.steps {
            self.count(step.action);
            self.say_step(step, decision);
        }
        let (wanted, medium) = match decision.act {
            Act::Remove => {
                if let Some(before) = decision.before {
                    let on_change = before.settings.on_change;
                    self.let_go(before.medium.clone(), on_change, "the export was removed");
                }
                return;
            }
            Act::Stay(wanted) => (wanted, self.stay(&wanted, decision)),
            Act::Place { wanted, moved } => (wanted, self.place(&wanted, moved, decision)),
        };
        match &wanted.finding.probe {
            Ok(Some(probe)) => medium.remember(probe),
            _ => medium.remember_nothing(),
        }
        medium.remember_trouble(wanted.finding.probe.as_ref().err().cloned());
        for unavailable in decision.unavailable() {
            self.say_unavailable(&unavailable, wanted.settings);
        }
        self.done.tally.blocked += usize::from(wanted.blocked.is_some());
        self.done.entries.push(Arc::new(self.entry(decision, &wanted, medium)));
    }

    fn entry(&self, decision: &Decision<'_>, wanted: &Wanted<'_>, medium: Arc<Medium>) -> Entry {
        let kept_back = self.kept_back.iter().find(|held| held.exports.contains(decision.name));
        let same = decision.before.filter(|_| decision.steps.is_empty());
        Entry {
            name: session::ExportName::from(decision.name.as_bytes()),
            settings: wanted.settings.clone(),
            medium,
            blocked: wanted.blocked.cloned(),
            kept_back: kept_back.map(|held| held.problem.to_string()),
            generation: same.map_or(self.generation, |before| before.generation),
        }
    }

    fn count(&mut self, action: Action) {
        let tally = &mut self.done.tally;
        match action {
            Action::Add => tally.added += 1,
            Action::Retune | Action::Replace | Action::ReplaceForSome => tally.changed += 1,
            Action::Remove => tally.removed += 1,
            // Counted with what is kept, as long as it lasts.
            Action::Block => {}
        }
    }

    /// Same storage: other settings, or another size.
    fn stay(&mut self, wanted: &Wanted<'_>, decision: &Decision<'_>) -> Arc<Medium> {
        let Wanted { settings, finding, blocked } = wanted;
        let Some(before) = decision.before else { return self.new_medium(settings) };
        before.medium.set_follow(settings);
        self.set_read_only(&before.medium, settings.readonly);
        if let Some(moved) = before.medium.split_off(&finding.scattered) {
            self.let_go(moved, settings.on_change, reason(decision, Action::ReplaceForSome));
        }
        if blocked.is_none() && may_write_from_now_on(before, settings) {
            // Whoever had its disk may still be leaving it.
            before.medium.take_offline();
        }
        match blocked {
            // It was served until now: an exclusive disk has no second writer, not even an old session.
            Some(why) if is_newly_blocked(wanted, before) => {
                self.done.old.push((before.medium.clone(), (*why).clone()));
                self.new_medium(settings)
            }
            _ => before.medium.clone(),
        }
    }

    /// A new medium, and what stood under the name before is let go.
    fn place(&mut self, wanted: &Wanted<'_>, moved: bool, decision: &Decision<'_>) -> Arc<Medium> {
        let Wanted { settings, finding, blocked } = wanted;
        let there = decision.before.zip(finding.found.as_ref()).filter(|_| moved);
        let medium = match (there, blocked) {
            (Some((before, found)), None) => before.medium.successor(settings, found),
            (Some((before, found)), Some(why)) => {
                // Those who are on the new disk already: it has no second writer, not even an old session.
                self.done.old.push((before.medium.split_off_disk(&found.identity), (*why).clone()));
                self.new_medium(settings)
            }
            (None, _) => self.new_medium(settings),
        };
        // For those who came along from its predecessor.
        self.set_read_only(&medium, settings.readonly);
        if let Some(before) = decision.before {
            self.let_go(before.medium.clone(), settings.on_change, reason(decision, Action::Replace));
        }
        medium
    }

    /// Those who lose the right to write may have writes that are being done.
    fn set_read_only(&mut self, medium: &Arc<Medium>, read_only: bool) {
        if medium.set_read_only(read_only) {
            self.done.losing.push(medium.clone());
        }
    }

    /// Nobody may enter it before the fence of this reload is finished.
    fn new_medium(&self, settings: &Export) -> Arc<Medium> {
        Medium::new(settings, self.report.log().clone())
    }

    fn let_go(&mut self, medium: Arc<Medium>, on_change: OnChange, reason: &str) {
        if on_change == OnChange::Fence {
            self.done.old.push((medium, reason.to_owned()));
            return;
        }
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let (sitters, name) = (medium.sitters(), medium.name.clone());
        retired.push(medium);
        for sitter in sitters {
            let line = Line::new("session kept")
                .with("peer", &sitter.peer)
                .with("export", &name)
                .with("reason", format!("{reason}, but on_change = keep"));
            self.say(Level::Warning, line);
        }
    }

    fn say_step(&self, step: &Step, decision: &Decision<'_>) {
        let line = |event| Line::new(event).with("export", decision.name);
        match (step.action, &decision.act) {
            (Action::Remove, _) => {
                self.say(Level::Notice, line("export removed").maybe("old", step.old.as_ref()))
            }
            (Action::Add, Act::Place { wanted, .. }) => {
                if self.aloud {
                    // The words of the original, which programs look for (C-219).
                    self.report.log().info(format!("reconfigured new server: {}", decision.name));
                }
                let line = line("export added").maybe("new", step.new.as_ref()).maybe("size", step.size);
                self.say(Level::Notice, origin(line, wanted.settings));
            }
            // It is said of the export that is not available any more.
            (Action::Block | Action::Add, _) => {}
            (_, Act::Stay(wanted) | Act::Place { wanted, .. }) => self.say_changed(step, wanted.settings),
            (_, Act::Remove) => {}
        }
    }

    fn say_changed(&self, step: &Step, settings: &Export) {
        let changed = |old: &str, new: &str| {
            Line::new("export changed").with("export", &settings.name).with("old", old).with("new", new)
        };
        if step.action != Action::Retune || step.changes.is_empty() {
            let (old, new) = old_and_new(step);
            let line = changed(&old, &new).maybe("size", step.size);
            self.say(Level::Notice, origin(line, settings).maybe("reason", step.reason.as_ref()));
            return;
        }
        for change in &step.changes {
            let (line, reason) = if change.key == "size" {
                let line = changed(&change.old, &change.new);
                (line, "the size is another one; sessions keep the old one")
            } else {
                let pair = |value| format!("{}={value}", change.key);
                (changed(&pair(&change.old), &pair(&change.new)), "settings")
            };
            self.say(Level::Notice, origin(line, settings).with("reason", reason));
        }
    }

    fn say_unavailable(&self, unavailable: &Unavailable, settings: &Export) {
        let line = Line::new("export unavailable")
            .with("export", &unavailable.export)
            .with("new", &unavailable.path)
            .with("reason", &unavailable.reason);
        self.report.say(Level::Warning, origin(line, settings));
    }

    fn say(&self, level: Level, line: Line) {
        if self.aloud {
            self.report.say(level, line);
        }
    }
}

/// It was blocked, or read-only, or its disk was not there at the last reload.
fn may_write_from_now_on(before: &Entry, settings: &Export) -> bool {
    let was_away = before.medium.storage.client.is_none() && !before.medium.is_judged();
    !settings.readonly && (before.blocked.is_some() || before.settings.readonly || was_away)
}

/// Both paths, or, where they are the same, what differs besides.
fn old_and_new(step: &Step) -> (String, String) {
    if step.old != step.new || step.changes.is_empty() {
        return (step.old.clone().unwrap_or_default(), step.new.clone().unwrap_or_default());
    }
    if let Some(disk) = step.changes.iter().find(|change| change.key == "disk") {
        return (disk.old.clone(), disk.new.clone());
    }
    let join = |value: fn(&control::view::Change) -> &String| {
        let pairs = step.changes.iter().map(|change| format!("{}={}", change.key, value(change)));
        pairs.collect::<Vec<_>>().join(",")
    };
    (join(|change| &change.old), join(|change| &change.new))
}

fn reason<'d>(decision: &'d Decision<'_>, action: Action) -> &'d str {
    let step = decision.steps.iter().find(|step| step.action == action);
    step.and_then(|step| step.reason.as_deref()).unwrap_or_default()
}

fn origin(line: Line, settings: &Export) -> Line {
    line.with("file", settings.origin.file.display()).with("line", settings.origin.line)
}
