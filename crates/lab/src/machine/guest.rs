//! The agent inside the machine (Debian's `qemu-guest-agent`), by which commands are run in it: exit code and both
//! outputs as they are, no screen to be read.

use super::json::Talk;
use crate::ran::Ran;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The conversation with it.
#[derive(Debug)]
pub(super) struct Agent(Talk);

impl Agent {
    /// Connects, and waits until it answers: then the machine is up.
    pub fn connect(path: &Path) -> Result<Self, String> {
        let mut talk = Talk::connect(path).map_err(|error| error.to_string())?;
        talk.synchronise("guest-sync")?;
        Ok(Self(talk))
    }

    /// Runs a line of shell that stops at its first failure, with this on its standard input.
    pub fn sh(&mut self, text: &str, input: &[u8], patience: Duration) -> Result<Ran, String> {
        let command = json!({
            "path": "/bin/sh",
            "arg": ["-euc", text],
            "input-data": STANDARD.encode(input),
            "capture-output": true,
        });
        let process = self.0.ask("guest-exec", &command)?["pid"].take();
        let until = Instant::now() + patience;
        loop {
            let status = self.0.ask("guest-exec-status", &json!({ "pid": process }))?;
            if status["exited"] == true {
                return Ok(ended(text, &status));
            }
            if Instant::now() > until {
                return Err(format!("not done within {patience:?}: {text}"));
            }
            // The agent tells nobody when a command has ended; it is asked.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn ended(text: &str, status: &Value) -> Ran {
    let output = |key: &str| {
        let bytes = status[key].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ran {
        what: format!("in the machine: {text}"),
        code: status["exitcode"].as_i64().and_then(|code| i32::try_from(code).ok()),
        out: output("out-data"),
        err: output("err-data"),
    }
}
