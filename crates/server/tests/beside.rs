//! The original beside ours: the same configuration, the same files, the same clients. What they are told must be the
//! same, except for what `docs/differences.md` lists; and what it lists must be seen.
//!
//! Needs root (each server runs in a private mount namespace, where the test is its log) and Debian's nbd-server 3.24.
//! `BESIDE=WORD cargo test -p server --test beside -- --nocapture` runs the configurations whose name has the word, and
//! prints every fact.
#![allow(missing_docs)]

#[path = "beside/case.rs"]
mod case;
#[path = "beside/cases/mod.rs"]
mod cases;
#[path = "beside/differences.rs"]
mod differences;
#[path = "beside/facts.rs"]
mod facts;
#[path = "beside/place.rs"]
mod place;
#[path = "beside/probe.rs"]
mod probe;
#[path = "beside/rules.rs"]
mod rules;
#[path = "beside/script.rs"]
mod script;
#[path = "beside/syslog.rs"]
mod syslog;
#[path = "beside/tools.rs"]
mod tools;
#[path = "beside/visit.rs"]
mod visit;
#[path = "beside/words.rs"]
mod words;

use case::Case;
use differences::{Document, Verdict};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::{is_root, skip_or_fail, tool};

/// Servers at a time: the original makes parameters for TLS at each start, which takes a processor for a while.
const WORKERS: usize = 4;

/// P8, and the whole of `docs/differences.md`.
#[test]
fn the_original_and_ours_tell_the_same_but_for_what_is_listed() {
    let test = "the_original_and_ours";
    let Some(original) = tool("nbd-server") else { return skip_or_fail(test, "nbd-server 3.24") };
    for needed in ["unshare", "nbd-client", "nbdinfo", "qemu-img", "openssl"] {
        if tool(needed).is_none() {
            return skip_or_fail(test, needed);
        }
    }
    if !is_root() {
        return skip_or_fail(test, "root");
    }
    let wanted = std::env::var("BESIDE").ok().filter(|word| !word.is_empty());
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| wanted.as_ref().is_none_or(|word| case.name.contains(word.as_str())))
        .collect();
    let verdicts = compare_all(&original, &cases, wanted.is_some());
    let mut wrong: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        wrong.extend(verdict.unexplained.iter().map(|line| format!("{}: {line}", case.name)));
        seen.extend(verdict.seen);
    }
    let listed = Document::read().beside();
    if wanted.is_none() {
        wrong
            .extend(listed.difference(&seen).map(|id| format!("{id} is listed, and was not seen to differ")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn compare_all(original: &std::path::Path, cases: &[Case], aloud: bool) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts: Vec<Mutex<Verdict>> = cases.iter().map(|_| Mutex::default()).collect();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(cases.len()) {
            scope.spawn(|| {
                while let Some(number) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < cases.len())
                {
                    let began = std::time::Instant::now();
                    let verdict = compare(original, &cases[number], aloud);
                    if aloud {
                        println!("{}: {:?}", cases[number].name, began.elapsed());
                    }
                    *verdicts[number].lock().expect("each has one writer") = verdict;
                }
            });
        }
    });
    verdicts.into_iter().map(|verdict| verdict.into_inner().expect("no writer is left")).collect()
}

/// A case that fails in itself is told with its name, and the others go on.
fn compare(original: &std::path::Path, case: &Case, aloud: bool) -> Verdict {
    let see = |program: &std::path::Path| {
        let visit = std::panic::AssertUnwindSafe(|| visit::visit(program, case));
        std::panic::catch_unwind(visit).map_err(|_| "the visit itself failed".to_owned())
    };
    let ours = match see(std::path::Path::new(visit::OURS)) {
        Ok(ours) => ours,
        Err(why) => return Verdict::failed(why),
    };
    let mut verdict = Verdict::default();
    for _ in 0..case.visits {
        let theirs = match see(original) {
            Ok(theirs) => theirs,
            Err(why) => return Verdict::failed(why),
        };
        if aloud {
            println!("{}", facts::side_by_side(&theirs, &ours));
        }
        verdict = differences::compare(case, &theirs, &ours);
        if verdict.unexplained.is_empty() {
            break;
        }
    }
    verdict
}

/// The number that was promised.
#[test]
fn there_are_sixty_configurations_and_more() {
    let cases = cases::all();
    let mut names = BTreeSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "{} stands for two", case.name);
    }
    assert!(cases.len() >= 60, "{}", cases.len());
}

/// A key that no configuration sets is a key of which nobody knows whether it does what it did.
#[test]
fn every_key_is_set_by_some_configuration() {
    let texts: Vec<String> = cases::all().iter().map(Case::whole_text).collect();
    for key in config::keys() {
        let sets = |text: &String| {
            let mut place = config::Place::Export;
            text.lines().any(|line| {
                if line.trim_start().starts_with('[') {
                    let generic = line.trim() == "[generic]";
                    place = if generic { config::Place::Generic } else { config::Place::Export };
                }
                place == key.place && line.split_once('=').is_some_and(|(name, _)| name.trim() == key.name)
            })
        };
        assert!(texts.iter().any(sets), "{} is set by none", key.name);
    }
}

/// An id stands for one line of the document, whoever uses it.
#[test]
fn every_difference_that_is_used_is_listed() {
    let listed = Document::read().beside();
    let cases = cases::all();
    let used = cases.iter().flat_map(|case| case.rules.iter()).map(|rule| rule.id);
    for id in used.chain(rules::flags().iter().chain(&rules::everywhere()).map(|rule| rule.id)) {
        assert!(listed.contains(id), "{id} is used, and docs/differences.md does not say `beside` for it");
    }
}
