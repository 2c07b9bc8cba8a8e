//! From a plan to the next catalog: entries made, media to let go, and every step said.
//!
//! Nothing in here can fail: what could was found out by `prepare.rs`.

use crate::catalog::{Catalog, Entry};
use crate::fence::Retired;
use crate::log::Level;
use crate::medium::Medium;
use crate::prepare::{Finding, Prepared, entry};
use crate::report::Report;
use config::{Config, Export, OnChange, Plan, Step, Storage};
use control::Line;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// What applying a configuration did.
#[derive(Default)]
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

/// One walk along a plan.
pub struct Change<'a> {
    /// For the log.
    pub report: &'a Report,
    /// What runs.
    pub before: &'a Catalog,
    /// What shall run.
    pub wanted: &'a Config,
    /// What its paths lead to.
    pub prepared: &'a Prepared,
    /// Each change has its line; at start there would be one for every export.
    pub aloud: bool,
    /// For writes that are being done on exports that become read-only: once for all of them.
    pub settle_until: Instant,
    /// Where media go whose sessions may stay (`on_change = keep`).
    pub retired: &'a Retired,
}

/// New entries, media to fence with the reason, and the counts.
pub type Walked = (Vec<Arc<Entry>>, Vec<(Arc<Medium>, String)>, Tally);

