//! The server that runs, as `/proc` tells it.

use super::arguments::Given;
use super::program::{is_script, sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the kernel's ticks, as it tells them, in a second.
const TICKS: u64 = 100;

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

    /// Nothing of it is left, and all that it had open is closed. A process may be at that for a while: the last close of a
    /// disk writes what is in memory.
    pub fn has_ended(&self) -> bool {
        ended(self.pid, self.began)
    }

    /// How long it has been there.
    pub fn age(&self) -> Option<Duration> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime = Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()?;
        Some(uptime.saturating_sub(Duration::from_millis(self.began.checked_mul(1000 / TICKS)?)))
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

    /// The same process, and not one that was given its number.
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.began) == (other.pid, other.began)
    }

    /// Which service's, as the kernel has it: the lines of its groups.
    pub fn groups(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default()
    }

    /// The configuration that it was started with.
    pub fn config(&self) -> PathBuf {
        self.given().config.unwrap_or_else(|| super::CONFIG.into())
    }

    /// It was started with this configuration. What a relative path of 3.24 was relative to, nobody knows any more.
    pub fn reads(&self, config: &Path) -> bool {
        let own = self.config();
        own == config || (own.is_relative() && config.ends_with(own))
    }

    /// By the name of what it executes.
    pub fn is_named_like_a_server(&self) -> bool {
        self.exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nbd-server"))
    }

    /// What it executes has its path here too, and not only in the file system of a container. A service whose view of the
    /// file system is restricted sees the same file.
    pub fn is_of_this_system(&self) -> bool {
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

/// Nothing is left of the process with this number that began then. Of a zombie only the number is, as long as none of its
/// threads is still there.
pub fn ended(pid: u32, began: u64) -> bool {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let Ok(stat) = fs::read_to_string(dir.join("stat")) else { return true };
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let is_it = fields.get(19).and_then(|ticks| ticks.parse().ok()) == Some(began);
    let dead = matches!(fields.first(), Some(&("Z" | "X")));
    !is_it || (dead && fs::read_dir(dir.join("task")).map_or(0, Iterator::count) <= 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_begin_too() {
        let me = Process::at(std::process::id()).expect("we run");
        assert!(me.is_alive() && me.executes(&std::env::current_exe().expect("a path")));
        assert!(!me.has_ended() && me.age().is_some_and(|age| age < Duration::from_secs(3600)));
        let earlier = Process { began: me.began + 1, ..me };
        assert!(!earlier.is_alive() && earlier.has_ended());
        assert_eq!(Process::at(u32::MAX), None);
    }

    #[test]
    fn a_process_has_ended_when_it_waits_for_its_parent_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it runs");
        let process = Process::at(child.id()).expect("it runs");
        assert!(!process.has_ended());
        child.kill().expect("killed");
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !process.has_ended() {
            assert!(std::time::Instant::now() < until, "a zombie is no process");
        }
        child.wait().expect("it ends");
        assert!(process.has_ended());
    }
}
