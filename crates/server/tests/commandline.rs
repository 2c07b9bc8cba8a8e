//! The command line beside that of the original: the same words to both programs, where both end at once.
#![allow(missing_docs)]

mod common;

use common::place::text;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{TempDir, skip_or_fail, tool};

/// nbd-server 3.24 itself; not ours under its name.
fn original() -> Option<PathBuf> {
    let path = tool("nbd-server")?;
    let output = Command::new(&path).arg("--nonsense").stdin(Stdio::null()).output().ok()?;
    let usage = text(&output.stdout);
    (usage.starts_with("This is nbd-server version 3.24\n") && !usage.contains("enhanced")).then_some(path)
}

/// What a program answers.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: Option<i32>,
    stdout: String,
    /// What is said, without who says it and when.
    said: Vec<String>,
}

/// Words of a line are apart by blanks; `''` is an empty one, and `DIR` the directory of the test.
fn ask(program: &Path, dir: &Path, line: &str) -> Answer {
    let words = line.split_whitespace().map(|word| match word {
        "''" => String::new(),
        word => word.replace("DIR", dir.to_str().expect("UTF-8")),
    });
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().expect("it runs");
    let stdout = match text(&output.stdout) {
        // The words of a usage are each program's own.
        usage if usage.contains("\nUsage: ") => {
            let first = usage.lines().next().unwrap_or_default();
            format!("{first}\nUsage\n")
        }
        other => other,
    };
    let said = text(&output.stderr);
    let said = said.lines().map(|line| gist(line, program)).filter(|line| !line.is_empty()).collect();
    Answer { status: output.status.code(), stdout, said }
}

/// `** (process:7): WARNING **: 12:00:00.000: TEXT` and `/usr/bin/nbd-server: TEXT` are both TEXT.
fn gist(line: &str, program: &Path) -> String {
    let named = format!("{}: ", program.display());
    let line = line.strip_prefix(&named).unwrap_or(line);
    if !line.starts_with("** ") {
        return line.to_owned();
    }
    let is_time = |piece: &str| piece.len() == 12 && piece.as_bytes()[8] == b'.';
    line.split(": ").skip_while(|piece| !is_time(piece)).skip(1).collect::<Vec<_>>().join(": ")
}

/// Lines that mean the same to both, to the byte on standard output.
const SAME: &[&str] = &[
    // C-001
    "-V",
    "--version",
    "--vers",
    "--v",
    "-dV",
    "-rmcV",
    "-V --nonsense",
    "-V 1 relative",
    "1 /f -V",
    // C-002
    "-h",
    "--help",
    "-?",
    "-a",
    "-t",
    "-q",
    "--nonsense",
    "--foo=bar",
    "--=x",
    "--m=3",
    "-rz",
    "--c",
    "--co",
    "--m",
    "--ma",
    "--dont-fork=1",
    "--r=1",
    "--version=3",
    "-C",
    "-p",
    "-l",
    "-o",
    "-M",
    "--config-file",
    "--output",
    "--max-connection",
    "2000 /f -5",
    "2000 /f -5k -o s",
    "-o s 2000 /f -1",
    // C-011, C-012
    "2000 relative/file",
    "2000 relative/file -V",
    "-o s 2000 relative/file",
    "2000 ''",
    // C-018, C-020
    "-o s",
    "-o s 2000",
    "--output-config=s",
];

/// Lines that end because there are no exports. Ours says why there are none, and then what the original says.
///
/// C-003, C-039
const QUITTING: &[&str] = &[
    "-C /nonexistent",
    "--con /nonexistent",
    "--d --config=/nonexistent",
    "-d -C /nonexistent -p DIR/pid",
    "-d -C /dev/null",
    "-d -C DIR",
    "2000 -C /nonexistent",
    "-r -m -c -M 3 -l A -C /nonexistent",
];

