//! `rollback`: a program comes back that was replaced, and a run that was broken off is finished by it.

use super::again::Again;
use super::backup::{self, Manifest};
use super::listing::{Served, promised};
use super::look::{Scene, look};
use super::preflight::since;
use super::program::{Kind, Program};
use super::state::{self, State};
use super::steps::{AfterFailing, Job};
use super::work::Work;
use super::{carry_out, lock, manifest, preflight, strangers};
use crate::args::{Place, Rollback};
use crate::exit::Exit;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

/// What to do about a copy that is not what it was.
const DAMAGED: &str = "that copy is damaged: --to names another backup, --list shows them; the original is in its package too (`apt-get install --reinstall nbd-server`)";

/// What is left to do.
struct Course {
    /// What comes back, and how things were when it was replaced.
    chosen: Manifest,
    begins: Begins,
}

/// From where.
enum Begins {
    /// Nothing is half done, though a rollback may have been broken off that left this copy.
    Anew(Option<PathBuf>),
    /// In a deploy that was broken off: what it put in place may never have served, and is not gone back to.
    InDeploy,
    /// In a rollback that was broken off: where this one fails too, what it had replaced comes back.
    InRollback(Box<Manifest>),
}

/// Puts back what is chosen, or finishes what was begun: whatever was broken off, what it comes to is what was there before
/// the deploy, or what the rollback wanted.
///
/// # Errors
/// It is refused; nothing was touched.
pub fn put_back(work: &mut Work<'_, '_>, wanted: &Rollback) -> Result<Exit, String> {
    let place = &wanted.place;
    let _lock = lock(place)?;
    let left = State::left(&place.backups)?;
    if let Some(left) = &left {
        restart_has_ended(work, left)?;
    }
    let target = place.target.as_ref().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
    let course = match &left {
        Some(left) => match course(work, left, wanted)? {
            Some(course) => course,
            None => return forget(work, left, place),
        },
        None => {
            let found = backup::all(&place.backups)?;
            let chosen = backup::choose(&found, wanted.to.as_deref(), target.as_deref());
            if wanted.to.is_none() {
                backup::none_is_newer(chosen.as_ref().ok(), &backup::unreadable(&place.backups))?;
            }
            Course { chosen: chosen?, begins: Begins::Anew(None) }
        }
    };
    let chosen = &course.chosen;
    if let Some(target) = target.filter(|target| *target != chosen.target) {
        let (backup, of, target) = (chosen.backup.display(), chosen.target.display(), target.display());
        return Err(format!("{backup} is a backup of {of}, and not of {target}"));
    }
    backup::check(&chosen.backup, &chosen.from.sha256).map_err(|why| format!("{why}\n{DAMAGED}"))?;
    let old = Program { path: chosen.backup.clone(), ..chosen.from.clone() };
    work.say(format!("back to: {old}, which was replaced at {}", chosen.at));
    let mut scene = look(work, place, Some(chosen))?;
    scene.startup = startup_for_rollback(work, &scene, &old, chosen, place);
    strangers::look(work, &mut scene)?;
    scene.look_at_exports(work);
    // Of a rollback that was broken off it may be that what came back serves less than it should.
    let is_well = || scene.runs_bytes_of(&old) && !matches!(course.begins, Begins::InRollback(_));
    if old.sha256 == scene.in_place.sha256 && (left.is_none() || is_well()) {
        return nothing_comes_back(work, &scene, chosen, wanted, left.as_ref());
    }
    if left.is_none() && wanted.to.is_none() {
        is_of_the_newest_deploy(&scene, chosen)?;
    }
    go_back(work, &scene, &old, &course, place)
}

/// What restarts the server goes on when `nbdctl` is killed, and what is done meanwhile is undone by it.
fn restart_has_ended(work: &mut Work<'_, '_>, left: &State) -> Result<(), String> {
    let Some(running) = left.restarts.filter(|running| !running.has_ended()) else { return Ok(()) };
    work.say(format!(
        "what it had begun to restart the server (process {}) still runs, and is waited for",
        running.pid
    ));
    match work.poll(work.deadline(), || running.has_ended().then_some(()))? {
        Some(()) => Ok(()),
        None => Err(format!(
            "{left}\nwhat it had begun to restart the server still runs after {} s: wait for its end, or end it: kill -- -{}",
            work.wait.as_secs_f32(),
            running.pid
        )),
    }
}

/// What is left of a run that was broken off; none where a deploy had not replaced anything yet.
fn course(work: &mut Work<'_, '_>, left: &State, wanted: &Rollback) -> Result<Option<Course>, String> {
    work.say(left);
    let of_deploy = left.back_to() == left.backup;
    if let Some(other) = wanted.to.as_deref().filter(|to| !is_backup(to, left.back_to())) {
        return Err(format!(
            "{left}\n`nbdctl rollback` without --to finishes that; {} may come back afterwards",
            other.display()
        ));
    }
    // The state is there before anything is replaced.
    let untouched = left.step == "backup";
    if untouched && of_deploy {
        return Ok(None);
    }
    let by_hand = |why: String| {
        let (backup, target) = (left.back_to().display(), left.target.display());
        let state = state::path(&wanted.place.backups);
        format!(
            "{why}\n{left}\nput {backup} back to {target} by hand, restart, and remove {}",
            state.display()
        )
    };
    let chosen = backup::read(&backup::manifest_path(left.back_to())).map_err(by_hand)?;
    let begins = match backup::read(&backup::manifest_path(&left.backup)) {
        _ if untouched => {
            work.say("that run had not replaced anything: it is begun anew");
            Begins::Anew(Some(left.backup.clone()))
        }
        _ if of_deploy => Begins::InDeploy,
        Ok(own) if backup::check(&own.backup, &own.from.sha256).is_ok() => Begins::InRollback(Box::new(own)),
        _ => {
            work.say(format!("{} is not whole: there is no way back to it", left.backup.display()));
            Begins::InDeploy
        }
    };
    Ok(Some(Course { chosen, begins }))
}

