//! `top`: exports and sessions live.
//!
//! `feed.rs` asks on a thread of its own, so that keys are heard while a server does not answer; `state.rs` makes rates of
//! two looks and knows what is shown; `draw.rs` draws it; `screen.rs` has the terminal and gives it back.

mod draw;
mod feed;
mod keys;
mod rates;
mod screen;
mod state;

use crate::args;
use crate::client::{Client, Failure};
use crate::exit::Exit;
use crate::output::Output;
use feed::Seen;
use keys::Wish;
use screen::Screen;
use state::State;
use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// How often it is looked whether there is something new to draw.
const TICK: Duration = Duration::from_millis(100);

pub fn run(client: Client, wanted: &args::Top, output: &mut Output) -> Result<Exit, Failure> {
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if !(wanted.once || terminal) {
        return Err(Failure::Usage("top needs a terminal; --once prints one picture".into()));
    }
    // Whoever cannot be asked at all is told so in a sentence, not on a screen.
    let first = feed::look(&client)?;
    let mut state = State::new(wanted.sessions, wanted.interval);
    state.see(Seen::Look(Box::new(first)));
    if wanted.once {
        std::thread::sleep(wanted.interval);
        state.see(Seen::Look(Box::new(feed::look(&client)?)));
        draw::once(&state, output);
        return Ok(Exit::Done);
    }
    let seen = feed::start(client, wanted.interval).map_err(|error| Failure::Here(error.to_string()))?;
    let screen = Screen::open().map_err(|error| Failure::Here(format!("the terminal: {error}")))?;
    show(screen, &mut state, &seen).map_err(|error| Failure::Here(format!("the terminal: {error}")))?;
    Ok(Exit::Done)
}

/// Draws until somebody has had enough. The terminal is given back when this returns.
fn show(mut screen: Screen, state: &mut State, seen: &Receiver<Seen>) -> std::io::Result<()> {
    loop {
        loop {
            match seen.try_recv() {
                Ok(new) => state.see(new),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(std::io::Error::other("nobody asks any more")),
            }
        }
        screen.draw(|frame| draw::live(frame, state, Instant::now()))?;
        match screen.wait(TICK)?.and_then(keys::wish) {
            Some(Wish::Quit) => return Ok(()),
            Some(wish) => state.follow(wish),
            None => {}
        }
    }
}
