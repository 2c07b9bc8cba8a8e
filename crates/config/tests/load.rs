//! P5, to the letter: one bad file harms only itself.
#![allow(missing_docs)]

use config::{ExportName, Loaded, Options, Refused, SourceError, Sources, load};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MAIN: &str = "/etc/config";
const DIR: &str = "/etc/conf.d";
const GENERIC: &str = "[generic]\nincludedir = /etc/conf.d\n";

#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<PathBuf, Result<Vec<u8>, String>>,
    no_directory: bool,
    /// Left out of listings.
    overlooked: Option<PathBuf>,
}

impl Disk {
    fn new(snippets: &[(&str, &str)]) -> Self {
        let mut disk = Self::default();
        disk.write(MAIN, GENERIC);
        for (name, text) in snippets {
            disk.write(&format!("{DIR}/{name}"), text);
        }
        disk
    }

    fn write(&mut self, path: &str, text: &str) {
        self.files.insert(path.into(), Ok(text.into()));
    }

    fn snippet(&mut self, name: &str, text: &str) {
        self.write(&format!("{DIR}/{name}"), text);
    }

    fn remove(&mut self, path: &str) {
        self.files.remove(Path::new(path));
    }
}

impl Sources for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        match self.files.get(path) {
            Some(Ok(text)) => Ok(text.clone()),
            Some(Err(reason)) => Err(SourceError { missing: false, dangling: false, reason: reason.clone() }),
            None => Err(SourceError {
                missing: true,
                dangling: false,
                reason: "No such file or directory".into(),
            }),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
        if self.no_directory {
            return Err(SourceError {
                missing: true,
                dangling: false,
                reason: "No such file or directory".into(),
            });
        }
        let seen = self.files.keys().filter(|path| Some(*path) != self.overlooked.as_ref());
        Ok(seen.filter(|path| path.parent() == Some(dir)).cloned().collect())
    }
}

fn start(disk: &Disk) -> Result<Loaded, Refused> {
    load(Path::new(MAIN), disk, None, Options::default())
}

fn reload(disk: &Disk, running: &Loaded) -> Result<Loaded, Refused> {
    load(Path::new(MAIN), disk, Some(running), Options::default())
}

fn paths(loaded: &Loaded) -> Vec<(String, String)> {
    loaded
        .config
        .exports
        .iter()
        .map(|export| (export.name.to_string(), export.storage.path.clone()))
        .collect()
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, path)| ((*name).into(), (*path).into())).collect()
}

fn two() -> (Disk, Loaded) {
    let disk = Disk::new(&[("a.conf", "[a]\nexportname=/a\n"), ("b.conf", "[b]\nexportname=/b\n")]);
    let loaded = start(&disk).expect("it loads");
    (disk, loaded)
}

/// Each way in which a file can be broken keeps what it described, and lets the other files apply.
#[test]
fn a_broken_snippet_keeps_its_own_exports_and_nothing_else() {
    let broken = [
        "[a\nexportname=/x\n",
        "[a]\nexportname=/x\nreadonly = maybe\n",
        "[a]\nreadonly = true\n",
        "[a]\nexportname = /dev/v",
        "[a]\nexportn",
        "",
        "# nothing\n",
        "[a]\nexportname = /x\n[c]\nexportname = /c\nfilesize = 10M\n",
        "[a]\nexportname = /x\ncopyonwrite = true\n",
    ];
    for text in broken {
        let (mut disk, running) = two();
        disk.snippet("a.conf", text);
        disk.snippet("b.conf", "[b]\nexportname=/other\n");
        let loaded = reload(&disk, &running).expect("the main file is well");
        assert_eq!(paths(&loaded), named(&[("a", "/a"), ("b", "/other")]), "{text:?}");
        assert_eq!(loaded.kept_back[0].exports, [ExportName::from("a")], "{text:?}");
        assert_eq!(loaded.kept_back[0].problem.file, Path::new("/etc/conf.d/a.conf"), "{text:?}");
    }
}

