//! The terminal, taken and given back: whatever ends the program, it is as it was before.

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::crossterm::execute;
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What ends the program from outside.
const SIGNALS: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];

/// How often, and how far apart, it is tried to take the terminal from whoever draws: half a second in all.
const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(10);

/// The terminal while it is ours.
pub struct Screen {
    terminal: DefaultTerminal,
    /// Held by whoever writes to it; by whoever gives it back for good.
    ours: Arc<Mutex<()>>,
}

impl Screen {
    /// Takes it. A panic gives it back before it is told, by the hook that this sets; a signal does on a thread of its own,
    /// so that it ends the program whatever that is waiting for.
    pub fn open() -> io::Result<Self> {
        let ours = Arc::new(Mutex::new(()));
        let mut signals = Signals::new(SIGNALS)?;
        let until = ours.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Whoever draws may be stuck in it, and then a terminal cannot be given back either.
                let for_good = (0..TRIES).find_map(|_| {
                    let held = until.try_lock().ok();
                    held.or_else(|| {
                        std::thread::sleep(BETWEEN);
                        None
                    })
                });
                if for_good.is_some() {
                    let _ = ratatui::try_restore();
                    // Elsewhere the terminal's own end does this, and here it does not come to that.
                    let _ = execute!(io::stdout(), Show);
                }
                // Whoever sent it sees that it was the signal.
                let _ = emulate_default_handler(signal);
            }
        })?;
        Ok(Self { terminal: ratatui::try_init()?, ours })
    }

    /// Draws.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        let _writing = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        self.terminal.draw(draw).map(|_| ())
    }

    /// Waits for a key, for so long at most. Another size of the terminal is none, and is seen at the next drawing.
    pub fn wait(&self, time: Duration) -> io::Result<Option<KeyEvent>> {
        // Several keys may have been read at once.
        let key = key()?;
        if key.is_some() {
            return Ok(key);
        }
        listen(time)?;
        self::key()
    }
}

/// The next key, if there is one.
fn key() -> io::Result<Option<KeyEvent>> {
    listen(Duration::ZERO)?;
    if !event::poll(Duration::ZERO)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) => Some(key),
        _ => None,
    })
}

/// Waits until there is something to read. Where there is no terminal any more that is an error; the library that reads
/// keys would go on reading its end for ever.
fn listen(time: Duration) -> io::Result<()> {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut polled, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::Error::other("it is gone"));
    }
    Ok(())
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The hook has done it, and a second time would put the cursor over what the panic said.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Terminal;

    /// Set for the half that panics, which the other half runs in a terminal.
    const PANIC: &str = "NBDCTL_TEST_OF_A_PANIC";

    #[test]
    fn the_half_that_panics() {
        if std::env::var_os(PANIC).is_none() {
            return;
        }
        let mut screen = Screen::open().expect("a terminal");
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("it is drawn");
        while screen.wait(Duration::from_secs(1)).expect("a terminal").is_none() {}
        panic!("this is the panic that was wanted");
    }

    #[test]
    fn a_panic_is_told_on_a_terminal_that_was_given_back() {
        let program = std::env::current_exe().expect("this test");
        let variables = [("TEST", program.as_path()), (PANIC, std::path::Path::new("1"))];
        let Some(terminal) = Terminal::open("a_panic_is_told", 100, 30, &variables) else { return };
        terminal
            .line("RUST_BACKTRACE=0 \"$TEST\" --exact top::screen::tests::the_half_that_panics --nocapture");
        terminal.wait_for("the picture", |screen| screen.starts_with("drawn"));
        assert_eq!(terminal.fact("alternate_on"), "1");
        terminal.keys(&["x"]);
        let screen = terminal.wait_for("the prompt", |screen| screen.trim_end().ends_with("\nready>"));
        assert!(screen.contains("this is the panic that was wanted"), "{screen}");
        assert_eq!((terminal.fact("alternate_on"), terminal.fact("cursor_flag")), ("0".into(), "1".into()));
        terminal.line("stty -a | tr ' ;' '\\n\\n' | grep -E '^-?(echo|icanon)$' | xargs");
        terminal.wait_for("the mode of before", |screen| screen.contains("\nicanon echo\n"));
    }
}
