//! Which disk an export leads to: what its server has open for whoever asks now, and what is at its path. The two differ
//! where a file was edited and nobody has reloaded since.

use super::clients;
use super::listing::{self, Reading, Seen};
use super::process::Process;
use control::view::{Startup, StartupExport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A disk, as the system tells two apart that are there at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is.
    pub path: String,
    id: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Id {
    /// The number of a device: several nodes may lead to it.
    Device(u64),
    /// The number of a file system, and that of the file there.
    File(u64, u64),
}

/// What becomes of an export that is served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// The same disk.
    Same,
    /// Another one: the path of now, and the path of then.
    Other(String, String),
    /// It was not seen.
    Unknown,
}

/// Who knows what the server has open.
pub enum Knows<'a> {
    /// Nobody.
    Nobody,
    /// The children that this 3.24 has for its clients.
    Children(&'a Process),
    /// Ours has said the path of each export.
    Told(BTreeMap<String, String>),
}

impl Disk {
    /// What is at a path, behind all links.
    pub fn at(path: &str) -> Option<Self> {
        Some(Self { path: path.into(), id: Id::of(&fs::metadata(path).ok()?) })
    }

    /// It is that one, wherever it was looked for.
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Id {
    fn of(what: &Metadata) -> Self {
        if what.file_type().is_block_device() {
            Self::Device(what.rdev())
        } else {
            Self::File(what.dev(), what.ino())
        }
    }
}

impl Knows<'_> {
    /// What is open for a client of this export that is connected, with this name at the server's end.
    pub fn disk_of(&self, export: &str, peer: &str) -> Option<Disk> {
        match self {
            Self::Nobody => None,
            Self::Children(server) => open_in(clients::child_of(server, peer)?.pid),
            Self::Told(paths) => Disk::at(paths.get(export)?),
        }
    }
}

/// The one disk that a process has open; none where it has more, which may be pieces of one.
fn open_in(pid: u32) -> Option<Disk> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut disks = entries.filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        let is_path = link.starts_with('/') && link != "/dev/null";
        // Through the descriptor: its path may lead elsewhere by now.
        let id = is_path.then(|| fs::metadata(entry.path()).ok()).flatten().map(|what| Id::of(&what))?;
        Some(Disk { path: link, id })
    });
    let only = disks.next()?;
    disks.all(|other| other.is(&only)).then_some(only)
}

/// Of each export that is served now and will be: whether it leads to the same disk then.
pub fn compare(now: &[Seen], startup: &Startup) -> BTreeMap<String, Lead> {
    let then: BTreeMap<&str, &StartupExport> =
        startup.exports.iter().map(|export| (export.name.as_str(), export)).collect();
    let served = now.iter().filter_map(|seen| {
        let export = then.get(seen.name.as_str())?;
        let to_nobody =
            matches!(seen.reading, Reading::Failed(_)) && !export.settings.contains_key("authfile");
        (!to_nobody && !export.placeholder && export.unavailable.is_none()).then_some((seen, *export))
    });
    served.map(|(seen, export)| (seen.name.clone(), lead(seen, export))).collect()
}

fn lead(seen: &Seen, export: &StartupExport) -> Lead {
    let then = Path::new(&export.path).is_absolute().then(|| Disk::at(&export.path)).flatten();
    match (&seen.disk, then) {
        (Some(now), Some(then)) if leads_to_its_path(export) && now.is(&then) => Lead::Same,
        (Some(now), Some(then)) if leads_to_its_path(export) => Lead::Other(now.path.clone(), then.path),
        _ => Lead::Unknown,
    }
}

/// All clients get what is at the path, though it may be cut off.
fn leads_to_its_path(export: &StartupExport) -> bool {
    export.settings.keys().all(|key| listing::is_of_its_path(key) || key == "filesize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;

    #[test]
    fn two_names_of_one_disk_are_one_disk_and_a_file_in_its_place_is_another() {
        let dir = std::env::temp_dir().join(format!("nbdctl-leads-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let at = |name: &str| dir.join(name).display().to_string();
        fs::write(at("a"), "").expect("written");
        std::os::unix::fs::symlink("a", at("link")).expect("a link");
        let (disk, link) = (Disk::at(&at("a")).expect("there"), Disk::at(&at("link")).expect("there"));
        assert!(disk.is(&link));
        // The old one is kept, so that its number is not given anew.
        fs::rename(at("a"), at("old")).expect("renamed");
        fs::write(at("a"), "").expect("written");
        assert!(!Disk::at(&at("a")).expect("there").is(&disk) && Disk::at(&at("none")).is_none());
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn of_a_process_that_has_several_files_open_nobody_says_which_is_the_disk() {
        assert_eq!(open_in(u32::MAX), None);
        let dir = std::env::temp_dir().join(format!("nbdctl-open-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let holding = |names: [&str; 2]| {
            let mut child = std::process::Command::new("sh");
            child.current_dir(&dir).args(["-c", "exec 3>>\"$0\" 4>>\"$1\"; echo; read word"]).args(names);
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = child.spawn().expect("sh");
            child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it has them open");
            let found = open_in(child.id());
            drop(child.stdin.take());
            child.wait().expect("it ends");
            found
        };
        let path = dir.join("a").display().to_string();
        assert_eq!(holding(["a", "a"]).map(|disk| disk.path), Some(path));
        assert_eq!(holding(["a", "b"]), None);
        fs::remove_dir_all(dir).expect("removed");
    }
}
