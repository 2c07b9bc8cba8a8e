//! The pid file: written when the server can serve, gone when it stops.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A pid file that this process wrote.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Held open: after the change of user the directory may not let us remove it, but we can still empty it (C-073).
    file: File,
}

impl PidFile {
    /// Writes this process's number and a newline, over whatever was there (C-068).
    ///
    /// # Errors
    /// As the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path: path.into(), file })
    }

    /// Removes it, unless another server has written its own number meanwhile.
    pub fn remove(self) {
        let ours =
            fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours && fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-034, C-068
    #[test]
    fn it_holds_the_pid_and_goes_away_unless_it_is_another_servers() {
        let path = std::env::temp_dir().join(format!("nbd-pidfile-test-{}", std::process::id()));
        fs::write(&path, "12345678901234567890\n").expect("an old file");
        let pid_file = PidFile::create(&path).expect("it is written over");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", std::process::id()));
        pid_file.remove();
        assert!(!path.exists());
        let pid_file = PidFile::create(&path).expect("it is written");
        fs::write(&path, "1\n").expect("another server");
        pid_file.remove();
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "1\n");
        fs::remove_file(&path).expect("cleaned up");
    }
}
