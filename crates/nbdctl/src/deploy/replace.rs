//! A file takes another's place: copied beside it, on stable storage, and renamed. Whoever executes the old one goes on.

use super::attributes::Attributes;
use super::backup::check;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// The file beside the target, as long as it is not in its place.
pub fn beside(target: &Path) -> PathBuf {
    target.with_file_name(format!(".{}.nbdctl", target.file_name().unwrap_or_default().to_string_lossy()))
}

/// Puts a program at the target, with the target's mode and owner and these attributes; those that it could not be given.
///
/// # Errors
/// It cannot be put there; nothing is another than before then. Or it is there, and has other bytes than it should.
pub fn put(
    source: &Path,
    target: &Path,
    sha256: &str,
    attributes: &Attributes,
) -> Result<Vec<String>, String> {
    let beside = beside(target);
    // Of a run that was broken off.
    let _ = fs::remove_file(&beside);
    let renamed = copy(source, &beside, target).and_then(|file| {
        let given = attributes.give(&file).and_then(|missing| file.sync_all().map(|()| missing));
        let missing = given.map_err(|error| format!("{}: {error}", beside.display()))?;
        check(&beside, sha256)?;
        fs::rename(&beside, target)
            .map_err(|error| format!("cannot rename to {}: {error}", target.display()))?;
        Ok(missing)
    });
    let missing = renamed.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })?;
    sync_dir(target)?;
    check(target, sha256)?;
    Ok(missing)
}

/// A new file with the bytes and times of one, and the mode and owner of `like`; not yet on stable storage.
///
/// # Errors
/// As the system says.
pub fn copy(source: &Path, new: &Path, like: &Path) -> Result<File, String> {
    let copied = || -> io::Result<File> {
        let mut from = File::open(source)?;
        let (times, like) = (from.metadata()?, fs::metadata(like)?);
        // Nobody executes it before it is whole.
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        io::copy(&mut from, &mut to)?;
        fchown(&to, Some(like.uid()), Some(like.gid()))?;
        // After the owner, whose change may take bits away.
        to.set_permissions(like.permissions())?;
        to.set_times(FileTimes::new().set_modified(times.modified()?).set_accessed(times.accessed()?))?;
        Ok(to)
    };
    copied().map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(new);
        }
        format!("cannot copy {} to {}: {error}", source.display(), new.display())
    })
}

/// The directory of a file, on stable storage.
///
/// # Errors
/// As the system says.
pub fn sync_dir(file: &Path) -> Result<(), String> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| format!("{}: {error}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::program::sha256;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_takes_the_place_of_another_with_its_mode_and_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("nbdctl-replace-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let (source, target) = (dir.join("new"), dir.join("target"));
        fs::write(&source, "new").expect("written");
        fs::write(&target, "old").expect("written");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o711)).expect("a mode");
        fs::write(beside(&target), "left by a run that was broken off").expect("written");
        let none = Attributes::default();
        let old = File::open(&target).expect("opened");
        assert!(put(&source, &target, "0", &none).is_err_and(|why| why.contains("other bytes")));
        assert_eq!(fs::read(&target).expect("read"), b"old");
        put(&source, &target, &sha256(&source).expect("read"), &none).expect("put");
        assert_eq!(fs::read(&target).expect("read"), b"new");
        assert_eq!(fs::metadata(&target).expect("there").mode() & 0o7777, 0o711);
        assert_ne!(old.metadata().expect("open").ino(), fs::metadata(&target).expect("there").ino());
        assert!(!beside(&target).exists());
        fs::remove_dir_all(dir).expect("removed");
    }
}