fn is_backup(named: &Path, backup: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    named == backup
        || backup.file_name() == Some(named.as_os_str())
        || real(named).is_some_and(|named| Some(named) == real(backup))
}

/// What was wanted is in place, and serves.
fn nothing_comes_back(
    work: &mut Work<'_, '_>,
    scene: &Scene,
    chosen: &Manifest,
    wanted: &Rollback,
    left: Option<&State>,
) -> Result<Exit, String> {
    let place = &wanted.place;
    if left.is_none() && wanted.to.is_none() {
        work.say("the newest deploy is undone already; --to names what else may come back, --list shows it");
    }
    let wanted = if scene.now.is_some() { scene.served() } else { chosen.served() };
    let exit = Again { scene, wanted, left }.carry_out(work, place)?;
    if exit == Exit::Done && !place.dry_run {
        State::clear(&place.backups)?;
    }
    Ok(exit)
}

/// A rollback undoes the newest deploy. Where somebody has put something else in place since, nobody can say what is meant.
fn is_of_the_newest_deploy(scene: &Scene, newest: &Manifest) -> Result<(), String> {
    if scene.damaged || scene.in_place.sha256 == newest.to.sha256 {
        return Ok(());
    }
    let (in_place, to, backup) = (&scene.in_place, &newest.to, newest.backup.display());
    Err(format!(
        "{in_place} is in place, which is not what the newest deploy put there ({}; sha256 {}): --to says what comes back, as --to {backup} for what was there before that deploy",
        to.version, to.sha256
    ))
}

fn go_back(
    work: &mut Work<'_, '_>,
    scene: &Scene,
    old: &Program,
    course: &Course,
    place: &Place,
) -> Result<Exit, String> {
    let chosen = &course.chosen;
    let finishes = !matches!(course.begins, Begins::Anew(_));
    let restarts = !(finishes && scene.runs_bytes_of(old));
    let mut verdict = preflight(work, scene, old, place, restarts)?;
    let startup = scene.startup_as(old.kind);
    let before = match &course.begins {
        Begins::Anew(_) if scene.now.is_some() => scene.served(),
        // Nobody serves: what came to be configured since is what a start is judged by.
        Begins::Anew(_) if scene.process.is_none() && startup.is_some() => Served {
            exports: startup.iter().flat_map(|startup| promised(startup, old.kind)).collect(),
            listens: Vec::new(),
        },
        Begins::Anew(_) | Begins::InDeploy => chosen.served(),
        Begins::InRollback(own) => own.served(),
    };
    let since = since(startup.as_ref(), &before.exports);
    verdict.announced.lost.extend(since.lost);
    verdict.announced.resized.extend(since.resized);
    let mut manifest = manifest("rollback", scene, old, place, before.clone());
    let after_failing = match &course.begins {
        Begins::Anew(half) => {
            if let Some(half) = half.as_ref().filter(|_| !place.dry_run) {
                backup::forget(half);
            }
            Some(AfterFailing::of(scene))
        }
        Begins::InDeploy => {
            manifest.backup = chosen.backup.clone();
            None
        }
        Begins::InRollback(own) => {
            manifest = Manifest::clone(own);
            let attributes = own.attributes.as_ref().unwrap_or(&scene.attributes);
            Some(AfterFailing { program: &own.from, ran: own.ran, served: own.served(), attributes })
        }
    };
    let job = Job {
        scene,
        new: old,
        attributes: chosen.attributes.as_ref().unwrap_or(&scene.attributes),
        before: &before,
        announced: &verdict.announced,
        manifest: &manifest,
        back_to: &chosen.backup,
        dir: &place.backups,
        finishes,
        after_failing,
        serves: chosen.ran || !matches!(course.begins, Begins::InDeploy),
        may_cut: place.yes,
        restarted: Cell::new(false),
    };
    carry_out(work, &job, &verdict, place)
}

/// Somebody of ours is asked what a start comes to: what is in place, or what comes back; else what was known then.
fn startup_for_rollback(
    work: &mut Work<'_, '_>,
    scene: &Scene,
    old: &Program,
    chosen: &Manifest,
    place: &Place,
) -> Option<control::view::Startup> {
    let candidates = [&scene.in_place, old];
    for program in candidates.into_iter().filter(|program| program.kind == Kind::Enhanced) {
        match scene.ask_for_startup(&program.path, place) {
            Ok(startup) => return Some(startup),
            Err(why) => work.say(why),
        }
    }
    work.say(format!("the configuration is taken as it was at {}", chosen.at));
    chosen.startup.clone()
}

/// A run was broken off before it replaced anything.
fn forget(work: &mut Work<'_, '_>, left: &State, place: &Place) -> Result<Exit, String> {
    work.say("that run had not replaced anything: there is nothing to go back from");
    if place.dry_run {
        work.say("it would be forgotten");
        return Ok(Exit::Done);
    }
    backup::forget(&left.backup);
    State::clear(&place.backups)?;
    Ok(Exit::Done)
}
