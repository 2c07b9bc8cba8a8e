//! The reload (P1–P5, P9): text → Config → Plan → Prepared → running → fence → closing line.
//!
//! Start is the plan from the empty configuration. One thread does this, so reloads never overlap.

use crate::answer;
use crate::catalog::{Catalog, Entry};
use crate::commit::{Commit, Done, Tally};
use crate::decide::decide;
use crate::fence::{Waits, all_hanging, fence, let_in, release};
use crate::log::Level;
use crate::medium::Medium;
use crate::pool::SHARE_MAX;
use crate::prepare::Prepared;
use crate::report::Report;
use crate::sources::Files;
use crate::state::Shared;
use crate::tls;
use config::{Config, Export, Loaded, Plan, Problem, Refused, Sources};
use control::view::{self, Cut, Reload, Setting};
use control::{Closing, Line, Outcome, Refusal};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a reload that takes away the right to write waits for writes that are being done.
const SETTLE: Duration = Duration::from_secs(1);

/// Keeps the running set in step with the configuration.
pub struct Reconciler {
    shared: Arc<Shared>,
    report: Report,
    main: PathBuf,
    files: Files,
    /// The export of the command line, served behind those of the configuration.
    command_line: Option<Export>,
    loaded: Option<Loaded>,
    running: Config,
}

