//! `--check`: what a start would come to, told as a value. The texts are read, the paths looked at and the decisions made
//! as a start does it, from the empty catalog; nothing is opened to listen, written or run.

use crate::answer;
use crate::bind::Wanted;
use crate::catalog::Catalog;
use crate::decide::{Act, Decision, decide};
use crate::prepare::Prepared;
use config::{Config, Export, Generic, Loaded, Plan, Refused};
use control::view::{Listening, Problem, Startup, StartupExport};
use std::collections::HashMap;
use std::path::Path;

/// It starts, and serves all of it.
const WHOLE: u8 = 0;
/// It would not start.
const NONE: u8 = 1;
/// It starts, and leaves something out.
const PARTLY: u8 = 2;

/// What a start would find besides the exports.
pub struct Surroundings {
    /// Where it would listen.
    pub wanted: Wanted,
    /// Why it could not start, though the texts can be read.
    pub refused: Vec<Problem>,
    /// What the texts ask for and would not be had, though it starts.
    pub lacking: Vec<String>,
    /// Worth a word.
    pub warnings: Vec<String>,
}

/// Texts that cannot be used.
#[must_use]
pub fn refused(main: &Path, refused: &Refused) -> Startup {
    Startup { refused: answer::problems(&refused.problems), ..empty(main) }
}

/// Looks at every path, and says what a start would make of it.
///
/// `wanted` holds the export of the command line too, `loaded` the texts that it came from.
#[must_use]
pub fn look(main: &Path, wanted: &Config, loaded: &Loaded, around: Surroundings) -> Startup {
    let before = Catalog::empty();
    let mut prepared = Prepared::look(wanted, &before);
    prepared.claim(wanted, &before, &[]);
    let plan = Plan::between(&Config::default(), wanted, &prepared.moved);
    let decisions = decide(&plan, &before, wanted, &prepared);
    let told = answer::plan(loaded, &[], Vec::new(), &decisions, &prepared.warnings);
    let reasons: HashMap<String, String> =
        told.unavailable.into_iter().map(|one| (one.export, one.reason)).collect();
    let exports: Vec<StartupExport> = decisions.iter().filter_map(|one| export(one, &reasons)).collect();
    let twice = loaded.twice.iter().map(described).collect();
    let starts = around.refused.is_empty();
    let whole = told.kept_back.is_empty() && reasons.is_empty() && around.lacking.is_empty();
    let Surroundings { wanted: listen, refused, lacking, warnings } = around;
    Startup {
        starts,
        complete: starts && whole,
        refused,
        kept_back: told.kept_back,
        warnings: told.warnings.into_iter().chain(lacking).chain(warnings).collect(),
        exports,
        twice,
        listening: Some(listening(&wanted.generic, listen)),
        ..empty(main)
    }
}

/// How the program ends.
#[must_use]
pub fn status(startup: &Startup) -> u8 {
    match startup {
        Startup { starts: false, .. } => NONE,
        Startup { complete: true, .. } => WHOLE,
        _ => PARTLY,
    }
}

fn empty(main: &Path) -> Startup {
    Startup {
        program: "nbd-server-enhanced".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        configuration: main.display().to_string(),
        starts: false,
        complete: false,
        refused: Vec::new(),
        kept_back: Vec::new(),
        warnings: Vec::new(),
        exports: Vec::new(),
        twice: Vec::new(),
        listening: None,
    }
}

fn export(decision: &Decision<'_>, reasons: &HashMap<String, String>) -> Option<StartupExport> {
    let (Act::Stay(wanted) | Act::Place { wanted, .. }) = decision.act else { return None };
    let (settings, name) = (wanted.settings, decision.name.to_string());
    let probe = wanted.finding.probe.as_ref().ok().and_then(Option::as_ref);
    Some(StartupExport {
        unavailable: reasons.get(&name).cloned(),
        size: probe.map(|probe| probe.size),
        ..described(settings)
    })
}

/// As the files have it.
fn described(settings: &Export) -> StartupExport {
    let origin = &settings.origin;
    StartupExport {
        name: settings.name.to_string(),
        path: settings.storage.path.clone(),
        size: None,
        unavailable: None,
        placeholder: settings.is_placeholder(),
        read_only: settings.readonly,
        force_tls: settings.force_tls,
        file: (origin.line > 0).then(|| origin.file.display().to_string()),
        settings: config::settings_of(settings),
    }
}

fn listening(generic: &Generic, wanted: Wanted) -> Listening {
    // inetd has the socket, and a Unix socket alone leaves TCP out.
    let nowhere = wanted.port == "0" || (wanted.unixsock.is_some() && !wanted.duallisten);
    let control = generic.control.socket.to_string();
    Listening {
        addresses: if nowhere { Vec::new() } else { wanted.addresses },
        port: wanted.port,
        unixsock: wanted.unixsock.map(|path| path.display().to_string()),
        allowlist: generic.allowlist,
        force_tls: generic.tls.force,
        controlsock: (!control.is_empty()).then_some(control),
        user: generic.user.clone(),
        group: generic.group.clone(),
    }
}
