//! What the documents promise about the source, held by reading both. Each rule is a test, its name the rule.

#[path = "../src/manual.rs"]
mod manual;
mod reading;

use reading::*;
use std::collections::BTreeSet;

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

/// And an operator finds what each asks of him.
#[test]
fn every_event_of_the_log_is_in_the_runbook() {
    let (manual, runbook) = (read("docs/man/nbd-server.1.md"), read("docs/operations.md"));
    let section = manual.split("### What a reload says").nth(1).and_then(|rest| rest.split("### ").next());
    let events: Vec<&str> = section
        .unwrap_or_default()
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(events.len() >= 17, "the events were not found in the manual: {events:?}");
    let table: String = runbook.lines().filter(|line| line.starts_with("| `")).collect();
    let missing = events.iter().filter(|event| !table.contains(&format!("`{event}`")));
    none_of(missing.map(|event| format!("{event} is missing")).collect());
}
