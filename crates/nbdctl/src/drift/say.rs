//! What is said of it: a line for each disagreement, or a document.

use super::finding::Finding;
use crate::output::{Output, Tone};
use crate::text::{name, shown};
use control::view::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;

/// All that is to be said.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// All agree now.
    pub agree: bool,
    /// Who does not.
    pub disagreements: Vec<Told>,
    /// Disagreements that are no more.
    pub mended: Vec<Told>,
    /// Why `--fix` did nothing, or did not follow what it wrote.
    pub held: Option<String>,
    /// Exports whose files `--fix` wrote or deleted.
    pub files: Vec<String>,
    /// Why `--fix` was not done to the end: what all say now is not known.
    pub broken_off: Option<String>,
    /// How the reload of `--fix` ended.
    pub reload: Option<Outcome>,
}

/// A disagreement, as it is told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// What it is.
    #[serde(flatten)]
    finding: Finding,
    /// Why `--fix` left it.
    left: Option<String>,
}

impl Report {
    /// Of what is there, and of what was there and is no more.
    pub fn of(now: Vec<Finding>, mended: Vec<Finding>, left: &BTreeMap<String, String>) -> Self {
        let told = |finding: Finding| {
            let alone = match finding.exports.as_slice() {
                [export] if finding.is_of_database() => left.get(export),
                _ => None,
            };
            let left = alone.cloned();
            Told { finding, left }
        };
        let mended = mended.into_iter().map(|finding| Told { finding, left: None }).collect();
        let disagreements: Vec<Told> = now.into_iter().map(told).collect();
        Self { agree: disagreements.is_empty(), disagreements, mended, ..Self::default() }
    }

    fn written(&self) -> String {
        let names: Vec<_> = self.files.iter().map(|export| name(export)).collect();
        let none = names.is_empty();
        if none { "no file is written".into() } else { format!("files are written for {}", names.join(", ")) }
    }

    /// Says it.
    pub fn say(&self, json: bool, output: &mut Output) {
        if json {
            // All of it is text, numbers and names.
            output.raw(&serde_json::to_vec(self).unwrap_or_default());
            return;
        }
        for told in &self.mended {
            output.say_in(Tone::Good, format!("mended: {}", told.finding));
        }
        for told in &self.disagreements {
            let left = told.left.as_ref().map_or_else(String::new, |why| format!(" ({})", shown(why)));
            output.say_in(Tone::Bad, format!("{}{left}", told.finding));
        }
        match (&self.held, self.files.is_empty()) {
            (Some(held), true) => output.complain(format!("nothing is mended: {}", shown(held))),
            (Some(held), false) => {
                output.complain(format!("{}; it is not followed: {}", self.written(), shown(held)));
            }
            (None, _) => {}
        }
        if let Some(why) = &self.broken_off {
            output.complain(format!("{}; then it was broken off: {}", self.written(), shown(why)));
        }
    }
}
