//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, or worth a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it stands in.
    pub file: PathBuf,
    /// From 1; none when it concerns the whole file.
    pub line: Option<u32>,
    /// The group it stands in.
    pub group: Option<String>,
    /// The key it concerns.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// About a whole file.
    #[must_use]
    pub fn in_file(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, group: None, key: None, what: what.into(), hint: None }
    }

    /// About a line.
    #[must_use]
    pub fn at(file: &Path, line: u32, what: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::in_file(file, what) }
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says where inside the file.
    #[must_use]
    pub fn inside(mut self, group: impl Into<String>, key: Option<&str>) -> Self {
        self.group = Some(group.into());
        self.key = key.map(Into::into);
        self
    }

    /// What is wrong and what to do, without the place.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.what),
            None => self.what.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(group) = &self.group {
            write!(f, "[{group}] ")?;
        }
        f.write_str(&self.sentence())
    }
}
