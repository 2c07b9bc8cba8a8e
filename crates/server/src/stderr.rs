//! Standard error, by way of a thread: whoever reads it may be slow or stuck (a container's log driver, a pager), and
//! nobody who serves or reloads waits for that.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait to be written; more are lost, and counted.
const LINES_MAX: usize = 4096;
/// How long a line that is worth it waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// A queue of lines and the thread that writes them.
pub struct Stderr {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    /// Lines lost since the last one that was written.
    lost: u64,
    /// Taken from the queue and not written yet.
    writing: bool,
    /// Somebody waited for room in vain, and there has been none since: one second lost is enough.
    stuck: bool,
    /// There is no thread to be had: lines are written where they are said.
    alone: bool,
}

/// The one of this process.
static STDERR: OnceLock<Arc<Stderr>> = OnceLock::new();

impl Stderr {
    /// The one of this process; its thread starts with the first call.
    #[must_use]
    pub fn of_this_process() -> Arc<Self> {
        STDERR.get_or_init(|| Self::over(std::io::stderr())).clone()
    }

    fn over(to: impl Write + Send + 'static) -> Arc<Self> {
        let this = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let writer = this.clone();
        let started = thread::Builder::new().name("log".into()).spawn(move || writer.write_all(to));
        this.lock().alone = started.is_err();
        this
    }

    /// Takes a line, with its newline. With `worth_waiting` it waits for room, for a second.
    pub fn say(&self, line: String, worth_waiting: bool) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        if state.alone {
            drop(state);
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
            return;
        }
        while state.lines.len() >= LINES_MAX {
            let rest = until.saturating_duration_since(Instant::now());
            state.stuck |= rest.is_zero();
            if !worth_waiting || state.stuck {
                state.lost += 1;
                return;
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.lines.push_back(line);
        self.changed.notify_all();
    }

    /// Waits until everything has been written; not for long.
    pub fn flush() {
        let Some(this) = STDERR.get() else { return };
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        let _ = this.changed.wait_timeout_while(this.lock(), PATIENCE, busy);
    }

    fn write_all(&self, mut to: impl Write) {
        loop {
            let text = self.take();
            // A closed standard error is no reason to stop serving.
            let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        }
    }

    /// Everything that waits, in one piece.
    fn take(&self) -> String {
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        while state.lines.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut text: String = state.lines.drain(..).collect();
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            text += &format!("{lost} lines were lost here: nobody read them\n");
        }
        (state.writing, state.stuck) = (true, false);
        self.changed.notify_all();
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    /// Nobody reads for a while: who speaks goes on, a line that matters waits once, and afterwards the reader learns how
    /// much is missing.
    #[test]
    fn a_reader_that_is_stuck_holds_nobody_up() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let stderr = Stderr::over(writer);
        let began = Instant::now();
        (0..50_000).for_each(|number| stderr.say(format!("line {number}\n"), false));
        (0..50).for_each(|_| stderr.say("closing\n".into(), true));
        assert!(began.elapsed() < PATIENCE * 10, "{:?}", began.elapsed());
        let mut lines = BufReader::new(reader).lines().map(|line| line.expect("UTF-8"));
        assert_eq!(lines.next().as_deref(), Some("line 0"));
        assert!(lines.any(|line| line.ends_with("lines were lost here: nobody read them")));
        // It may be lost as well, as long as the reader has not caught up.
        let (heard, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.any(|line| line == "again").then(|| heard.send(())));
        while hears.recv_timeout(Duration::from_millis(10)).is_err() {
            stderr.say("again\n".into(), true);
        }
    }
}
