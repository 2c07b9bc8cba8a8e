//! Where a question goes: the routes of the control socket, names written as a URL may have them.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

/// A route with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    queries: usize,
    waits: bool,
}

impl Path {
    /// `/v1/WORD`.
    pub fn v1(word: &str) -> Self {
        Self::at(format!("/v1/{word}"))
    }

    /// A route that has no version.
    pub fn at(text: impl Into<String>) -> Self {
        Self { text: text.into(), queries: 0, waits: false }
    }

    /// One step down, to a name that somebody chose.
    pub fn down(mut self, name: &str) -> Self {
        self.text.push('/');
        // A step of dots alone would be taken for a way up by whatever stands in between.
        let dots = matches!(name, "." | "..");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !dots) {
                self.text.push(byte.into());
            } else {
                let _ = write!(self.text, "%{byte:02X}");
            }
        }
        self
    }

    /// One step down, to a word of the interface.
    pub fn step(mut self, word: &str) -> Self {
        self.text.push('/');
        self.text += word;
        self
    }

    /// With a query of plain characters.
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        let _ = write!(self.text, "{}{key}={value}", if self.queries == 0 { '?' } else { '&' });
        self.queries += 1;
        self
    }

    /// With how long the server may wait for what was asked.
    pub fn within(self, timeout: Duration) -> Self {
        Self { waits: true, ..self.with("timeout_ms", timeout.as_millis()) }
    }

    /// The server was told how long it may take.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// A question that is posted because it has a body.
    pub fn is_check(&self) -> bool {
        self.text == "/v1/check"
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_step_whatever_is_in_them() {
        let path = |name| Path::v1("exports").down(name).to_string();
        assert_eq!(path("vol-1_a.b~"), "/v1/exports/vol-1_a.b~");
        assert_eq!(path("a/b ?#%\n"), "/v1/exports/a%2Fb%20%3F%23%25%0A");
        assert_eq!(path("ö"), "/v1/exports/%C3%B6");
        assert_eq!((path("."), path("..")), ("/v1/exports/%2E".into(), "/v1/exports/%2E%2E".into()));
    }

    #[test]
    fn queries_are_joined_behind_the_steps() {
        let path = Path::v1("exports").down("a").with("apply", false).within(Duration::from_millis(1500));
        assert_eq!(path.to_string(), "/v1/exports/a?apply=false&timeout_ms=1500");
        assert!(path.waits() && !Path::v1("status").waits());
    }
}