/// Lines that print a section. The original has a line more in each.
///
/// C-005, C-006, C-016, C-018
const SECTIONS: &[&str] = &[
    "-o s 2000 /f",
    "-os 2000 /f",
    "-o '' 2000 /f",
    "-oa -ob 2000 /f",
    "2000 -o s /f",
    "2000 /f -o s",
    "2000 /f 4k --output s",
    "--output-config=s 2000 /f --read-only --multi-file --copy-on-write --authorize-file A",
    "--o=s 2000 /f --r --mu --cop --a A",
    "-rmco s 2000 /f -lA",
    "-o s 2000 /f -r -m -c -l A",
    "-o s 2000 /f -c",
    "-o s -d -C x -p y 2000 /f -M 5",
    "-o s 2000 /f -M abc",
    "-o s 2000 /f -M -3",
    "-o s 2000 /f -M 0x10",
    "-o s 2000 /f --max 010",
    "-o s - /f",
    "-o s nbd /f",
    "-o s 127.0.0.1:2000 /f",
    "-o s 127.0.0.1@2000 /f",
    "-o s localhost:2000 /f",
    "-o s ::1@2000 /f",
    "-o s :2000 /f",
    "-o s @2000 /f",
    "-o s 127.0.0.1,10.0.0.1@2000 /f",
    "-o s 2000 /f 10k",
    "-o s 2000 /f 10K",
    "-o s 2000 /f 10m",
    "-o s 2000 /f 10M",
    "-o s 2000 /f 7",
    "-o s 2000 /f 007",
    "-o s 2000 /f +5",
    "-o s 2000 /f 0",
    "-o s 2000 /f ''",
    "-o s 2000 /f 5 and more words",
];

