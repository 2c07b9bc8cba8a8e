//! What is done, step by step, and the way back from each.

use super::attributes::Attributes;
use super::backup::{self, Manifest};
use super::by_hand::by_hand;
use super::clients;
use super::listing::{Announced, Served};
use super::look::Scene;
use super::process::Process;
use super::program::{Kind, Program, sha256};
use super::replace;
use super::restart::{nobody_came, restart};
use super::state::{Running, State};
use super::stop::{came, stop};
use super::verify::{Expected, verify};
use super::which;
use super::work::Work;
use crate::exit::Exit;
use std::cell::Cell;
use std::path::Path;

/// What is to be done.
pub struct Job<'a> {
    /// The place, and how things were before.
    pub scene: &'a Scene,
    /// What takes the target's place.
    pub new: &'a Program,
    /// What the target has of extended attributes then.
    pub attributes: &'a Attributes,
    /// What must be served afterwards.
    pub before: &'a Served,
    /// What need not be.
    pub announced: &'a Announced,
    /// What stands beside the backup; its place too.
    pub manifest: &'a Manifest,
    /// The copy that a rollback brings back where this is broken off.
    pub back_to: &'a Path,
    /// Where backups and the state are.
    pub dir: &'a Path,
    /// It was begun by a run that was broken off: what is in place is not kept.
    pub finishes: bool,
    /// What serves again where it fails; none where what is in place may never have served.
    pub after_failing: Option<AfterFailing<'a>>,
    /// A server runs afterwards: where a deploy is finished before which none ran, none does.
    pub serves: bool,
    /// Sessions may end by it, those too that began after the look.
    pub may_cut: bool,
    /// The command that restarts was run: whoever served before may have been told to end.
    pub restarted: Cell<bool>,
}

/// What serves again where it fails. Its bytes are in the backup.
pub struct AfterFailing<'a> {
    /// What is in place.
    pub program: &'a Program,
    /// A server ran: where none did, none does again.
    pub ran: bool,
    /// What must be served by it.
    pub served: Served,
    /// What the target has of extended attributes.
    pub attributes: &'a Attributes,
}

impl<'a> AfterFailing<'a> {
    /// What is there now. Where nobody serves, nothing is asked of it.
    pub fn of(scene: &'a Scene) -> Self {
        let ran = scene.process.is_some();
        Self { program: &scene.in_place, ran, served: scene.served(), attributes: &scene.attributes }
    }
}

