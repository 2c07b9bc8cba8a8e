//! SIGHUP, and the closing line that acknowledges it: in the journal, in the system's log, or on the control socket.

use super::command::ask;
use super::process::Process;
use super::work::Work;
use crate::args;
use crate::client::{Ask, Client, Path as Route};
use control::view::Status;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where syslog writes, where there is no journal.
const FILES: [&str; 3] = ["/var/log/syslog", "/var/log/messages", "/var/log/daemon.log"];
/// How long the line may stay away once the control socket says that the reload is over.
const LATE: Duration = Duration::from_secs(2);
/// How the closing lines begin.
const CLOSING: [&str; 3] =
    ["MIGRATEKIT: reload complete", "MIGRATEKIT: reload incomplete", "MIGRATEKIT: reload refused"];

/// Where the closing line may be seen, and what was there before.
struct Watch {
    pid: u32,
    /// Closing lines in the journal so far; none where there is no journal.
    journal: Option<usize>,
    /// Files of syslog, and their length so far.
    files: Vec<(PathBuf, u64)>,
    control: Option<Client>,
    last: Option<String>,
}

/// The closing line, and where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// What was said.
    pub line: String,
    /// Where.
    pub seen_in: String,
}

impl Closing {
    /// It followed all files.
    pub fn is_complete(&self) -> bool {
        self.line.contains("reload complete")
    }

    /// It followed nothing.
    pub fn is_refused(&self) -> bool {
        self.line.contains("reload refused")
    }
}

/// Sends SIGHUP, and waits for its end.
///
/// # Errors
/// The server ended by it, or nothing was seen in time.
pub fn prove(work: &Work<'_, '_>, process: &Process, controlsock: Option<&Path>) -> Result<Closing, String> {
    let watch = Watch::begin(process.pid, controlsock);
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or("no process")?;
    kill_process(pid, Signal::HUP).map_err(|error| format!("SIGHUP to process {}: {error}", process.pid))?;
    let until = work.deadline();
    let mut over: Option<(Instant, Closing)> = None;
    let found = work.poll(until, || {
        if let Some(closing) = watch.in_journal().or_else(|| watch.in_files()) {
            return Some(Ok(closing));
        }
        if !process.is_alive() {
            return Some(Err(format!("process {} ended by SIGHUP", process.pid)));
        }
        if over.is_none() {
            over = watch.on_socket().map(|closing| (Instant::now(), closing));
        }
        // The socket knows it before the line has gone its way through the log.
        let late = |(since, _): &&(Instant, Closing)| watch.has_no_log() || since.elapsed() >= LATE;
        over.as_ref().filter(late).map(|(_, closing)| Ok(closing.clone()))
    })?;
    let nowhere = || {
        let places = watch.places().join(", ");
        format!("no closing line within {} s after SIGHUP in {places}", work.wait.as_secs_f32())
    };
    found.unwrap_or_else(|| Err(nowhere()))
}

/// Lines of a process in the journal that are errors of its own; none where there is no journal.
pub fn errors_in_journal(pid: u32) -> Option<Vec<String>> {
    let text = journal(pid, &["-p", "err"])?;
    Some(text.lines().filter(|line| !is_answer(line)).map(Into::into).collect())
}

/// What a server calls an error and only tells a client no: the look at its exports is such a client.
fn is_answer(line: &str) -> bool {
    line == "Client tried disallowed list option"
        || (line.starts_with("export ") && line.contains(" refused to "))
}

fn journal(pid: u32, more: &[&str]) -> Option<String> {
    if !Path::new("/run/systemd/journal").is_dir() {
        return None;
    }
    let of = format!("_PID={pid}");
    // Of this boot: the number was another process's before.
    let words: Vec<&str> = ["-b", of.as_str(), "-o", "cat", "-q", "--no-pager"]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    ask("journalctl", &words, None).ok().filter(|ran| ran.is_well()).map(|ran| ran.out)
}

fn closes(line: &str) -> bool {
    CLOSING.iter().any(|begin| line.contains(begin))
}

