//! The rules of the house, held by reading its source. Each rule is a test, its name the rule.
#![allow(clippy::unwrap_used, reason = "the whole file is a test")]

#[path = "../src/manual.rs"]
mod manual;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each room may depend on when it is used, tests aside. `server` may use all of them.
const MAY_USE: &[(&str, &str)] = &[
    ("wire", ""),
    ("config", ""),
    (
        "control",
        "axum http-body-util hyper hyper-util jiff rustix serde serde_json tokio tower utoipa utoipa-axum",
    ),
    (
        "nbdctl",
        "clap clap_complete config control http-body-util hyper hyper-util jiff ratatui rustix serde serde_json \
         sha2 signal-hook sqlx tokio wire",
    ),
    ("store", "rustix libc"),
    ("session", "wire store loom"),
    ("testkit", "store rustix"),
    ("lab", "base64 rustix serde_json testkit"),
];

/// Files over 400 lines that are one noun all the same. Each is a debt with a reason.
const LONG: &[(&str, &str)] = &[];

const LINES_MAX: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory, relative to the root.
fn files(dir: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(dir)];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "corpus", "artifacts", ".git"].contains(&name.as_str()) {
                todo.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn rooms() -> Vec<String> {
    let dirs = std::fs::read_dir(root().join("crates")).unwrap();
    dirs.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Source files of a room.
fn source(room: &str) -> Vec<String> {
    files(&format!("crates/{room}/src"), ".rs")
}

/// The names in a manifest's tables whose title satisfies `wanted`.
fn dependencies(manifest: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut names, mut inside) = (Vec::new(), false);
    for line in manifest.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[') {
            let title = title.trim_end_matches(']');
            inside = wanted(title);
            // [dependencies.name]
            let named = title
                .rsplit_once("dependencies.")
                .filter(|(before, _)| wanted(&format!("{before}dependencies")));
            names.extend(named.map(|(_, name)| name.to_owned()));
        } else if inside && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.extend((!name.is_empty()).then(|| name.to_owned()));
        }
    }
    names
}

/// Tables that count when a crate is used: not those of tests.
fn in_use(title: &str) -> bool {
    (title == "dependencies" || title.ends_with(".dependencies") || title.ends_with("build-dependencies"))
        && !title.contains("dev-")
}

/// A file without its unit tests, comments, and whatever else stands behind `#[cfg(test)]`.
fn code(file: &str) -> String {
    let text = read(file);
    let before = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let (mut kept, mut lines) = (String::new(), before.lines());
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // One line, or up to the brace that stands where the attribute stands.
            let first = lines.next().unwrap_or_default();
            let end = format!("{}}}", line.replace("#[cfg(test)]", ""));
            if first.ends_with('{') {
                lines.by_ref().find(|line| *line == end);
            }
        } else if !line.trim_start().starts_with("//") {
            kept += &format!("{line}\n");
        }
    }
    kept
}

/// Whether a file is a module that only tests see: `#[cfg(test)]` stands over its `mod` line.
fn only_for_tests(file: &str) -> bool {
    let path = Path::new(file);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let parent = path.parent().unwrap_or(Path::new(""));
    let above = ["lib.rs", "mod.rs", "main.rs"].map(|file| parent.join(file));
    let beside = parent.with_extension("rs");
    above.iter().chain([&beside]).filter(|file| root().join(file).is_file()).any(|file| {
        let text = read(file);
        ["", "pub ", "pub(crate) "]
            .iter()
            .any(|seen| text.contains(&format!("#[cfg(test)]\n{seen}mod {name};")))
    })
}

fn none_of(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_room_depends_only_on_what_the_table_allows() {
    let mut problems = Vec::new();
    for room in rooms().iter().filter(|room| *room != "server") {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == room) else {
            problems.push(format!("{room} is not in the table of rooms"));
            continue;
        };
        let used = dependencies(&read(format!("crates/{room}/Cargo.toml")), in_use);
        let strange = used.iter().filter(|name| !allowed.split(' ').any(|allowed| allowed == *name));
        problems.extend(strange.map(|name| format!("{room} may not use {name}")));
    }
    none_of(problems);
}

