//! Passwords: where they come from, and how they stay unseen.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What stands in the place of a password.
const HIDDEN: &str = "***";

/// More is no password.
const BYTES_MAX: u64 = 4096;

/// A password, or none. It has no `Debug`.
#[derive(Default)]
pub struct Secret(Option<String>);

impl Secret {
    /// This text; an empty one is none.
    pub fn new(text: String) -> Self {
        Self(Some(text).filter(|text| !text.is_empty()))
    }

    /// For the one who must know it.
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// A text of somebody else's, with the password hidden wherever it stands.
    pub fn hidden_in(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.into(), |secret| text.replace(secret.as_str(), HIDDEN))
    }
}

/// The first line of a file that others cannot read.
pub fn from_file(path: &Path) -> Result<Secret, String> {
    let at = path.display();
    let file = File::open(path).map_err(|error| format!("password file {at}: {error}"))?;
    let found = file.metadata().map_err(|error| format!("password file {at}: {error}"))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!("password file {at} has mode {mode:04o}: others may use it; chmod o= {at}"));
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| format!("password file {at}: {error}"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.into())),
        _ => Err(format!("password file {at}: its first line is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};
    use testkit::TempDir;

    #[test]
    fn a_password_file_is_taken_only_where_others_cannot_read_it() {
        let dir = TempDir::new("secret");
        let path = dir.join("password");
        let take = |text: &str, mode: u32| {
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            from_file(&path).map(|secret| secret.reveal().map(ToOwned::to_owned))
        };
        assert_eq!(take("s3cret words\r\n# more\n", 0o600), Ok(Some("s3cret words".into())));
        assert_eq!(take("s3cret", 0o440), Ok(Some("s3cret".into())));
        let open = take("s3cret", 0o644).expect_err("others can read it");
        assert!(open.contains("mode 0644") && !open.contains("s3cret"), "{open}");
        assert!(take("\n", 0o600).is_err() && from_file(&dir.join("none")).is_err());
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands() {
        assert_eq!(Secret::new("s3cret".into()).hidden_in("not s3cret"), "not ***");
        assert_eq!(Secret::new(String::new()).hidden_in("anything"), "anything");
    }
}
