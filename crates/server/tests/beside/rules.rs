//! How a fact may differ, with the id of the line in `docs/differences.md` that says so.

use crate::words;

/// One known difference.
pub struct Rule {
    /// `D-01` and so on.
    pub id: &'static str,
    /// Which facts; `*` stands for anything.
    pub fact: String,
    /// Whether the configuration that has it must show it.
    pub must: bool,
    how: How,
}

enum How {
    /// The original's words and ours, whole.
    Is(String, String),
    /// Words that only ours has, in a list of words.
    More(&'static [&'static str]),
    /// Both are taken down to what they have in common.
    Both(fn(&str) -> String),
}

impl Rule {
    /// These words of the original are those words of ours.
    pub fn is(id: &'static str, fact: &str, theirs: &str, ours: &str) -> Self {
        Self { id, fact: fact.into(), must: true, how: How::Is(theirs.into(), ours.into()) }
    }

    /// The same, where a run may not show it.
    pub fn perhaps(self) -> Self {
        Self { must: false, ..self }
    }

    fn more(id: &'static str, fact: &str, words: &'static [&'static str]) -> Self {
        Self { id, fact: fact.into(), must: true, how: How::More(words) }
    }

    fn both(id: &'static str, fact: &str, reduce: fn(&str) -> String) -> Self {
        Self { id, fact: fact.into(), must: true, how: How::Both(reduce) }
    }

    /// Takes this difference out of two values; whether there was one.
    pub fn explain(&self, fact: &str, theirs: &mut String, ours: &mut String) -> bool {
        if !matches(&self.fact, fact) {
            return false;
        }
        match &self.how {
            How::Is(one, other) => {
                let known = matches(one, theirs) && matches(other, ours);
                if known {
                    ours.clone_from(theirs);
                }
                known
            }
            How::More(words) => {
                let had: Vec<&str> = theirs.split(' ').collect();
                let left: Vec<&str> =
                    ours.split(' ').filter(|word| had.contains(word) || !words.contains(word)).collect();
                let (before, after) = (ours.len(), left.join(" "));
                *ours = after;
                ours.len() != before
            }
            How::Both(reduce) => {
                let (one, other) = (reduce(theirs), reduce(ours));
                let changed = one != *theirs || other != *ours;
                (*theirs, *ours) = (one, other);
                changed
            }
        }
    }
}

/// Whether a text is a pattern's, in which `*` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

/// Facts that hold transmission flags.
const FLAGS: [&str; 3] = ["* flags", "*: old way", "reload: go *"];

/// Flags that ours has more of, wherever flags are told.
pub fn flags() -> Vec<Rule> {
    let mut rules = Vec::new();
    for fact in FLAGS {
        rules.push(Rule::more("D-45", fact, &["FLUSH", "FUA", "TRIM"]));
        rules.push(Rule::more("D-71", fact, &["CACHE"]));
        rules.push(Rule::more("D-72", fact, &["FAST_ZERO"]));
    }
    rules
}

/// The other differences that any configuration may show.
pub fn everywhere() -> Vec<Rule> {
    let mut rules = Vec::new();
    rules
        .extend(PLAIN.iter().chain(NBDINFO).map(|(id, fact, theirs, ours)| Rule::is(id, fact, theirs, ours)));
    rules.extend(ONLY_THEIRS.iter().map(|(id, line)| Rule::is(id, line, "<*> nbd_server", "-")));
    rules.extend(ONLY_OURS.iter().map(|(id, line)| Rule::is(id, line, "-", "<*> nbd_server*")));
    rules.push(Rule::both("D-84", "*", words::without_a_reason));
    rules.push(Rule::both("D-106", "log: *", words::without_more));
    rules.push(Rule::both("D-14", "start: stderr", words::without_a_place));
    rules
}

/// What a raw client and a terminal are told.
const PLAIN: &[(&str, &str, &str, &str)] = &[
    ("D-71", "*: 34 cache", "error 22", "done"),
    ("D-72", "*: 26 zero fast", "error 22", "done"),
    ("D-50", "*: info size", "0", "*"),
    // The original is ended while a foreign client is leaving.
    ("D-66", "file: *.diff", "600 *", "-"),
    ("D-107", "log: Connection dropped", "<27> *", "<28> *"),
    ("D-107", "log: Could not open transactionlog *", "<30> *", "<28> *"),
    (
        "D-15",
        "start: stderr",
        "No configured exports; quitting.",
        "Could not parse config file: *\nNo configured exports; quitting.*",
    ),
];

/// What nbdinfo tells of every export.
const NBDINFO: &[(&str, &str, &str, &str)] = &[
    ("D-45", "*nbdinfo* can_flush", "false", "true"),
    ("D-45", "*nbdinfo* can_fua", "false", "true"),
    ("D-45", "*nbdinfo* can_trim", "false", "true"),
    ("D-50", "*nbdinfo* export-size", "0", "*"),
    ("D-50", "*nbdinfo* export-size-str", "0", "*"),
    // What is in it is looked for only where its size is known.
    ("D-50", "*nbdinfo content", "empty", "*"),
    ("D-70", "*nbdinfo* structured", "false", "true"),
    ("D-70", "*nbdinfo* can_df", "false", "true"),
    ("D-70", "*nbdinfo* contexts", "-", "["),
    ("D-70", "*nbdinfo* has \"base:allocation\"", "-", "yes"),
    ("D-71", "*nbdinfo* can_cache", "false", "true"),
    ("D-72", "*nbdinfo* can_fast_zero", "false", "true"),
    ("D-73", "*nbdinfo* block_size_minimum", "-", "1"),
    ("D-73", "*nbdinfo* block_size_preferred", "-", "4096"),
    ("D-73", "*nbdinfo* block_size_maximum", "-", "33554432"),
];

/// Lines of the log that only the original has.
const ONLY_THEIRS: &[(&str, &str)] = &[
    ("D-100", "log: Child exited with *"),
    ("D-100", "log: Spawned a child process"),
    ("D-101", "log: Starting to serve"),
    ("D-102", "log: Can't open authorization file * (No such file or directory)."),
    ("D-102", "log: About to create map and diff file *"),
    ("D-102", "log: Total number of *"),
    ("D-102", "log: No authorization file, granting access."),
    ("D-102", "log: virtstyle *"),
    ("D-102", "log: virtualization is off"),
    ("D-107", "log: Could not stat transactionlog *, moving on without it"),
    ("D-103", "log: E: received invalid flag *"),
    ("D-103", "log: E: received unknown command *"),
    ("D-104", "log: Exiting."),
    ("D-104", "log: Modern initial negotiation failed"),
    ("D-104", "log: Negotiation failed*"),
    ("D-104", "log: Session terminated by client"),
];

/// Lines of the log that only ours has.
const ONLY_OURS: &[(&str, &str)] = &[
    // Said where a list is named and missing; the original says which file it is.
    ("D-102", "log: No authorization file, granting access."),
    ("D-104", "log: Negotiation with * failed*"),
    ("D-104", "log: *: NBD_OPT_* for export * refused: *"),
    ("D-105", "log: disconnected"),
    ("D-106", "log: export * refused to *: prerun ended with *"),
    ("D-108", "log: MIGRATEKIT: *"),
    ("D-109", "log: * and * both write to the disk at *"),
];
