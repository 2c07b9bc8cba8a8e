//! Room and rights, before they are needed.

use super::program::Program;
use rustix::fs::{Access, access, statvfs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that are free for files in a directory that may not be there yet, or beside a file.
///
/// # Errors
/// As the system says.
pub fn free(path: &Path) -> Result<u64, String> {
    let there = there(path);
    let found = statvfs(there).map_err(|error| format!("{}: {error}", there.display()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes that it takes to put one program in the place of another; none where it has its bytes already.
pub fn needed_for(in_place: &Program, coming: &Program, target: &Path, backups: &Path) -> (u64, u64) {
    if in_place.sha256 == coming.sha256 {
        return (0, 0);
    }
    let size = |path: &Path| path.metadata().map(|file| file.len()).unwrap_or(0);
    needed(size(target), size(&coming.path), target, backups)
}

/// Bytes that a deploy needs where the backup goes, and beside the target: the way back has both programs there, since
/// whoever executes the one that was renamed over keeps its bytes.
fn needed(in_place: u64, coming: u64, target: &Path, backups: &Path) -> (u64, u64) {
    let device = |path: &Path| there(path).metadata().map(|file| file.dev()).ok();
    let beside = in_place.saturating_add(coming);
    let shared = device(target) == device(backups);
    let both = beside.saturating_add(in_place);
    if shared { (both, both) } else { (in_place, beside) }
}

/// What is in the way, each a sentence.
pub fn obstacles(target: &Path, backups: &Path) -> Vec<String> {
    let beside = target.parent().unwrap_or(Path::new("/"));
    let dirs = [(beside, "the target is replaced in"), (there(backups), "the backup goes to")];
    let no = |(dir, what): (&Path, &str)| {
        let error = access(dir, Access::WRITE_OK | Access::EXEC_OK).err()?;
        Some(format!("{what} {}, which cannot be written: {error}", dir.display()))
    };
    dirs.into_iter().filter_map(no).collect()
}

/// The path, or what of it is there already.
fn there(path: &Path) -> &Path {
    path.ancestors().find(|one| one.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_has_its_room_too() {
        let dir = std::env::temp_dir();
        assert_eq!(needed(2, 10, &dir.join("target"), &dir.join("backups")), (14, 14));
        // Memory that no file system of disks shares.
        assert_eq!(needed(2, 10, &dir, Path::new("/proc/self")), (2, 12));
    }

    #[test]
    fn what_is_in_place_already_needs_no_room() {
        let me = std::env::current_exe().expect("a path");
        let new = Program::broken(&me, "mine".into()).expect("read");
        let other = Program { sha256: "0".into(), ..new.clone() };
        assert_eq!(needed_for(&new, &new, &me, &std::env::temp_dir()), (0, 0));
        assert!(needed_for(&other, &new, &me, &std::env::temp_dir()).1 > 0);
    }

    #[test]
    fn a_directory_that_is_not_there_yet_has_the_room_of_the_one_above_it() {
        let dir = std::env::temp_dir();
        assert!(free(&dir.join("not/there/yet")).expect("told") > 0);
        assert_eq!(obstacles(&dir.join("file"), &dir.join("not/there")), Vec::<String>::new());
        // Root may write everywhere but where there is no directory.
        let file = dir.join(format!("nbdctl-room-{}", std::process::id()));
        std::fs::write(&file, "").expect("written");
        let refused = obstacles(&file.join("target"), &dir);
        assert!(refused.len() == 1 && refused[0].contains("nbdctl-room"), "{refused:?}");
        std::fs::remove_file(file).expect("removed");
    }
}
