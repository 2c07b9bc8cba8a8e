//! Servers of others and ours, started on the same disk, each stopped by its own pid.

use crate::packages::server_features;
use crate::run::{Failed, Run, root, target, tool};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// A server that runs until it is dropped.
pub struct Rival {
    /// What it is called in tables.
    pub name: &'static str,
    /// Its port on 127.0.0.1.
    pub port: u16,
    child: Option<Child>,
    pid_file: Option<PathBuf>,
}

/// How ours is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As the tests have it: what is asked is what it does.
    Dev,
    /// As it is used: what is asked is how fast.
    Release,
}

/// How each is found.
pub const NAMES: [&str; 4] = ["ours", "nbd-server", "nbdkit", "qemu-nbd"];

impl Rival {
    /// Serves `disk` under the name `disk`. `None` where the server is not installed.
    pub fn start(name: &'static str, profile: Profile, disk: &Path) -> Result<Option<Self>, Failed> {
        let Some(program) = program(name, profile) else {
            println!("SKIPPED: {name} is not installed");
            return Ok(None);
        };
        let port = free_port()?;
        let dir = disk.parent().unwrap_or(Path::new("/"));
        let mut rival = Self { name, port, child: None, pid_file: None };
        let run = Run::new(program);
        let number = port.to_string();
        let failed = |error: std::io::Error| Failed(format!("{name}: {error}"));
        match name {
            "nbdkit" => {
                let args = ["-f", "-i", "127.0.0.1", "-p", &number, "-e", "disk", "file"];
                rival.child = Some(run.args(args).args([disk]).quiet().spawn().map_err(failed)?);
            }
            "qemu-nbd" => {
                let args = ["-t", "-e", "16", "-f", "raw", "-b", "127.0.0.1", "-p", &number, "-x", "disk"];
                rival.child = Some(run.args(args).args([disk]).quiet().spawn().map_err(failed)?);
            }
            _ => {
                let (config, pid) = (dir.join(format!("{name}.conf")), dir.join(format!("{name}.pid")));
                std::fs::write(&config, configuration(port, disk)).map_err(failed)?;
                let arg = ["-C".as_ref(), config.as_os_str(), "-p".as_ref(), pid.as_os_str()];
                rival.pid_file = Some(pid.clone());
                run.args(arg).quiet().go(&format!("{name} starts"))?;
            }
        }
        rival.wait()?;
        Ok(Some(rival))
    }

    /// Where clients find the disk.
    pub fn uri(&self, export: &str) -> String {
        format!("nbd://127.0.0.1:{}/{export}", self.port)
    }

    fn wait(&self) -> Result<(), Failed> {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > until {
                return Err(Failed(format!("{} does not listen", self.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let pid = self.pid_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        if let Some(pid) =
            pid.as_deref().map(str::trim).filter(|pid| pid.parse::<u32>().is_ok_and(|pid| pid > 1))
        {
            let _ = Run::new("kill").args([pid]).quiet().output();
        }
    }
}

/// One disk three times: as it is, read-only, and cut to a size.
fn configuration(port: u16, disk: &Path) -> String {
    let disk = disk.display();
    format!(
        "[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nallowlist = true\n\
         [disk]\nexportname = {disk}\nflush = true\n\
         [locked]\nexportname = {disk}\nreadonly = true\n\
         [cut]\nexportname = {disk}\nfilesize = 1048576\nreadonly = true\n\
         [plain]\nexportname = {disk}\nreadonly = true\nflush = false\nfua = false\nrotational = true\n"
    )
}

/// The original is the installed one; ours is what cargo built.
fn program(name: &str, profile: Profile) -> Option<PathBuf> {
    let dir = if profile == Profile::Release { "release" } else { "debug" };
    match name {
        "ours" => Some(target().join(dir).join("nbd-server")).filter(|file| file.is_file()),
        name => tool(name),
    }
}

/// Builds ours.
pub fn build(profile: Profile) -> Result<(), Failed> {
    let release = (profile == Profile::Release).then_some("--release");
    Run::cargo(["build", "--quiet", "-p", "server", "--bins"])
        .args(release)
        .args(server_features())
        .go("the server")
}

/// A new directory below cargo's, for disks and configurations.
pub fn scratch(what: &str) -> Result<PathBuf, Failed> {
    let dir = root().join(target()).join(what);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|error| Failed(format!("{}: {error}", dir.display())))?;
    Ok(dir)
}

/// Bytes that do not compress and are the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn free_port() -> Result<u16, Failed> {
    let probe = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    probe.map(|address| address.port()).map_err(|error| Failed(format!("no free port: {error}")))
}
