//! The reload (P1–P5, P9): text → Config → Plan → Prepared → running → fence → closing line.
//!
//! Start is the plan from the empty configuration. One thread does this, so reloads never overlap.

use crate::catalog::Catalog;
use crate::fence::{Fenced, Waits, fence};
use crate::log::Level;
use crate::medium::Medium;
use crate::prepare::{Finding, Prepared, entry, same_disk};
use crate::report::{Closing, Line, Outcome, Report};
use crate::sources::Files;
use crate::state::Shared;
use config::{Config, Export, Loaded, OnChange, Plan, Problem, Refused, Step};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Why nobody may enter a new medium before the fence of its reload is finished.
const UNDER_WAY: &str = "a reload is under way";

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
    /// Fenced media that have not closed: their successors stay offline (P2).
    hanging: Hanging,
    /// Media of removed or replaced exports whose sessions go on (`on_change = keep`).
    retired: Mutex<Vec<Arc<Medium>>>,
}

/// Fenced media that have not closed, shared with the watch.
pub type Hanging = Arc<Mutex<Vec<Arc<Medium>>>>;

/// What applying a configuration did.
#[derive(Default)]
struct Tally {
    added: usize,
    changed: usize,
    removed: usize,
    blocked: usize,
    fenced: usize,
    hanging: usize,
}

impl Reconciler {
    /// Nothing is loaded yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, main: PathBuf, files: Files, command_line: Option<Export>) -> Self {
        let report = Report::new(shared.log.clone());
        Self {
            shared,
            report,
            main,
            files,
            command_line,
            loaded: None,
            running: Config::default(),
            hanging: Arc::default(),
            retired: Mutex::default(),
        }
    }

    /// Fenced media that have not closed, for the watch.
    #[must_use]
    pub fn hanging(&self) -> Hanging {
        self.hanging.clone()
    }

    /// Applies the configuration that the process was started with.
    pub fn start(&mut self, loaded: Loaded) {
        let tally = self.apply(&loaded, false);
        let line = Line::new("start complete")
            .with("generation", 1)
            .with("added", tally.added)
            .with("kept", self.report_kept(&loaded) + tally.blocked);
        self.loaded = Some(loaded);
        self.report.say(Level::Notice, line);
    }

    /// Reads the configuration again and follows it.
    pub fn reload(&mut self) {
        let began = Instant::now();
        self.shared.log.info("reconfiguration request received");
        self.report.say(Level::Notice, Line::new("reload requested").with("file", self.main.display()));
        let options = config::Options { command_line_export: self.command_line.is_some() };
        match config::load(&self.main, &self.files, self.loaded.as_ref(), options) {
            Ok(loaded) => self.carry_out(loaded, began),
            Err(refused) => self.refuse(&refused, began),
        }
    }

    fn carry_out(&mut self, loaded: Loaded, began: Instant) {
        self.report_generic(&loaded);
        let tally = self.apply(&loaded, true);
        let kept = self.report_kept(&loaded) + tally.blocked;
        self.loaded = Some(loaded);
        let outcome = if kept + tally.hanging > 0 { Outcome::Incomplete } else { Outcome::Complete };
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
        let hanging = format!("{} removed or replaced exports have requests that hang", tally.hanging);
        self.report.close(&closing, (tally.hanging > 0).then_some(&hanging));
    }

    fn refuse(&self, refused: &Refused, began: Instant) {
        for problem in &refused.problems {
            self.shared.log.error(format!("failed to append new servers: {problem}"));
            self.report.say(Level::Error, describe(Line::new("setting refused"), problem));
        }
        let closing = Closing {
            outcome: Outcome::Refused,
            generation: self.shared.catalog().generation,
            added: 0,
            changed: 0,
            removed: 0,
            kept: self.running.exports.len(),
            fenced: 0,
            took: began.elapsed(),
        };
        let first = refused.problems.first().map(ToString::to_string).unwrap_or_default();
        self.report.close(&closing, Some(&first));
    }

    /// The plan back to the empty configuration: every session is ended and what it wrote is flushed.
    pub fn stop(&self) {
        self.shared.sessions.close_handshakes();
        let catalog = self.shared.catalog();
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let media = catalog.entries().iter().map(|entry| &entry.medium).chain(retired.iter());
        let old = media.map(|medium| (medium.clone(), "the server stops".to_owned())).collect();
        for one in fence(old, &self.report, Waits::STOP).iter().filter(|one| !one.hanging.is_empty()) {
            self.report_hanging(one);
        }
    }

    /// Plan, prepare, commit, fence. After this returns the fence is done, or what hangs has been reported.
    fn apply(&mut self, loaded: &Loaded, aloud: bool) -> Tally {
        let wanted = self.wanted(loaded);
        let before = self.shared.catalog();
        let prepared = Prepared::look(&wanted, &before);
        let plan = Plan::between(&self.running, &wanted, &prepared.moved);
        let mut change =
            Change { reconciler: self, before: &before, wanted: &wanted, prepared: &prepared, aloud };
        let (entries, old, tally) = change.walk(&plan);
        let catalog = Catalog::new(before.generation + 1, wanted.generic.allowlist, entries);
        self.shared.pool.set_share(share(wanted.generic.max_threads));
        self.shared.swap_catalog(catalog);
        self.running = wanted;
        self.finish(old, tally)
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
    fn finish(&self, old: Vec<(Arc<Medium>, String)>, mut tally: Tally) -> Tally {
        let fenced = fence(old, &self.report, Waits::RELOAD);
        tally.fenced = fenced.iter().map(|one| one.sessions).sum();
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        for one in fenced.iter().filter(|one| !one.hanging.is_empty()) {
            self.report_hanging(one);
            tally.hanging += 1;
            hanging.push(one.medium.clone());
        }
        let_in(&self.shared.catalog(), &hanging);
        tally
    }

    fn report_hanging(&self, one: &Fenced) {
        let line = Line::new("export unavailable")
            .with("export", &one.medium.name)
            .with("old", &one.medium.storage.path)
            .with("reason", format!("its old disk is still in use: {}", one.hanging.join(", ")));
        self.report.say(Level::Error, line);
    }

    /// Says what was kept back, and what else the texts gave cause to say. Returns how many exports were kept back.
    fn report_kept(&self, loaded: &Loaded) -> usize {
        let mut kept = 0;
        for held in &loaded.kept_back {
            if held.exports.is_empty() {
                self.report.say(Level::Warning, describe(Line::new("export kept"), &held.problem));
            }
            for export in &held.exports {
                let line = Line::new("export kept").with("export", export);
                self.report.say(Level::Warning, describe(line, &held.problem));
            }
            kept += held.exports.len().max(1);
        }
        let known = self.loaded.as_ref().map(|loaded| loaded.warnings.as_slice()).unwrap_or_default();
        for warning in loaded.warnings.iter().filter(|warning| !known.contains(warning)) {
            self.shared.log.warning(warning.to_string());
        }
        kept
    }

    /// Settings of `[generic]` that need a restart are named (P9); the others apply.
    fn report_generic(&self, loaded: &Loaded) {
        for change in config::generic_changes(&self.running.generic, &loaded.config.generic) {
            let event = if change.live { "setting changed" } else { "setting not applied" };
            let reason = (!change.live).then_some("it needs a restart");
            let line = Line::new(event)
                .with("key", change.key)
                .with("old", change.old)
                .with("new", change.new)
                .maybe("reason", reason);
            self.report.say(if change.live { Level::Notice } else { Level::Warning }, line);
        }
    }
}

