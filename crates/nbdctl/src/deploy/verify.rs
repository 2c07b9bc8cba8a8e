//! Whether a server that was restarted serves as it should.

use super::clients;
use super::listing::{self, Announced, Served};
use super::look::Scene;
use super::nbd::{self, Address};
use super::process::{self, Process};
use super::program::{Kind, Program};
use super::sighup::{errors_in_journal, prove};
use super::which::started;
use super::work::Work;
use std::collections::BTreeMap;
use std::path::Path;

/// What is to be found.
pub struct Expected<'a> {
    /// The place, and how things were before.
    pub scene: &'a Scene,
    /// Which program serves: what is at the target now.
    pub program: &'a Program,
    /// What must be served.
    pub before: &'a Served,
    /// What need not be.
    pub announced: &'a Announced,
    /// Who must have ended: the server of before, and whom it had for its clients. None of them where nothing was restarted.
    pub gone: &'a [Process],
    /// No process may serve for a server that has ended: it would write beside the one that was started.
    pub alone: bool,
    /// SIGHUP is sent: a reload changes nothing, since the server has just read its files, or says so itself.
    pub sighup: bool,
}

/// Looks at process, service, exports, reload and journal.
///
/// # Errors
/// What is not as it should be.
pub fn verify(work: &mut Work<'_, '_>, expected: &Expected<'_>) -> Result<(), String> {
    let scene = expected.scene;
    wait_for_ends(work, expected.gone)?;
    let process = wait_for_process(work, expected)?;
    if expected.alone {
        wait_for_orphans(work, scene)?;
    }
    let what = scene.target.path.display();
    if expected.program.script {
        work.say(format!("process {}: {what} is a script, so what it executes is not compared", process.pid));
    } else {
        work.say(format!("process {} executes {what}", process.pid));
    }
    if let Some(file) = &scene.pid_file {
        work.say(format!("the pid file {} holds its number", file.display()));
    }
    if let Some(said) = scene.manager.is_active()? {
        work.say(said);
    }
    check_exports(work, expected, &process)?;
    work.go_on()?;
    check_reload(work, expected, &process)?;
    check_journal(work, expected.program.kind, &process)?;
    if !process.is_alive() {
        return Err(format!("process {} has ended", process.pid));
    }
    Ok(())
}

/// Two programs that write one disk lose what one of them acknowledged.
fn wait_for_ends(work: &mut Work<'_, '_>, gone: &[Process]) -> Result<(), String> {
    let mut left: Vec<&Process> = gone.iter().collect();
    work.poll(work.deadline(), || {
        left.retain(|one| !one.has_ended());
        left.is_empty().then_some(())
    })?;
    if !left.is_empty() {
        let (named, wait) = (left.iter().map(|one| process_of_before(one)), work.wait.as_secs_f32());
        let named = named.collect::<Vec<_>>().join(", ");
        return Err(format!("after {wait} s there is still {named}, which may write to its disks"));
    }
    match gone {
        [] => {}
        [one] => work.say(format!("process {} of before has ended", one.pid)),
        more => work.say(format!("all {} processes of before have ended", more.len())),
    }
    Ok(())
}

fn process_of_before(one: &Process) -> String {
    format!("process {} of before ({})", one.pid, one.words.join(" "))
}

/// Whoever came in the last moment of the server of before.
fn wait_for_orphans(work: &Work<'_, '_>, scene: &Scene) -> Result<(), String> {
    let mut left = Vec::new();
    let none = || {
        left = scene.orphans_now();
        left.is_empty().then_some(())
    };
    match work.poll(work.deadline(), none)? {
        Some(()) => Ok(()),
        None => Err(left.iter().map(clients::of_orphan).collect::<Vec<_>>().join("; ")),
    }
}

/// 3.24 writes its pid file after the command that started it has returned.
fn wait_for_process(work: &Work<'_, '_>, expected: &Expected<'_>) -> Result<Process, String> {
    let scene = expected.scene;
    let is_new = |process: &Process| expected.gone.iter().all(|gone| !gone.is(process));
    let script = expected.program.script;
    let mut judged: BTreeMap<u32, bool> = BTreeMap::new();
    let mut executes = |process: &Process| {
        if script || process.executes(&scene.target.path) {
            return true;
        }
        // The same bytes may have come back in another file. Once is enough to find out.
        *judged.entry(process.pid).or_insert_with(|| process.has_the_bytes_of(&scene.target.path))
    };
    let mut is_it = |process: &Process| is_new(process) && executes(process);
    let found = work.poll(work.deadline(), || match &scene.pid_file {
        Some(file) => process::pid_in(file).and_then(Process::at).filter(&mut is_it),
        None => {
            let members = || scene.manager.members();
            started(&scene.target.path, &scene.config, &scene.others, members, &mut is_it)
        }
    })?;
    found.ok_or_else(|| {
        let (wait, what) = (work.wait.as_secs_f32(), scene.target.path.display());
        match &scene.pid_file {
            Some(file) => {
                let holds = match process::pid_in(file) {
                    None => "no number".into(),
                    Some(pid) => match Process::at(pid) {
                        None => format!("the number {pid}, which no process has"),
                        Some(one) => format!("the number of {}", one.words.join(" ")),
                    },
                };
                format!("after {wait} s the pid file {} does not hold the number of a new process of {what}: it holds {holds}", file.display())
            }
            None => format!("after {wait} s there is no new process of {what}"),
        }
    })
}