impl Watch {
    fn begin(pid: u32, controlsock: Option<&Path>) -> Self {
        let length = |path: PathBuf| fs::metadata(&path).ok().map(|file| (path, file.len()));
        let server = controlsock
            .filter(|path| path.exists())
            .map(|path| args::Server { socket: path.into(), timeout: Duration::from_secs(5) });
        let mut watch = Self {
            pid,
            journal: journal(pid, &[]).map(|text| text.lines().filter(|line| closes(line)).count()),
            files: FILES.map(PathBuf::from).into_iter().filter_map(length).collect(),
            control: server.and_then(|server| Client::new(&server).ok()),
            last: None,
        };
        watch.last = watch.status().and_then(|status| status.last_reload).map(|last| last.at);
        watch
    }

    fn has_no_log(&self) -> bool {
        self.journal.is_none() && self.files.is_empty()
    }

    fn places(&self) -> Vec<String> {
        let files = self.files.iter().map(|(path, _)| path.display().to_string());
        let journal = self.journal.map(|_| "the journal".to_owned());
        let control = self.control.as_ref().map(|_| "the control socket's last reload".to_owned());
        let places: Vec<String> = journal.into_iter().chain(files).chain(control).collect();
        if places.is_empty() { vec!["any log: there is none that can be read".into()] } else { places }
    }

    fn in_journal(&self) -> Option<Closing> {
        let before = self.journal?;
        let text = journal(self.pid, &[])?;
        let line = text.lines().filter(|line| closes(line)).nth(before)?;
        Some(Closing { line: line.into(), seen_in: "the journal".into() })
    }

    fn in_files(&self) -> Option<Closing> {
        let tag = format!("[{}]", self.pid);
        self.files.iter().find_map(|(path, length)| {
            let text = text_from(path, *length)?;
            let line = text.lines().find(|line| line.contains(&tag) && closes(line))?;
            Some(Closing { line: line.into(), seen_in: path.display().to_string() })
        })
    }

    /// The control socket of another server is none of ours.
    fn status(&self) -> Option<Status> {
        let answer = self.control.as_ref()?.ask(&Ask::get(Route::v1("status"))).ok()?;
        answer.value::<Status>().ok().filter(|status| status.pid == self.pid)
    }

    fn on_socket(&self) -> Option<Closing> {
        let status = self.status()?;
        let last = status.last_reload.filter(|_| !status.reloading)?;
        if Some(&last.at) == self.last.as_ref() {
            return None;
        }
        let reason = last.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let line = format!(
            "reload {}{reason} (generation {}, {} ms)",
            last.outcome, status.generation, last.took_ms
        );
        Some(Closing { line, seen_in: "the control socket's last reload".into() })
    }
}

/// What was written behind a place; all of it, where the file was begun anew meanwhile.
fn text_from(path: &Path, length: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let start = if file.metadata().ok()?.len() < length { 0 } else { length };
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_is_told_from_the_lines_before_it() {
        assert!(closes("Nov 24 nbd_server[7]: MIGRATEKIT: reload complete generation=2 added=0"));
        assert!(!closes("MIGRATEKIT: reload requested file=/c"));
        let closing = |line: &str| Closing { line: line.into(), seen_in: String::new() };
        assert!(!closing("MIGRATEKIT: reload incomplete generation=2").is_complete());
        assert!(closing("reload refused (generation 1, 3 ms)").is_refused());
    }

    #[test]
    fn only_what_was_written_since_is_looked_at() {
        let path = std::env::temp_dir().join(format!("nbdctl-log-{}", std::process::id()));
        fs::write(&path, "old\n").expect("written");
        let length = fs::metadata(&path).expect("there").len();
        assert_eq!(text_from(&path, length).as_deref(), Some(""));
        fs::write(&path, "old\nnew\n").expect("written");
        assert_eq!(text_from(&path, length).as_deref(), Some("new\n"));
        fs::write(&path, "n\n").expect("written");
        assert_eq!(text_from(&path, length).as_deref(), Some("n\n"), "it was begun anew");
        fs::remove_file(path).expect("removed");
    }
}