/// Brings every new medium online that no hanging one stands in the way of: same name, or same disk.
pub fn let_in(catalog: &Catalog, hanging: &[Arc<Medium>]) {
    for entry in catalog.entries() {
        let blocker = hanging
            .iter()
            .find(|old| old.name == entry.medium.name || same_disk(old, &entry.medium))
            .filter(|old| !Arc::ptr_eq(old, &entry.medium));
        match blocker {
            None => entry.medium.bring_online(),
            Some(old) => entry.medium.keep_offline(format!(
                "a request to {} hangs, and this export must wait for its end",
                old.storage.path
            )),
        }
    }
}

/// One walk along a plan.
struct Change<'a> {
    reconciler: &'a Reconciler,
    before: &'a Catalog,
    wanted: &'a Config,
    prepared: &'a Prepared,
    aloud: bool,
}

type Walked = (Vec<Arc<crate::catalog::Entry>>, Vec<(Arc<Medium>, String)>, Tally);

impl Change<'_> {
    /// The new entries, the media to fence with the reason, and the counts.
    fn walk(&mut self, plan: &Plan) -> Walked {
        let (mut entries, mut old, mut tally) = (Vec::new(), Vec::new(), Tally::default());
        for warning in &self.prepared.warnings {
            self.reconciler.shared.log.warning(warning);
        }
        let mut findings = self.prepared.findings.iter();
        for step in plan.steps() {
            let (Step::Keep(name)
            | Step::Open(name)
            | Step::Retune(name)
            | Step::Replace(name)
            | Step::Close(name)) = step;
            let before = self.before.find(name.as_bytes());
            let Some(settings) = self.wanted.exports.get(name) else {
                tally.removed += 1;
                if let Some(before) = before {
                    self.say(
                        Level::Notice,
                        Line::new("export removed").with("export", name).with("old", path(before)),
                    );
                    self.let_go(before, before.settings.on_change, "the export was removed", &mut old);
                }
                continue;
            };
            let Some(finding) = findings.next() else { continue };
            let blocked = self.prepared.blocked.get(name).cloned();
            let medium = match (step, before) {
                (Step::Keep(_) | Step::Retune(_), Some(before)) => {
                    tally.changed += self.adjust(settings, before, finding);
                    before.medium.clone()
                }
                (_, before) => {
                    self.replace(settings, before.map(|entry| &**entry), finding, &mut old, &mut tally)
                }
            };
            match &finding.probe {
                Ok(probe) => medium.remember(probe),
                Err(reason) => self.unavailable(settings, reason),
            }
            if let Some(why) = &blocked {
                tally.blocked += 1;
                self.unavailable(settings, why);
            }
            entries.push(entry(settings, medium, blocked));
        }
        (entries, old, tally)
    }

    /// Same storage: other settings, or another size. Returns 1 for a change.
    fn adjust(&self, settings: &Export, before: &crate::catalog::Entry, finding: &Finding) -> usize {
        let mut changed = 0;
        for change in config::export_changes(&before.settings, settings) {
            changed = 1;
            let line = Line::new("export changed")
                .with("export", &settings.name)
                .with("old", format!("{}={}", change.key, change.old))
                .with("new", format!("{}={}", change.key, change.new));
            self.say(Level::Notice, origin(line, settings).with("reason", "settings"));
        }
        before.medium.set_follow(settings);
        if settings.readonly && !before.settings.readonly {
            before.medium.make_read_only();
        }
        if let Some((old, new)) = finding.resized() {
            changed = 1;
            let line =
                Line::new("export changed").with("export", &settings.name).with("old", old).with("new", new);
            self.say(
                Level::Notice,
                origin(line, settings).with("reason", "the size is another one; sessions keep the old one"),
            );
        }
        changed
    }

    /// A new medium, and what stood under the name before is let go.
    fn replace(
        &self,
        settings: &Export,
        before: Option<&crate::catalog::Entry>,
        finding: &Finding,
        old: &mut Vec<(Arc<Medium>, String)>,
        tally: &mut Tally,
    ) -> Arc<Medium> {
        let log = self.reconciler.shared.log.clone();
        let medium = Medium::new(settings, Some(UNDER_WAY.into()), log);
        let size = finding.probe.as_ref().ok().map(|probe| probe.size);
        let Some(before) = before else {
            tally.added += 1;
            let line =
                Line::new("export added").with("export", &settings.name).with("new", &settings.storage.path);
            self.say(Level::Notice, origin(line.maybe("size", size), settings));
            return medium;
        };
        tally.changed += 1;
        let moved = self.prepared.moved.contains(&settings.name);
        let reason = if moved { "another disk is at the path" } else { "the export leads to another store" };
        let identity = |probe: &store::Probe| probe.identity.to_string();
        let (was, is) = if moved {
            let is = finding.probe.as_ref().ok().map(identity).unwrap_or_default();
            (before.medium.seen().as_ref().map(identity).unwrap_or_default(), is)
        } else {
            (path(before).to_owned(), settings.storage.path.clone())
        };
        let line =
            Line::new("export changed").with("export", &settings.name).with("old", was).with("new", is);
        self.say(Level::Notice, origin(line.maybe("size", size), settings).with("reason", reason));
        self.let_go(before, settings.on_change, reason, old);
        medium
    }

    fn let_go(
        &self,
        before: &crate::catalog::Entry,
        on_change: OnChange,
        reason: &str,
        old: &mut Vec<(Arc<Medium>, String)>,
    ) {
        if on_change == OnChange::Fence {
            old.push((before.medium.clone(), reason.to_owned()));
            return;
        }
        before.medium.retire();
        let mut retired = self.reconciler.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|medium| !medium.sitters().is_empty());
        retired.push(before.medium.clone());
        for sitter in before.medium.sitters() {
            let line = Line::new("session kept")
                .with("peer", &sitter.peer)
                .with("export", &before.name)
                .with("reason", format!("{reason}, but on_change = keep"));
            self.say(Level::Warning, line);
        }
    }

    fn unavailable(&self, settings: &Export, reason: &str) {
        let line = Line::new("export unavailable")
            .with("export", &settings.name)
            .with("new", &settings.storage.path)
            .with("reason", reason);
        self.reconciler.report.say(Level::Warning, origin(line, settings));
    }

    fn say(&self, level: Level, line: Line) {
        if self.aloud {
            self.reconciler.report.say(level, line);
        }
    }
}

fn path(entry: &crate::catalog::Entry) -> &str {
    &entry.settings.storage.path
}

fn origin(line: Line, settings: &Export) -> Line {
    line.with("file", settings.origin.file.display()).with("line", settings.origin.line)
}

/// A problem as pairs.
fn describe(line: Line, problem: &Problem) -> Line {
    line.with("file", problem.file.display())
        .maybe("line", problem.line)
        .maybe("key", problem.key.as_ref())
        .with("reason", problem.sentence())
}

/// `max_threads`: operations of one export at a time; -1 is as many as there are workers.
fn share(max_threads: i32) -> usize {
    usize::try_from(max_threads).unwrap_or(crate::pool::WORKERS_MAX)
}
