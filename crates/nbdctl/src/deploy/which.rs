//! Which of several servers is the one of the service: another instance may run from the same file, with another configuration,
//! and goes on as it is.

use super::clients;
use super::process::{self, PID_FILE, Process, pid_in};
use super::service::Members;
use std::collections::BTreeMap;
use std::path::Path;

/// What the caller knows of the server that is meant.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// It executes this, or did before it was replaced.
    pub target: Option<&'a Path>,
    /// It was started with this configuration.
    pub config: Option<&'a Path>,
    /// The same, where several may be meant.
    pub config_then: Option<&'a Path>,
    /// Its number is in this file.
    pub pid_file: Option<&'a Path>,
    /// It is restarted by a script that ends whoever has its number in the usual pid file.
    pub by_script: bool,
    /// It is one of these; none where no service manager knows.
    pub members: Option<&'a Members>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The server that is meant, if it runs.
    pub server: Option<Process>,
    /// Processes of other servers, and of their clients.
    pub others: Vec<Process>,
    /// Processes that serve a client each for a server that has ended.
    pub orphans: Vec<Process>,
}

/// The server that is meant, and who else there is.
///
/// # Errors
/// It cannot be told which one is meant.
pub fn find(wanted: &Wanted<'_>) -> Result<Found, String> {
    let is_server =
        |one: &Process| one.is_named_like_a_server() || wanted.target.is_some_and(|target| one.is_of(target));
    let is_here = |one: &Process| !is_server(one) || one.is_of_this_system();
    let mut all: BTreeMap<u32, Process> =
        process::all().into_iter().filter(|(_, one)| is_here(one)).collect();
    let orphans = orphans(&all, wanted.target);
    all.retain(|_, one| orphans.iter().all(|orphan| !orphan.is(one)));
    // A number that an old file holds may be anybody's by now.
    let in_its_file =
        wanted.pid_file.and_then(pid_in).and_then(|pid| all.get(&pid).cloned()).filter(is_server);
    let server = match in_its_file {
        Some(process) => Some(not_of_another(process, &all, wanted)?),
        None => choose(&all, wanted, pid_in(Path::new(PID_FILE)))?,
    };
    let is_other = |one: &Process| {
        is_server(one) && server.as_ref().is_none_or(|server| !server.is(one) && one.parent != server.pid)
    };
    let others: Vec<Process> = all.values().filter(|one| is_other(one)).cloned().collect();
    if wanted.by_script {
        spares(&others, pid_in(Path::new(PID_FILE)))?;
    }
    Ok(Found { server, others, orphans })
}

/// Those of any server of this file, or of one that is named like a server where no file is said.
pub fn orphans(all: &BTreeMap<u32, Process>, target: Option<&Path>) -> Vec<Process> {
    let executes = |one: &Process| one.is_named_like_a_server() || target.is_some_and(|file| one.exe == file);
    let is_orphan = |one: &&Process| executes(one) && clients::is_orphan(one, all.get(&one.parent));
    all.values().filter(is_orphan).cloned().collect()
}

/// The restart ends none of them.
fn spares(others: &[Process], in_pid_file: Option<u32>) -> Result<(), String> {
    let Some(other) = others.iter().find(|one| Some(one.pid) == in_pid_file) else { return Ok(()) };
    Err(format!(
        "{PID_FILE} holds the number of another server ({}), which a restart would end: give each server a pid file of its own, or say by --restart how this one is restarted",
        named(&[other])
    ))
}

/// Two servers may write the same file, and the later one's number is in it.
fn not_of_another(
    process: Process,
    all: &BTreeMap<u32, Process>,
    wanted: &Wanted<'_>,
) -> Result<Process, String> {
    let Some(members) = wanted.members else { return Ok(process) };
    let of_service = heads(all.values(), |one| members.has(one) && one.exe == process.exe);
    if of_service.is_empty() || members.has(&process) {
        return Ok(process);
    }
    let file = wanted.pid_file.unwrap_or(Path::new(PID_FILE)).display();
    Err(format!(
        "the pid file {file} holds the number of process {}, and the service {} is {}: --service and --pid-file must name the same server",
        process.pid,
        members.unit,
        named(&of_service)
    ))
}

