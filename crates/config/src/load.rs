//! All texts to one configuration, by the rules of P5: one bad file harms only itself.

use crate::document::Document;
use crate::name::ExportName;
use crate::problem::Problem;
use crate::read::{self, Found};
use crate::settings::{Config, Export, Generic};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Where texts come from.
pub trait Sources {
    /// The whole text of a file, once nobody is writing it any more.
    ///
    /// # Errors
    /// Why there is none.
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError>;

    /// The `*.conf` files of a directory, sorted.
    ///
    /// # Errors
    /// Why they cannot be told.
    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError>;
}

/// Why a text cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// There is nothing of that name.
    pub missing: bool,
    /// There is a link of that name, and it leads nowhere: editors leave such things beside a file.
    pub dangling: bool,
    /// In the system's words.
    pub reason: String,
}

/// What the caller knows besides the texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// There is an export on the command line, so the texts need not have one.
    pub command_line_export: bool,
}

/// A configuration that can run, and what the next load must know of this one.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What to run.
    pub config: Config,
    /// What the files say and was not followed.
    pub kept_back: Vec<KeptBack>,
    /// Descriptions of exports that another one of the same name keeps out.
    pub twice: Vec<Export>,
    /// Worth a word.
    pub warnings: Vec<Problem>,
    /// Files whose last line had its end when they were last followed.
    whole: BTreeSet<PathBuf>,
}

/// A problem, and the exports that stay as they were (or stay out) because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBack {
    /// Their names; none when the file described nothing that runs.
    pub exports: Vec<ExportName>,
    /// What is wrong.
    pub problem: Problem,
}

/// Nothing can be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Everything that is wrong, the main file's first.
    pub problems: Vec<Problem>,
    /// There is no main file at all.
    pub missing: bool,
}

/// Reads everything.
///
/// `running` is what was loaded before; without it this is a start.
///
/// # Errors
/// A main file that is broken; with `strict`, any problem; no exports at all where none can come.
pub fn load(
    main: &Path,
    sources: &dyn Sources,
    running: Option<&Loaded>,
    options: Options,
) -> Result<Loaded, Refused> {
    let mut loader = Loader {
        main,
        sources,
        running,
        claims: Vec::new(),
        kept_back: Vec::new(),
        twice: Vec::new(),
        warnings: Vec::new(),
        fatal: Vec::new(),
        whole: BTreeSet::new(),
    };
    let text = sources.read(main).map_err(|error| unreadable(main, &error))?;
    let generic = loader.main_file(&text);
    loader.snippets(&generic);
    loader.conclude(generic, options)
}

fn unreadable(main: &Path, error: &SourceError) -> Refused {
    let problem = Problem::in_file(main, format!("the configuration cannot be read: {}", error.reason));
    Refused { problems: vec![problem], missing: error.missing }
}

/// One description of an export.
struct Claim {
    export: Export,
    /// It stays as it was because its file is broken.
    kept: bool,
}

struct Loader<'a> {
    main: &'a Path,
    sources: &'a dyn Sources,
    running: Option<&'a Loaded>,
    claims: Vec<Claim>,
    kept_back: Vec<KeptBack>,
    twice: Vec<Export>,
    warnings: Vec<Problem>,
    /// Of the main file: nothing is applied.
    fatal: Vec<Problem>,
    whole: BTreeSet<PathBuf>,
}