#[test]
fn the_test_kit_is_used_by_tests_alone_and_knows_no_wire() {
    let mut problems = Vec::new();
    // The lab is for tests alone itself.
    for room in rooms().into_iter().filter(|room| room != "lab") {
        let manifest = read(format!("crates/{room}/Cargo.toml"));
        if dependencies(&manifest, in_use).iter().any(|name| ["testkit", "lab"].contains(&name.as_str())) {
            problems.push(format!("{room} uses testkit or lab outside tests"));
        }
    }
    let kit = read("crates/testkit/Cargo.toml");
    let any = dependencies(&kit, |title| title.contains("dependencies"));
    if any.iter().any(|name| name == "wire") {
        problems.push("testkit depends on wire, so errors could cancel themselves out".into());
    }
    none_of(problems);
}

#[test]
fn loom_is_there_only_under_its_flag() {
    let manifest = read("crates/session/Cargo.toml");
    assert!(!dependencies(&manifest, |title| title == "dependencies").contains(&"loom".to_owned()));
}

#[test]
fn unsafe_stands_in_one_file() {
    let mut problems = Vec::new();
    for room in rooms() {
        for file in files(&format!("crates/{room}"), ".rs") {
            let spot = file == "crates/store/src/sys.rs";
            // dpkg's name for not waiting for the disk.
            let code = code(&file).replace("force-unsafe-io", "");
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            if words && !spot {
                problems.push(format!("{file} has unsafe code"));
            }
        }
        let wanted = if room == "store" { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
        if !read(format!("crates/{room}/src/lib.rs")).contains(wanted) {
            problems.push(format!("crates/{room}/src/lib.rs does not say {wanted}"));
        }
    }
    for file in
        files("crates", ".rs").iter().filter(|file| file.contains("/src/bin/") || file.ends_with("/main.rs"))
    {
        if !read(file).contains("#![forbid(unsafe_code)]") {
            problems.push(format!("{file} does not say #![forbid(unsafe_code)]"));
        }
    }
    none_of(problems);
}

#[test]
fn each_unsafe_block_argues_its_case() {
    let text = read("crates/store/src/sys.rs");
    let lines: Vec<&str> = text.lines().collect();
    let mut problems = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let argued = lines[at.saturating_sub(8)..=at]
            .iter()
            .any(|line| line.contains("SAFETY") || line.contains("# Safety"));
        if (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl"))
            && !argued
        {
            problems.push(format!("crates/store/src/sys.rs:{}: no SAFETY note", at + 1));
        }
    }
    none_of(problems);
}

#[test]
fn wire_needs_no_system() {
    assert!(read("crates/wire/src/lib.rs").contains("#![no_std]"));
    let with = source("wire")
        .into_iter()
        .filter(|file| code(file).contains("std::") && has_word(&code(file), "std"));
    none_of(with.map(|file| format!("{file} uses std")).collect());
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// A room that does not know a thing does not name it either.
#[test]
fn rooms_do_not_know_what_the_table_hides_from_them() {
    let hidden = [
        ("wire", &["TcpStream", "UnixStream", "errno", "io::Error"][..]),
        ("store", &["NBD_", "ExportName", "TcpStream", "UnixStream"]),
        (
            "session",
            &["TcpStream", "UnixStream", "TcpListener", "std::process", "std::fs", "signal_hook", "PathBuf"],
        ),
        ("config", &["TcpStream", "UnixStream", "std::thread", "std::fs", "File::open"]),
        ("control", &["Store", "std::fs"]),
    ];
    let mut problems = Vec::new();
    for (room, words) in hidden {
        for file in source(room).into_iter().filter(|file| !only_for_tests(file)) {
            let code = code(&file);
            let named = words.iter().filter(|word| code.contains(**word));
            problems.extend(named.map(|word| format!("{file} names {word}")));
        }
    }
    none_of(problems);
}

#[test]
fn every_number_of_the_protocol_is_in_its_document() {
    let document = read("docs/protocol.md");
    let mut names = BTreeSet::new();
    for file in source("wire") {
        for quoted in code(&file).split('"').skip(1).step_by(2).filter(|text| text.starts_with("NBD_")) {
            names.insert(quoted.to_owned());
        }
    }
    assert!(names.len() > 60, "the names of numbers were not found in wire's source: {names:?}");
    none_of(
        names
            .iter()
            .filter(|name| !has_word(&document, name))
            .map(|name| format!("{name} is missing"))
            .collect(),
    );
}

/// `cargo x manual` makes them anew.
#[test]
fn the_tables_of_keys_in_the_manual_are_those_of_the_parser() {
    let page = read(manual::PAGE);
    assert!(page.contains("| `exportname` |"), "there are tables");
    assert!(manual::with_tables(&page) == page, "{} is behind: run `cargo x manual`", manual::PAGE);
}

/// What the log says of a reload is an interface: programs wait for it.
#[test]
fn every_event_of_the_log_is_in_the_manual() {
    let manual = read("docs/man/nbd-server.1.md");
    let mut events = BTreeSet::new();
    for file in ["server", "control"].iter().flat_map(|room| source(room)) {
        for quoted in code(&file).split('"').skip(1).step_by(2) {
            let first = quoted.split(' ').next().unwrap_or_default();
            let two_words = quoted.split(' ').count() < 4
                && quoted.split(' ').all(|word| word.chars().all(char::is_lowercase));
            if two_words
                && quoted.contains(' ')
                && ["reload", "export", "session", "setting", "start"].contains(&first)
            {
                events.insert(quoted.to_owned());
            }
        }
    }
    assert!(events.len() >= 13, "the events were not found in the source: {events:?}");
    none_of(
        events
            .iter()
            .filter(|event| !manual.contains(&format!("`{event}`")))
            .map(|event| format!("{event} is missing"))
            .collect(),
    );
}

/// So is what stands in the journal beside the words.
#[test]
fn every_event_of_the_log_has_an_id_that_the_manual_tells() {
    let (manual, ids) = (read("docs/man/nbd-server.1.md"), code("crates/server/src/journald/ids.rs"));
    let words: Vec<&str> = ids.split('"').skip(1).step_by(2).collect();
    let untold =
        words.chunks(2).filter(|pair| !manual.contains(&format!("\n| `{}` | `{}` |\n", pair[0], pair[1])));
    let mut problems: Vec<String> =
        untold.map(|pair| format!("{}: {} is not told", pair[0], pair[1])).collect();
    let section = manual.split("### What a reload says").nth(1).and_then(|rest| rest.split("### ").next());
    let rows = section.unwrap_or_default().lines();
    let events: Vec<&str> = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert!(events.len() >= 17, "the events were not found in the manual: {events:?}");
    problems.extend(
        events.iter().filter(|event| !words.contains(event)).map(|event| format!("{event} has none")),
    );
    none_of(problems);
}

#[test]
fn no_source_file_is_longer_than_four_hundred_lines() {
    let mut problems = Vec::new();
    for file in rooms().iter().flat_map(|room| source(room)).chain(files("xtask", ".rs")) {
        let lines = read(&file).lines().count();
        match LONG.iter().find(|(name, _)| *name == file) {
            Some((_, why)) if lines > LINES_MAX => eprintln!("EXCEPTION: {file} has {lines} lines: {why}"),
            Some(_) => problems.push(format!("{file} is short again: take it off the list")),
            None if lines > LINES_MAX => problems.push(format!("{file} has {lines} lines")),
            None => {}
        }
    }
    none_of(problems);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let mut problems = Vec::new();
    let files = rooms().into_iter().flat_map(|room| source(&room)).chain(self::files("xtask/src", ".rs"));
    for file in files.filter(|file| !only_for_tests(file)) {
        let lines = code(&file);
        let found = lines.lines().filter(|line| line.contains(".unwrap()") || line.contains(".unwrap_err()"));
        problems.extend(found.map(|line| format!("{file}: {}", line.trim())));
    }
    none_of(problems);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    // In two pieces, so that this file may be read too.
    let words =
        [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"], ["static.crates", ".io"], ["index.crates", ".io"]];
    let words = words.map(|pieces| pieces.concat());
    let mut problems = Vec::new();
    let all =
        ["crates", "xtask", "fuzz", "interop", "docs", "examples", "packaging", ".ci", ".cargo", "bench"];
    let tops = ["Cargo.toml", "deny.toml", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let here = tops.into_iter().filter(|file| root().join(file).is_file()).map(str::to_owned);
    for file in all.iter().flat_map(|dir| files(dir, "")).chain(here) {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (at, line) in text.lines().enumerate() {
            let named = words.iter().filter(|word| line.contains(word.as_str()));
            problems.extend(named.map(|word| format!("{file}:{}: names {word}", at + 1)));
        }
    }
    none_of(problems);
}

#[test]
fn every_test_name_is_a_sentence() {
    let mut problems = Vec::new();
    for file in files("crates", ".rs") {
        let text = read(&file);
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line != "#[test]" {
                continue;
            }
            let name =
                lines.find_map(|line| line.strip_prefix("fn ")).and_then(|rest| rest.split('(').next());
            problems.extend(
                name.filter(|name| name.matches('_').count() < 2).map(|name| format!("{file}: {name}")),
            );
        }
    }
    none_of(problems);
}
