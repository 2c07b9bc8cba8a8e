//! What was wanted is in place already: it is verified, and where it does not serve as it should, started again.

use super::listing::{Announced, Served};
use super::look::Scene;
use super::preflight::Verdict;
use super::restart::{nobody_came, restart};
use super::state::{Running, State};
use super::verify::{Expected, verify};
use super::work::Work;
use super::{preflight_of_restart, without_yes};
use crate::args::Place;
use crate::exit::Exit;

/// What there is to be done again.
pub struct Again<'a> {
    /// The place, with what is wanted in it.
    pub scene: &'a Scene,
    /// What must be served once it was started again.
    pub wanted: Served,
    /// A run that was broken off, and is finished by this.
    pub left: Option<&'a State>,
}

impl Again<'_> {
    /// Sees that it serves, or restarts it.
    ///
    /// # Errors
    /// It is refused; nothing was touched.
    pub fn carry_out(&self, work: &mut Work<'_, '_>, place: &Place) -> Result<Exit, String> {
        let scene = self.scene;
        work.say(format!("{} is in place already", scene.in_place));
        let why = match &scene.process {
            None => "no server runs".to_owned(),
            Some(process) if !scene.runs_bytes_of(&scene.in_place) => {
                format!("process {} executes another file", process.pid)
            }
            Some(_) if place.dry_run => {
                work.say(format!("it would be verified, and restarted where that fails: {}", scene.manager));
                return Ok(Exit::Done);
            }
            Some(_) => match self.look(work) {
                Ok(()) => {
                    work.say("done: it was in place, and serves");
                    return Ok(Exit::Done);
                }
                Err(why) => {
                    work.go_on()?;
                    format!("it does not serve as it should: {why}")
                }
            },
        };
        work.say(why);
        let verdict = preflight_of_restart(work, scene, place)?;
        if place.dry_run {
            work.say(format!("dry run; it would be restarted and verified: {}", scene.manager));
            return without_yes(&verdict, place).map(|()| Exit::Done);
        }
        work.step("restart")?;
        nobody_came(work, scene, place.yes)?;
        Ok(self.restarted(work, &verdict, place))
    }

    fn look(&self, work: &mut Work<'_, '_>) -> Result<(), String> {
        // Nothing is started beside them, and nothing is well as long as they are there.
        if !self.scene.orphans.is_empty() {
            return Err(self.scene.orphans().join("; "));
        }
        work.step("verify")?;
        let (before, announced) = (self.scene.served(), Announced::default());
        verify(work, &self.expected(&before, &announced))
    }

    fn expected<'b>(&'b self, before: &'b Served, announced: &'b Announced) -> Expected<'b> {
        let scene = self.scene;
        Expected {
            scene,
            program: &scene.in_place,
            before,
            announced,
            gone: &[],
            alone: true,
            sighup: scene.settled,
        }
    }

    /// There is nothing to go back to: what is in place is what was wanted.
    fn restarted(&self, work: &mut Work<'_, '_>, verdict: &Verdict, place: &Place) -> Exit {
        let (scene, gone) = (self.scene, self.scene.ends());
        let mut note = |pid| match self.left {
            Some(left) => State { restarts: Running::of(pid), ..left.clone() }.write(&place.backups),
            None => Ok(()),
        };
        let done = restart(work, scene, scene.in_place.kind, &mut note).and_then(|()| {
            work.step("verify")?;
            let expected = self.expected(&self.wanted, &verdict.announced);
            verify(work, &Expected { gone: &gone, sighup: true, ..expected })
        });
        match done {
            Ok(()) => {
                work.say(format!("done: {} serves", scene.in_place));
                Exit::Done
            }
            Err(why) => {
                work.say(format!("FAILED: {why}"));
                work.say(format!(
                    "AN OPERATOR IS NEEDED: it is not known what serves; {} is what was wanted, and stays in place: mend what is said above, and run the same again",
                    scene.in_place.path.display()
                ));
                Exit::Stranded
            }
        }
    }
}
