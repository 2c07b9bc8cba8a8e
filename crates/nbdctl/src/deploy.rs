//! `deploy` and `rollback`: another server program in the place of the one that serves, and back.
//!
//! Follow one deploy: `look.rs` sees what is there, `preflight.rs` decides from that alone, `steps.rs` makes the backup,
//! replaces, restarts and verifies, and goes back by itself where any of it fails. Each step is logged by `work.rs`. `back.rs`
//! is the same with a backup in the place of the new program.

mod again;
mod arguments;
mod attributes;
mod back;
mod backup;
mod by_hand;
mod clients;
mod command;
mod leads;
mod listing;
mod look;
mod nbd;
mod original;
mod planned;
mod preflight;
mod process;
mod program;
mod rehearsal;
mod replace;
mod restart;
mod room;
mod service;
mod sighup;
mod sockets;
mod state;
mod steps;
mod stop;
mod strangers;
mod target;
mod verify;
mod which;
mod work;

use crate::args::{Deploy, Place, Rollback};
use crate::exit::Exit;
use crate::output::Output;
use again::Again;
use backup::Manifest;
use control::view::Startup;
use jiff::Timestamp;
use listing::{Served, promised};
use look::{Scene, look};
use preflight::{Facts, Verdict, decide};
use program::{Kind, Program, compare_with_sums};
use rehearsal::rehearse;
use room::{free, needed_for, obstacles};
use state::{Lock, State};
use std::cell::Cell;
use std::fs;
use std::path::Path;
use steps::{AfterFailing, Job};
use work::Work;

/// What the server reads where nothing is said.
const CONFIG: &str = "/etc/nbd-server/config";
/// The service where nothing is said.
const SERVICE: &str = "nbd-server";

