//! Programs that are run: bounded in time, and what was run and what it answered is logged.

use super::work::{TICK, Work};
use crate::text::for_shell;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a look at something may take.
const LOOK: Duration = Duration::from_secs(20);
/// For a shell: its words are the command, which takes its place and its number. Where nobody is left who says go, it ends.
const GATE: &str = "read -r go && exec \"$0\" \"$@\" </dev/null";
/// More is no answer to a question of ours.
const ANSWER_MAX: u64 = 16 << 20;

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// None after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// It ended with 0.
    pub fn is_well(&self) -> bool {
        self.code == Some(0)
    }
}

/// Asks a program, without a word in the log.
///
/// # Errors
/// It cannot be run, or does not end in time.
pub fn ask(program: impl AsRef<OsStr>, args: &[&str], dir: Option<&Path>) -> Result<Ran, String> {
    let mut command = Command::new(program);
    // What dpkg and systemd answer is read, whatever language the caller speaks.
    command.args(args).env("LC_ALL", "C");
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    command.stdin(Stdio::null());
    run(command, LOOK, &mut |_| Ok(()), &|| Ok(()))
}

/// Words as one line, which a shell takes as they are.
pub fn line(words: &[&str]) -> String {
    words.iter().map(|word| for_shell(word)).collect::<Vec<_>>().join(" ")
}

/// Has a program do something: the log tells what, and how it ended. It begins once `note` has noted its number: whoever
/// comes after a sudden end of ours knows of it, or it never begins.
///
/// # Errors
/// It cannot be run or noted, does not end in time, or fails.
pub fn carry_out(
    work: &mut Work<'_, '_>,
    words: &[&str],
    note: &mut dyn FnMut(u32) -> Result<(), String>,
) -> Result<Ran, String> {
    let line = line(words);
    work.say(format!("run: {line}"));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GATE]).args(words).stdin(Stdio::piped());
    let began = Instant::now();
    let mut begin = |child: &mut Child| {
        note(child.id())?;
        let mut gate = child.stdin.take().ok_or("it cannot be told to begin")?;
        gate.write_all(b"go\n").map_err(|error| format!("it cannot be told to begin: {error}"))
    };
    let ran = run(command, work.wait, &mut begin, &|| work.go_on())?;
    for text in [&ran.out, &ran.err].into_iter().filter(|text| !text.trim().is_empty()) {
        work.say(format!("it says: {}", text.trim_end()));
    }
    let took = began.elapsed().as_millis();
    match ran.code {
        Some(0) => work.say(format!("it ended with 0 after {took} ms")),
        Some(code) => return Err(format!("`{line}` ended with {code}")),
        None => return Err(format!("`{line}` was ended by a signal")),
    }
    Ok(ran)
}

/// A group of its own: Ctrl-C is for us, not for what restarts a server. What it says goes to memory and not through a
/// pipe: a daemon that is started by it may keep its ends open for ever.
fn run(
    mut command: Command,
    patience: Duration,
    begin: &mut dyn FnMut(&mut Child) -> Result<(), String>,
    go_on: &dyn Fn() -> Result<(), String>,
) -> Result<Ran, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("cannot run {name}: {error}");
    let (mut out, mut err) = (memory().map_err(failed)?, memory().map_err(failed)?);
    command
        .stdout(out.try_clone().map_err(failed)?)
        .stderr(err.try_clone().map_err(failed)?)
        .process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let status = match begin(&mut child).and_then(|()| wait(&mut child, patience, go_on)) {
        Ok(status) => status,
        Err(why) => {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            // Not for ever: what the kernel holds on a disk that hangs does not end by a signal.
            let _ = wait(&mut child, TICK * 20, &|| Ok(()));
            let said = text(&mut err).map_err(failed)?;
            return Err(format!("{name} {why} {}", said.trim()).trim_end().into());
        }
    };
    Ok(Ran {
        code: status.code(),
        out: text(&mut out).map_err(failed)?,
        err: text(&mut err).map_err(failed)?,
    })
}

/// # Errors
/// How it has not ended, as it stands behind its name.
fn wait(
    child: &mut Child,
    patience: Duration,
    go_on: &dyn Fn() -> Result<(), String>,
) -> Result<ExitStatus, String> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait().map_err(|error| format!("cannot be waited for: {error}"))? {
            Some(status) => return Ok(status),
            None if Instant::now() >= until => {
                return Err(format!("did not end within {} s", patience.as_secs_f32()));
            }
            None => std::thread::sleep(TICK),
        }
        go_on().map_err(|why| format!("did not end: {why}"))?;
    }
}

fn memory() -> std::io::Result<File> {
    Ok(File::from(memfd_create("nbdctl-answer", MemfdFlags::CLOEXEC)?))
}

fn text(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(ANSWER_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
