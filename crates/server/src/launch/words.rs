//! What a run says for itself, before or instead of serving. Neither end need take it: whoever read has had enough, as
//! `head` has, or the disk behind it is full. The macros of `std` panic then.

use std::fmt::Display;
use std::io::{self, Write};

/// The status of a run whose answer could not be written.
const UNSAID: u8 = 2;

/// An answer on standard output. The exit status: `status`, or one of its own where that says success and the answer is lost.
pub fn answer(text: &str, status: u8) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format!("standard output: {error}"));
            if status == 0 { UNSAID } else { status }
        }
        _ => status,
    }
}

/// A line on standard error.
pub fn complain(line: impl Display) {
    // In one piece, and there is nobody else to tell.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
