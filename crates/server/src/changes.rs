//! What changes something, when somebody asks for it on the control socket: each with an answer, and logged with who asked.

use crate::answer;
use crate::log::Level;
use crate::reconcile::Reconciler;
use crate::report::Report;
use crate::requests::{Counted, Requests};
use crate::snippets::{Snippet, With};
use crate::sources::Files;
use config::{Loaded, SourceError, Sources};
use control::view::{Check, Cut, ExportSettings, Plan, Reload};
use control::{Caller, Line, Refusal};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// See the module.
pub struct Changes {
    requests: Requests,
    report: Report,
    files: Files,
    main: PathBuf,
    command_line_export: bool,
    /// When the next plan may be made.
    next_plan: Mutex<Instant>,
    /// How many wait for one.
    plans: Arc<AtomicUsize>,
}

/// Who may wait for a plan.
const PLANS_MAX: usize = 4;

/// After a plan the thread that makes them is left to others so many times as long as it took, whoever asks how often: it
/// is the one that reloads, and it has the priority of data.
const PAUSE: u32 = 4;
/// No longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Changes {
    /// Through these requests.
    #[must_use]
    pub fn new(
        requests: Requests,
        report: Report,
        files: Files,
        main: PathBuf,
        command_line_export: bool,
    ) -> Self {
        let (next_plan, plans) = (Mutex::new(Instant::now()), Arc::default());
        Self { requests, report, files, main, command_line_export, next_plan, plans }
    }

    /// Who asked for what, before it is done.
    pub fn say(&self, action: &'static str, about: Option<(&'static str, &str)>, by: Caller) {
        let line = Line::new("control request").with("action", action);
        let line = about.into_iter().fold(line, |line, (key, value)| line.with(key, value));
        let line = line.with("pid", by.pid).with("uid", by.uid);
        self.report.say(Level::Notice, line);
    }

    /// See [`control::Controls::reload`].
    ///
    /// # Errors
    /// As there.
    pub fn reload(&self, timeout: Duration, by: Caller) -> Result<Reload, Refusal> {
        self.say("reload", None, by);
        self.requests.reload(timeout)
    }

    /// See [`control::Controls::plan`].
    ///
    /// # Errors
    /// As there.
    pub fn plan(&self, timeout: Duration) -> Result<Plan, Refusal> {
        let until = Instant::now() + timeout;
        // So many wait for one that the others had better come again: places are for reloads too.
        let _place = Counted::among(&self.plans, PLANS_MAX)
            .ok_or_else(|| Refusal::Late("too many ask for a plan".into()))?;
        let mut next = self.next_plan.lock().unwrap_or_else(PoisonError::into_inner);
        if *next > until || Instant::now() > until {
            return Err(Refusal::Late("too many ask for a plan".into()));
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        let rest = until.saturating_duration_since(began);
        let plan = self.requests.ask(rest, |reconciler| reconciler.plan());
        *next = Instant::now() + (began.elapsed() * PAUSE).min(PAUSE_MAX);
        plan
    }

    /// See [`control::Controls::check`].
    #[must_use]
    pub fn check(&self, text: Option<&str>) -> Check {
        let options = config::Options { command_line_export: self.command_line_export };
        let given = text.map(|text| MainText { files: &self.files, main: &self.main, text });
        let sources: &dyn Sources = given.as_ref().map_or(&self.files, |given| given);
        answer::check(&config::load(&self.main, sources, None, options))
    }

    /// See [`control::Controls::put_export`].
    ///
    /// # Errors
    /// As there.
    pub fn put(
        &self,
        export: &str,
        settings: &ExportSettings,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        self.say("add", Some(("export", export)), by);
        let (name, settings) = (export.to_owned(), settings.clone());
        self.and_reload(apply, timeout, move |reconciler| put(reconciler, &name, &settings))
    }

    /// See [`control::Controls::remove_export`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(
        &self,
        export: &str,
        apply: bool,
        timeout: Duration,
        by: Caller,
    ) -> Result<Option<Reload>, Refusal> {
        self.say("remove", Some(("export", export)), by);
        let name = export.to_owned();
        self.and_reload(apply, timeout, move |reconciler| remove(reconciler, &name))
    }

    /// See [`control::Controls::fence`].
    ///
    /// # Errors
    /// As there.
    pub fn fence(&self, export: &str, timeout: Duration, by: Caller) -> Result<Cut, Refusal> {
        self.say("fence", Some(("export", export)), by);
        let (name, until) = (export.to_owned(), Instant::now() + timeout);
        self.requests.ask(timeout, move |reconciler| reconciler.fence(&name, Some(until)))?
    }

    fn and_reload(
        &self,
        apply: bool,
        timeout: Duration,
        change: impl FnOnce(&Reconciler) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Option<Reload>, Refusal> {
        let until = Instant::now() + timeout;
        self.requests.ask(timeout, |reconciler| change(reconciler))??;
        if !apply {
            return Ok(None);
        }
        self.requests.reload(until.saturating_duration_since(Instant::now())).map(Some)
    }
}

