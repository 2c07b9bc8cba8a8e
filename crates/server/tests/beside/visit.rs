//! One server with one configuration, from its start to its end.

use crate::case::{Case, Serves};
use crate::facts::{Facts, digest};
use crate::place::Place;
use crate::{probe, tools, words};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The program under test.
pub const OURS: &str = env!("CARGO_BIN_EXE_nbd-server");

/// A server that serves, and what is known of it so far.
pub struct Visit<'a> {
    pub case: &'a Case,
    pub place: &'a Place,
    pub facts: Facts,
    ours: bool,
}

/// Starts the program, looks at it, and ends it. A port that somebody else took meanwhile is no fact.
pub fn visit(program: &Path, case: &Case) -> Facts {
    const TRIES: usize = 4;
    for attempt in 1.. {
        let place = Place::new(program, case);
        let facts = Facts::default();
        let mut visit = Visit { case, place: &place, facts, ours: program == Path::new(OURS) };
        visit.start();
        let facts = visit.facts;
        let taken = place.syslog.log.lines().iter().any(|line| line.contains("Address already in use"));
        if taken && case.serves == Serves::Tcp && attempt < TRIES {
            continue;
        }
        let pairs = [
            (program.display().to_string(), "{program}"),
            (place.dir.path().display().to_string(), "{dir}"),
            // Behind its colon: the same digits may stand in a digest.
            (format!(":{}", place.port), ":{port}"),
        ];
        return facts.replace(&pairs);
    }
    unreachable!("the last attempt returns")
}

impl Visit<'_> {
    fn start(&mut self) {
        let output = self.place.launch(&self.case.args);
        self.facts.put("start: status", output.status.code().unwrap_or(-1));
        self.facts.put("start: stdout", String::from_utf8_lossy(&output.stdout).trim_end());
        self.facts.put("start: stderr", words_of(&String::from_utf8_lossy(&output.stderr)));
        let served = output.status.success() && self.case.serves != Serves::Nobody && self.place.wait();
        if self.case.serves != Serves::Nobody {
            self.facts.put("start: serves", served);
        }
        let mark = self.place.syslog.mark();
        if served {
            self.look(mark);
        } else {
            self.log_between(0, mark);
        }
        if self.case.serves != Serves::Nobody {
            self.facts.put("end: pid file", self.place.stop());
        }
        self.files();
    }

    fn look(&mut self, mark: usize) {
        probe::look(self);
        let end = self.place.syslog.mark();
        self.log_between(mark, end);
        self.case.probes.iter().for_each(|probe| probe(self));
        if self.case.tools {
            tools::look(self);
        }
    }

    /// Keeps the lines of the log between two marks, each once.
    pub fn log_between(&mut self, from: usize, to: usize) {
        for line in self.place.syslog.between(from, to) {
            let (text, more) = words::kind(&words::without_numbers(&line.text));
            let more = if more { words::MORE } else { "" };
            self.facts.put(format!("log: {text}"), format!("{} {}{more}", line.priority, line.ident));
        }
    }

    /// Waits until a reload is over: ours says so, the original's loop has turned once more when it greets the next client.
    pub fn settle(&mut self, mark: usize) {
        if self.ours {
            let closes =
                |line: &str| line.contains("MIGRATEKIT: reload ") && !line.contains("reload requested");
            let patience = std::time::Duration::from_secs(20);
            let closed = self.place.syslog.log.wait_from(mark, closes, patience).is_some();
            assert!(closed, "the reload was not closed");
        }
        if let Ok(client) = self.place.connect() {
            crate::probe::leave(client);
        }
    }

    /// What is in the directory: names, sizes, modes and contents.
    fn files(&mut self) {
        let mut todo = vec![self.place.dir.path().to_path_buf()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().expect("it is there"));
                let name = path.strip_prefix(self.place.dir.path()).expect("below").display().to_string();
                if metadata.is_dir() {
                    todo.push(path);
                } else if !["config", "pid"].contains(&name.as_str()) {
                    let said =
                        format!("{:o} {}", metadata.permissions().mode() & 0o7777, content(&path, &metadata));
                    self.facts.put(format!("file: {}", words::without_numbers(&name)), said);
                }
            }
        }
    }
}

/// Short texts as they are, so that a directory's name in them does not count; sparse monsters by their size alone.
fn content(path: &Path, metadata: &fs::Metadata) -> String {
    if !metadata.is_file() {
        return "special".into();
    }
    if metadata.len() > 64 << 20 {
        return format!("{} bytes", metadata.len());
    }
    let bytes = fs::read(path).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(text) if text.len() < 4096 && !text.contains('\0') => text,
        Ok(text) => digest(text.as_bytes()),
        Err(other) => digest(other.as_bytes()),
    }
}

/// The sentences of standard error, without the clothes of GLib: `** Message: 12:00:00.000: `.
fn words_of(text: &str) -> String {
    let sentence = |line: &str| {
        let clothed = line.starts_with("** ") || line.starts_with("(process:");
        let mut rest = line;
        if clothed {
            rest = rest.split_once("**: ").map_or(rest, |(_, rest)| rest);
            rest = rest.strip_prefix("** Message: ").unwrap_or(rest);
            // The time.
            rest = rest.split_once(": ").map_or(rest, |(_, rest)| rest);
        }
        rest.to_owned()
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(sentence).collect::<Vec<_>>().join("\n")
}