#[test]
fn an_unreadable_snippet_keeps_its_exports() {
    let (mut disk, running) = two();
    disk.files.insert("/etc/conf.d/a.conf".into(), Err("Permission denied".into()));
    let loaded = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&loaded), named(&[("a", "/a"), ("b", "/b")]));
    assert!(loaded.kept_back[0].problem.to_string().contains("Permission denied"));
}

/// What was kept back once is still kept back at the next reload, and applies when the file is mended.
#[test]
fn a_snippet_that_stays_broken_keeps_its_exports_for_ever() {
    let (mut disk, mut running) = two();
    for _ in 0..3 {
        disk.snippet("a.conf", "");
        running = reload(&disk, &running).expect("the main file is well");
        assert_eq!(paths(&running), named(&[("a", "/a"), ("b", "/b")]));
    }
    disk.snippet("a.conf", "[a]\nexportname = /x");
    running = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&running), named(&[("a", "/a"), ("b", "/b")]), "cut in mid-line after it was empty");
    disk.snippet("a.conf", "[a]\nexportname = /x\n");
    running = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&running), named(&[("a", "/x"), ("b", "/b")]));
    assert_eq!(running.kept_back, []);
}

#[test]
fn deleting_a_file_removes_its_exports_even_beside_a_broken_one() {
    let (mut disk, running) = two();
    disk.remove("/etc/conf.d/b.conf");
    disk.snippet("a.conf", "junk");
    let loaded = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&loaded), named(&[("a", "/a")]));
}

#[test]
fn a_directory_that_is_gone_is_no_removal() {
    let (mut disk, running) = two();
    disk.no_directory = true;
    let loaded = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&loaded), paths(&running));
    assert_eq!(loaded.kept_back[0].exports.len(), 2);
    // C-063
    let refused = start(&disk).expect_err("at start it is an error");
    assert!(refused.problems[0].what.starts_with("Invalid directory specified:"));
}

#[test]
fn a_broken_main_file_changes_nothing_and_tells_all_that_is_wrong() {
    let (mut disk, running) = two();
    disk.write(
        MAIN,
        "[generic]\nallowlist = perhaps\nmax_threads = 0\nincludedir = /etc/conf.d\n[x]\nreadonly = 2\n",
    );
    disk.snippet("a.conf", "junk\n");
    let refused = reload(&disk, &running).expect_err("refused");
    let lines: Vec<_> = refused.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(5), Some(6), Some(1)]);
    disk.remove(MAIN);
    assert!(reload(&disk, &running).expect_err("refused").missing);
}

/// C-040
#[test]
fn the_first_group_must_be_generic() {
    for text in ["", "[a]\nexportname=/a\n", "[Generic]\n", "[ generic ]\n"] {
        let mut disk = Disk::default();
        disk.write(MAIN, text);
        let refused = start(&disk).expect_err("refused");
        assert_eq!(refused.problems[0].what, "Config file does not contain the [generic] group!", "{text:?}");
    }
}

/// C-041, C-064
#[test]
fn without_exports_only_a_directory_gives_hope() {
    let mut disk = Disk::new(&[]);
    assert!(start(&disk).expect("it loads").warnings[0].what.contains("does not specify any exports"));
    disk.write(MAIN, "[generic]\n");
    assert!(start(&disk).is_err());
    let options = Options { command_line_export: true };
    assert!(load(Path::new(MAIN), &disk, None, options).is_ok());
}

/// Two files claim one name: the one being served goes on, whatever their order; at start the first wins.
#[test]
fn of_two_descriptions_the_served_one_goes_on() {
    let (mut disk, running) = two();
    disk.snippet("0.conf", "[b]\nexportname=/usurper\n");
    let loaded = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&loaded), named(&[("a", "/a"), ("b", "/b")]));
    let problem = loaded.kept_back[0].problem.to_string();
    assert!(
        problem.contains("/etc/conf.d/0.conf:1") && problem.contains("/etc/conf.d/b.conf:1"),
        "{problem}"
    );
    let fresh = start(&disk).expect("it loads");
    assert_eq!(paths(&fresh), named(&[("b", "/usurper"), ("a", "/a")]));
}