fn check_exports(work: &mut Work<'_, '_>, expected: &Expected<'_>, process: &Process) -> Result<(), String> {
    let scene = expected.scene;
    let addresses = scene.addresses();
    if addresses.is_empty() {
        work.say("exports: it is not known where the server listens, so they were not looked at");
        return Ok(());
    }
    wait_for_answers(work, expected, process, &addresses)?;
    let seen =
        listing::see(&addresses, scene.startup_as(expected.program.kind).as_ref(), expected.program.kind)?;
    seen.notes.iter().for_each(|note| work.say(format!("exports: {note}")));
    seen.exports.iter().for_each(|export| work.say(format!("export: {export}")));
    let worse = listing::worse(&expected.before.exports, &seen.exports, expected.announced);
    if !worse.is_empty() {
        return Err(format!("exports are worse than before: {}", worse.join("; ")));
    }
    let well = listing::all_is_well(&expected.before.exports, &seen.exports, expected.announced);
    work.say(format!("exports: {well}"));
    Ok(())
}

/// At each address of the configuration where somebody answered before; at any, where nobody did.
fn wait_for_answers(
    work: &mut Work<'_, '_>,
    expected: &Expected<'_>,
    process: &Process,
    addresses: &[Address],
) -> Result<(), String> {
    let answered = |address: &&Address| expected.before.listens.contains(address);
    let mut silent: Vec<&Address> = addresses.iter().filter(answered).collect();
    let any = silent.is_empty();
    if any {
        silent = addresses.iter().collect();
    }
    let answers = |address: &Address| nbd::list(address).is_ok();
    // It binds after its pid file is written.
    let served = work.poll(work.deadline(), || {
        let all = silent.len();
        silent.retain(|address| !answers(address));
        match (silent.is_empty(), any && silent.len() < all) {
            (false, false) => (!process.is_alive()).then_some(false),
            _ => Some(true),
        }
    })?;
    let named: Vec<String> = silent.iter().map(ToString::to_string).collect();
    match served {
        Some(true) => {}
        Some(false) => return Err(format!("process {} ended before it served", process.pid)),
        None => {
            let (wait, named) = (work.wait.as_secs_f32(), named.join(", "));
            return Err(format!("nobody answers at {named} within {wait} s"));
        }
    }
    if !named.is_empty() {
        work.say(format!("nobody answers at {}, and nobody did before", named.join(", ")));
    }
    Ok(())
}

fn check_reload(work: &mut Work<'_, '_>, expected: &Expected<'_>, process: &Process) -> Result<(), String> {
    if expected.program.kind == Kind::Original {
        work.say("SIGHUP: not sent: the original may crash by it");
        return Ok(());
    }
    if !expected.sighup {
        work.say("SIGHUP: not sent: the server was not restarted, and a reload may change what it serves");
        return Ok(());
    }
    let control = expected.scene.controlsock();
    let closing = prove(work, process, control.as_deref().map(Path::new))?;
    work.say(format!("SIGHUP: answered, seen in {}: {}", closing.seen_in, closing.line));
    // What a start leaves out, a reload does too: that was announced.
    let leaves_out = expected.scene.startup.as_ref().is_some_and(|startup| !startup.complete);
    if closing.is_refused() || (!closing.is_complete() && !leaves_out) {
        return Err(format!("the reload did not come to its end: {}", closing.line));
    }
    Ok(())
}

fn check_journal(work: &mut Work<'_, '_>, kind: Kind, process: &Process) -> Result<(), String> {
    let Some(errors) = errors_in_journal(process.pid) else {
        work.say("journal: there is none to look for errors in");
        return Ok(());
    };
    errors.iter().for_each(|line| work.say(format!("journal: {line}")));
    if errors.is_empty() {
        work.say(format!("journal: no error of process {}", process.pid));
    } else if kind == Kind::Enhanced {
        return Err(format!("the journal has errors of process {}: {}", process.pid, errors.join("; ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn as_long_as_a_process_of_before_is_there_nothing_is_well() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it runs");
        let gone = [Process::at(child.id()).expect("it runs")];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, false);
        let mut work = Work::begin(&mut output, None, Duration::from_millis(50)).expect("it begins");
        let still = wait_for_ends(&mut work, &gone);
        let named = format!("there is still process {} of before (", child.id());
        assert!(still.as_ref().is_err_and(|why| why.contains(&named)), "{still:?}");
        child.kill().expect("killed");
        work.wait = Duration::from_secs(20);
        assert_eq!(wait_for_ends(&mut work, &gone), Ok(()));
        child.wait().expect("it ends");
    }
}
