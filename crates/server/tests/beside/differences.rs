//! `docs/differences.md` as the tests read it, and the comparison of two servers.

use crate::case::Case;
use crate::facts::Facts;
use crate::rules;
use std::collections::BTreeSet;

/// The document's rows.
pub struct Document(Vec<(String, String)>);

impl Document {
    /// The ids, each with how it is seen: the first and the last column.
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/differences.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let rows = text.lines().filter(|line| line.starts_with("| D-")).map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
            (cells[0].to_owned(), cells[cells.len() - 1].trim_matches('`').to_owned())
        });
        Self(rows.collect())
    }

    /// The ids that these tests must see.
    pub fn beside(&self) -> BTreeSet<String> {
        self.0.iter().filter(|(_, seen)| seen == "beside").map(|(id, _)| id.clone()).collect()
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Facts that differ and are not listed, and listed ones of this case that do not differ.
    pub unexplained: Vec<String>,
    /// Ids that were seen to differ.
    pub seen: BTreeSet<String>,
}

impl Verdict {
    /// There is nothing to compare.
    pub fn failed(why: String) -> Self {
        Self { unexplained: vec![why], seen: BTreeSet::new() }
    }
}

/// Holds two servers against each other, fact by fact.
pub fn compare(case: &Case, theirs: &Facts, ours: &Facts) -> Verdict {
    let mut verdict = Verdict::default();
    let mut used = BTreeSet::new();
    let (flags, general) = (rules::flags(), rules::everywhere());
    // Where only one of them serves there is nothing to compare but the start.
    let alike = theirs.value("start: serves") == ours.value("start: serves");
    let names = theirs.names().union(&ours.names()).cloned().collect::<BTreeSet<_>>();
    for name in names.iter().filter(|name| alike || name.starts_with("start: ")) {
        let (mut one, mut other) = (theirs.value(name).to_owned(), ours.value(name).to_owned());
        let (sure, perhaps) = case.rules.iter().partition::<Vec<_>, _>(|rule| rule.must);
        for rule in flags.iter().chain(sure).chain(perhaps).chain(&general) {
            if one != other && rule.explain(name, &mut one, &mut other) {
                used.insert(std::ptr::from_ref(rule));
                verdict.seen.insert(rule.id.to_owned());
            }
        }
        if one != other {
            verdict.unexplained.push(format!("{name}: original {one:?}, ours {other:?}"));
        }
    }
    let unused = case.rules.iter().filter(|rule| rule.must && !used.contains(&std::ptr::from_ref(*rule)));
    let unused = unused.map(|rule| format!("{}: {} was said to differ, and does not", rule.id, rule.fact));
    verdict.unexplained.extend(unused);
    verdict
}
