//! One server with one configuration, from its start to its end.

use crate::case::{Case, Serves};
use crate::facts::{Facts, digest};
use crate::place::Place;
use crate::{probe, tools};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A server that serves, and what is known of it so far.
pub struct Visit<'a> {
    pub case: &'a Case,
    pub place: &'a Place,
    pub facts: Facts,
}

/// Starts the program, looks at it, and ends it.
pub fn visit(program: &Path, case: &Case) -> Facts {
    let place = Place::new(program, case);
    let mut visit = Visit { case, place: &place, facts: Facts::default() };
    visit.start();
    let facts = visit.facts;
    let pairs = [
        (program.display().to_string(), "{program}"),
        (place.dir.path().display().to_string(), "{dir}"),
        (place.port.to_string(), "{port}"),
    ];
    facts.replace(&pairs)
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
            let text = crate::rules::without_numbers(&line.text);
            self.facts.put(format!("log: {text}"), format!("{} {}", line.priority, line.ident));
        }
    }

    /// What is in the directory: names, sizes, modes and contents.
    fn files(&mut self) {
        let mut todo = vec![self.place.dir.path().to_path_buf()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.place.dir.path()).expect("below").display().to_string();
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() {
                    todo.push(path);
                } else if !["config", "pid"].contains(&name.as_str()) {
                    let mode = metadata.permissions().mode() & 0o7777;
                    let content = if metadata.is_file() { content(&path, metadata.len()) } else { "special".into() };
                    self.facts.put(format!("file: {}", crate::rules::without_numbers(&name)), format!("{mode:o} {content}"));
                }
            }
        }
    }
}

fn content(path: &Path, len: u64) -> String {
    // Sparse monsters are told by their size alone.
    if len > 64 << 20 { format!("{len} bytes") } else { digest(&fs::read(path).unwrap_or_default()) }
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