/// Without the children that 3.24 has for its clients.
pub fn heads<'a>(
    all: impl IntoIterator<Item = &'a Process>,
    is: impl Fn(&Process) -> bool,
) -> Vec<&'a Process> {
    let found: Vec<&Process> = all.into_iter().filter(|one| is(one)).collect();
    let is_head = |one: &&Process| found.iter().all(|other| other.pid != one.parent);
    found.iter().filter(|one| is_head(one)).copied().collect()
}

fn choose(
    all: &BTreeMap<u32, Process>,
    wanted: &Wanted<'_>,
    in_pid_file: Option<u32>,
) -> Result<Option<Process>, String> {
    let ours = |process: &Process| {
        let given = process.given();
        let program = wanted.target.map_or(process.is_named_like_a_server(), |target| process.is_of(target));
        let config = wanted.config.is_none_or(|config| process.reads(config));
        let pid_file = wanted
            .pid_file
            .is_none_or(|file| given.pid_file.as_deref().unwrap_or(Path::new(PID_FILE)) == file);
        program && config && pid_file
    };
    let found = heads(all.values(), ours);
    let Some(members) = wanted.members else { return one_of(found, wanted, in_pid_file) };
    let of_service: Vec<&Process> = found.iter().filter(|one| members.has(one)).copied().collect();
    if !of_service.is_empty() {
        return one_of(of_service, wanted, in_pid_file);
    }
    // The service does not run: a server with another configuration is none of its business, one with the same is in its way.
    let config = wanted.config.or(wanted.config_then).unwrap_or(Path::new(super::CONFIG));
    match found.into_iter().find(|one| one.reads(config)) {
        None => Ok(None),
        // A script in /etc/init.d ends whoever has its number there.
        Some(one) if Some(one.pid) == in_pid_file => Ok(Some(one.clone())),
        Some(one) => Err(format!(
            "{} is not of the service {}, which would be started beside it: end it first, or say by --service or --restart what restarts it",
            named(&[one]),
            members.unit
        )),
    }
}

fn one_of(
    found: Vec<&Process>,
    wanted: &Wanted<'_>,
    in_pid_file: Option<u32>,
) -> Result<Option<Process>, String> {
    if let [] | [_] = found[..] {
        return Ok(found.first().map(|one| (*one).clone()));
    }
    if let Some(one) =
        found.iter().find(|one| wanted.members.is_some_and(|known| known.main == Some(one.pid)))
    {
        return Ok(Some((*one).clone()));
    }
    let as_then: Vec<&Process> =
        found.iter().filter(|one| wanted.config_then.is_some_and(|then| one.reads(then))).copied().collect();
    if let [one] = as_then[..] {
        return Ok(Some(one.clone()));
    }
    if let Some(one) = found.iter().find(|one| Some(one.pid) == in_pid_file) {
        return Ok(Some((*one).clone()));
    }
    Err(format!("several servers run ({}): --config or --pid-file says which is meant", named(&found)))
}