impl Loader<'_> {
    fn main_file(&mut self, text: &[u8]) -> Generic {
        let document = match Document::parse(self.main, text) {
            Ok(document) => document,
            Err(problems) => {
                self.fatal.extend(problems);
                return Generic::default();
            }
        };
        let Some((first, exports)) =
            document.groups.split_first().filter(|(first, _)| first.name == b"generic")
        else {
            let line = document.groups.first().map(|group| group.line);
            let what = "Config file does not contain the [generic] group!";
            let problem = Problem { line, ..Problem::in_file(self.main, what) };
            self.fatal.push(problem.hint("it must be the first group of the file"));
            return Generic::default();
        };
        let found = read::generic(self.main, first);
        self.fatal.extend(found.errors);
        self.warnings.extend(found.warnings);
        for group in exports {
            let found = read::export(self.main, group);
            self.fatal.extend(found.errors.iter().cloned());
            self.take(found);
        }
        if !document.ends_whole && self.was_whole(self.main) {
            self.fatal.push(half_written(self.main));
        } else if document.ends_whole {
            self.whole.insert(self.main.into());
        }
        found.settings
    }

    fn snippets(&mut self, generic: &Generic) {
        let Some(dir) = &generic.includedir else { return };
        // A listing may miss a file that is renamed over while it is made; whether it is gone, reading it tells.
        let mut files = self.known_files(dir);
        match self.sources.list(dir) {
            Ok(listed) => files.extend(listed),
            Err(error) => return self.no_directory(dir, &error),
        }
        for file in files {
            match self.sources.read(&file) {
                Ok(text) => self.snippet(&file, &text),
                // Deleted between being listed and being read; or never a file, and nothing was ever read from it.
                Err(error) if error.missing || error.dangling && self.held(&file).is_empty() => {}
                Err(error) => {
                    let what = format!("the file cannot be read: {}", error.reason);
                    self.keep_back(&file, Problem::in_file(&file, what));
                }
            }
        }
    }

    /// Snippets in this directory that exports were last read from.
    fn known_files(&self, dir: &Path) -> BTreeSet<PathBuf> {
        let exports = self.running.into_iter().flat_map(|running| running.config.exports.iter());
        let files = exports.map(|export| &export.origin.file).filter(|file| *file != self.main);
        files.filter(|file| file.parent() == Some(dir)).cloned().collect()
    }

    /// At a reload this must not look like the removal of everything.
    fn no_directory(&mut self, dir: &Path, error: &SourceError) {
        let what = format!("Invalid directory specified: {}", error.reason);
        let problem = Problem::in_file(self.main, what)
            .inside("generic", Some("includedir"))
            .hint(dir.display().to_string());
        let Some(running) = self.running else {
            self.fatal.push(problem);
            return;
        };
        let held: Vec<Export> =
            running.config.exports.iter().filter(|export| export.origin.file != self.main).cloned().collect();
        self.whole.extend(running.whole.iter().cloned());
        self.keep(held, problem);
    }

    fn snippet(&mut self, file: &Path, text: &[u8]) {
        let document = match Document::parse(file, text) {
            Ok(document) => document,
            Err(problems) => {
                for problem in problems {
                    self.keep_back(file, problem);
                }
                return;
            }
        };
        if document.groups.is_empty() && !self.held(file).is_empty() {
            let what = "the file describes nothing, and held exports before: it looks half written";
            self.keep_back(file, Problem::in_file(file, what).hint("to remove the exports, delete the file"));
            return;
        }
        if !document.ends_whole && self.was_whole(file) {
            self.keep_back(file, half_written(file));
            return;
        }
        let found: Vec<Found<Export>> =
            document.groups.iter().map(|group| read::export(file, group)).collect();
        let broken = found.iter().any(|found| !found.errors.is_empty());
        for found in found {
            if broken {
                for problem in found.errors {
                    self.keep_back(file, problem);
                }
            } else {
                self.take(found);
            }
        }
        if document.ends_whole && !broken {
            self.whole.insert(file.into());
        }
    }

    fn take(&mut self, found: Found<Export>) {
        self.warnings.extend(found.warnings);
        self.claims.push(Claim { export: found.settings, kept: false });
    }

    fn keep_back(&mut self, file: &Path, problem: Problem) {
        let held = self.held(file);
        if self.was_whole(file) {
            self.whole.insert(file.into());
        }
        self.keep(held, problem);
    }

    fn keep(&mut self, held: Vec<Export>, problem: Problem) {
        let exports: Vec<ExportName> = held.iter().map(|export| export.name.clone()).collect();
        for export in held {
            // A file with two problems keeps its exports once.
            if !self.claims.iter().any(|claim| claim.kept && claim.export.name == export.name) {
                self.claims.push(Claim { export, kept: true });
            }
        }
        self.kept_back.push(KeptBack { exports, problem });
    }

    /// What runs and was last described in this file.
    fn held(&self, file: &Path) -> Vec<Export> {
        let Some(running) = self.running else { return Vec::new() };
        running.config.exports.iter().filter(|export| export.origin.file == file).cloned().collect()
    }

    fn was_whole(&self, file: &Path) -> bool {
        self.running.is_some_and(|running| running.whole.contains(file))
    }

    fn conclude(mut self, generic: Generic, options: Options) -> Result<Loaded, Refused> {
        let mut config = Config { generic, ..Config::default() };
        for export in self.settle() {
            self.warnings.extend(without_tls(&config.generic, &export));
            config.exports.push(export);
        }
        if config.exports.is_empty() && !options.command_line_export && self.fatal.is_empty() {
            let problem = Problem::in_file(self.main, "The config file does not specify any exports");
            if config.generic.includedir.is_some() {
                self.warnings.push(problem);
            } else {
                self.fatal.push(problem);
            }
        }
        let strict = config.generic.strict && !self.kept_back.is_empty();
        if strict || !self.fatal.is_empty() {
            let kept = self.kept_back.into_iter().map(|kept| kept.problem);
            return Err(Refused { problems: self.fatal.into_iter().chain(kept).collect(), missing: false });
        }
        let Self { mut kept_back, twice, warnings, whole, .. } = self;
        kept_back.sort_by(|a, b| (&a.problem.file, a.problem.line).cmp(&(&b.problem.file, b.problem.line)));
        Ok(Loaded { config, kept_back, twice, warnings, whole })
    }

    /// One description for each name: the one being served goes on, otherwise the first (C-067).
    fn settle(&mut self) -> Vec<Export> {
        let claims = std::mem::take(&mut self.claims);
        let mut by_name: BTreeMap<&ExportName, Vec<&Claim>> = BTreeMap::new();
        for claim in &claims {
            by_name.entry(&claim.export.name).or_default().push(claim);
        }
        let winners: HashMap<&ExportName, &Claim> =
            by_name.iter().map(|(name, claims)| (*name, self.winner(name, claims))).collect();
        for (name, claims) in &by_name {
            let winner = winners[name];
            for loser in claims.iter().filter(|claim| !std::ptr::eq(**claim, winner)) {
                let at = &loser.export.origin;
                let by = &winner.export.origin;
                let what = format!(
                    "export {name} is described twice; {}:{} is the one in force",
                    by.file.display(),
                    by.line
                );
                let problem = Problem::at(&at.file, at.line, what).hint("remove or rename one of them");
                self.kept_back.push(KeptBack { exports: vec![(*name).clone()], problem });
                self.twice.push(loser.export.clone());
            }
        }
        claims
            .iter()
            .filter(|claim| std::ptr::eq(winners[&claim.export.name], *claim))
            .map(|claim| claim.export.clone())
            .collect()
    }

    fn winner<'c>(&self, name: &ExportName, claims: &[&'c Claim]) -> &'c Claim {
        let served = self.running.and_then(|running| running.config.exports.get(name));
        let from_there =
            |claim: &&&Claim| served.is_some_and(|served| served.origin.file == claim.export.origin.file);
        let kept = claims.iter().find(|claim| claim.kept);
        kept.or_else(|| claims.iter().find(from_there)).unwrap_or(&claims[0])
    }
}

fn without_tls(generic: &Generic, export: &Export) -> Option<Problem> {
    let at = &export.origin;
    let problem = Problem::at(&at.file, at.line, "TLS is not set up, so nobody can come in");
    let problem = problem.inside(export.name.to_string(), Some("force_tls")).hint("give keyfile or pskfile");
    (export.force_tls && !generic.tls.is_set_up()).then_some(problem)
}

fn half_written(file: &Path) -> Problem {
    Problem::in_file(file, "the last line has no end, and had one before: the file looks half written")
        .hint("end the last line with a newline")
}
