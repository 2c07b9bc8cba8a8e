//! A configuration in a directory of its own, and the server that is started from it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::process::ServerProcess;
use crate::temp::TempDir;

/// What a server is to be started with. Begins as: a free port on 127.0.0.1, `allowlist = true`, an empty `conf.d`.
#[derive(Debug)]
pub struct Setup {
    pub(crate) binary: PathBuf,
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    generic: String,
    exports: String,
    main: Option<String>,
}

impl Setup {
    /// A server from this program. In a test of the server crate: `env!("CARGO_BIN_EXE_nbd-server")`.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let dir = TempDir::new("server");
        std::fs::create_dir(dir.join("conf.d")).expect("a directory in a new directory");
        Self {
            binary: binary.into(),
            dir,
            port: free_port(),
            args: Vec::new(),
            env: Vec::new(),
            generic: String::new(),
            exports: String::new(),
            main: None,
        }
    }

    /// Runs this program instead; it gets the same arguments.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.binary = program.to_path_buf();
        self
    }

    /// Adds a line to `[generic]`, such as `max_threads = 4`.
    #[must_use]
    pub fn generic(mut self, line: &str) -> Self {
        self.generic += &format!("{line}\n");
        self
    }

    /// Listens on a Unix socket too; its path is [`ServerProcess::socket`].
    #[must_use]
    pub fn unix(self) -> Self {
        let line = format!("unixsock = {}\nduallisten = true", self.dir.join("socket").display());
        self.generic(&line)
    }

    /// Adds an export to the main file; `more` are further lines.
    #[must_use]
    pub fn export(mut self, name: &str, path: &Path, more: &str) -> Self {
        self.exports += &export(name, path, more);
        self
    }

    /// Writes a file into `conf.d`.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.join("conf.d").join(name);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// Replaces the whole main file. `{port}`, `{dir}` and `{conf.d}` are filled in, and the control socket, where nothing
    /// is said of it: many servers of tests must not want the same one.
    #[must_use]
    pub fn main(mut self, text: &str) -> Self {
        self.main = Some(text.to_owned());
        self
    }

    /// Adds an argument to the command line.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets a variable of the server's environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The server's directory: a place for the test's own files too.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port that the server will listen on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The text of the main file.
    pub fn text(&self) -> String {
        let conf_d = self.dir.join("conf.d");
        match &self.main {
            Some(text) => with_control_socket(text)
                .replace("{port}", &self.port.to_string())
                .replace("{conf.d}", &conf_d.display().to_string())
                .replace("{dir}", &self.dir.path().display().to_string()),
            None => format!(
                "[generic]\nport = {}\nlistenaddr = 127.0.0.1\nallowlist = true\nincludedir = {}\n\
                 controlsock = {}\n{}{}",
                self.port,
                conf_d.display(),
                self.dir.join("control.sock").display(),
                self.generic,
                self.exports
            ),
        }
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Panics
    /// With the whole log, where it does not.
    #[track_caller]
    pub fn start(self) -> ServerProcess {
        self.try_start().unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts the server and waits until it serves. Takes another port where the chosen one was taken meanwhile.
    ///
    /// # Errors
    /// Its log, where it ended before or said nothing for 20 seconds.
    pub fn try_start(mut self) -> Result<ServerProcess, String> {
        for _ in 0..4 {
            let (setup, log) = match ServerProcess::spawn(self) {
                Ok(server) => return Ok(server),
                Err(failure) => *failure,
            };
            if !log.to_lowercase().contains("address already in use") {
                return Err(log);
            }
            self = setup;
            self.port = free_port();
        }
        Err("four ports in a row were taken".to_owned())
    }
}

/// At the end of `[generic]`.
fn with_control_socket(text: &str) -> String {
    let line = "controlsock = {dir}/control.sock\n";
    let Some(generic) = text.find("[generic]\n").filter(|_| !text.contains("controlsock")) else {
        return text.to_owned();
    };
    let (before, after) = match text[generic..].find("\n[") {
        Some(end) => text.split_at(generic + end + 1),
        None => (text, ""),
    };
    let between = if before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{between}{line}{after}")
}

/// The text of one export's section.
pub fn export(name: &str, path: &Path, more: &str) -> String {
    format!("[{name}]\nexportname = {}\n{more}\n", path.display())
}

/// A port above 20000 that nobody listens on, and that no other test was given.
///
/// # Panics
/// Where none is free.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Below the kernel's own range for outgoing connections (32768 and up), or a client may sit on it.
    let start = std::process::id() % 1200 * 10;
    for _ in 0..12_000 {
        let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = (20_001 + (start + given) % 12_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between 20001 and 32000 is free");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once_and_are_high() {
        let ports: std::collections::HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| *port > 20_000));
    }

    #[test]
    fn a_main_file_that_says_nothing_of_the_control_socket_gets_one_of_its_own() {
        let line = "controlsock = {dir}/control.sock\n";
        let cases = [
            ("[generic]\na=1\n[x]\nb=2\n", format!("[generic]\na=1\n{line}[x]\nb=2\n")),
            ("[x]\nb=2\n[generic]\na=1", format!("[x]\nb=2\n[generic]\na=1\n{line}")),
            ("[generic]\ncontrolsock =\n", "[generic]\ncontrolsock =\n".into()),
            ("[generic", "[generic".into()),
        ];
        for (given, wanted) in cases {
            assert_eq!(with_control_socket(given), wanted);
        }
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_words() {
        let setup = Setup::new("/bin/ls");
        let log = setup.try_start().err().unwrap();
        assert!(log.contains("ended with"), "{log}");
    }
}