/// `deploy`
pub fn deploy(wanted: &Deploy, output: &mut Output) -> Exit {
    let place = match anywhere(&wanted.place, output) {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    let wanted = Deploy { place, ..wanted.clone() };
    begin("deploy", &wanted.place, output, |work| put_in_place(work, &wanted))
}

/// `rollback`
pub fn rollback(wanted: &Rollback, output: &mut Output) -> Exit {
    let place = match anywhere(&wanted.place, output) {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    if wanted.list {
        return list(&place.backups, output);
    }
    let wanted = Rollback { place, ..wanted.clone() };
    begin("rollback", &wanted.place, output, |work| back::put_back(work, &wanted))
}

fn anywhere(place: &Place, output: &mut Output) -> Result<Place, Exit> {
    place.anywhere().map_err(|error| {
        output.complain(format!("this directory is not known: {error}"));
        Exit::Refused
    })
}

/// Opens the log, and says how it ended. Whatever `run` refuses, nothing was touched.
fn begin(
    verb: &str,
    place: &Place,
    output: &mut Output,
    run: impl FnOnce(&mut Work<'_, '_>) -> Result<Exit, String>,
) -> Exit {
    // A dry run leaves nothing behind that was not asked for by name.
    let log = place.log.clone().or_else(|| (!place.dry_run).then(|| work::default_log(verb)));
    let (exit, logged) = match Work::begin(output, log.as_deref(), place.wait) {
        Err(why) => {
            output.complain(why);
            return Exit::Refused;
        }
        Ok(mut work) => {
            work.say(format!(
                "{verb} with nbdctl {} by uid {}",
                env!("CARGO_PKG_VERSION"),
                rustix::process::getuid().as_raw()
            ));
            let exit = run(&mut work).unwrap_or_else(|why| {
                why.lines().for_each(|line| work.say(format!("REFUSED: {line}")));
                work.say("nothing was touched");
                Exit::Refused
            });
            let about = if place.dry_run && exit == Exit::Done { DRY } else { about(exit) };
            work.say(format!("{verb} ends with {}: {about}", exit.code()));
            (exit, work.is_logged())
        }
    };
    if let Some(log) = log {
        let but = if logged { "" } else { ", and its end is missing there" };
        output.say(format!("the log of this run is {}{but}", log.display()));
    }
    exit
}

/// How a dry run ends that was not refused.
const DRY: &str = "a dry run: nothing was touched, and nothing speaks against it";

/// What an exit code means behind these words.
fn about(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "all of it is done, and was seen",
        Exit::Partly => "it failed, and it is as it was before",
        other => other.about(),
    }
}

fn put_in_place(work: &mut Work<'_, '_>, wanted: &Deploy) -> Result<Exit, String> {
    let place = &wanted.place;
    let _lock = lock(place)?;
    if let Some(left) = State::left(&place.backups)? {
        return Err(format!("{left}\n`nbdctl rollback` finishes that; then deploy again"));
    }
    let path = fs::canonicalize(&wanted.new).map_err(|error| format!("{}: {error}", wanted.new.display()))?;
    let new = Program::look(&path)?;
    work.say(format!("new: {new}"));
    if new.kind != Kind::Enhanced {
        return Err(format!(
            "{} is not nbd-server-enhanced; to go back to the original there is `nbdctl rollback`",
            path.display()
        ));
    }
    work.say(compare_with_sums(&path, &new.sha256)?);
    let mut scene = look(work, place, None)?;
    scene.startup = Some(scene.ask_for_startup(&path, place)?);
    strangers::look(work, &mut scene)?;
    scene.look_at_exports(work);
    let promised = || scene.startup.as_ref().map(|startup| promised(startup, new.kind));
    let exports = scene.now.clone().or_else(promised).unwrap_or_default();
    let before = Served { exports, ..scene.served() };
    if new.sha256 == scene.in_place.sha256 {
        return Again { scene: &scene, wanted: before, left: None }.carry_out(work, place);
    }
    let verdict = preflight(work, &scene, &new, place, true)?;
    let manifest = manifest("deploy", &scene, &new, place, scene.served());
    let job = Job {
        scene: &scene,
        new: &new,
        attributes: &scene.attributes,
        before: &before,
        announced: &verdict.announced,
        manifest: &manifest,
        back_to: &manifest.backup,
        dir: &place.backups,
        finishes: false,
        after_failing: Some(AfterFailing::of(&scene)),
        serves: true,
        may_cut: place.yes,
        restarted: Cell::new(false),
    };
    carry_out(work, &job, &verdict, place)
}

fn preflight(
    work: &mut Work<'_, '_>,
    scene: &Scene,
    coming: &Program,
    place: &Place,
    restarts: bool,
) -> Result<Verdict, String> {
    let (for_backup, for_target) = needed_for(&scene.in_place, coming, &scene.target.path, &place.backups);
    let startup = scene.startup_as(coming.kind);
    let mut facts = Facts {
        room_for_backup: (free(&place.backups)?, for_backup),
        room_for_target: (free(&scene.target.path)?, for_target),
        clients: if restarts { &scene.clients } else { &[] },
        ..facts(scene, startup.as_ref(), coming.kind)
    };
    facts.obstacles.extend(obstacles(&scene.target.path, &place.backups));
    judge(work, &facts, place)
}

/// Of a restart alone: no file is written.
fn preflight_of_restart(work: &mut Work<'_, '_>, scene: &Scene, place: &Place) -> Result<Verdict, String> {
    let kind = scene.in_place.kind;
    judge(work, &facts(scene, scene.startup_as(kind).as_ref(), kind), place)
}

fn facts<'a>(scene: &'a Scene, startup: Option<&'a Startup>, coming: Kind) -> Facts<'a> {
    let now = scene.now.as_deref();
    Facts {
        coming,
        running: scene.runs.as_ref().map(|runs| runs.kind),
        startup,
        twice: scene.startup.as_ref().map(original::twice).unwrap_or_default(),
        leads: startup.map(|startup| leads::compare(now.unwrap_or_default(), startup)),
        swapped: scene.swapped.clone(),
        now,
        clients: &scene.clients,
        room_for_backup: (0, 0),
        room_for_target: (0, 0),
        obstacles: scene.orphans(),
    }
}

fn judge(work: &mut Work<'_, '_>, facts: &Facts<'_>, place: &Place) -> Result<Verdict, String> {
    work.step("preflight")?;
    if let Some(startup) = facts.startup {
        startup.warnings.iter().for_each(|warning| work.say(format!("# {warning}")));
    }
    let verdict = decide(facts);
    verdict.about_exports().iter().for_each(|line| work.say(line));
    verdict.asks.iter().for_each(|ask| work.say(format!("! {ask}")));
    if !verdict.refused.is_empty() {
        return Err(verdict.refused.join("\n"));
    }
    // A dry run says its steps before it says that.
    if !place.dry_run {
        without_yes(&verdict, place)?;
    }
    Ok(verdict)
}

fn without_yes(verdict: &Verdict, place: &Place) -> Result<(), String> {
    if verdict.asks.is_empty() || place.yes {
        return Ok(());
    }
    Err(format!("{}\n--yes does it all the same", verdict.asks.join("\n")))
}

fn manifest(verb: &str, scene: &Scene, to: &Program, place: &Place, served: Served) -> Manifest {
    let Served { exports, listens } = served;
    Manifest {
        verb: verb.into(),
        at: Timestamp::now().to_string(),
        uid: rustix::process::getuid().as_raw(),
        sudo_user: std::env::var("SUDO_USER").ok(),
        target: scene.target.path.clone(),
        backup: backup::path(&place.backups, &work::stamp(), &scene.in_place),
        from: scene.in_place.clone(),
        to: to.clone(),
        manager: scene.manager.clone(),
        config: scene.config.clone(),
        pid_file: scene.pid_file.clone(),
        ran: scene.process.is_some(),
        attributes: Some(scene.attributes.clone()),
        startup: scene.startup.clone(),
        listens,
        exports,
    }
}

fn carry_out(
    work: &mut Work<'_, '_>,
    job: &Job<'_>,
    verdict: &Verdict,
    place: &Place,
) -> Result<Exit, String> {
    if place.dry_run {
        rehearse(work, job, place);
        return without_yes(verdict, place).map(|()| Exit::Done);
    }
    work.go_on()?;
    Ok(job.carry_out(work))
}

/// One at a time; a dry run takes nothing, and makes no directory for it.
fn lock(place: &Place) -> Result<Option<Lock>, String> {
    if place.dry_run {
        return Ok(None);
    }
    backup::make_dir(&place.backups)?;
    Lock::take(&place.backups).map(Some)
}

fn list(dir: &Path, output: &mut Output) -> Exit {
    match backup::all(dir) {
        Err(why) => {
            output.complain(why);
            Exit::Refused
        }
        Ok(found) => {
            let unreadable = backup::unreadable(dir);
            if found.is_empty() && unreadable.is_empty() {
                output.say(format!("no backups in {}", dir.display()));
            }
            for (copy, why) in unreadable {
                output.complain(format!("{}: nothing is known of it: {why}", copy.display()));
            }
            for one in found {
                let (backup, verb, kind, target) =
                    (one.backup.display(), &one.verb, one.from.kind, one.target.display());
                output.say(format!("{} {verb} {backup} ({kind}, of {target})", one.at));
            }
            Exit::Done
        }
    }
}
