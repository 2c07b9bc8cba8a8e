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

/// How long before a question is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// One of the conversations.
#[derive(Debug)]
pub(super) struct Talk {
    lines: BufReader<UnixStream>,
    /// What has come of the next line.
    line: String,
    events: VecDeque<Value>,
}

impl Talk {
    /// Connects.
    pub fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { lines: BufReader::new(stream), line: String::new(), events: VecDeque::new() })
    }

    /// Asks, and gives the answer or the error's text.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let question = json!({ "execute": command, "arguments": arguments });
        writeln!(self.lines.get_mut(), "{question}").map_err(|error| format!("{command}: {error}"))?;
        loop {
            let heard = self.hear().map_err(|error| format!("{command}: {error}"))?;
            let mut message = heard.ok_or_else(|| format!("{command}: no answer within {PATIENCE:?}"))?;
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
    pub fn event(&mut self, name: &str, device: &str, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        let about = |event: &Value| event["event"] == name && event["data"]["device"] == device;
        loop {
            if let Some(at) = self.events.iter().position(about) {
                self.events.remove(at);
                return Ok(());
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(format!("no {name} of {device} within {patience:?}"));
            }
            self.wait_so_long(rest)?;
            let heard = self.hear();
            self.wait_so_long(PATIENCE)?;
            self.events.extend(heard?);
        }
    }

    fn wait_so_long(&self, patience: Duration) -> Result<(), String> {
        self.lines.get_ref().set_read_timeout(Some(patience)).map_err(|error| error.to_string())
    }

    /// Asks with rising ids until one of them comes back, as `guest-sync` does: who listens there may have been started
    /// anew meanwhile, and has then lost what it was asked.
    pub fn synchronise(&mut self, command: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        self.wait_so_long(AGAIN)?;
        let mut id = 0;
        while Instant::now() < until {
            id += 1;
            let question = json!({ "execute": command, "arguments": { "id": id } });
            writeln!(self.lines.get_mut(), "{question}").map_err(|error| format!("{command}: {error}"))?;
            // Answers to earlier ones come first.
            while let Some(message) = self.hear()? {
                if message["return"] == id {
                    return self.wait_so_long(PATIENCE);
                }
            }
        }
        Err(format!("no answer to {command} within {PATIENCE:?}"))
    }

    /// The next message, or nothing where none came in time; what has come of a line stays.
    fn hear(&mut self) -> Result<Option<Value>, String> {
        match self.lines.read_line(&mut self.line) {
            Ok(0) => Err("the conversation has ended".to_owned()),
            Ok(_) => {
                let line = std::mem::take(&mut self.line);
                serde_json::from_str(&line).map(Some).map_err(|error| format!("{error}: {line}"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}