impl Change<'_> {
    /// The new entries, the media to fence with the reason, and the counts.
    #[must_use]
    pub fn walk(&self, plan: &Plan) -> Walked {
        let (mut entries, mut old, mut tally) = (Vec::new(), Vec::new(), Tally::default());
        for warning in &self.prepared.warnings {
            self.report.log().warning(warning);
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
                    let medium = before.medium.clone();
                    self.let_go(medium, before.settings.on_change, "the export was removed", &mut old);
                }
                continue;
            };
            let Some(finding) = findings.next() else { continue };
            let blocked = self.prepared.blocked.get(name).cloned();
            let medium = match (step, before) {
                (Step::Keep(_) | Step::Retune(_), Some(before)) => {
                    self.adjust(settings, before, finding, &mut tally);
                    self.scatter(settings, before, finding, &mut old, &mut tally);
                    match &blocked {
                        // It was served until now: an exclusive disk has no second writer, not even an old session.
                        Some(why) if before.blocked.is_none() => {
                            old.push((before.medium.clone(), why.clone()));
                            self.new_medium(settings)
                        }
                        _ => before.medium.clone(),
                    }
                }
                (_, before) => {
                    let before = before.map(|entry| &**entry);
                    self.replace(settings, before, finding, blocked.is_some(), &mut old, &mut tally)
                }
            };
            match &finding.probe {
                Ok(Some(probe)) => medium.remember(probe),
                Ok(None) => {}
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

    /// Once this returns nothing is written any more by those who lost the right to it. 1: something may be.
    fn set_read_only(&self, medium: &Medium, read_only: bool) -> usize {
        usize::from(medium.set_read_only(read_only) && !medium.wait_settled(self.settle_until))
    }

    /// Nobody may enter it before the fence of this reload is finished.
    fn new_medium(&self, settings: &Export) -> Arc<Medium> {
        Medium::new(settings, self.report.log().clone())
    }

    /// Same storage: other settings, or another size.
    fn adjust(&self, settings: &Export, before: &Entry, finding: &Finding, tally: &mut Tally) {
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
        tally.unsettled += self.set_read_only(&before.medium, settings.readonly);
        if let Some((old, new)) = finding.resized() {
            changed = 1;
            let line =
                Line::new("export changed").with("export", &settings.name).with("old", old).with("new", new);
            self.say(
                Level::Notice,
                origin(line, settings).with("reason", "the size is another one; sessions keep the old one"),
            );
        }
        tally.changed += changed;
    }

    /// Clients whose own path leads to another disk now; the others stay.
    fn scatter(
        &self,
        settings: &Export,
        before: &Entry,
        finding: &Finding,
        old: &mut Vec<(Arc<Medium>, String)>,
        tally: &mut Tally,
    ) {
        let Some(moved) = before.medium.split_off(&finding.scattered) else { return };
        tally.changed += 1;
        let reason = "another disk is at the path of some clients";
        let line = Line::new("export changed")
            .with("export", &settings.name)
            .with("old", path(before))
            .with("new", &settings.storage.path);
        self.say(Level::Notice, origin(line, settings).with("reason", reason));
        self.let_go(moved, settings.on_change, reason, old);
    }

    /// A new medium, and what stood under the name before is let go.
    fn replace(
        &self,
        settings: &Export,
        before: Option<&Entry>,
        finding: &Finding,
        blocked: bool,
        old: &mut Vec<(Arc<Medium>, String)>,
        tally: &mut Tally,
    ) -> Arc<Medium> {
        let moved = self.prepared.moved.contains(&settings.name);
        let medium = match (before, &finding.found) {
            (Some(before), Some(found)) if moved && !blocked => before.medium.successor(settings, found),
            _ => self.new_medium(settings),
        };
        // For those who came along from its predecessor.
        tally.unsettled += self.set_read_only(&medium, settings.readonly);
        let size = finding.probe.as_ref().ok().and_then(|probe| Some(probe.as_ref()?.size));
        let Some(before) = before else {
            tally.added += 1;
            if self.aloud {
                // The words of the original, which programs look for (C-219).
                self.report.log().info(format!("reconfigured new server: {}", settings.name));
            }
            let line =
                Line::new("export added").with("export", &settings.name).with("new", &settings.storage.path);
            self.say(Level::Notice, origin(line.maybe("size", size), settings));
            return medium;
        };
        tally.changed += 1;
        let reason = if moved { "another disk is at the path" } else { "the export leads to another store" };
        let identity = |probe: &store::Probe| probe.identity.to_string();
        let (was, is) = if moved {
            let is = finding.found.as_ref().map(identity).unwrap_or_default();
            (before.medium.seen().as_ref().map(identity).unwrap_or_default(), is)
        } else {
            other_storage(&before.settings.storage, &settings.storage)
        };
        let line =
            Line::new("export changed").with("export", &settings.name).with("old", was).with("new", is);
        self.say(Level::Notice, origin(line.maybe("size", size), settings).with("reason", reason));
        self.let_go(before.medium.clone(), settings.on_change, reason, old);
        medium
    }

    fn let_go(
        &self,
        medium: Arc<Medium>,
        on_change: OnChange,
        reason: &str,
        old: &mut Vec<(Arc<Medium>, String)>,
    ) {
        if on_change == OnChange::Fence {
            old.push((medium, reason.to_owned()));
            return;
        }
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|medium| !medium.sitters().is_empty());
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

    fn unavailable(&self, settings: &Export, reason: &str) {
        let line = Line::new("export unavailable")
            .with("export", &settings.name)
            .with("new", &settings.storage.path)
            .with("reason", reason);
        self.report.say(Level::Warning, origin(line, settings));
    }

    fn say(&self, level: Level, line: Line) {
        if self.aloud {
            self.report.say(level, line);
        }
    }
}

fn path(entry: &Entry) -> &str {
    &entry.settings.storage.path
}

fn origin(line: Line, settings: &Export) -> Line {
    line.with("file", settings.origin.file.display()).with("line", settings.origin.line)
}

/// Both paths, or, where they are the same, what differs besides.
fn other_storage(old: &Storage, new: &Storage) -> (String, String) {
    if old.path != new.path {
        return (old.path.clone(), new.path.clone());
    }
    let changes = config::storage_changes(old, new);
    let join = |value: fn(&config::Change) -> &String| {
        let pairs = changes.iter().map(|change| format!("{}={}", change.key, value(change)));
        pairs.collect::<Vec<_>>().join(",")
    };
    (join(|change| &change.old), join(|change| &change.new))
}
