//! Configurations of a few lines.
#![allow(dead_code, reason = "each test file uses its part")]

use config::{Export, Generic, Loaded, Options, Refused, SourceError, Sources, Storage, load};
use std::path::{Path, PathBuf};

/// One file and no directory.
struct Text(String);

impl Sources for Text {
    fn read(&self, _: &Path) -> Result<Vec<u8>, SourceError> {
        Ok(self.0.clone().into_bytes())
    }

    fn list(&self, _: &Path) -> Result<Vec<PathBuf>, SourceError> {
        Ok(Vec::new())
    }
}

pub fn start(text: &str) -> Result<Loaded, Refused> {
    load(Path::new("/c"), &Text(text.into()), None, Options::default())
}

/// An export of these lines, and what was said about them.
pub fn export(lines: &str) -> (Export, Vec<String>) {
    let loaded =
        start(&format!("[generic]\n[a]\n{lines}\n")).unwrap_or_else(|refused| panic!("{lines}: {refused:?}"));
    let warnings = loaded.warnings.iter().map(|warning| warning.what.clone()).collect();
    (loaded.config.exports.iter().next().expect("one export").clone(), warnings)
}

pub fn storage(lines: &str) -> (Storage, Vec<String>) {
    let (export, warnings) = export(lines);
    (export.storage, warnings)
}

pub fn refused(text: &str) -> String {
    let refused = start(text).err().unwrap_or_else(|| panic!("{text:?} is refused"));
    refused.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub fn generic(lines: &str) -> (Generic, Vec<String>) {
    let loaded = start(&format!("[generic]\n{lines}\n[a]\nexportname=/a\n"));
    let loaded = loaded.unwrap_or_else(|refused| panic!("{lines}: {refused:?}"));
    (loaded.config.generic, loaded.warnings.iter().map(|warning| warning.what.clone()).collect())
}
