//! `rollback`: a program comes back that was replaced, and a run that was broken off is finished by it.

use super::backup::{self, Manifest};
use super::look::{Scene, look};
use super::preflight::lost;
use super::program::{Kind, Program};
use super::state::{self, State};
use super::steps::Job;
use super::work::Work;
use super::{carry_out, in_place_already, lock, manifest, preflight};
use crate::args::{Place, Rollback};
use crate::exit::Exit;
use std::cell::Cell;
use std::fs;

/// Puts back what is chosen, or finishes what was begun.
///
/// # Errors
/// It is refused; nothing was touched.
pub fn put_back(work: &mut Work<'_, '_>, wanted: &Rollback) -> Result<Exit, String> {
    let place = &wanted.place;
    let _lock = lock(place)?;
    let left = State::left(&place.backups)?;
    let target = place.target.as_ref().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
    let chosen = match &left {
        Some(left) => {
            work.say(left);
            match backup::read(&backup::manifest_path(&left.backup)) {
                Ok(manifest) => manifest,
                // The manifest is there before anything is replaced.
                Err(_) if left.step == "backup" => return forget(work, left, place),
                Err(why) => {
                    let (backup, target) = (left.backup.display(), left.target.display());
                    return Err(format!(
                        "{why}\n{left}\nput {backup} back to {target} by hand, restart, and remove {}",
                        state::path(&place.backups).display()
                    ));
                }
            }
        }
        None => backup::choose(&backup::all(&place.backups)?, wanted.to.as_deref(), target.as_deref())?,
    };
    if let Some(target) = target.filter(|target| *target != chosen.target) {
        let (backup, of, target) = (chosen.backup.display(), chosen.target.display(), target.display());
        return Err(format!("{backup} is a backup of {of}, and not of {target}"));
    }
    backup::check(&chosen.backup, &chosen.from.sha256)?;
    let old = Program { path: chosen.backup.clone(), ..chosen.from.clone() };
    work.say(format!("back to: {old}, which was replaced at {}", chosen.at));
    let mut scene = look(work, place, Some(&chosen))?;
    scene.startup = startup_for_rollback(work, &scene, &old, &chosen, place);
    scene.look_at_exports(work);
    let runs_it = scene.runs_bytes_of(&scene.in_place);
    if old.sha256 == scene.in_place.sha256 && (left.is_none() || runs_it) {
        let exit = in_place_already(work, &scene, place)?;
        if exit == Exit::Done && !place.dry_run {
            State::clear(&place.backups)?;
        }
        return Ok(exit);
    }
    let finishes = left.is_some();
    // What is half done is finished, but no session ends by it that nobody asked about.
    let cuts = !scene.clients.is_empty() && !scene.runs_bytes_of(&old);
    let asked_to_cut = place.yes;
    let place = &Place { yes: place.yes || (finishes && !cuts), ..place.clone() };
    let mut verdict = preflight(work, &scene, &old, place)?;
    let before =
        if finishes { chosen.exports.clone() } else { scene.now.clone().unwrap_or(chosen.exports.clone()) };
    if finishes {
        verdict.announced.lost.extend(lost(scene.startup.as_ref(), &before));
    }
    let mut manifest = manifest("rollback", &scene, &old, place, before.clone());
    if finishes {
        manifest.backup = chosen.backup.clone();
    }
    let job = Job {
        scene: &scene,
        new: &old,
        before: &before,
        announced: &verdict.announced,
        manifest: &manifest,
        dir: &place.backups,
        finishes,
        may_cut: asked_to_cut,
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
