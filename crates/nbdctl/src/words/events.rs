//! `events`: what happens, as it happens. The server keeps nothing of what is over; its log does.

use crate::args;
use crate::client::{Ask, Client, Failure, Heard, Path};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::text::{quoted, shown};
use control::view::{Event, Level};
use std::time::{Duration, Instant};

/// Until a server that has gone is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

pub fn run(client: &Client, wanted: &args::Events, output: &mut Output) -> Result<Exit, Failure> {
    let until = (!wanted.follow).then(|| Instant::now() + client.timeout());
    let ask = Ask::get(Path::v1("events"));
    let mut from = client.listen(&ask)?;
    let mut lines = Lines { left: wanted.count, json: wanted.json.json, rest: Vec::new() };
    loop {
        match from.next(until) {
            Heard::Piece(piece) => {
                lines.take(&piece, output);
                if lines.left == Some(0) || output.is_over() {
                    return Ok(Exit::Done);
                }
            }
            // So many were asked for, and did not come.
            Heard::TimeIsOver => {
                return Ok(if wanted.count.is_some() { Exit::Refused } else { Exit::Done });
            }
            Heard::Gone(failure) if !wanted.follow => return Err(failure),
            Heard::Gone(failure) => {
                output.complain(format!("{failure}; waiting for it to come back"));
                from = come_back(client, &ask);
                output.complain("it is back; what happened in between is in its log");
                lines.rest.clear();
            }
        }
    }
}

/// Waits for as long as it takes: whoever follows for ever follows over restarts.
fn come_back<'a>(client: &'a Client, ask: &Ask) -> crate::client::Listening<'a> {
    loop {
        std::thread::sleep(AGAIN);
        if let Ok(from) = client.listen(ask) {
            return from;
        }
    }
}

/// Pieces of a stream, put together to lines.
struct Lines {
    /// How many more are wanted.
    left: Option<u64>,
    json: bool,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8], output: &mut Output) {
        self.rest.extend_from_slice(piece);
        while self.left != Some(0)
            && let Some(end) = self.rest.iter().position(|byte| *byte == b'\n')
        {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = line.trim_ascii();
            // An empty one says that the server is there.
            if line.is_empty() {
                continue;
            }
            self.left = self.left.map(|left| left - 1);
            if self.json {
                output.raw(line);
                continue;
            }
            match serde_json::from_slice::<Event>(line) {
                Ok(event) => output.say_in(tone(event.level), in_words(&event)),
                Err(_) => output.complain(format!("no event: {}", shown(&String::from_utf8_lossy(line)))),
            }
        }
    }
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Error | Level::Warning => Tone::Bad,
        Level::Notice => Tone::Heading,
        Level::Info | Level::Debug => Tone::Plain,
    }
}

fn in_words(event: &Event) -> String {
    // Padded as text: a width does not reach through `Display` of the level.
    let level = event.level.to_string();
    let mut line = format!("{} {level:<7} {}", shown(&event.at), shown(&event.event));
    for (key, value) in &event.facts {
        line += &format!(" {}={}", shown(key), quoted(value));
    }
    line
}
