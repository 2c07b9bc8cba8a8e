//! The contract of the syntax is GLib's key files: what GLib itself makes of ten thousand texts is what we make of them.
#![allow(missing_docs)]

use config::{Document, value};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{skip_or_fail, tool};

#[path = "glib/texts.rs"]
mod texts;

/// C-037, C-038, C-042, C-043, C-044, C-046, C-047, C-048, C-051, C-052, C-053: each row of the contract.
#[test]
fn every_row_of_the_contract_is_read_as_it_says() {
    for (text, wanted) in texts::CONTRACT {
        assert_eq!(described(text), *wanted, "{}", text.escape_ascii());
    }
}

/// The original reads with GLib, so every difference is a file that means one thing there and another one here.
#[test]
fn ten_thousand_texts_are_read_as_glib_reads_them() {
    let rows = texts::CONTRACT.iter().map(|(text, _)| text.to_vec());
    let texts: Vec<Vec<u8>> = rows.chain(texts::generated(10_000)).collect();
    let Some(answers) = glib(&texts) else { return skip_or_fail("ten_thousand_texts", "python3 and GLib") };
    assert_eq!(answers.len(), texts.len());
    let mut read = 0;
    for (text, answer) in texts.iter().zip(&answers) {
        let ours = described(text);
        if damaged(text) {
            // GLib cuts the line there. A path that is cut leads elsewhere, so here it is refused (P4).
            assert_eq!(ours, "refused\n", "{}", text.escape_ascii());
            continue;
        }
        assert_eq!(&ours, answer, "{}", text.escape_ascii());
        read += usize::from(ours != "refused\n");
    }
    let part = read * 100 / texts.len();
    assert!((30..90).contains(&part), "{part} of 100 are read: too few or too many to say anything");
}

/// A zero byte in a line that says something, but for one at the very end.
fn damaged(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    text.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii_start();
        !matches!(line.first(), Some(b'#' | 0)) && line.contains(&0)
    })
}

/// What we make of a text, in the oracle's words.
fn described(text: &[u8]) -> String {
    let Ok(document) = Document::parse(Path::new("c"), text) else { return "refused\n".into() };
    let mut told = String::new();
    for group in &document.groups {
        let _ = writeln!(told, "group {}", visible(&group.name));
        for entry in &group.entries {
            let last = group.entries.iter().rfind(|other| other.key == entry.key).expect("at least itself");
            let value = &last.value;
            let _ = writeln!(
                told,
                "key {} {} {} {} {}",
                visible(&entry.key),
                value::string(value).map_or("!".into(), |text| visible(text.as_bytes())),
                value::boolean(value).map_or("!".into(), |flag| u8::from(flag).to_string()),
                value::int(value).map_or("!".into(), |number| number.to_string()),
                value::int64(value).map_or("!".into(), |number| number.to_string()),
            );
        }
    }
    told
}

fn visible(bytes: &[u8]) -> String {
    bytes.iter().fold(".".into(), |text, &byte| match byte {
        b'!'..=b'~' if byte != b'\\' => text + &char::from(byte).to_string(),
        _ => text + &format!("\\x{byte:02x}"),
    })
}

/// What GLib makes of them; none where it cannot be asked.
fn glib(texts: &[Vec<u8>]) -> Option<Vec<String>> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/glib/oracle.py");
    let mut oracle = Command::new(tool("python3")?)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut input = oracle.stdin.take().expect("piped");
    let sent: Vec<u8> = texts
        .iter()
        .flat_map(|text| {
            [&u32::try_from(text.len()).expect("a text").to_le_bytes(), text.as_slice()].concat()
        })
        .collect();
    // It is gone before it has read all where there is no GLib.
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let output = oracle.wait_with_output().expect("it ends");
    let _ = writer.join().expect("no panic");
    if output.status.code() == Some(3) {
        return None;
    }
    assert!(output.status.success(), "the oracle failed: {}", output.status);
    let told = String::from_utf8(output.stdout).expect("ASCII");
    Some(told.split_terminator('\0').map(Into::into).collect())
}
