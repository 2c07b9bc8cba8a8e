//! QEMU's two conversations: with the machine itself (QMP) and with the agent inside of it. Both are lines of JSON over
//! a Unix socket, a question and its answer; the first one tells of events in between.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer may take: the machine is emulated, and shares its processors with others.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of the conversations.
#[derive(Debug)]
pub(super) struct Talk {
    lines: BufReader<UnixStream>,
    events: VecDeque<Value>,
}

impl Talk {
    /// Connects.
    pub fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { lines: BufReader::new(stream), events: VecDeque::new() })
    }

    /// Asks, and gives the answer or the error's text.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let question = json!({ "execute": command, "arguments": arguments });
        writeln!(self.lines.get_mut(), "{question}").map_err(|error| format!("{command}: {error}"))?;
        loop {
            let mut message = self.hear().map_err(|error| format!("{command}: {error}"))?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else if let Some(error) = message.get("error") {
                return Err(format!("{command}: {error}"));
            } else if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
        }
    }

    /// Waits for an event about a device.
    pub fn event(&mut self, name: &str, device: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let about = |event: &Value| event["event"] == name && event["data"]["device"] == device;
        loop {
            if let Some(at) = self.events.iter().position(about) {
                self.events.remove(at);
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("no {name} of {device} within {PATIENCE:?}"));
            }
            let message = self.hear()?;
            self.events.push_back(message);
        }
    }

    fn hear(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Err("the conversation has ended".to_owned()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("{error}: {line}")),
            Err(error) => Err(error.to_string()),
        }
    }
}