/// A status and a piece of what is printed.
type Piece = (i32, &'static str);

/// Lines whose answers differ on purpose: what stands in `docs/differences.md`, and what each program answers, by its
/// status and a piece of its text.
const DIFFERENT: &[(&str, &str, Piece, Piece)] = &[
    ("-w", "`-w` shows the usage without a word", (1, "Usage"), (1, "invalid option -- 'w'")),
    (
        "-n -C /nonexistent",
        "`-n`, `--nodaemon`",
        (1, "invalid option -- 'n'"),
        (1, "No configured exports; quitting."),
    ),
    (
        "--nodaemon -C /nonexistent",
        "`-n`, `--nodaemon`",
        (1, "unrecognized option '--nodaemon'"),
        (1, "No configured exports; quitting."),
    ),
    (
        "--max-connections 3 -o s 2000 /f",
        "`--max-connections` is in the usage only",
        (1, "unrecognized option '--max-connections'"),
        (0, "exportname = /f"),
    ),
    ("-o s 2000 /f 10G", "SIZE `10G`", (0, "filesize = 10\n"), (0, "filesize = 10737418240\n")),
    ("-o s 2000 /f 5t", "SIZE `10G`", (0, "filesize = 5\n"), (0, "filesize = 5497558138880\n")),
    ("-o s 2000 /f 10kk", "SIZE `10G`", (0, "filesize = 10240\n"), (1, "the size \"10kk\" is no number")),
    ("-o s 2000 /f 0x10", "SIZE `10G`", (0, "exportname = /f"), (1, "the size \"0x10\" is no number")),
    ("-o s 2000 /f abc", "SIZE `10G`", (0, "exportname = /f"), (1, "the size \"abc\" is no number")),
    ("-o s 2000 /f 1.5k", "SIZE `10G`", (0, "filesize = 1024\n"), (1, "the size \"1.5k\" is no number")),
    (
        "-o s 2000 /f 99999999999999999999",
        "SIZE `10G`",
        (0, "filesize = 9223372036854775807\n"),
        (1, "is no number"),
    ),
    ("-o s 99999 /f", "port 99999 is 34463", (0, "exportname = /f"), (1, "at most 65535")),
    (
        "-o s [::1]:2000 /f",
        "`[::1]:2000`",
        (0, "exportname = /f"),
        (1, "write an IPv6 address as ADDRESS@PORT"),
    ),
    (
        "-o s ::1:2000 /f",
        "`[::1]:2000`",
        (0, "exportname = /f"),
        (1, "write an IPv6 address as ADDRESS@PORT"),
    ),
    ("-o s -- 2000 /f", "words behind `--`", (1, "Need a complete configuration"), (0, "exportname = /f")),
    ("-o s 2000 /f -- 5k", "words behind `--`", (0, "exportname = /f"), (0, "filesize = 5120\n")),
    (
        "--commit-overlay a --drop-overlay a",
        "`--commit-overlay`, `--drop-overlay`",
        (1, "unrecognized option '--commit-overlay'"),
        (1, "one overlay at a time"),
    ),
    (
        "--check --drop-overlay a",
        "no `--check`",
        (1, "unrecognized option '--check'"),
        (1, "--check changes nothing"),
    ),
    (
        "--check -C /nonexistent",
        "no `--check`",
        (1, "unrecognized option '--check'"),
        (1, "\"starts\": false"),
    ),
];

/// The words of the command line mean what they mean to 3.24, mistakes included.
///
/// C-001, C-002, C-003, C-005, C-006, C-012, C-016, C-018, C-020
#[test]
fn the_same_words_have_the_same_answer_from_both_programs() {
    let Some(original) = original() else { return skip_or_fail("commandline", "nbd-server 3.24") };
    let (ours, dir) = (Path::new(env!("CARGO_BIN_EXE_nbd-server")), TempDir::new("commandline"));
    for line in SAME {
        assert_eq!(ask(ours, dir.path(), line), ask(&original, dir.path(), line), "{line}");
    }
    for line in QUITTING {
        let (theirs, ours) = (ask(&original, dir.path(), line), ask(ours, dir.path(), line));
        assert_eq!((ours.status, &ours.stdout), (theirs.status, &theirs.stdout), "{line}");
        assert!(theirs.said.iter().all(|said| ours.said.contains(said)), "{line}: {ours:?}");
        assert!(ours.said[0].starts_with("Could not parse config file: /"), "{line}: {ours:?}");
    }
    for line in SECTIONS {
        let (mut theirs, ours) = (ask(&original, dir.path(), line), ask(ours, dir.path(), line));
        assert!(theirs.stdout.contains("\tlistenaddr = (null)\n"), "{line}: {theirs:?}");
        // C-019: the same without a key that the original then does not take from its own file.
        theirs.stdout = theirs.stdout.replace("\tlistenaddr = (null)\n", "");
        assert_eq!(ours, theirs, "{line}");
    }
    assert!(!dir.join("pid").exists(), "nothing was started");
}

/// C-002, C-017, C-019, C-027, C-028, C-036
#[test]
fn what_differs_on_purpose_stands_in_the_list_of_differences() {
    let Some(original) = original() else { return skip_or_fail("commandline", "nbd-server 3.24") };
    let (ours, dir) = (Path::new(env!("CARGO_BIN_EXE_nbd-server")), TempDir::new("commandline"));
    let list = include_str!("../../../docs/differences.md");
    assert!(list.contains("`-o` prints `listenaddr = (null)`"));
    for (line, row, theirs, mine) in DIFFERENT {
        assert!(list.lines().any(|text| text.starts_with("| ") && text.contains(row)), "no row {row}");
        for (program, (status, piece)) in [(original.as_path(), theirs), (ours, mine)] {
            let answer = ask(program, dir.path(), line);
            let all = format!("{}{}", answer.stdout, answer.said.join("\n"));
            assert!(answer.status == Some(*status) && all.contains(piece), "{line}: {piece}: {answer:?}");
        }
    }
}

/// Configurations that cannot be served end both programs with status 1. Ours says what the original says, and the
/// reason besides.
///
/// C-038, C-039, C-040, C-041
#[test]
fn configurations_that_cannot_be_served_end_both_programs_alike() {
    let Some(original) = original() else { return skip_or_fail("commandline", "nbd-server 3.24") };
    let ours = Path::new(env!("CARGO_BIN_EXE_nbd-server"));
    let cases = [
        ("", "the [generic] group"),
        ("[generic]\n", "does not specify any exports"),
        ("[generic]\nport = 1\n", "does not specify any exports"),
        ("[a]\nexportname = /f\n", "the [generic] group"),
        ("[Generic]\n[a]\nexportname = /f\n", "the [generic] group"),
        ("[generic]\n[a]\n", "exportname"),
        ("[generic]\n[a]\nexportname = /f\nreadonly = yes\n", "readonly"),
        ("[generic]\n[a]\nexportname = /f\nfilesize = 10M\n", "filesize"),
        ("[generic]\n[a]\nexportname = /f\nvirtstyle = bogus\n", "virtstyle"),
        ("[generic]\nincludedir = /nonexistent\n[a]\nexportname = /f\n", "No such file or directory"),
        ("[generic]\n; comment\n[a]\nexportname = /f\n", ""),
        ("[generic]\n[a]\nexportname\n", ""),
        ("[generic]\n[]\n", ""),
    ];
    for (config, word) in cases {
        let dir = TempDir::new("commandline");
        fs::write(dir.join("config"), config).expect("written");
        for line in ["-C DIR/config -p DIR/pid", "-d -C DIR/config"] {
            let answers = [original.as_path(), ours].map(|program| ask(program, dir.path(), line));
            for answer in &answers {
                assert_eq!((answer.status, answer.stdout.as_str()), (Some(1), ""), "{config:?}: {answer:?}");
                assert!(answer.said.concat().contains(word), "{config:?}: no {word:?}: {answer:?}");
                let quits = answer.said.iter().any(|line| line == "No configured exports; quitting.");
                assert!(quits, "{config:?}: {answer:?}");
            }
            assert!(
                answers[1].said[0].contains("config"),
                "ours names the file: {config:?}: {:?}",
                answers[1]
            );
        }
        assert!(!dir.join("pid").exists());
    }
}
