//! System calls of a running server that are made to fail, from outside, by strace.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::need::tool;

/// Makes a call of the server fail for as long as it lives.
#[derive(Debug)]
pub struct Failing(Child);

impl Failing {
    /// Of this process, with an error by its name. `None` where processes cannot be traced.
    pub fn begin(pid: u32, call: &str, error: &str) -> Option<Self> {
        let pid = pid.to_string();
        let mut child = Command::new(tool("strace")?)
            .args(["-f", "-o", "/dev/null", "-p", &pid, "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}")])
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stderr.take()?).lines();
        let attached = lines.any(|line| line.is_ok_and(|line| line.contains("attached")));
        let this = Self(child);
        // It goes on writing there, and must not be ended by that.
        std::thread::spawn(move || lines.for_each(drop));
        attached.then_some(this)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // It lets go of the server, which a SIGKILL would not give it time for.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}
