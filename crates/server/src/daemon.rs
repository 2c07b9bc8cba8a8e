//! Into the background. The launching command returns when the server serves, and tells the truth (P7).
//!
//! The launcher starts its own program again with the same arguments, and waits until that one says that it is ready.
//! A fork would do as well, but needs `unsafe`; and this way the daemon's command line is exactly the one given, which
//! people look for with `pgrep -f`.

use crate::bind::{LISTEN_PID, LISTEN_VARIABLES, announced};
use crate::exit::Exit;
use crate::notify::WATCHDOG_PID;
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set for the program started again.
pub const MARK: &str = "NBD_SERVER_IN_BACKGROUND";
/// What it says on its standard output when it serves.
const READY: &[u8] = b"ready\n";

/// Whether this process is the one started in the background.
#[must_use]
pub fn is_background() -> bool {
    env::var_os(MARK).is_some()
}

/// A SIGHUP that meets the new program before it has learnt to take one ends it; then it is started once more.
const TRIES: usize = 10;

/// Starts this program again in the background. Returns when it serves. A SIGHUP that came meanwhile (`early`) is passed
/// on: it may have been meant for a configuration that was read already.
///
/// # Errors
/// When it cannot be started, or ends instead of serving; it has then said why on standard error.
pub fn launch(early: &AtomicBool) -> Result<(), Exit> {
    let failed =
        |error: io::Error| Exit::Launch(format!("cannot start the server in the background: {error}"));
    let program = env::current_exe().map_err(failed)?;
    let passed = announced(false);
    close_inherited(passed);
    for attempt in 1.. {
        let mut child = spawn(&program, passed).map_err(failed)?;
        let mut said = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut said).map_err(failed)?;
        }
        if said == READY {
            if early.load(Ordering::SeqCst) {
                let _ = kill_process(Pid::from_child(&child), Signal::HUP);
            }
            break;
        }
        let status = child.wait().map_err(failed)?;
        if status.signal() != Some(Signal::HUP.as_raw()) || attempt >= TRIES {
            return Err(Exit::Launch(format!("the server ended while it started ({status})")));
        }
    }
    Ok(())
}

/// What whoever starts us has left open (a lock, a pipe whose end somebody waits for) is not for a server that stays. The
/// launcher itself has nothing open at this point. Sockets that were passed for the server, from 3 on, are for it.
fn close_inherited(passed: usize) {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = open.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    let kept = i32::try_from(passed).map_or(i32::MAX, |passed| passed.saturating_add(2));
    for fd in open.into_iter().filter(|fd| *fd > kept) {
        let _ = nix::unistd::close(fd);
    }
}

/// What was meant for the launching process is meant for the one in the background, whose number nobody knows yet.
fn spawn(program: &Path, passed: usize) -> io::Result<Child> {
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    if env::var(WATCHDOG_PID).is_ok_and(|pid| pid.parse() == Ok(process::id())) {
        command.env_remove(WATCHDOG_PID);
    }
    if passed > 0 {
        command.env_remove(LISTEN_PID);
    } else {
        for variable in LISTEN_VARIABLES {
            command.env_remove(variable);
        }
    }
    command.args(arguments).env(MARK, "1").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// A session of its own, and `/` as the working directory, so that nothing keeps a file system busy.
///
/// # Errors
/// As the system says.
pub fn detach() -> io::Result<()> {
    // It fails only when the process leads a group already, and then it is detached enough.
    let _ = rustix::process::setsid();
    env::set_current_dir("/")
}

/// Tells the launcher that the server serves, and lets go of its terminal.
///
/// # Errors
/// As the system says.
pub fn ready() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;
    let mut stdout = io::stdout();
    // A launcher that was killed meanwhile is no reason to stop.
    let _ = stdout.write_all(READY).and_then(|()| stdout.flush());
    // The launcher returns at the end of this pipe, and then nothing of its terminal is held any more.
    dup2_stdout(&null).map_err(Into::into)
}
