//! A dry run: each step with its paths and commands, and nothing is done.

use super::backup;
use super::program::Kind;
use super::replace;
use super::steps::Job;
use super::work::Work;
use crate::args::Place;

/// What would be done.
pub fn rehearse(work: &mut Work<'_, '_>, job: &Job<'_>, place: &Place) {
    let (target, manifest) = (job.scene.target.path.display(), job.manifest);
    work.say("dry run; these would be the steps:");
    if !job.finishes {
        work.say(format!(
            "  backup: copy {target} to {}, compare it, write {}",
            manifest.backup.display(),
            backup::manifest_path(&manifest.backup).display()
        ));
    }
    if job.replaces() {
        work.say(format!(
            "  replace: copy {} to {}, rename that to {target}",
            job.new.path.display(),
            replace::beside(&job.scene.target.path).display()
        ));
    }
    if job.restarts() && !job.serves {
        work.say("  stop: no server ran before, and none runs afterwards");
        return;
    }
    if job.restarts() {
        work.say(format!("  restart: {}, within {} s", job.scene.manager, place.wait.as_secs_f32()));
    }
    let addresses: Vec<String> = job.scene.addresses().iter().map(ToString::to_string).collect();
    work.say(format!(
        "  verify: the process and its pid file, {} exports at {}, {}the journal",
        job.before.exports.len(),
        addresses.join(" and "),
        if job.new.kind == Kind::Enhanced { "SIGHUP, " } else { "" }
    ));
    if job.after_failing.is_some() {
        work.say(format!(
            "  where any of it fails: copy {} back, restart, verify",
            manifest.backup.display()
        ));
    }
}