#[test]
fn a_name_held_by_a_broken_file_cannot_be_taken_by_another() {
    let (mut disk, running) = two();
    disk.snippet("b.conf", "junk");
    disk.snippet("0.conf", "[b]\nexportname=/usurper\n");
    let loaded = reload(&disk, &running).expect("the main file is well");
    assert_eq!(paths(&loaded), named(&[("a", "/a"), ("b", "/b")]));
}

#[test]
fn an_export_that_moves_to_another_file_is_the_same_export() {
    let (mut disk, running) = two();
    disk.remove("/etc/conf.d/b.conf");
    disk.snippet("z.conf", "[b]\nexportname=/b\n");
    let loaded = reload(&disk, &running).expect("the main file is well");
    assert_eq!(loaded.kept_back, []);
    assert_eq!(loaded.config, running.config);
}

/// P5 at start, and `strict` for all or nothing.
#[test]
fn at_start_a_broken_snippet_is_left_out_unless_strict() {
    let mut disk = Disk::new(&[("a.conf", "junk\n"), ("b.conf", "[b]\nexportname=/b\n")]);
    let loaded = start(&disk).expect("the others are served");
    assert_eq!(paths(&loaded), named(&[("b", "/b")]));
    assert_eq!(loaded.kept_back.len(), 1);
    disk.write(MAIN, "[generic]\nstrict = true\nincludedir = /etc/conf.d\n");
    assert!(start(&disk).is_err());
}

/// C-066
#[test]
fn generic_in_a_snippet_is_an_export_of_that_name() {
    let disk = Disk::new(&[("a.conf", "[generic]\nexportname=/g\nport=1\n")]);
    let loaded = start(&disk).expect("it loads");
    assert_eq!(paths(&loaded), named(&[("generic", "/g")]));
    assert_eq!(loaded.config.generic.port, "10809");
}

/// What the appliance ships must load, with each key that does nothing named (P8).
#[test]
fn the_appliances_files_load_and_say_what_they_ignore() {
    let mut disk = Disk::new(&[(
        "v.conf",
        "[migration-vol-42e8fd44]\nexportname = /dev/vdc\nreadonly = false\nmultifile = false\ncopyonwrite = false\n",
    )]);
    disk.write(
        MAIN,
        "[generic]\nuser = root\ngroup = root\nport = 10809\nbind = 127.0.0.1\nallowlist = true\nincludedir = /etc/conf.d\n\
         logfile = /var/log/x\nloglevel = 3\nmax_connections = 50\ntimeout = 30\n[dummy]\nexportname = /dev/null\nreadonly = true\n",
    );
    let loaded = start(&disk).expect("it loads");
    assert_eq!(paths(&loaded), named(&[("dummy", "/dev/null"), ("migration-vol-42e8fd44", "/dev/vdc")]));
    let warned: Vec<_> = loaded.warnings.iter().filter_map(|warning| warning.key.as_deref()).collect();
    assert_eq!(warned, ["bind", "logfile", "loglevel", "max_connections", "timeout"]);
    assert_eq!(loaded.kept_back, []);
}

/// What is not there yet is named, never ignored: the export is left out, or the key is warned of.
#[test]
fn keys_of_the_next_issue_are_never_silent() {
    let out = [
        "virtstyle = iphash\nexportname = /x/%s",
        "prerun = true",
        "postrun = true",
        "transactionlog = /l",
        "multifile = true",
        "treefiles = true",
        "copyonwrite = true",
        "waitfile = true",
        "temporary = true",
    ];
    let warned = [
        "datalog = true",
        "cowdir = /c",
        "sparse_cow = true",
        "splice = true",
        "listenaddr = x",
        "timeout = 3",
    ];
    for (lines, count) in out.iter().map(|line| (line, 0)).chain(warned.iter().map(|line| (line, 1))) {
        let disk = Disk::new(&[("a.conf", &format!("[a]\nexportname=/a\n{lines}\n"))]);
        let loaded = start(&disk).expect("it loads");
        assert_eq!(loaded.config.exports.len(), count, "{lines}");
        let said =
            loaded.kept_back.len() + loaded.warnings.iter().filter(|warning| warning.key.is_some()).count();
        assert_eq!(said, 1, "{lines}");
    }
}

