//! The package's rules for logcheck: silent about what is well, and only about that.
#![allow(missing_docs)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::spec::CMD_FLAG_FUA;

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/debian/logcheck")
}

/// What logcheck would send by mail: lines, as syslog has them, that no rule matches.
fn reported(lines: &[String]) -> Vec<String> {
    let rules = std::fs::read_to_string(rules()).expect("the rules");
    // As logcheck takes them.
    let patterns: Vec<&str> =
        rules.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let mut grep = Command::new("grep")
        .args(["--extended-regexp", "--invert-match", &patterns.join("\n")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("grep runs");
    let mut input = grep.stdin.take().expect("a pipe");
    for (number, line) in lines.iter().enumerate() {
        // Both spellings of the time, both names of the server.
        let prefix = if number % 2 == 0 {
            "Nov  4 12:00:00 host-1 nbd_server[123]:"
        } else {
            "2026-11-04T12:00:00.123456+00:00 host-1 nbd-server[123]:"
        };
        writeln!(input, "{prefix} {line}").expect("grep reads");
    }
    drop(input);
    let output = grep.wait_with_output().expect("grep ends");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(Into::into).collect()
}

#[test]
fn logcheck_reports_nothing_of_a_server_that_is_well_and_everything_that_is_wrong() {
    let mut server =
        common::server().export("placeholder", Path::new("/dev/null"), "readonly = true\n").start();
    let (one, two) = (server.dir().join("one"), server.dir().join("two"));
    for path in [&one, &two] {
        std::fs::write(path, [0; 8192]).expect("a disk");
    }
    server.write_export("a", &one, "");
    server.write_export("b", &two, "");
    server.reload().expect_complete();
    let mut client = server.open("a");
    client.write_with(CMD_FLAG_FUA, 0, b"bytes").expect("it is served");
    client.disc().expect("it leaves");
    let mut client = server.open("a");
    // A session is fenced, an export changes, one goes, one comes.
    server.write_export("a", &two, "readonly = true\n");
    server.remove_conf("b.conf");
    server.write_export("c", &one, "");
    server.reload().expect_complete();
    assert!(client.is_closed());
    server.wait_for(|line| line.starts_with("fenced "), std::time::Duration::from_secs(10)).expect("its end");
    let fine = server.lines();
    for word in ["requested", "added", "changed", "removed", "fenced", "complete"] {
        assert!(
            fine.iter().any(|line| line.starts_with("MIGRATEKIT") && line.contains(word)),
            "{word}: {fine:?}"
        );
    }
    assert_eq!(reported(&fine), Vec::<String>::new());

    // A file is broken, another's disk is not there; a client hangs up in the middle.
    server.write_conf("a.conf", "[a\n");
    server.write_export("d", Path::new("/nonexistent/disk"), "");
    server.reload();
    drop(server.open("c"));
    server.wait_for(|line| line.contains("hung up"), std::time::Duration::from_secs(10)).expect("its end");
    server.terminate();
    let lines = server.lines().split_off(fine.len());
    let told = reported(&lines).join("\n");
    for wanted in ["MIGRATEKIT: export kept", "export unavailable", "reload incomplete", "hung up"] {
        assert!(told.contains(wanted), "{wanted} is not told:\n{told}");
    }
    assert!(!told.contains("reload requested") && !told.contains("stopped"), "{told}");
}
