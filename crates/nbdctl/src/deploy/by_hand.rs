//! What an operator is told to type where nothing else helps.

use super::command::line;
use super::service::Manager;
use std::path::Path;

/// For a shell: the copy takes the target's place, and the server is restarted.
pub fn by_hand(backup: &Path, target: &Path, manager: &Manager) -> String {
    let (backup, target) = (backup.display().to_string(), target.display().to_string());
    let beside = format!("{target}.old");
    let copy = line(&["cp", "-a", &backup, &beside]);
    format!("{copy} && {} && {manager}", line(&["mv", &beside, &target]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_to_be_done_by_hand_is_what_a_shell_does() {
        let dir = std::env::temp_dir().join(format!("nbdctl by 'hand' \"{}\"", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let at = |name: &str| dir.join(name);
        fs::write(at("the copy"), "old").expect("written");
        fs::write(at("target"), "new").expect("written");
        let restart = line(&["touch", &at("it's restarted").display().to_string()]);
        let line = by_hand(&at("the copy"), &at("target"), &Manager::Command(restart));
        let status = std::process::Command::new("sh").args(["-c", &line]).current_dir("/").status();
        assert!(status.expect("sh").success(), "{line}");
        assert_eq!(fs::read(at("target")).expect("read"), b"old");
        assert!(at("it's restarted").exists(), "{line}");
        fs::remove_dir_all(dir).expect("removed");
    }
}
