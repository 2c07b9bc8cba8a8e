//! A server is stopped that a run has started where none ran before.

use super::command::carry_out;
use super::look::Scene;
use super::process::{Process, pid_in};
use super::strangers;
use super::which::started;
use super::work::Work;
use rustix::process::{Pid, Signal, kill_process};

/// The server that this run has started, as far as it can be seen: nobody else's process is ended.
pub fn came(scene: &Scene) -> Option<Process> {
    let me = Process::at(std::process::id())?;
    let target = &scene.target.path;
    let is_ours =
        |one: &Process| one.began >= me.began && (one.is_of(target) || one.is_named_like_a_server());
    if let Some(one) = scene.pid_file.as_deref().and_then(pid_in).and_then(Process::at).filter(is_ours) {
        return Some(one);
    }
    let members = || scene.manager.members();
    // Another server may be started from the same file at the same time.
    let is_ours = |one: &Process| is_ours(one) && one.config() == scene.config;
    let started = started(target, &scene.config, &scene.others, members, is_ours);
    // A script executes another file than the target.
    let listens = || strangers::at(&scene.addresses()).into_iter().flat_map(|one| one.who).find(is_ours);
    started.or_else(listens)
}

/// Stops it, and sees that nobody answers any more. `seen` is the process, where it was seen.
///
/// # Errors
/// Something still serves, or may.
pub fn stop(work: &mut Work<'_, '_>, scene: &Scene, seen: Option<&Process>) -> Result<(), String> {
    match (scene.manager.stop_words(), seen) {
        // Also where nothing is seen: systemd may be about to try it again.
        (Some(words), _) => drop(carry_out(work, &words, &mut |_| Ok(()))?),
        (None, Some(process)) => {
            work.say(format!("SIGTERM to process {}", process.pid));
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or("no process")?;
            // It may have ended by itself.
            if kill_process(pid, Signal::TERM).is_err() && !process.has_ended() {
                return Err(format!("process {} cannot be sent SIGTERM", process.pid));
            }
        }
        (None, None) => work.say("no process is seen that was started"),
    }
    let ended = || seen.is_none_or(Process::has_ended).then_some(());
    if work.poll(work.deadline(), ended)?.is_none() {
        let pid = seen.map_or(0, |process| process.pid);
        return Err(format!("after {} s process {pid} still runs", work.wait.as_secs_f32()));
    }
    let addresses = scene.addresses();
    let mut left = Vec::new();
    let nobody = || {
        left = strangers::at(&addresses);
        left.is_empty().then_some(())
    };
    if work.poll(work.deadline(), nobody)?.is_none() {
        return Err(left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    work.say("no server runs, as before");
    Ok(())
}
