//! The server's log as a test sees it: lines that can be waited for, and the MIGRATEKIT lines taken apart.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Lines written so far; clones see the same ones.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    /// Streams that still write into it.
    writers: usize,
}

/// One MIGRATEKIT line: `reload requested`, `export changed`, … and its pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The words before the first pair.
    pub words: String,
    /// Key and value, unquoted, in the order of the line.
    pub pairs: Vec<(String, String)>,
    /// The line from `MIGRATEKIT: ` on.
    pub text: String,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The running set is the configured set.
    Complete,
    /// Something was kept back or hangs.
    Incomplete,
    /// Nothing was applied.
    Refused,
}

/// The line that ends a reload; pairs that it does not have are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the keys of the line")]
pub struct Closing {
    pub outcome: Outcome,
    pub generation: u64,
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    pub kept: u64,
    pub fenced: u64,
    pub ms: u64,
}

/// One reload from its request to its closing line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The last line, in numbers.
    pub closing: Closing,
    /// All MIGRATEKIT lines of this reload, the closing one included.
    pub events: Vec<Event>,
}

impl Reloaded {
    /// The event with these words about this export.
    pub fn about(&self, words: &str, export: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.words == words && event.value("export") == Some(export))
    }

    /// Fails the test unless the reload was complete.
    #[track_caller]
    pub fn expect_complete(self) -> Self {
        assert_eq!(self.closing.outcome, Outcome::Complete, "{:#?}", self.events);
        self
    }
}

impl Event {
    /// Reads a log line, whatever stands before `MIGRATEKIT: `.
    pub fn parse(line: &str) -> Option<Self> {
        let text = &line[line.find("MIGRATEKIT: ")?..];
        let mut rest = &text["MIGRATEKIT: ".len()..];
        let (mut words, mut pairs) = (Vec::new(), Vec::new());
        while let Some((token, after)) = token(rest) {
            match token.split_once('=') {
                Some((key, value)) if !key.is_empty() => pairs.push((key.to_owned(), value.to_owned())),
                _ => words.push(token),
            }
            rest = after;
        }
        Some(Self { words: words.join(" "), pairs, text: text.to_owned() })
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The reload's end, if this is the line that says so.
    pub fn closing(&self) -> Option<Closing> {
        let outcome = match self.words.as_str() {
            words if words.starts_with("reload complete") => Outcome::Complete,
            words if words.starts_with("reload incomplete") => Outcome::Incomplete,
            words if words.starts_with("reload refused") => Outcome::Refused,
            _ => return None,
        };
        let number = |key| self.value(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        let [generation, added, changed] = ["generation", "added", "changed"].map(number);
        let [removed, kept, fenced, ms] = ["removed", "kept", "fenced", "ms"].map(number);
        Some(Closing { outcome, generation, added, changed, removed, kept, fenced, ms })
    }
}

/// Splits off the first token. Quotes hide blanks and go away; inside them `\"` and `\\` stand for the character.
fn token(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let (mut token, mut quoted) = (String::new(), false);
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => token.extend(chars.next().map(|(_, char)| char)),
            ' ' if !quoted => return Some((token, &text[at..])),
            _ => token.push(char),
        }
    }
    (!text.is_empty()).then_some((token, ""))
}

impl Log {
    /// An empty log that no stream writes into yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// How many lines there are: a mark for [`Log::wait_from`].
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// All MIGRATEKIT lines from a mark on.
    pub fn events_from(&self, mark: usize) -> Vec<Event> {
        self.lock().lines[mark..].iter().filter_map(|line| Event::parse(line)).collect()
    }

    /// Waits for a line, an old one included. `None` where none came in time or the writer ended before.
    pub fn wait_for(&self, wanted: impl FnMut(&str) -> bool, timeout: Duration) -> Option<String> {
        self.wait_from(0, wanted, timeout).map(|(_, line)| line)
    }

    /// Waits for a line at or after a mark; gives its number too.
    pub fn wait_from(
        &self,
        mark: usize,
        mut wanted: impl FnMut(&str) -> bool,
        timeout: Duration,
    ) -> Option<(usize, String)> {
        let until = Instant::now() + timeout;
        let (mut at, mut guard) = (mark, self.lock());
        loop {
            while at < guard.lines.len() {
                if wanted(&guard.lines[at]) {
                    return Some((at, guard.lines[at].clone()));
                }
                at += 1;
            }
            let left = until.checked_duration_since(Instant::now()).filter(|_| guard.writers > 0)?;
            guard = self.0.1.wait_timeout(guard, left).expect("the log is whole").0;
        }
    }

    /// Follows a stream on a thread of its own until it ends.
    pub fn follow(&self, stream: impl std::io::Read + Send + 'static) {
        self.lock().writers += 1;
        let log = self.clone();
        std::thread::spawn(move || {
            let mut stream = std::io::BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(std::io::BufRead::read_until(&mut stream, b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                log.lock().lines.push(text);
                log.0.1.notify_all();
                line.clear();
            }
            log.lock().writers -= 1;
            log.0.1.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().expect("no thread panics with the log in hand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migratekit_line_is_taken_apart_behind_any_prefix() {
        let line = r#"<6>MIGRATEKIT: export changed export=a old="/dev/my \"disk\\" new=/dev/vdb size=4096"#;
        let event = Event::parse(line).unwrap();
        assert_eq!(event.words, "export changed");
        assert_eq!(event.value("old"), Some(r#"/dev/my "disk\"#));
        assert_eq!((event.value("new"), event.value("peer")), (Some("/dev/vdb"), None));
        assert_eq!(event.closing(), None);
        assert_eq!(Event::parse("<6>Starting to serve"), None);
    }

    #[test]
    fn only_the_three_endings_close_a_reload() {
        let close = |line| Event::parse(line).and_then(|event| event.closing());
        let full =
            "MIGRATEKIT: reload complete generation=3 added=1 changed=2 removed=0 kept=4 fenced=5 ms=17";
        assert_eq!(
            close(full),
            Some(Closing {
                outcome: Outcome::Complete,
                generation: 3,
                added: 1,
                changed: 2,
                removed: 0,
                kept: 4,
                fenced: 5,
                ms: 17
            })
        );
        let outcome = |line| close(line).map(|closing| closing.outcome);
        assert_eq!(outcome("MIGRATEKIT: reload incomplete kept=1"), Some(Outcome::Incomplete));
        assert_eq!(outcome("MIGRATEKIT: reload refused reason=\"no main file\""), Some(Outcome::Refused));
        assert_eq!(outcome("MIGRATEKIT: reload requested"), None);
    }

    #[test]
    fn a_line_can_be_waited_for_and_an_ended_writer_ends_the_wait() {
        let (mut writer, reader) = std::os::unix::net::UnixStream::pair().unwrap();
        let log = Log::new();
        log.follow(reader);
        std::io::Write::write_all(&mut writer, b"one\ntwo\nthree").unwrap();
        let (at, _) = log.wait_from(1, |line| line.starts_with('t'), Duration::from_secs(10)).unwrap();
        assert_eq!(at, 1);
        drop(writer);
        assert_eq!(log.wait_for(|line| line == "four", Duration::from_secs(60)), None);
        assert_eq!(log.lines(), ["one", "two", "three"]);
    }
}
