//! A server program as a file: which one it is, and which bytes.

use super::command::ask;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What stands in the usage of ours.
const OURS: &str = "nbd-server-enhanced";

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// nbd-server of the NBD project.
    Original,
    /// This project's.
    Enhanced,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Original => "the original",
            Self::Enhanced => "nbd-server-enhanced",
        })
    }
}

/// A program, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Where.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// What it says to `-V`.
    pub version: String,
    /// Which one it is.
    pub kind: Kind,
    /// It is a text for another program: which file serves in the end nobody can tell from outside.
    #[serde(default)]
    pub script: bool,
}

impl Program {
    /// Looks at the file, and asks it.
    ///
    /// # Errors
    /// It cannot be read or run here, or is no nbd-server.
    pub fn look(path: &Path) -> Result<Self, String> {
        let at = path.display();
        let sha256 = sha256(path).map_err(|error| format!("{at}: {error}"))?;
        let version = ask(path, &["-V"], None).map_err(|why| format!("{at} does not run here: {why}"))?;
        let said = version.out.trim();
        if !version.is_well() || !said.starts_with("This is nbd-server version ") {
            let answer = format!("{}{}", version.out, version.err);
            return Err(format!("{at} is no nbd-server: to -V it says {:?}", answer.trim()));
        }
        let usage = ask(path, &["--help"], None).map_err(|why| format!("{at} does not run here: {why}"))?;
        let kind = if usage.out.contains(OURS) { Kind::Enhanced } else { Kind::Original };
        Ok(Self { path: path.into(), sha256, version: said.into(), kind, script: is_script(path) })
    }

    /// What does not run any more, and is replaced just for that.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn broken(path: &Path, why: String) -> Result<Self, String> {
        let sha256 = sha256(path).map_err(|error| format!("{}: {error}", path.display()))?;
        // It is not sent SIGHUP.
        Ok(Self { path: path.into(), sha256, version: why, kind: Kind::Original, script: is_script(path) })
    }

    /// The first digits, enough to tell two apart.
    pub fn short(&self) -> &str {
        self.sha256.get(..12).unwrap_or(&self.sha256)
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}; {}; sha256 {})", self.path.display(), self.kind, self.version, self.sha256)
    }
}

/// Of a file's bytes.
///
/// # Errors
/// As the system says.
pub fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// It begins as a text for another program does.
pub fn is_script(path: &Path) -> bool {
    let mut begin = [0; 2];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *b"#!"
}

/// Compares it with the `SHA256SUMS` beside it. What was found, to be told.
///
/// # Errors
/// Its line there is another one.
pub fn compare_with_sums(path: &Path, sha256: &str) -> Result<String, String> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let sums = real.parent().unwrap_or(Path::new("/")).join("SHA256SUMS");
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(text) = fs::read_to_string(&sums) else {
        return Ok("there is no SHA256SUMS beside it to compare with".into());
    };
    match listed(&text, &name) {
        None => Ok(format!("{} has no line for {name}", sums.display())),
        Some(wanted) if wanted == sha256 => Ok(format!("it is as {} says", sums.display())),
        Some(wanted) => {
            let all = sums.display();
            Err(format!("{} is not what {all} says: {wanted} there, {sha256} here", path.display()))
        }
    }
}

/// The line of `sha256sum` for a name: digits, a blank, a blank or a star, the name.
fn listed(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (digits, rest) = line.split_once(' ')?;
        let file = rest.strip_prefix([' ', '*'])?;
        (file.strip_prefix("./").unwrap_or(file) == name).then(|| digits.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_file_is_that_of_everybody() {
        let path = std::env::temp_dir().join(format!("nbdctl-sum-{}", std::process::id()));
        fs::write(&path, "abc").expect("written");
        let sum = sha256(&path).expect("read");
        fs::remove_file(&path).expect("removed");
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_line_of_sums_is_found_by_the_whole_name() {
        let text = "AA  nbdctl\nbb *./nbd-server\ncc  nbd-server-enhanced\n";
        assert_eq!(listed(text, "nbd-server").as_deref(), Some("bb"));
        assert_eq!(listed(text, "nbdctl").as_deref(), Some("aa"));
        assert_eq!(listed(text, "server"), None);
    }
}