/// C-160
#[test]
fn a_percent_sign_is_written_twice() {
    for (lines, path) in [("exportname=/x/100%%", "/x/100%"), ("exportname=/x/%s\nvirtstyle=none", "/x/%s")] {
        let disk = Disk::new(&[("a.conf", &format!("[a]\n{lines}\n"))]);
        assert_eq!(paths(&start(&disk).expect("it loads")), named(&[("a", path)]));
    }
}

/// C-045, C-054, C-055, C-056, C-057
#[test]
fn the_originals_words_are_kept() {
    let cases = [
        ("readonly=yes\nexportname=/a", "Could not parse readonly in group a"),
        ("readonly=true", "Could not find required value exportname in group a"),
        ("exportname=/a\nvirtstyle=bogus", "Invalid value bogus for parameter virtstyle in group a"),
        ("exportname=/a\nvirtstyle=cidrhash8", "missing length"),
        (
            "exportname=/a\ncopyonwrite=true\nsplice=true",
            "Cannot mix copyonwrite with splice for an export in group a",
        ),
        ("exportname=/a\nsdp=true", "SDP"),
    ];
    for (lines, words) in cases {
        let mut disk = Disk::default();
        disk.write(MAIN, &format!("[generic]\n[a]\n{lines}\n"));
        let refused = start(&disk).expect_err(words);
        assert!(refused.problems.iter().any(|problem| problem.what.contains(words)), "{words}: {refused:?}");
    }
    let mut disk = Disk::default();
    disk.write(MAIN, "[generic]\noldstyle = true\n[a]\nexportname=/a\n");
    assert!(start(&disk).expect_err("refused").problems[0].what.contains("3.10"));
}

/// A directory that is listed while a file in it is renamed over may be told without it. That is no removal; one whose
/// file cannot be read either is.
#[test]
fn a_file_that_a_listing_misses_is_not_removed() {
    let mut disk = Disk::new(&[("a.conf", "[a]\nexportname = /a\n"), ("b.conf", "[b]\nexportname = /b\n")]);
    let loaded = start(&disk).expect("it loads");
    disk.overlooked = Some(Path::new(DIR).join("a.conf"));
    let again = load(Path::new(MAIN), &disk, Some(&loaded), Options::default()).expect("it loads");
    assert_eq!((again.config.exports.len(), again.kept_back.len()), (2, 0));
    disk.remove(&format!("{DIR}/a.conf"));
    let again = load(Path::new(MAIN), &disk, Some(&again), Options::default()).expect("it loads");
    assert_eq!(again.config.exports.len(), 1);
    // Another directory is another matter: what was in the old one is gone.
    disk.write(MAIN, "[generic]\nincludedir = /etc/other.d\n");
    let again = load(Path::new(MAIN), &disk, Some(&again), Options::default()).expect("it loads");
    assert_eq!(again.config.exports.len(), 0);
}

/// A second file that claims a name, and asks for what is not there yet, does not freeze the one that is served.
#[test]
fn a_claim_that_cannot_be_served_holds_up_nobody() {
    let (mut disk, running) = two();
    disk.snippet("z.conf", "[a]\nexportname = /z\ncopyonwrite = true\n");
    disk.snippet("a.conf", "[a]\nexportname = /new\n");
    let loaded = reload(&disk, &running).expect("it loads");
    assert_eq!(paths(&loaded), named(&[("a", "/new"), ("b", "/b")]));
    assert_eq!(loaded.kept_back.len(), 1);
}
