//! Reading the source, for the rules about it.
#![allow(dead_code, clippy::unwrap_used, reason = "each file of rules takes what it needs")]

use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory, relative to the root.
pub fn files(dir: &str, ending: &str) -> Vec<String> {
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

pub fn rooms() -> Vec<String> {
    let dirs = std::fs::read_dir(root().join("crates")).unwrap();
    dirs.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Source files of a room.
pub fn source(room: &str) -> Vec<String> {
    files(&format!("crates/{room}/src"), ".rs")
}

/// A file without its unit tests, comments, and whatever else stands behind `#[cfg(test)]`.
pub fn code(file: &str) -> String {
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
pub fn only_for_tests(file: &str) -> bool {
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

pub fn none_of(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

pub fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}