impl Job<'_> {
    /// Does it, or goes back.
    pub fn carry_out(&self, work: &mut Work<'_, '_>) -> Exit {
        let done = self.forward(work);
        let exit = match done {
            Ok(()) => {
                match self.serves {
                    true => work.say(format!("done: {} serves", self.new)),
                    false => work.say(format!("done: {} is in place, and no server runs", self.new)),
                }
                Exit::Done
            }
            Err(why) => {
                work.say(format!("FAILED: {why}"));
                self.back(work)
            }
        };
        if exit == Exit::Stranded {
            return exit;
        }
        match State::clear(self.dir) {
            // What it holds is in place. It goes last: as long as the state names it, it must be there.
            Ok(()) if exit == Exit::Partly => backup::forget(&self.manifest.backup),
            Ok(()) => {}
            Err(why) => work.say(format!("the state cannot be cleared: {why}")),
        }
        exit
    }

    /// It is not in place yet.
    pub fn replaces(&self) -> bool {
        self.scene.in_place.sha256 != self.new.sha256
    }

    /// Who serves is another than who should, as far as that can be seen.
    pub fn restarts(&self) -> bool {
        !(self.finishes && self.scene.runs_bytes_of(self.new))
    }

    fn forward(&self, work: &mut Work<'_, '_>) -> Result<(), String> {
        let target = &self.scene.target.path;
        if !self.finishes {
            self.begin(work, "backup")?;
            let missing = backup::make(self.manifest)?;
            missing.iter().for_each(|one| work.say(format!("in the copy, {one}")));
            let (copy, manifest) = (&self.manifest.backup, backup::manifest_path(&self.manifest.backup));
            work.say(format!("{} is copied to {}, and was compared", target.display(), copy.display()));
            work.say(format!("its manifest is {}", manifest.display()));
        }
        if self.replaces() {
            self.begin(work, "replace")?;
            let missing = replace::put(&self.new.path, target, &self.new.sha256, self.attributes)?;
            missing.iter().for_each(|one| work.say(one));
            work.say(format!(
                "{} has the bytes of {} now, by rename",
                target.display(),
                self.new.path.display()
            ));
        }
        if !self.restarts() {
            self.begin(work, "verify")?;
            work.say("the server was not restarted: it serves on as it did");
            let expected = Expected { sighup: false, ..self.expected(self.new) };
            return verify(work, &expected);
        }
        self.begin(work, "restart")?;
        nobody_came(work, self.scene, self.may_cut)?;
        if !self.serves {
            self.restarted.set(true);
            return stop(work, self.scene, self.scene.process.as_ref());
        }
        let gone = self.scene.ends();
        self.restart(work, "restart", self.new.kind)?;
        self.begin(work, "verify")?;
        verify(work, &Expected { gone: &gone, alone: true, ..self.expected(self.new) })?;
        self.spares_others()
    }

    fn restart(&self, work: &mut Work<'_, '_>, step: &str, coming: Kind) -> Result<(), String> {
        self.restarted.set(true);
        let mut note = |pid| {
            let noted = State { restarts: Running::of(pid), ..self.state(step) }.write(self.dir);
            // What cannot be noted is no reason not to go back.
            if step == "back" { Ok(()) } else { noted }
        };
        restart(work, self.scene, coming, &mut note)
    }

    /// A step begins, and whoever comes after a sudden end knows that it did.
    fn begin(&self, work: &mut Work<'_, '_>, step: &'static str) -> Result<(), String> {
        work.step(step)?;
        self.state(step).write(self.dir)
    }

    fn state(&self, step: &str) -> State {
        State {
            verb: self.manifest.verb.clone(),
            step: step.into(),
            pid: std::process::id(),
            since: self.manifest.at.clone(),
            target: self.scene.target.path.clone(),
            backup: self.manifest.backup.clone(),
            back_to: Some(self.back_to.to_owned()),
            restarts: None,
        }
    }

    fn expected<'b>(&'b self, program: &'b Program) -> Expected<'b> {
        Expected {
            scene: self.scene,
            program,
            before: self.before,
            announced: self.announced,
            gone: &[],
            alone: false,
            sighup: true,
        }
    }

    fn back(&self, work: &mut Work<'_, '_>) -> Exit {
        work.way_back("back");
        let Some(before) = &self.after_failing else {
            work.say("there is no way back from here: what was in place is of a run that was broken off");
            return self.stranded(work);
        };
        let (old, target) = (before.program, &self.scene.target.path);
        if sha256(target).is_ok_and(|is| is == old.sha256) && !self.was_restarted() && !self.restarted.get() {
            let target = target.display();
            match before.ran {
                true => work
                    .say(format!("{target} was not touched and the server was not restarted: it serves on")),
                false => work.say(format!("{target} was not touched, and no server was started")),
            }
            return Exit::Partly;
        }
        match self.put_back(work, before) {
            Ok(()) => {
                match before.ran {
                    true => work.say(format!("back: {old} serves again")),
                    false => {
                        work.say(format!("back: {old} is in place again, and no server runs, as before"))
                    }
                }
                Exit::Partly
            }
            Err(why) => {
                work.say(format!("FAILED: {why}"));
                self.stranded(work)
            }
        }
    }

    /// The process of before is still there, as long as nobody restarted it.
    fn was_restarted(&self) -> bool {
        self.scene.process.as_ref().is_some_and(|process| !process.is_alive())
    }

    fn put_back(&self, work: &mut Work<'_, '_>, before: &AfterFailing<'_>) -> Result<(), String> {
        let AfterFailing { program: old, ran, served: before, attributes } = before;
        let came: Vec<Process> = came(self.scene).into_iter().collect();
        let (target, backup) = (&self.scene.target.path, &self.manifest.backup);
        // What cannot be noted is no reason not to go back.
        if let Err(why) = self.state("back").write(self.dir) {
            work.say(format!("the state cannot be written: {why}"));
        }
        let missing = replace::put(backup, target, &old.sha256, attributes)?;
        missing.iter().for_each(|one| work.say(one));
        work.say(format!("{} has the bytes of {} again, by rename", target.display(), backup.display()));
        if !ran {
            return if self.restarted.get() { stop(work, self.scene, came.first()) } else { Ok(()) };
        }
        let runs_old = !self.finishes || self.scene.runs_bytes_of(old);
        if runs_old && !self.was_restarted() && self.scene.process.is_some() {
            // A restart that was broken off may have told it to end.
            let as_before = Expected { before, sighup: false, ..self.expected(old) };
            let serves = if self.restarted.get() { verify(work, &as_before) } else { Ok(()) };
            match serves {
                Ok(()) => {
                    work.say("the server was not restarted: it serves on as it did");
                    return self.spares_others();
                }
                Err(why) => work.say(format!("it does not serve on: {why}")),
            }
        }
        self.restart(work, "back", old.kind)?;
        verify(work, &Expected { before, gone: &came, ..self.expected(old) })?;
        // As before: they are of the same program.
        self.scene.orphans_now().iter().for_each(|one| work.say(clients::of_orphan(one)));
        self.spares_others()
    }

    /// A restart that is said may be another server's.
    fn spares_others(&self) -> Result<(), String> {
        let of_target = |one: &Process| one.is_of(&self.scene.target.path);
        let heads = which::heads(&self.scene.others, of_target);
        heads.into_iter().find(|one| one.has_ended()).map_or(Ok(()), |one| {
            let (pid, words) = (one.pid, one.words.join(" "));
            Err(format!("meanwhile process {pid} ({words}) has ended, which is another server: does the restart end it?"))
        })
    }

    fn stranded(&self, work: &mut Work<'_, '_>) -> Exit {
        let (target, backup) = (&self.scene.target.path, &self.manifest.backup);
        work.say("AN OPERATOR IS NEEDED: it is not known what serves");
        if self.back_to != self.manifest.backup {
            work.say(format!(
                "what was to come back is in {}; `nbdctl rollback` tries it again",
                self.back_to.display()
            ));
        }
        let by_hand = by_hand(backup, target, &self.scene.manager);
        work.say(format!("what was there before is in {}; by hand: {by_hand}", backup.display()));
        Exit::Stranded
    }
}