fn named(processes: &[&Process]) -> String {
    let name = |one: &&Process| format!("process {} with {}", one.pid, one.config().display());
    processes.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The server that was started, where no pid file says which it is: a process that was not there before, and `executes`
/// what it should. Of several the service manager knows, or the configuration tells.
pub fn started(
    target: &Path,
    config: &Path,
    others: &[Process],
    members: impl FnOnce() -> Option<Members>,
    mut executes: impl FnMut(&Process) -> bool,
) -> Option<Process> {
    let all = process::all();
    let is_new = |one: &Process| one.is_of(target) && others.iter().all(|other| !other.is(one));
    let mut found = heads(all.values(), |one| is_new(one) && one.is_of_this_system());
    found.retain(|one| executes(one));
    if found.len() > 1 {
        let members = members();
        narrow(&mut found, |one| members.as_ref().is_some_and(|members| members.has(one)));
        narrow(&mut found, |one| one.reads(config));
    }
    found.into_iter().min_by_key(|one| (one.began, one.pid)).cloned()
}

/// To those that are, where any is.
fn narrow(found: &mut Vec<&Process>, is: impl Fn(&Process) -> bool) {
    if found.iter().any(|one| is(one)) {
        found.retain(|one| is(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, line: &str) -> Process {
        let words: Vec<String> = line.split(' ').map(Into::into).collect();
        Process { pid, parent, began: 1, exe: words[0].clone().into(), replaced: false, words }
    }

    fn chosen(all: &[Process], wanted: &Wanted<'_>, in_pid_file: Option<u32>) -> Result<Option<u32>, String> {
        let all = all.iter().map(|one| (one.pid, one.clone())).collect();
        choose(&all, wanted, in_pid_file).map(|found| found.map(|one| one.pid))
    }

    #[test]
    fn the_children_of_the_original_are_not_the_server() {
        let all = [
            process(10, 1, "/usr/bin/nbd-server -C /a"),
            process(11, 10, "/usr/bin/nbd-server -C /a"),
            process(12, 1, "/bin/sh nbd-server"),
        ];
        assert_eq!(chosen(&all, &Wanted::default(), None), Ok(Some(10)));
        assert_eq!(chosen(&all[2..], &Wanted::default(), None), Ok(None));
    }

    #[test]
    fn of_several_servers_the_one_is_taken_that_was_meant_or_none() {
        let all =
            [process(10, 1, "/usr/bin/nbd-server -C /a"), process(20, 1, "/usr/bin/nbd-server -C/b -p /p")];
        assert_eq!(chosen(&all, &Wanted::default(), Some(20)), Ok(Some(20)));
        let config = Some(Path::new("/b"));
        assert_eq!(chosen(&all, &Wanted { config, ..Wanted::default() }, None), Ok(Some(20)));
        assert_eq!(chosen(&all, &Wanted { config_then: config, ..Wanted::default() }, None), Ok(Some(20)));
        let pid_file = Some(Path::new("/p"));
        assert_eq!(chosen(&all, &Wanted { pid_file, ..Wanted::default() }, None), Ok(Some(20)));
        let why = chosen(&all, &Wanted::default(), Some(7)).expect_err("two");
        assert!(why.contains("process 10 with /a, process 20 with /b"), "{why}");
    }

    #[test]
    fn the_service_manager_knows_which_of_them_is_its_own() {
        let all = [
            process(10, 1, "/usr/bin/nbd-server -C /etc/nbd-server/config"),
            process(20, 1, "/usr/bin/nbd-server -C /b"),
        ];
        let of = |main: Option<u32>| Members { unit: "nbd".into(), main, group: None, by_script: false };
        let with = |members: &Members, all: &[Process], in_pid_file: Option<u32>| {
            chosen(all, &Wanted { members: Some(members), ..Wanted::default() }, in_pid_file)
        };
        // The later one has written its number over the other's.
        assert_eq!(with(&of(Some(10)), &all, Some(20)), Ok(Some(10)));
        assert_eq!(with(&of(None), &all[1..], Some(20)), Ok(None), "it is another's");
        let why = with(&of(None), &all, Some(20)).expect_err("it would be started beside it");
        assert!(why.contains("process 10 with /etc/nbd-server/config is not of the service nbd"), "{why}");
        assert_eq!(with(&of(None), &all, Some(10)), Ok(Some(10)));
        let all = all.iter().map(|one| (one.pid, one.clone())).collect();
        let wanted = |members| Wanted { members, ..Wanted::default() };
        let (ten, twenty) = (of(Some(10)), of(Some(20)));
        let judged =
            |members| not_of_another(process(20, 1, "/usr/bin/nbd-server -C /b"), &all, &wanted(members));
        assert!(judged(Some(&ten)).is_err_and(|why| why.contains("the service nbd is process 10")));
        let others = [process(20, 1, "/usr/bin/nbd-server -C /b")];
        assert!(spares(&others, Some(20)).is_err_and(|why| why.contains("process 20 with /b")));
        assert!(spares(&others, Some(10)).is_ok() && spares(&others, None).is_ok());
        assert!(judged(Some(&twenty)).is_ok() && judged(None).is_ok() && judged(Some(&of(None))).is_ok());
    }
}
