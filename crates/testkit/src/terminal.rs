//! A real terminal: tmux on a socket of its own. A shell runs in it, keys are typed, the screen is read back.

use crate::need::{skip_or_fail, tool};
use crate::temp::TempDir;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at the screen.
const LOOK: Duration = Duration::from_millis(20);

/// One window with a shell.
#[derive(Debug)]
pub struct Terminal {
    tmux: PathBuf,
    dir: TempDir,
}

impl Terminal {
    /// Opens one of that size, with these variables for its shell; `PATH` stays the test's own, whatever is said here.
    /// None where there is no tmux, which is said aloud.
    ///
    /// # Panics
    /// Where tmux does not start.
    pub fn open(test: &str, columns: u16, rows: u16, variables: &[(&str, &Path)]) -> Option<Self> {
        let Some(tmux) = tool("tmux") else {
            skip_or_fail(test, "tmux");
            return None;
        };
        let terminal = Self { tmux, dir: TempDir::new("tmux") };
        let size = [columns.to_string(), rows.to_string()];
        // Nobody's own configuration, and a prompt that is known.
        let mut args = vec!["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1]];
        let prompt = ("PS1", Path::new("ready> "));
        let pairs = variables.iter().chain([&prompt]);
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", value.display())).collect();
        args.extend(pairs.iter().flat_map(|pair| ["-e", pair]));
        args.extend(["env", "-u", "ENV", "sh"]);
        terminal.tmux(&args);
        terminal.wait_for("a prompt", |screen| screen.contains("ready>"));
        Some(terminal)
    }

    /// Types a line.
    pub fn line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names: `q`, `Down`, `C-c`.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Gives the window another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = [columns.to_string(), rows.to_string()];
        self.tmux(&["resize-window", "-x", &size[0], "-y", &size[1]]);
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Something that tmux knows of the window: `alternate_on`, `cursor_flag`, `pane_current_command`.
    pub fn fact(&self, name: &str) -> String {
        self.tmux(&["display-message", "-p", &format!("#{{{name}}}")]).trim_end().to_owned()
    }

    /// Waits until the screen is as wanted, and gives it.
    ///
    /// # Panics
    /// Where it is not within 20 seconds, with the screen.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "{what} is not seen:\n{screen}");
            std::thread::sleep(LOOK);
        }
    }

    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        let output = self.run(args).unwrap_or_else(|error| panic!("{}: {error}", self.tmux.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, args: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(&self.tmux);
        // A name of a locale makes tmux and the programs in it speak UTF-8; this one is there without a package.
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        command.arg("-S").arg(self.dir.join("socket")).args(args).output()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It ends the shell and what runs in it.
        let _ = self.run(&["kill-server"]);
    }
}
