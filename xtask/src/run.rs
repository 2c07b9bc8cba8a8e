//! Running a program from the root of the workspace and saying which.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What failed, in words for the last line.
#[derive(Debug)]
pub struct Failed(pub String);

/// A program about to run. Standard input is closed: nothing here asks questions.
pub struct Run(Command);

impl Run {
    /// Any program.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root()).stdin(Stdio::null());
        Self(command)
    }

    /// The cargo that runs us.
    pub fn cargo<const N: usize>(args: [&str; N]) -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args)
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0.args(args);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(key, value);
        self
    }

    /// Hides what it prints.
    pub fn quiet(mut self) -> Self {
        self.0.stdout(Stdio::null()).stderr(Stdio::null());
        self
    }

    /// Runs it, its output going where ours goes.
    pub fn go(mut self, what: &str) -> Result<(), Failed> {
        println!("== {what}");
        match self.0.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failed(format!("{what} ({status})"))),
            Err(error) => Err(Failed(format!("{what} ({error})"))),
        }
    }

    /// Runs it and keeps what it prints.
    pub fn output(mut self) -> Result<Output, Failed> {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.0.output().map_err(|error| Failed(format!("{:?}: {error}", self.0.get_program())))
    }

    /// What it prints, where it succeeds.
    pub fn text(self) -> Result<String, Failed> {
        let name = format!("{:?}", self.0);
        let output = self.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failed(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// Starts it without waiting.
    pub fn spawn(mut self) -> std::io::Result<std::process::Child> {
        self.0.spawn()
    }
}

/// Runs every part, whatever became of the others, and names those that failed.
pub fn all(parts: impl IntoIterator<Item = Result<(), Failed>>) -> Result<(), Failed> {
    let failed: Vec<String> =
        parts.into_iter().filter_map(|part| part.err().map(|Failed(what)| what)).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failed(failed.join("; "))) }
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(named.unwrap_or_else(|| "target".into()))
}

/// Where a program is, looked for in PATH and the system's own directories.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}
