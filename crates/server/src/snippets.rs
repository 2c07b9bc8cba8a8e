//! The file of one export in `includedir`: found, written and deleted so that no reader ever sees half of it.

use crate::sources::Files;
use config::{Config, Export, SourceError, Sources};
use control::Refusal;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file name may have this many bytes, and `.conf` and the mark of an unfinished one belong to it.
const FILE_NAME_MAX: usize = 200;

/// Where an export is described, or will be.
pub struct Snippet {
    path: PathBuf,
    /// It is there.
    exists: bool,
}

impl Snippet {
    /// The file of this export alone.
    ///
    /// # Errors
    /// There is no `includedir`; the export is described elsewhere, or together with others.
    pub fn of(name: &str, running: &Config, files: &Files, main: &Path) -> Result<Self, Refusal> {
        let export = running.exports.get(&name.into());
        if let Some(export) = export.filter(|export| !is_snippet(export, main)) {
            let whose =
                format!("{} describes the export, not a file in includedir", export.origin.file.display());
            return Err(Refusal::Conflict(format!("{whose}; change it there and reload")));
        }
        let Some(dir) = &running.generic.includedir else {
            return Err(Refusal::Conflict("the configuration has no includedir for files of exports".into()));
        };
        let path = match export {
            Some(export) => export.origin.file.clone(),
            None => dir.join(file_name(name)?),
        };
        let path = files.base.join(path);
        let with = |other: &&Export| other.name != name.into() && files.base.join(&other.origin.file) == path;
        if let Some(other) = running.exports.iter().find(with) {
            // Whatever the file says at this moment: the other one is served from it.
            let both = format!("{} describes {} too", path.display(), other.name);
            return Err(Refusal::Conflict(format!("{both}; change it there and reload")));
        }
        let exists = Self::is_its_own(&path, name, files)?;
        Ok(Self { path, exists })
    }

    /// Whether the file is there, and describes this export and nothing else. It is read as for a reload: one that is
    /// being written is waited for, and an empty one is half written.
    fn is_its_own(path: &Path, name: &str, files: &Files) -> Result<bool, Refusal> {
        let text = match files.read(path) {
            Ok(text) => text,
            Err(error) if error.missing => return Ok(false),
            Err(error) => return Err(Refusal::Forbidden(format!("{}: {}", path.display(), error.reason))),
        };
        match config::described(path, &text) {
            Some(names) if names.is_empty() => Err(Refusal::Conflict(format!(
                "{} is empty, as if somebody were writing it; delete it first",
                path.display()
            ))),
            Some(names) if names.iter().all(|one| one == name.as_bytes()) => Ok(true),
            Some(names) => Err(Refusal::Conflict(format!(
                "{} describes {} exports; change it there and reload",
                path.display(),
                names.len()
            ))),
            None => Err(Refusal::Conflict(format!(
                "{} is there and cannot be understood; mend or delete it first",
                path.display()
            ))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Writes the whole text or nothing, and it survives a crash.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn write(&self, text: &str) -> Result<(), Refusal> {
        let mut unfinished = OsString::from(".");
        unfinished.push(self.path.file_name().unwrap_or_default());
        // Not a name that a reader of the directory takes for a configuration, even if we end right here.
        unfinished.push(".new");
        let unfinished = self.path.with_file_name(unfinished);
        let written =
            create(&unfinished, &self.path, text).and_then(|()| fs::rename(&unfinished, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written.map(|()| self.sync_directory()).map_err(|error| forbidden(&self.path, &error))
    }

    /// Deletes the file.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn delete(&self) -> Result<(), Refusal> {
        let deleted = fs::remove_file(&self.path).map(|()| self.sync_directory());
        deleted.map_err(|error| forbidden(&self.path, &error))
    }

    /// What was done is done, and is followed. Only after a crash it might not be.
    fn sync_directory(&self) {
        let dir = File::open(self.path.parent().unwrap_or(Path::new(".")));
        let _ = dir.and_then(|dir| dir.sync_all());
    }
}

fn is_snippet(export: &Export, main: &Path) -> bool {
    export.origin.line > 0 && export.origin.file != main
}

/// With the mode and the owner of the file whose place it takes, or the owner of its directory: whoever writes these files
/// himself goes on being able to. Where that is not ours to give, it is ours.
fn create(path: &Path, instead_of: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    let old = fs::symlink_metadata(instead_of).ok().filter(|old| old.is_file());
    if let Some(old) = &old {
        let _ = file.set_permissions(old.permissions());
    }
    let whose = old.or_else(|| fs::metadata(path.parent()?).ok());
    if let Some(whose) = whose {
        let _ = std::os::unix::fs::fchown(&file, Some(whose.uid()), Some(whose.gid()));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn forbidden(path: &Path, error: &io::Error) -> Refusal {
    Refusal::Forbidden(format!("{}: {error}", path.display()))
}

/// Letters, digits and `-_.` stay, all else is `%` and two digits, so that every name has a file of its own.
fn file_name(name: &str) -> Result<String, Refusal> {
    let mut text = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if at == 0 => text.push_str("%2E"),
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    if text.len() > FILE_NAME_MAX {
        return Err(Refusal::Conflict("the name is too long for a file; describe it in one by hand".into()));
    }
    Ok(text + ".conf")
}

/// The file system as it would be with one file written, or gone.
pub struct With<'a> {
    /// As it is.
    pub files: &'a Files,
    /// The file.
    pub path: &'a Path,
    /// What would stand in it.
    pub text: Option<&'a str>,
}

impl Sources for With<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        if self.files.base.join(path) != self.path {
            return self.files.read(path);
        }
        let gone = SourceError { missing: true, dangling: false, reason: "it is deleted".into() };
        self.text.map(|text| text.as_bytes().to_vec()).ok_or(gone)
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
        let mut paths = self.files.list(dir)?;
        paths.retain(|path| path != self.path);
        if self.text.is_some() && self.path.parent() == Some(&*self.files.base.join(dir)) {
            paths.push(self.path.into());
            paths.sort();
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_file_of_its_own_inside_the_directory() {
        let name = |name| file_name(name).expect("short");
        assert_eq!(name("vol-1_a.b"), "vol-1_a.b.conf");
        assert_eq!(name("../etc/x"), "%2E.%2Fetc%2Fx.conf");
        assert_eq!(name("a b%ü"), "a%20b%25%C3%BC.conf");
        assert_ne!(name("a%20b"), name("a b"));
        assert!(file_name(&"ü".repeat(100)).is_err());
    }
}
