//! Programs that were replaced: a copy with date and checksum in its name, and a manifest beside it.

use super::attributes::Attributes;
use super::listing::{Seen, Served};
use super::nbd::Address;
use super::program::{Program, sha256};
use super::replace::{copy, sync_dir};
use super::service::Manager;
use crate::text::for_shell;
use control::view::Startup;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What stands beside a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `deploy` or `rollback`: what made it.
    pub verb: String,
    /// When.
    pub at: String,
    /// The user that did it.
    pub uid: u32,
    /// Who that was before `sudo`.
    pub sudo_user: Option<String>,
    /// The file that was replaced.
    pub target: PathBuf,
    /// The copy of what was there.
    pub backup: PathBuf,
    /// What was there.
    pub from: Program,
    /// What took its place.
    pub to: Program,
    /// How the server is restarted.
    pub manager: Manager,
    /// Its configuration.
    pub config: PathBuf,
    /// Its pid file; none where it has none.
    pub pid_file: Option<PathBuf>,
    /// A server ran. Manifests of earlier builds do not say, and are of servers that ran more often than not.
    #[serde(default = "yes")]
    pub ran: bool,
    /// What the target had of extended attributes.
    #[serde(default)]
    pub attributes: Option<Attributes>,
    /// What a start with the configuration came to.
    pub startup: Option<Startup>,
    /// Where it answered.
    #[serde(default)]
    pub listens: Vec<Address>,
    /// What it served.
    pub exports: Vec<Seen>,
}

fn yes() -> bool {
    true
}

impl Manifest {
    /// What it served, and where.
    pub fn served(&self) -> Served {
        Served { exports: self.exports.clone(), listens: self.listens.clone() }
    }
}

/// The name of a copy.
pub fn path(dir: &Path, stamp: &str, program: &Program) -> PathBuf {
    dir.join(format!("nbd-server-{stamp}-{}", program.short()))
}

/// The manifest of a copy.
pub fn manifest_path(backup: &Path) -> PathBuf {
    backup.with_file_name(format!("{}.json", backup.file_name().unwrap_or_default().to_string_lossy()))
}

/// A directory for root alone, where there is none.
///
/// # Errors
/// As the system says.
pub fn make_dir(dir: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| format!("{}: {error}", dir.display()))
}

/// Copies what is at the target, with mode, owner and times, looks at the copy, and writes the manifest. Which attributes the
/// copy could not take; the manifest has them all.
///
/// # Errors
/// The copy cannot be made, or has other bytes. Nothing of it is left then.
pub fn make(manifest: &Manifest) -> Result<Vec<String>, String> {
    let backup = &manifest.backup;
    if fs::symlink_metadata(backup).is_ok() {
        return Err(format!("{} is there already", backup.display()));
    }
    let attributes = manifest.attributes.clone().unwrap_or_default();
    let made = copy(&manifest.target, backup, &manifest.target).and_then(|file| {
        let missing = attributes.give(&file).unwrap_or_else(|error| vec![format!("{error}")]);
        file.sync_all().map_err(|error| format!("{}: {error}", backup.display()))?;
        check(backup, &manifest.from.sha256)?;
        write(&manifest_path(backup), manifest)?;
        sync_dir(backup)?;
        Ok(missing)
    });
    made.inspect_err(|_| forget(backup))
}

/// Whether a file has the bytes that it should have.
///
/// # Errors
/// It has not.
pub fn check(path: &Path, wanted: &str) -> Result<(), String> {
    let at = path.display();
    let is = sha256(path).map_err(|error| format!("{at}: {error}"))?;
    if is == wanted {
        Ok(())
    } else {
        Err(format!("{at} has other bytes than it should: sha256 {is}, not {wanted}"))
    }
}

fn write(path: &Path, manifest: &Manifest) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text =
        serde_json::to_string_pretty(manifest).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// The copy and its manifest go: what they hold is in place.
pub fn forget(backup: &Path) {
    let _ = fs::remove_file(backup);
    let _ = fs::remove_file(manifest_path(backup));
}

/// All backups of a directory with their manifests, the newest first. Copies without one are left out.
///
/// # Errors
/// The directory cannot be read, though it is there.
pub fn all(dir: &Path) -> Result<Vec<Manifest>, String> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", dir.display())),
    };
    let mut found: Vec<Manifest> = entries
        .flatten()
        .filter_map(|entry| read(&entry.path()).ok())
        .filter(|one| one.backup.is_file())
        .collect();
    found.sort_by(|one, other| (&other.at, &other.backup).cmp(&(&one.at, &one.backup)));
    Ok(found)
}

/// Copies of which nothing is known, and why: the newest first.
pub fn unreadable(dir: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_copy = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("nbd-server-") && !name.ends_with(".json") && path.is_file()
    };
    let copies = entries.map(|entry| entry.path()).filter(is_copy);
    let mut found: Vec<_> = copies
        .filter_map(|copy| Some((read(&manifest_path(&copy)).err()?, copy)))
        .map(|(why, copy)| (copy, why))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found
}

/// The newest copy is the one that is meant where nothing is said, and a lost manifest does not make an older one it.
///
/// # Errors
/// There is a newer copy of which nothing is known.
pub fn none_is_newer(chosen: Option<&Manifest>, unreadable: &[(PathBuf, String)]) -> Result<(), String> {
    let Some((copy, why)) = unreadable.first() else { return Ok(()) };
    // Their names have the date.
    if chosen.is_some_and(|chosen| chosen.backup.file_name() > copy.file_name()) {
        return Ok(());
    }
    Err(format!(
        "{why}\nso nothing is known of the newest copy but its bytes: `{} -V` says which server it is, and a copy and a rename put it back by hand; --to names another backup, --list shows them",
        for_shell(&copy.display().to_string())
    ))
}

