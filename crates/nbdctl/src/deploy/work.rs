//! What every step has at hand: the log that goes with a change ticket, the patience, and the word to stop.

use crate::output::Output;
use crate::text::shown;
use jiff::Timestamp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often something is asked that does not tell by itself.
pub const TICK: Duration = Duration::from_millis(20);

/// Of a run.
pub struct Work<'o, 'w> {
    output: &'o mut Output<'w>,
    file: Option<File>,
    step: &'static str,
    stop: Arc<AtomicBool>,
    /// Once something is put back, nobody stops that half way.
    deaf: bool,
    /// How long a restart, a start or a reload may take.
    pub wait: Duration,
}

impl<'o, 'w> Work<'o, 'w> {
    /// Lines go to the terminal, and to `log` where there is one.
    ///
    /// # Errors
    /// The log cannot be written, or signals cannot be taken.
    pub fn begin(output: &'o mut Output<'w>, log: Option<&Path>, wait: Duration) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, stop.clone())
                .map_err(|error| format!("cannot take signals: {error}"))?;
        }
        // A terminal that is lost must not leave a machine half way: the log has the rest.
        signal_hook::flag::register(SIGHUP, Arc::default())
            .map_err(|error| format!("cannot take signals: {error}"))?;
        let file = log.map(open).transpose()?;
        Ok(Self { output, file, step: "look", stop, deaf: false, wait })
    }

    /// What is said from now on belongs to this step.
    ///
    /// # Errors
    /// Somebody said to stop.
    pub fn step(&mut self, name: &'static str) -> Result<(), String> {
        self.step = name;
        self.go_on()
    }

    /// The way back: nobody stops it.
    pub fn way_back(&mut self, name: &'static str) {
        self.step = name;
        self.deaf = true;
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// Somebody said to stop.
    pub fn go_on(&self) -> Result<(), String> {
        if !self.deaf && self.stop.load(Ordering::SeqCst) {
            return Err("stopped by a signal".into());
        }
        Ok(())
    }

    /// A line: time, step, what is said.
    pub fn say(&mut self, what: impl Display) {
        let what = what.to_string();
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        for line in what.lines() {
            let line = format!("{now} {:<10}{}", self.step, shown(line));
            if let Some(file) = &mut self.file {
                let written = writeln!(file, "{line}").and_then(|()| file.sync_data());
                if let Err(error) = written {
                    self.file = None;
                    self.output.complain(format!("the log cannot be written any more: {error}"));
                }
            }
            self.output.say(line);
        }
        self.output.flush();
    }

    /// There is a log, and all of it could be written so far.
    pub fn is_logged(&self) -> bool {
        self.file.is_some()
    }

    /// Asks again and again until there is an answer or `until` is over.
    ///
    /// # Errors
    /// Somebody said to stop.
    pub fn poll<T>(&self, until: Instant, mut ask: impl FnMut() -> Option<T>) -> Result<Option<T>, String> {
        loop {
            if let Some(answer) = ask() {
                return Ok(Some(answer));
            }
            self.go_on()?;
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(TICK);
        }
    }

    /// The end of what may be waited for from now on.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.wait
    }
}

/// `20261124T124501.123Z`, as it stands in names of files.
pub fn stamp() -> String {
    Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// Where the log of a run is, where nothing is said.
pub fn default_log(verb: &str) -> PathBuf {
    Path::new("/var/log/nbd-server-deploy").join(format!("{verb}-{}.log", stamp()))
}

fn open(path: &Path) -> Result<File, String> {
    let failed = |error| format!("cannot write the log {}: {error}; --log says where else", path.display());
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    // It names clients, disks, and what other programs said.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(failed)
}