impl Reconciler {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, main: PathBuf, files: Files, command_line: Option<Export>) -> Self {
        let report = Report::new(shared.log.clone());
        Self { shared, report, main, files, command_line, loaded: None, running: Config::default() }
    }

    /// Applies the configuration that the process was started with.
    pub fn start(&mut self, loaded: Loaded) {
        let (_, tally) = self.apply(&loaded, Vec::new(), None);
        let line = Line::new("start complete")
            .with("generation", 1)
            .with("added", tally.added)
            .with("kept", self.report_kept(&loaded) + tally.blocked);
        self.loaded = Some(loaded);
        self.report.say(Level::Notice, line);
    }

    /// Reads the configuration again and follows it. When this returns the fence is done, or what hangs is named; whoever
    /// waits for that does so `until` then.
    pub fn reload(&mut self, until: Option<Instant>) -> Reload {
        let began = Instant::now();
        self.shared.reloads.begin();
        self.shared.notify.reloading();
        self.shared.log.info("reconfiguration request received");
        self.report.say(Level::Notice, Line::new("reload requested").with("file", self.main.display()));
        let reload = match self.read(&self.files) {
            Ok(loaded) => self.carry_out(loaded, began, until),
            Err(refused) => self.refuse(&refused, began),
        };
        self.shared.reloads.end(&reload);
        self.shared.notify.reloaded();
        reload
    }

    /// Ends every session of an export, those too that stayed on a disk it had before, and closes the disks. Whoever comes
    /// meanwhile waits. What hangs keeps it offline, as at a reload.
    ///
    /// # Errors
    /// There is no such export.
    pub fn fence(&self, name: &str, until: Option<Instant>) -> Result<Cut, Refusal> {
        let catalog = self.shared.catalog();
        let entry = catalog.find(name.as_bytes());
        let kept = self.shared.kept().into_iter().filter(|medium| medium.name.as_bytes() == name.as_bytes());
        let entrance = self.shared.entrance();
        let media = entry.map(|entry| entry.medium.split_off_all()).into_iter().chain(kept);
        let old: Vec<_> = media.map(|medium| (medium, "an operator asked for it".to_owned())).collect();
        if old.is_empty() {
            return Err(Refusal::NotFound(format!("there is no export {name}")));
        }
        self.take_leave(&old);
        drop(entrance);
        let began = Instant::now();
        let (fenced, mut hanging) = self.cut_off(old, until);
        let released = release(&mut hanging);
        let ours = |other: &&Arc<Entry>| entry.is_some_and(|entry| Arc::ptr_eq(entry, other));
        let waiting = |other: &&Arc<Entry>| ours(other) || other.medium.waits_for_hanging();
        let_in(catalog.entries().iter().filter(waiting), &hanging);
        released.say(&self.report);
        let ours = hanging.iter().filter(|medium| medium.name.as_bytes() == name.as_bytes());
        Ok(Cut {
            sessions: answer::count(fenced),
            hanging: all_hanging(ours),
            took_ms: answer::ms(began.elapsed()),
        })
    }

    /// A mistake of ours ended a request in the middle. What it left offline stays so until the next reload.
    pub fn broke_off(&self) {
        self.shared.reloads.break_off();
        self.shared.notify.reloaded();
        self.shared.log.error("a reload, or a question to it, broke off by a mistake of this program");
    }

    /// What [`Reconciler::reload`] would do at this moment. Nothing is done.
    #[must_use]
    pub fn plan(&self) -> view::Plan {
        let loaded = match self.read(&self.files) {
            Ok(loaded) => loaded,
            Err(refused) => return answer::refused(&refused),
        };
        let tls = self.shared.tls.try_to_follow(&loaded.config.generic.tls).err();
        let settings = answer::settings(&self.running.generic, &loaded.config.generic, tls.as_ref());
        let (wanted, before) = (self.wanted(&loaded), self.shared.catalog());
        let mut prepared = Prepared::look(&wanted, &before);
        prepared.claim(&wanted, &before, &self.shared.kept());
        let plan = Plan::between(&self.running, &wanted, &prepared.moved);
        let decisions = decide(&plan, &before, &wanted, &prepared);
        answer::plan(&loaded, self.known(), settings, &decisions, &prepared.warnings)
    }

    /// What runs, as it is configured.
    #[must_use]
    pub fn running(&self) -> &Config {
        &self.running
    }

    /// A disk of this export is not free, because a request does not come back.
    #[must_use]
    pub fn hangs(&self, name: &str) -> bool {
        let hanging = self.shared.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.iter().any(|medium| medium.name.as_bytes() == name.as_bytes())
    }

    /// Where texts come from, and the main one of them.
    #[must_use]
    pub fn sources(&self) -> (&Files, &Path) {
        (&self.files, &self.main)
    }

    /// What these texts amount to, given what runs.
    ///
    /// # Errors
    /// Nothing would be applied.
    pub fn read(&self, sources: &dyn Sources) -> Result<Loaded, Refused> {
        let options = config::Options { command_line_export: self.command_line.is_some() };
        match config::load(&self.main, sources, self.loaded.as_ref(), options) {
            // Started for the export of the command line alone, and there is still no file: then there is its disk to
            // look at again.
            Err(refused) if refused.missing && self.has_no_file() => Ok(Loaded::default()),
            result => result,
        }
    }

    fn has_no_file(&self) -> bool {
        let empty = self.loaded.as_ref().is_some_and(|loaded| loaded.config == Config::default());
        self.command_line.is_some() && empty
    }

    fn carry_out(&mut self, loaded: Loaded, began: Instant, until: Option<Instant>) -> Reload {
        let tls = self.follow_tls(&loaded);
        let settings = answer::settings(&self.running.generic, &loaded.config.generic, tls.as_ref());
        self.report_settings(&settings);
        let (plan, tally) = self.apply(&loaded, settings, until);
        let kept = self.report_kept(&loaded) + tally.blocked;
        self.loaded = Some(loaded);
        let held_up = tally.hanging + tally.unsettled;
        let whole = kept + held_up == 0 && tls.is_none();
        let outcome = if whole { Outcome::Complete } else { Outcome::Incomplete };
        let hanging = format!("{held_up} changed or removed exports have requests that hang");
        let kept_tls = tls.map(|_| "certificates and keys stay what they were");
        let reason = (held_up > 0).then_some(hanging.as_str()).or(kept_tls);
        self.close(plan, tally, kept, outcome, reason, began)
    }

    fn close(
        &self,
        plan: view::Plan,
        tally: Tally,
        kept: usize,
        outcome: Outcome,
        reason: Option<&str>,
        began: Instant,
    ) -> Reload {
        let closing = Closing {
            outcome,
            generation: self.shared.catalog().generation,
            added: tally.added,
            changed: tally.changed,
            removed: tally.removed,
            kept,
            fenced: tally.fenced,
            took: began.elapsed(),
        };
        self.report.close(&closing, reason);
        let hanging = all_hanging(self.shared.hanging.lock().unwrap_or_else(PoisonError::into_inner).iter());
        answer::reload(&closing, reason, plan, hanging)
    }

    /// Certificates and keys that cannot be used leave those in force that were; who must have TLS must have it all the
    /// same.
    fn follow_tls(&self, loaded: &Loaded) -> Option<tls::Problem> {
        match self.shared.tls.follow(&loaded.config.generic.tls) {
            Ok(false) => None,
            Ok(true) => {
                self.shared.log.info("certificates and keys were read again");
                None
            }
            Err(problem) => Some(problem),
        }
    }

    fn refuse(&self, refused: &Refused, began: Instant) -> Reload {
        for problem in &refused.problems {
            self.shared.log.error(format!("failed to append new servers: {problem}"));
            self.report.say(Level::Error, describe(Line::new("setting refused"), problem));
        }
        let first = refused.problems.first().map(ToString::to_string).unwrap_or_default();
        let (plan, kept) = (answer::refused(refused), self.running.exports.len());
        self.close(plan, Tally::default(), kept, Outcome::Refused, Some(&first), began)
    }

    /// Plan, prepare, commit, fence. After this returns the fence is done, or what hangs has been reported.
    fn apply(
        &mut self,
        loaded: &Loaded,
        settings: Vec<Setting>,
        until: Option<Instant>,
    ) -> (view::Plan, Tally) {
        let wanted = self.wanted(loaded);
        let before = self.shared.catalog();
        let mut prepared = Prepared::look(&wanted, &before);
        // From the judgement to the new catalog nobody comes to a disk of whom the judgement did not know.
        let shared = self.shared.clone();
        let entrance = shared.entrance();
        self.forget_those_who_left();
        prepared.claim(&wanted, &before, &self.shared.kept());
        let plan = Plan::between(&self.running, &wanted, &prepared.moved);
        for warning in &prepared.warnings {
            self.report.log().warning(warning);
        }
        let decisions = decide(&plan, &before, &wanted, &prepared);
        let generation = before.generation + 1;
        let commit = Commit::new(&self.report, &self.shared.retired, &loaded.kept_back, generation);
        let Done { entries, old, losing, mut tally } = commit.carry_out(&decisions);
        let told = answer::plan(loaded, self.known(), settings, &decisions, &prepared.warnings);
        self.shared.roll.follow(entries.iter().map(|entry| entry.name.clone()));
        let catalog = Catalog::new(generation, wanted.generic.allowlist, entries);
        self.shared.pool.set_share(share(wanted.generic.max_threads));
        self.shared.swap_catalog(catalog);
        // Only now: whoever comes to one that is closed finds its successor in the new catalog.
        let served = self.shared.catalog();
        let is_served =
            |medium: &&Arc<Medium>| served.entries().iter().any(|entry| Arc::ptr_eq(&entry.medium, medium));
        self.shared.kept().iter().filter(|medium| !is_served(medium)).for_each(|medium| medium.retire());
        self.take_leave(&old);
        drop(entrance);
        let settled_by = Instant::now() + SETTLE;
        tally.unsettled = losing.iter().filter(|medium| !medium.wait_settled(settled_by)).count();
        self.running = wanted;
        (told, self.finish(old, tally, until))
    }

    /// Nobody comes to these any more. The end of the server has to wait for them, and so has whoever comes to their disks.
    fn take_leave(&self, old: &[(Arc<Medium>, String)]) {
        let media = old.iter().map(|(medium, _)| medium);
        media.clone().for_each(|medium| medium.close());
        self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner).extend(media.cloned());
    }

    /// All of them are closed: nobody can come to one that is empty.
    fn forget_those_who_left(&self) {
        let mut retired = self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|medium| !medium.sitters().is_empty());
    }

    /// The configuration's exports and, behind them, the one of the command line.
    fn wanted(&self, loaded: &Loaded) -> Config {
        let mut wanted = loaded.config.clone();
        if let Some(export) = &self.command_line {
            wanted.exports.push(export.clone());
        }
        wanted
    }

    /// The fence, and then the new media are let in.
    fn finish(&self, old: Vec<(Arc<Medium>, String)>, mut tally: Tally, until: Option<Instant>) -> Tally {
        let (fenced, mut hanging) = self.cut_off(old, until);
        tally.fenced = fenced;
        let released = release(&mut hanging);
        // Those of earlier reloads count too: as long as one hangs, an export is offline that should be served.
        tally.hanging = hanging.len();
        let_in(self.shared.catalog().entries().iter(), &hanging);
        released.say(&self.report);
        tally
    }

    /// The fence. How many sessions were told to go, and everything that hangs now.
    fn cut_off(
        &self,
        old: Vec<(Arc<Medium>, String)>,
        until: Option<Instant>,
    ) -> (usize, MutexGuard<'_, Vec<Arc<Medium>>>) {
        let (began, empty) = (Instant::now(), old.is_empty());
        let leaving: Vec<Arc<Medium>> = old.iter().map(|(medium, _)| medium.clone()).collect();
        let fenced = fence(old, &self.report, until.map_or(Waits::RELOAD, Waits::until));
        let gone = |medium: &Arc<Medium>| leaving.iter().any(|left| Arc::ptr_eq(left, medium));
        if !empty {
            self.shared.reloads.fenced(began.elapsed());
        }
        let hangs = || fenced.iter().filter(|one| !one.hanging.is_empty());
        hangs().for_each(|one| one.say_what_hangs(&self.report));
        // From one list to the other at once, for whoever asks both.
        let entrance = self.shared.entrance();
        self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner).retain(|medium| !gone(medium));
        let mut hanging = self.shared.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.extend(hangs().map(|one| one.medium.clone()));
        drop(entrance);
        (fenced.iter().map(|one| one.sessions).sum(), hanging)
    }

    /// Says what was kept back, and what else the texts gave cause to say. Returns how many exports
    /// were kept back, each counted once, and files that hold none.
    fn report_kept(&self, loaded: &Loaded) -> usize {
        let mut kept = BTreeSet::new();
        for held in &loaded.kept_back {
            if held.exports.is_empty() {
                kept.insert(held.problem.file.display().to_string());
                self.report.say(Level::Warning, describe(Line::new("export kept"), &held.problem));
            }
            for export in &held.exports {
                let line = Line::new("export kept").with("export", export);
                self.report.say(Level::Warning, describe(line, &held.problem));
                kept.insert(export.to_string());
            }
        }
        for warning in loaded.warnings.iter().filter(|warning| !self.known().contains(warning)) {
            self.shared.log.warning(warning.to_string());
        }
        kept.len()
    }

    /// What the running texts gave cause to say.
    fn known(&self) -> &[Problem] {
        self.loaded.as_ref().map(|loaded| loaded.warnings.as_slice()).unwrap_or_default()
    }

    /// Settings of `[generic]` that need a restart, or cannot be used, are named (P9); the others apply.
    fn report_settings(&self, settings: &[Setting]) {
        for Setting { key, old, new, not_applied } in settings {
            let (event, level) = match not_applied {
                None => ("setting changed", Level::Notice),
                Some(_) => ("setting not applied", Level::Warning),
            };
            // Without values where it is the file behind the key that is another one.
            let line = Line::new(event).with("key", key);
            let line = if old == new { line } else { line.with("old", old).with("new", new) };
            self.report.say(level, line.maybe("reason", not_applied.as_ref()));
        }
    }
}

/// A problem as pairs.
fn describe(line: Line, problem: &Problem) -> Line {
    line.with("file", problem.file.display())
        .maybe("line", problem.line)
        .maybe("key", problem.key.as_ref())
        .with("reason", problem.sentence())
}

/// `max_threads`: operations of one export at a time; -1 is a large share, and still not all there are.
fn share(max_threads: i32) -> usize {
    usize::try_from(max_threads).unwrap_or(SHARE_MAX).min(SHARE_MAX)
}

#[cfg(test)]
mod tests;
