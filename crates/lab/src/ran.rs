//! Programs that ran, and what they said.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What became of a program.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What was run, for messages.
    pub what: String,
    /// Its exit code, or nothing where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output without blanks at its ends.
    ///
    /// # Panics
    /// Where the program failed, with all that it said.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.is_ok(), "{self}");
        self.out.trim().to_owned()
    }

    /// Both outputs.
    ///
    /// # Panics
    /// Where the program succeeded.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.is_ok(), "this should have failed: {self}");
        self.out + &self.err
    }

    /// Whether it ended with 0.
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nended with {:?}\n{}\n{}",
            self.what,
            self.code,
            self.out.trim_end(),
            self.err.trim_end()
        )
    }
}

/// Runs a program with nothing on its standard input.
///
/// # Panics
/// Where it cannot be started.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let what = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { what, code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs a line of shell that stops at its first failure.
#[track_caller]
pub fn sh(text: &str) -> Ran {
    run(Command::new("sh").args(["-euc", text]))
}

/// Asks until it holds.
///
/// # Panics
/// Where it does not within this time.
#[track_caller]
pub fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < until, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
