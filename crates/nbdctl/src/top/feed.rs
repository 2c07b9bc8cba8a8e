//! Who asks: a look at everything, again and again, whether or not it is answered.

use crate::client::{Ask, Client, Failure, Path};
use control::view::{Export, Session, Status};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// The server as it was at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it was seen.
    pub at: Instant,
    /// The server as a whole.
    pub status: Status,
    /// What is served.
    pub exports: Vec<Export>,
    /// Who is connected.
    pub sessions: Vec<Session>,
}

/// What came of looking.
#[derive(Clone, Debug)]
pub enum Seen {
    /// An answer.
    Look(Box<Look>),
    /// None: since when it was asked, and why there is none.
    Nothing(Instant, String),
}

/// Looks once.
pub fn look(client: &Client) -> Result<Look, Failure> {
    let status = client.ask(&Ask::get(Path::v1("status")))?.value()?;
    let exports = client.ask(&Ask::get(Path::v1("exports")))?.value()?;
    // In between, so that neither exports nor sessions are far from it.
    let at = Instant::now();
    let sessions = client.ask(&Ask::get(Path::v1("sessions")))?.value()?;
    Ok(Look { at, status, exports, sessions })
}

/// Goes on looking, on a thread of its own, until nobody wants to know.
pub fn start(client: Client, interval: Duration) -> io::Result<Receiver<Seen>> {
    let (to, seen) = channel();
    std::thread::Builder::new().name("feed".into()).spawn(move || go_on(&client, interval, &to))?;
    Ok(seen)
}

fn go_on(client: &Client, interval: Duration, to: &Sender<Seen>) {
    let mut next = Instant::now() + interval;
    loop {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        // A late answer does not make the next look come at once.
        next = began + interval;
        let seen = match look(client) {
            Ok(look) => Seen::Look(Box::new(look)),
            Err(failure) => Seen::Nothing(began, failure.to_string()),
        };
        if to.send(seen).is_err() {
            return;
        }
    }
}
