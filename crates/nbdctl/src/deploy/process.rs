//! The server that runs, as `/proc` tells it.

use super::arguments::Given;
use super::program::{is_script, sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where 3.24 writes its number, where nothing is said.
pub const PID_FILE: &str = "/var/run/nbd-server.pid";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Of the process that started it.
    pub parent: u32,
    /// When it began, in the kernel's ticks since boot: a number that was given anew is another process.
    pub began: u64,
    /// The path of what it executes, as it was when it began.
    pub exe: PathBuf,
    /// That file is not at its path any more.
    pub replaced: bool,
    /// Its words, the program's name first.
    pub words: Vec<String>,
}

/// What the caller knows of the server that is meant.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// It executes this, or did before it was replaced.
    pub target: Option<&'a Path>,
    /// It was started with this configuration.
    pub config: Option<&'a Path>,
    /// Its number is in this file.
    pub pid_file: Option<&'a Path>,
}

impl Process {
    /// The process of a number; none where there is none, or nobody may look.
    pub fn at(pid: u32) -> Option<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(dir.join("stat")).ok()?;
        // Behind the name, which may hold anything: state, parent, …, and as the 22nd field of all the begin.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if *fields.first()? == "Z" {
            return None;
        }
        let link = fs::read_link(dir.join("exe")).ok()?;
        let link = link.to_string_lossy();
        let replaced = link.ends_with(" (deleted)");
        let words = fs::read(dir.join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words);
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
            exe: link.strip_suffix(" (deleted)").unwrap_or(&link).into(),
            replaced,
            words: words.split_terminator('\0').map(Into::into).collect(),
        })
    }

    /// What it was told.
    pub fn given(&self) -> Given {
        Given::of(self.words.get(1..).unwrap_or_default())
    }

    /// It is still there.
    pub fn is_alive(&self) -> bool {
        Self::at(self.pid).is_some_and(|now| now.began == self.began)
    }

    /// It executes exactly this file.
    pub fn executes(&self, file: &Path) -> bool {
        let (Ok(runs), Ok(there)) = (fs::metadata(format!("/proc/{}/exe", self.pid)), fs::metadata(file))
        else {
            return false;
        };
        (runs.dev(), runs.ino()) == (there.dev(), there.ino())
    }

    /// What it executes has the same bytes, though it may be another file.
    pub fn has_the_bytes_of(&self, file: &Path) -> bool {
        let runs = sha256(Path::new(&format!("/proc/{}/exe", self.pid)));
        runs.is_ok_and(|runs| sha256(file).is_ok_and(|there| runs == there))
    }

    fn is_named_like_a_server(&self) -> bool {
        self.exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nbd-server"))
    }

    /// What it executes has its path here too, and not only in the file system of a container. A service whose view of the
    /// file system is restricted sees the same file.
    fn is_of_this_system(&self) -> bool {
        let there = PathBuf::from(format!("/proc/{}/root", self.pid));
        let there = there.join(self.exe.strip_prefix("/").unwrap_or(&self.exe));
        match (fs::metadata(there), fs::metadata(&self.exe)) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
            (Ok(_), Err(_)) => false,
            (Err(_), _) => true,
        }
    }

    /// It executes the file of this path, or one that was there before; or this is a script, and its words name it.
    pub fn is_of(&self, target: &Path) -> bool {
        let named = || self.words.iter().take(2).any(|word| Path::new(word) == target);
        self.exe == target || (is_script(target) && named())
    }

    /// Where it is.
    pub fn directory(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/cwd", self.pid)).ok()
    }

    /// What its descriptors lead to.
    pub fn descriptors(&self) -> Vec<PathBuf> {
        let dir = fs::read_dir(format!("/proc/{}/fd", self.pid));
        let links = dir.into_iter().flatten().flatten();
        links.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    }
}

/// The first number of a pid file.
pub fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok()
}

/// All processes that may be looked at.
pub fn all() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, Process::at(pid)?))).collect()
}

/// The server that is meant, if one runs.
///
/// # Errors
/// Several do.
pub fn find(wanted: &Wanted<'_>) -> Result<Option<Process>, String> {
    // A number that an old file holds may be anybody's by now.
    let is_server =
        |one: &Process| one.is_named_like_a_server() || wanted.target.is_some_and(|target| one.is_of(target));
    if let Some(process) = wanted.pid_file.and_then(pid_in).and_then(Process::at).filter(is_server) {
        return Ok(Some(process));
    }
    let here = all().into_iter().filter(|(_, one)| !is_server(one) || one.is_of_this_system()).collect();
    choose(&here, wanted, pid_in(Path::new(PID_FILE)))
}

/// Of all processes: those of the program, without the children that 3.24 has for its clients.
fn choose(
    all: &BTreeMap<u32, Process>,
    wanted: &Wanted<'_>,
    in_pid_file: Option<u32>,
) -> Result<Option<Process>, String> {
    let ours = |process: &&Process| {
        let given = process.given();
        let program = wanted.target.map_or(process.is_named_like_a_server(), |target| process.is_of(target));
        let config = wanted
            .config
            .is_none_or(|config| given.config.as_deref().unwrap_or(Path::new(super::CONFIG)) == config);
        let pid_file = wanted
            .pid_file
            .is_none_or(|file| given.pid_file.as_deref().unwrap_or(Path::new(PID_FILE)) == file);
        program && config && pid_file
    };
    let found: Vec<&Process> = all.values().filter(ours).collect();
    let heads: Vec<&Process> =
        found.iter().filter(|one| found.iter().all(|other| other.pid != one.parent)).copied().collect();
    match heads[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => match heads.iter().find(|one| Some(one.pid) == in_pid_file) {
            Some(one) => Ok(Some((*one).clone())),
            None => {
                let pids: Vec<String> = heads.iter().map(|one| one.pid.to_string()).collect();
                Err(format!("several servers run ({}): --pid-file says which is meant", pids.join(", ")))
            }
        },
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
        let pid_file = Some(Path::new("/p"));
        assert_eq!(chosen(&all, &Wanted { pid_file, ..Wanted::default() }, None), Ok(Some(20)));
        assert!(chosen(&all, &Wanted::default(), Some(7)).is_err_and(|why| why.contains("10, 20")));
    }

    #[test]
    fn a_process_is_told_by_its_begin_too() {
        let me = Process::at(std::process::id()).expect("we run");
        assert!(me.is_alive() && me.executes(&std::env::current_exe().expect("a path")));
        assert!(!Process { began: me.began + 1, ..me }.is_alive());
        assert_eq!(Process::at(u32::MAX), None);
    }
}
