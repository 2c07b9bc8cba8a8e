//! Why there is no answer to print: a sentence for a person, an exit code for a program.

use crate::exit::Exit;
use crate::text::shown;
use control::view::Problem;
use serde::Deserialize;
use std::fmt::{self, Display};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The call was made, and how it ended is not known: it panicked, or its time was over.
const PENDING: [u16; 2] = [500, 504];
/// A question with such an end has no answer: too many ask, it took too long, or there was a mistake.
const UNANSWERED: [u16; 4] = [429, 500, 503, 504];

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody was reached.
    NoServer(String),
    /// Somebody was reached, and did not answer as a server does.
    NoAnswer {
        /// What was seen.
        why: String,
        /// A change had been asked for, and may have been made.
        changes: bool,
    },
    /// The server said no.
    Refused {
        /// Why, in its words.
        why: String,
        /// The keys and lines that are meant.
        problems: Vec<Problem>,
        /// Its answer as it came.
        body: Vec<u8>,
        /// What was asked for may still happen.
        pending: bool,
    },
    /// The command line asks for something that is not there.
    Usage(String),
    /// This side cannot ask.
    Here(String),
}

/// `application/problem+json`, as far as it is read.
#[derive(Default, Deserialize)]
struct Document {
    title: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    problems: Vec<Problem>,
}

impl Failure {
    /// The socket could not be connected to.
    pub fn no_server(socket: &Path, error: &io::Error) -> Self {
        let path = socket.to_string_lossy();
        let at = shown(&path);
        Self::NoServer(match error.kind() {
            io::ErrorKind::NotFound => format!("no server: there is no socket {at}"),
            io::ErrorKind::ConnectionRefused => {
                format!("no server: nobody listens on {at} any more")
            }
            io::ErrorKind::PermissionDenied => {
                format!("no access to {at}: you need to be in the socket's group{}", group(socket))
            }
            _ => format!("no server on {at}: {error}"),
        })
    }

    /// Somebody was connected to.
    pub fn no_answer(socket: &Path, why: &str, changes: bool) -> Self {
        Self::NoAnswer { why: format!("{}: {why}", shown(&socket.to_string_lossy())), changes }
    }

    /// An answer that is not a success.
    pub fn refused(socket: &Path, status: u16, body: Vec<u8>, changes: bool) -> Self {
        let Ok(document) = serde_json::from_slice::<Document>(&body) else {
            return Self::no_answer(socket, &format!("answered with HTTP status {status} alone"), changes);
        };
        let words = document.detail.or(document.title).filter(|words| !words.is_empty());
        let why = words.unwrap_or_else(|| format!("refused with HTTP status {status}"));
        if !changes && UNANSWERED.contains(&status) {
            return Self::NoAnswer { why: shown(&why).to_string(), changes };
        }
        Self::Refused {
            why,
            problems: document.problems,
            body,
            pending: changes && PENDING.contains(&status),
        }
    }

    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoServer(_) | Self::NoAnswer { changes: false, .. } | Self::Here(_) => Exit::NoServer,
            Self::NoAnswer { changes: true, .. } | Self::Refused { pending: true, .. } => Exit::Partly,
            Self::Refused { pending: false, .. } => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer(why) | Self::Usage(why) | Self::Here(why) => f.write_str(why),
            Self::NoAnswer { why, changes: false } => f.write_str(why),
            Self::NoAnswer { why, changes: true } => {
                write!(f, "{why}; whether it was done is not known")
            }
            Self::Refused { why, pending: false, .. } => f.write_str(&shown(why)),
            Self::Refused { why, pending: true, .. } => write!(f, "{}; it may still happen", shown(why)),
        }
    }
}

/// The name of the socket's group, where it can be seen.
fn group(socket: &Path) -> String {
    let Ok(gid) = std::fs::metadata(socket).map(|found| found.gid()) else { return String::new() };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    // NAME:PASSWORD:GID:MEMBERS
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid.to_string()).then(|| name.to_owned())
    });
    format!(", which is {}", name.unwrap_or_else(|| gid.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_that_was_under_way_leaves_a_doubt() {
        let socket = Path::new("/run/x.sock");
        let ends = |status, body: &str, changes| {
            Failure::refused(socket, status, body.as_bytes().to_vec(), changes).exit()
        };
        let body = r#"{"title": "No", "detail": "a reload is under way", "problems": []}"#;
        assert_eq!(ends(404, body, true), Exit::Refused);
        assert_eq!(ends(504, body, true), Exit::Partly);
        assert_eq!(ends(504, body, false), Exit::NoServer, "a question without an answer");
        assert_eq!(ends(503, body, true), Exit::Refused, "it was not begun");
        assert_eq!(ends(500, "oops", true), Exit::Partly);
        assert_eq!(ends(500, "oops", false), Exit::NoServer);
    }
}