/// A manifest. The copy is looked for beside it: the directory may have been moved.
///
/// # Errors
/// It is none.
pub fn read(path: &Path) -> Result<Manifest, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    if path.extension().is_none_or(|extension| extension != "json") {
        return Err(failed(&"it is no manifest"));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    let mut manifest: Manifest = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    manifest.backup = path.with_extension("");
    Ok(manifest)
}

/// The backup that comes back: the one that is named, else the newest that a deploy made, of this target where one is said.
///
/// # Errors
/// There is none.
pub fn choose(found: &[Manifest], named: Option<&Path>, target: Option<&Path>) -> Result<Manifest, String> {
    let Some(named) = named else {
        let of_target = |one: &Manifest| target.is_none_or(|target| one.target == target);
        let newest = found.iter().find(|one| one.verb == "deploy" && of_target(one)).cloned();
        return newest.ok_or_else(|| "no deploy has left a backup to go back to".into());
    };
    let is = |one: &&Manifest| one.backup == named || one.backup.file_name() == Some(named.as_os_str());
    let real = fs::canonicalize(named).ok();
    let is_real = |one: &&Manifest| real.is_some() && fs::canonicalize(&one.backup).ok() == real;
    let found = found.iter().find(|one| is(one) || is_real(one)).cloned();
    found.ok_or_else(|| format!("{} is none of the backups: --list shows them", named.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::program::Kind;

    fn program(sha256: &str) -> Program {
        Program {
            path: "/p".into(),
            sha256: sha256.repeat(16),
            version: "v".into(),
            kind: Kind::Original,
            script: false,
        }
    }

    fn manifest(verb: &str, at: &str, from: &str) -> Manifest {
        Manifest {
            verb: verb.into(),
            at: at.into(),
            uid: 0,
            sudo_user: None,
            target: "/t".into(),
            backup: path(Path::new("/b"), at, &program(from)),
            from: program(from),
            to: program("ffff"),
            manager: Manager::Init("/etc/init.d/nbd-server".into()),
            config: "/c".into(),
            pid_file: None,
            ran: true,
            attributes: None,
            startup: None,
            listens: Vec::new(),
            exports: Vec::new(),
        }
    }

    #[test]
    fn the_newest_backup_of_a_deploy_comes_back_or_the_one_that_is_named() {
        let found = [
            manifest("rollback", "4", "ffff"),
            manifest("deploy", "3", "cccc"),
            manifest("deploy", "2", "bbbb"),
        ];
        let chosen = |named: Option<&str>| choose(&found, named.map(Path::new), None).map(|one| one.at);
        assert_eq!(chosen(None).as_deref(), Ok("3"));
        assert_eq!(chosen(Some("nbd-server-2-bbbbbbbbbbbb")).as_deref(), Ok("2"));
        assert_eq!(chosen(Some("/b/nbd-server-2-bbbbbbbbbbbb")).as_deref(), Ok("2"));
        assert!(chosen(Some("/b/other")).is_err_and(|why| why.contains("--list")));
        let other = Manifest { target: "/other".into(), ..manifest("deploy", "9", "dddd") };
        let found = [other, found[1].clone()];
        let of = |target: &str| choose(&found, None, Some(Path::new(target))).map(|one| one.at);
        assert_eq!((of("/t").as_deref(), of("/other").as_deref()), (Ok("3"), Ok("9")));
        assert!(choose(&[], None, None).is_err());
    }

    #[test]
    fn a_manifest_that_does_not_say_whether_a_server_ran_is_of_one_that_did() {
        let mut value = serde_json::to_value(manifest("deploy", "1", "aaaa")).expect("a value");
        value.as_object_mut().expect("an object").remove("ran").expect("it is there");
        assert!(serde_json::from_value::<Manifest>(value).expect("a manifest").ran);
    }

    #[test]
    fn a_backup_has_the_bytes_mode_and_times_of_what_was_there_and_a_manifest() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let dir = std::env::temp_dir().join(format!("nbdctl-backup-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let target = dir.join("target");
        fs::write(&target, "old").expect("written");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o751)).expect("a mode");
        let sum = sha256(&target).expect("read");
        let mut one = manifest("deploy", "1", "aaaa");
        (one.target, one.backup, one.from.sha256) = (target.clone(), dir.join("nbd-server-1-a"), sum);
        make(&one).expect("a backup");
        let (was, is) = (fs::metadata(&target).expect("there"), fs::metadata(&one.backup).expect("there"));
        assert_eq!((was.mode(), was.uid(), was.mtime_nsec()), (is.mode(), is.uid(), is.mtime_nsec()));
        assert_eq!(all(&dir).expect("read"), [one.clone()]);
        fs::write(dir.join("nbd-server-0-a"), "older").expect("written");
        let (unreadable, oldest) = (unreadable(&dir), dir.join("nbd-server-0-a"));
        assert_eq!(unreadable.iter().map(|(copy, _)| copy).collect::<Vec<_>>(), [&oldest]);
        assert_eq!(none_is_newer(Some(&one), &unreadable), Ok(()));
        fs::remove_file(oldest).expect("removed");
        one.from.sha256 = "0".into();
        one.backup = dir.join("nbd-server-2-b");
        assert!(make(&one).is_err_and(|why| why.contains("other bytes")));
        assert!(!one.backup.exists(), "nothing is left of it");
        fs::write(&one.backup, "an older one").expect("written");
        assert!(make(&one).is_err() && one.backup.exists(), "what is there is left alone");
        fs::remove_dir_all(dir).expect("removed");
    }
}
