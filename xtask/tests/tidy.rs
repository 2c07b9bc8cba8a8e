//! The rules of the house, held by reading its source. Each rule is a test, its name the rule.
#![allow(clippy::unwrap_used, reason = "the whole file is a test")]

mod reading;

use reading::*;

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
    let tops = [
        "Dockerfile",
        ".dockerignore",
        "Cargo.toml",
        "deny.toml",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
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
