//! What is said, and to whom: answers on standard output, what is wrong on standard error.

use crate::client::{Answer, Failure};
use crate::exit::Exit;
use crate::words;
use std::fmt::Display;
use std::io::{self, Write};

/// Both ends.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    colour: bool,
    /// The first thing that could not be written.
    failed: Option<io::Error>,
    /// Passwords, which no complaint may repeat.
    hidden: Vec<String>,
}

/// What a line means, where a terminal can show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As any other.
    Plain,
    /// A heading.
    Heading,
    /// Something comes, or is well.
    Good,
    /// Something is another than before.
    Change,
    /// Something goes, or is not well.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Change => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

impl<'a> Output<'a> {
    /// `colour` for a terminal only.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, colour: bool) -> Self {
        Self { out, err, colour, failed: None, hidden: Vec::new() }
    }

    /// A line of the answer.
    pub fn say(&mut self, line: impl Display) {
        self.say_in(Tone::Plain, line);
    }

    /// A line of the answer, in a tone.
    pub fn say_in(&mut self, tone: Tone, line: impl Display) {
        let text = match tone.code() {
            "" => format!("{line}\n"),
            _ if !self.colour => format!("{line}\n"),
            code => format!("{code}{line}\x1b[0m\n"),
        };
        self.write(text.as_bytes());
    }

    /// A table, or any lines under a heading.
    pub fn say_table(&mut self, lines: &[String]) {
        for (at, line) in lines.iter().enumerate() {
            self.say_in(if at == 0 { Tone::Heading } else { Tone::Plain }, line);
        }
    }

    /// The answer as it came, ended as a line.
    pub fn raw(&mut self, body: &[u8]) {
        self.write(body);
        if !body.is_empty() && !body.ends_with(b"\n") {
            self.write(b"\n");
        }
    }

    /// The answer as it came, or in words.
    pub fn answer(&mut self, json: bool, answer: &Answer, words: impl FnOnce(&mut Self)) {
        if json {
            self.raw(&answer.body);
        } else {
            words(self);
        }
    }

    /// Passwords that were typed: no complaint repeats them.
    pub fn hide(&mut self, passwords: Vec<String>) {
        self.hidden = passwords;
    }

    /// What is wrong. It is heard where standard output is not.
    pub fn complain(&mut self, line: impl Display) {
        let line = self.without_hidden(&format!("nbdctl: {line}\n"));
        // There is nobody left to tell.
        let _ = self.err.write_all(line.as_bytes());
    }

    fn without_hidden(&self, text: &str) -> String {
        self.hidden.iter().fold(text.into(), |text: String, word| text.replace(word.as_str(), "***"))
    }

    /// Why there is no answer; with `json`, the server's own document too.
    pub fn fail(&mut self, failure: &Failure, json: bool) -> Exit {
        match failure {
            Failure::Refused { body, .. } if json => self.raw(body),
            _ => {}
        }
        match failure {
            // The sentence only joins them.
            Failure::Refused { problems, .. } if !problems.is_empty() => {
                problems.iter().for_each(|problem| self.complain(words::problem(problem)));
            }
            _ => self.complain(failure),
        }
        failure.exit()
    }

    /// What the command line's parser has to say: help that was asked for, or what makes no sense.
    pub fn usage(&mut self, said: &clap::Error) -> Exit {
        let text = said.render();
        if !said.use_stderr() {
            self.write(if self.colour { text.ansi().to_string() } else { text.to_string() }.as_bytes());
            return Exit::Done;
        }
        let text = self.without_hidden(&text.to_string());
        let _ = self.err.write_all(text.as_bytes());
        Exit::Usage
    }

    /// What is not written yet goes out now.
    pub fn flush(&mut self) {
        let flushed = self.out.flush();
        self.note(flushed);
    }

    /// Whoever read has gone, or nothing can be written: going on is of no use.
    pub fn is_over(&self) -> bool {
        self.failed.is_some()
    }

    /// How the program ends, when it would have ended like this and all could be said.
    pub fn end(mut self, exit: Exit) -> Exit {
        self.flush();
        match self.failed.take() {
            // Whoever read has had enough, as `head` has.
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.complain(format!("standard output: {error}"));
                if exit == Exit::Done { Exit::Partly } else { exit }
            }
            _ => exit,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.is_over() {
            let written = self.out.write_all(bytes);
            self.note(written);
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}
