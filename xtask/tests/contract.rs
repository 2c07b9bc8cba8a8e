//! What the original does stands in numbered statements, C-001 to C-239. Each is held by a test that names it, or decided
//! otherwise in a row of `docs/differences.md`; and each row is seen by a test.
#![allow(clippy::unwrap_used, reason = "the whole file is a test")]

mod reading;

use reading::{read, root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const STATEMENTS: u16 = 239;

/// All sources of the crates.
fn sources() -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![root().join("crates")]);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                todo.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The part of a file that is tests: all of it below `tests`, the foot of a module elsewhere.
fn tests_of(path: &Path) -> String {
    let text = read(path);
    let whole = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    if whole {
        text
    } else {
        text.split_once("#[cfg(test)]").map_or_else(String::new, |(_, tests)| tests.into())
    }
}

/// The statements that a text names: `C-115`, and all of `C-164 to C-168`.
fn named(text: &str) -> BTreeSet<u16> {
    let number = |text: &str| text.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("C-") {
        let Some(first) = number(&text[at + 2..]) else { continue };
        let last = text[at + 5..].strip_prefix(" to C-").and_then(number).unwrap_or(first);
        found.extend(first..=last);
    }
    found
}

fn rows() -> Vec<Vec<String>> {
    let document = read("docs/differences.md");
    let rows = document.lines().filter(|line| line.starts_with("| D-"));
    rows.map(|row| row.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn ranges_and_single_numbers_are_read() {
    assert_eq!(named("/// C-164 to C-166, C-003; C-1 and C- are none"), BTreeSet::from([3, 164, 165, 166]));
}

#[test]
fn every_statement_of_the_contract_is_held_by_a_test_or_listed_as_a_difference() {
    let mut found: BTreeSet<u16> = rows().iter().flat_map(|row| named(&row[4])).collect();
    sources().iter().for_each(|path| found.extend(named(&tests_of(path))));
    let all: BTreeSet<u16> = (1..=STATEMENTS).collect();
    let strange: Vec<_> = found.difference(&all).map(|number| format!("C-{number:03}")).collect();
    assert!(strange.is_empty(), "named, and no statements: {}", strange.join(", "));
    let missing: Vec<_> = all.difference(&found).map(|number| format!("C-{number:03}")).collect();
    assert!(missing.is_empty(), "{} are named nowhere: {}", missing.len(), missing.join(", "));
}

/// id, 3.24, here, why, contract, seen by.
#[test]
fn every_row_of_the_differences_has_a_name_of_its_own_and_is_whole() {
    let mut names = BTreeSet::new();
    for row in rows() {
        assert_eq!(row.len(), 6, "{row:?}");
        let number = row[0].strip_prefix("D-").and_then(|number| number.parse::<u16>().ok());
        assert!(number.is_some(), "{}", row[0]);
        assert!(names.insert(row[0].clone()), "{} stands for two rows", row[0]);
        assert!(row[4] == "none" || !named(&row[4]).is_empty(), "{} decides {}", row[0], row[4]);
        assert!(row.iter().all(|cell| !cell.is_empty()), "{} has an empty cell", row[0]);
    }
    let table = read("docs/differences.md").lines().filter(|line| line.starts_with("| ")).count();
    let heads = read("docs/differences.md").lines().filter(|line| line.starts_with("| id ")).count();
    assert_eq!(table, names.len() + heads, "a row without a name");
}

/// `beside` is held by that test itself: a row that it does not see fails there.
#[test]
fn every_difference_is_shown_by_a_test_that_exists() {
    let mut problems = Vec::new();
    for row in rows() {
        let seen = row[5].trim_matches('`');
        if seen == "beside" {
            continue;
        }
        let shown = seen.split_once("::").is_some_and(|(file, test)| {
            let path = root().join("crates").join(file);
            path.is_file() && tests_of(&path).contains(&format!("fn {test}()"))
        });
        if !shown {
            problems.push(format!("{}: there is no {seen}", row[0]));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