/// Writes the file, if a reload would follow it.
fn put(reconciler: &Reconciler, name: &str, settings: &ExportSettings) -> Result<(), Refusal> {
    let (files, main) = reconciler.sources();
    let snippet = Snippet::of(name, reconciler.running(), files, main)?;
    let (text, _) = config::describe(snippet.path(), name, settings)
        .map_err(|problems| Refusal::Invalid(answer::problems(&problems)))?;
    let loaded =
        would_be_followed(reconciler, name, &With { files, path: snippet.path(), text: Some(&text) })?;
    let there = loaded.config.exports.get(&name.into());
    if there.is_none_or(|export| files.base.join(&export.origin.file) != snippet.path()) {
        return Err(not_read(snippet.path()));
    }
    snippet.write(&text)
}

/// Deletes the file.
fn remove(reconciler: &Reconciler, name: &str) -> Result<(), Refusal> {
    let (files, main) = reconciler.sources();
    let snippet = Snippet::of(name, reconciler.running(), files, main)?;
    if snippet.exists() {
        let without = With { files, path: snippet.path(), text: None };
        let loaded = would_be_followed(reconciler, name, &without)?;
        if let Some(export) = loaded.config.exports.get(&name.into()) {
            let elsewhere = format!("{} describes the export as well", export.origin.file.display());
            return Err(Refusal::Conflict(format!("{elsewhere}; delete it there")));
        }
        return snippet.delete();
    }
    // Deleted by somebody else, and not followed yet: the reload does what is asked for.
    let runs = reconciler.running().exports.get(&name.into()).is_some();
    // Whoever asks again because it hung is told whether it still does.
    if runs || reconciler.hangs(name) {
        return Ok(());
    }
    Err(Refusal::NotFound(format!("there is no export {name}")))
}

/// The main file names another directory since the last reload.
fn not_read(path: &Path) -> Refusal {
    let what = format!("a reload would not read {}", path.display());
    Refusal::Conflict(format!("{what}: reload first, and see which includedir is in force then"))
}

/// A file is not touched when the reload behind it would come to nothing.
fn would_be_followed(reconciler: &Reconciler, name: &str, with: &With<'_>) -> Result<Loaded, Refusal> {
    let loaded =
        reconciler.read(with).map_err(|refused| Refusal::Invalid(answer::problems(&refused.problems)))?;
    let ours =
        |kept: &&config::KeptBack| kept.problem.file == with.path || kept.exports.contains(&name.into());
    match loaded.kept_back.iter().find(ours) {
        Some(kept) => Err(Refusal::Conflict(kept.problem.to_string())),
        None => Ok(loaded),
    }
}

/// The file system, with another main file.
struct MainText<'a> {
    files: &'a Files,
    main: &'a Path,
    text: &'a str,
}

impl Sources for MainText<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        if path == self.main { Ok(self.text.as_bytes().to_vec()) } else { self.files.read(path) }
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
        self.files.list(dir)
    }
}
