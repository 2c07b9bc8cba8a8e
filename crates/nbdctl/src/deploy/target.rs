//! Which file is replaced.

use super::command::ask;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where Debian's package has had it: `/bin` until 12, `/usr/bin` since 13.
const USUAL: [&str; 2] = ["/usr/bin/nbd-server", "/bin/nbd-server"];

/// It has its program elsewhere, behind a link in the original's place: whatever is done there is done by dpkg.
const OUR_PACKAGE: &str = "nbd-server-enhanced";

/// The file that is replaced, behind all links of its directories, and what is worth a word about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The file itself.
    pub path: PathBuf,
    /// Worth a word.
    pub notes: Vec<String>,
}

/// What was asked for, else what runs, else what the package has.
///
/// # Errors
/// There is none, or it is nothing that is replaced safely.
pub fn find(asked: Option<&Path>, runs: Option<&Path>) -> Result<Target, String> {
    let path = match (asked, runs) {
        (Some(path), _) | (None, Some(path)) => path.to_path_buf(),
        (None, None) => usual()?,
    };
    judge(&path)
}

fn usual() -> Result<PathBuf, String> {
    let owned = ask("dpkg", &["-S", "*bin/nbd-server"], None).map(|ran| ran.out).unwrap_or_default();
    let owned = owned.lines().filter_map(|line| line.split_once(": ")).map(|(_, path)| PathBuf::from(path));
    let there = owned.chain(USUAL.map(PathBuf::from)).find(|path| path.exists());
    there.ok_or_else(|| "no server runs and none is installed: --target says which file is replaced".into())
}

fn judge(path: &Path) -> Result<Target, String> {
    let at = path.display();
    let real = fs::canonicalize(path).map_err(|error| format!("the target {at}: {error}"))?;
    let mut notes = Vec::new();
    if let Ok(link) = fs::read_link(path) {
        if link.starts_with("/etc/alternatives") || real.starts_with("/etc/alternatives") {
            return Err(format!(
                "{at} is managed by update-alternatives, which would undo a replacement: choose there, or name the file itself with --target"
            ));
        }
        notes.push(format!("{at} is a link: {} is replaced", real.display()));
    }
    let what = fs::metadata(&real).map_err(|error| format!("the target {at}: {error}"))?;
    if !what.is_file() {
        return Err(format!("the target {at} is no regular file"));
    }
    if what.nlink() > 1 {
        notes.push(format!(
            "{} has {} names: the others go on naming the program that it is now",
            real.display(),
            what.nlink()
        ));
    }
    if let Some(diversion) = diversion(&real) {
        return Err(format!(
            "{at} is diverted ({diversion}): a package has put its own server there. Install or remove that package instead"
        ));
    }
    if let Some(package) = owner(&real) {
        if package == OUR_PACKAGE {
            return Err(format!(
                "{} belongs to the package {package}: install another version of it, or remove it (`dpkg --remove {package}`), which brings the original back",
                real.display()
            ));
        }
        notes.push(format!(
            "{} belongs to the package {package}, whose next upgrade will replace it again",
            real.display()
        ));
    }
    Ok(Target { path: real, notes })
}

/// The line of `dpkg-divert` that concerns a file, under either spelling of merged directories.
fn diversion(path: &Path) -> Option<String> {
    let list = ask("dpkg-divert", &["--list", "*nbd-server*"], None).ok()?.out;
    let names = spellings(path);
    let about = list.lines().find(|line| names.iter().any(|name| is_about(line, name)));
    about.map(|line| line.trim().to_owned())
}

/// `diversion of FILE to OTHER by PACKAGE`
fn is_about(line: &str, name: &str) -> bool {
    let words = line.split_whitespace().map(|word| word.trim_matches(['‘', '’', '\'', '"']));
    words.take_while(|word| *word != "to").any(|word| word == name)
}

fn owner(path: &Path) -> Option<String> {
    spellings(path).iter().find_map(|name| {
        let ran = ask("dpkg", &["-S", name], None).ok()?;
        let line = ran.out.lines().next().filter(|_| ran.is_well())?;
        line.split_once(": ").map(|(package, _)| package.to_owned())
    })
}

/// `/usr/bin/x` is `/bin/x` too where `/bin` leads to `/usr/bin`.
fn spellings(path: &Path) -> Vec<String> {
    let mut names = vec![path.display().to_string()];
    let short = names[0].strip_prefix("/usr").map(str::to_owned);
    names.extend(short.filter(|short| fs::canonicalize(short).is_ok_and(|real| real == path)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diversion_is_about_the_file_that_is_diverted_and_not_about_where_it_went() {
        let line = "diversion of /bin/nbd-server to /bin/nbd-server.distrib by nbd-server-enhanced";
        assert!(is_about(line, "/bin/nbd-server"));
        assert!(!is_about(line, "/bin/nbd-server.distrib") && !is_about(line, "/usr/bin/nbd-server"));
        assert!(is_about("local diversion of /bin/nbd-server to /bin/nbd-server.distrib", "/bin/nbd-server"));
    }

    #[test]
    fn a_link_is_followed_and_what_is_no_file_is_refused() {
        let dir = std::env::temp_dir().join(format!("nbdctl-target-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let dir = fs::canonicalize(dir).expect("it is there");
        fs::write(dir.join("real"), "").expect("a file");
        std::os::unix::fs::symlink("real", dir.join("link")).expect("a link");
        let target = find(Some(&dir.join("link")), Some(Path::new("/elsewhere"))).expect("a file");
        assert_eq!(target.path, dir.join("real"));
        assert!(target.notes[0].contains("is a link"), "{:?}", target.notes);
        fs::hard_link(dir.join("real"), dir.join("second")).expect("a link");
        let target = find(Some(&dir.join("real")), None).expect("a file");
        assert!(target.notes[0].contains("has 2 names: the others go on"), "{:?}", target.notes);
        assert!(find(Some(&dir), None).is_err_and(|why| why.contains("no regular file")));
        assert!(find(Some(&dir.join("none")), None).is_err_and(|why| why.contains("No such file")));
        fs::remove_dir_all(dir).expect("removed");
    }
}
