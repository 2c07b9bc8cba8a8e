//! The terminal, taken and given back: whatever ends the program, it is as it was before.

use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What ends the program from outside.
const SIGNALS: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];

/// The terminal while it is ours.
pub struct Screen {
    terminal: DefaultTerminal,
    /// The signal that came; 0 while none has.
    signal: Arc<AtomicUsize>,
}

/// What happened while it was waited.
#[derive(Clone, Copy, Debug)]
pub enum Happened {
    /// Nothing, or the terminal has another size.
    Nothing,
    /// A key was pressed.
    Key(KeyEvent),
    /// It is to end.
    Signal(i32),
}

impl Screen {
    /// Takes it. A panic gives it back before it is told, by the hook that this sets.
    pub fn open() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in SIGNALS {
            let value = number.try_into().map_err(io::Error::other)?;
            signal_hook::flag::register_usize(number, signal.clone(), value)?;
        }
        Ok(Self { terminal: ratatui::try_init()?, signal })
    }

    /// Draws.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Waits for a key, for so long at most.
    pub fn wait(&self, time: Duration) -> io::Result<Happened> {
        let happened = if event::poll(time)? { Some(event::read()?) } else { None };
        let signal = self.signal.load(Ordering::Relaxed);
        if signal != 0 {
            return Ok(Happened::Signal(signal.try_into().unwrap_or(SIGTERM)));
        }
        Ok(match happened {
            Some(Event::Key(key)) => Happened::Key(key),
            _ => Happened::Nothing,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The hook has done it, and a second time would put the cursor over what the panic said.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

/// Ends as the signal would have ended it, so that whoever sent it sees that.
pub fn die_of(signal: i32) {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
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
        while !matches!(screen.wait(Duration::from_secs(1)), Ok(Happened::Key(_))) {}
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
