//! One run at a time, and what a run that was broken off left: a lock, and a file that says how far it had come.

use super::process::{self, Process};
use super::replace::sync_dir;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// `deploy` or `rollback`.
    pub verb: String,
    /// The step that had begun.
    pub step: String,
    /// The process that did it.
    pub pid: u32,
    /// Since when.
    pub since: String,
    /// The file that is replaced.
    pub target: PathBuf,
    /// The copy of what was there.
    pub backup: PathBuf,
    /// The copy of what is in place once this is finished: of a rollback what comes back, else what was there.
    #[serde(default)]
    pub back_to: Option<PathBuf>,
    /// What restarts the server, where that has begun: it goes on when `nbdctl` is killed.
    #[serde(default)]
    pub restarts: Option<Running>,
}

/// A process that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// When it began, in the kernel's ticks since boot.
    pub began: u64,
}

impl Running {
    /// The process of a number; none where it has ended.
    pub fn of(pid: u32) -> Option<Self> {
        Process::at(pid).map(|one| Self { pid, began: one.began })
    }

    /// Nothing of it is left.
    pub fn has_ended(self) -> bool {
        process::ended(self.pid, self.began)
    }
}

/// The lock of a directory of backups. Let go at the end of the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// Where the state is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("state.json")
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn take(dir: &Path) -> Result<Self, String> {
        let path = lock_path(dir);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            format!("another deploy or rollback is under way: it has {} locked", path.display())
        })?;
        Ok(Self { _file: file })
    }
}

impl State {
    /// The copy of what is in place once this is finished.
    pub fn back_to(&self) -> &Path {
        self.back_to.as_deref().unwrap_or(&self.backup)
    }

    /// What a run left that did not come to its end.
    ///
    /// # Errors
    /// There is something, and it cannot be read.
    pub fn left(dir: &Path) -> Result<Option<Self>, String> {
        let path = path(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            format!(
                "{}: {error}: an earlier run was broken off, and it is not known how far it had come: see what serves, put the newest copy beside that file back if it should be that, and remove that file",
                path.display()
            )
        })
    }

    /// Says how far it has come; on stable storage when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let (path, new) = (path(dir), dir.join("state.json.new"));
        let written = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        written().map_err(|error| format!("{}: {error}", path.display()))?;
        sync_dir(&path)
    }

    /// It has come to its end.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn clear(dir: &Path) -> Result<(), String> {
        let path = path(dir);
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(&path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, step, since, pid, target, .. } = self;
        let (target, back_to) = (target.display(), self.back_to().display());
        let what = if verb == "rollback" { "what was to come back" } else { "what was there before" };
        write!(
            f,
            "a {verb} of {target} (process {pid}, since {since}) was broken off in the step {step}; {what} is in {back_to}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_and_what_it_leaves_is_read_by_the_next() {
        let dir = std::env::temp_dir().join(format!("nbdctl-state-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let lock = Lock::take(&dir).expect("free");
        assert!(Lock::take(&dir).is_err_and(|why| why.contains("under way")));
        drop(lock);
        Lock::take(&dir).expect("free again");
        assert_eq!(State::left(&dir), Ok(None));
        let state = State {
            verb: "deploy".into(),
            step: "restart".into(),
            pid: 7,
            since: "now".into(),
            target: "/t".into(),
            backup: "/b".into(),
            back_to: None,
            restarts: Running::of(std::process::id()),
        };
        assert!(state.restarts.is_some_and(|running| !running.has_ended()));
        state.write(&dir).expect("written");
        assert_eq!(State::left(&dir), Ok(Some(state.clone())));
        assert!(
            state.to_string().ends_with("in the step restart; what was there before is in /b"),
            "{state}"
        );
        let state = State { verb: "rollback".into(), back_to: Some("/o".into()), ..state };
        assert!(
            state.to_string().ends_with("in the step restart; what was to come back is in /o"),
            "{state}"
        );
        State::clear(&dir).expect("removed");
        State::clear(&dir).expect("it is gone already");
        fs::write(path(&dir), "{").expect("written");
        assert!(State::left(&dir).is_err_and(|why| why.contains("remove that file")));
        fs::remove_dir_all(dir).expect("removed");
    }
}
