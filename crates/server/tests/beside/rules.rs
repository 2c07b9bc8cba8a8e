//! How a fact may differ, with the id of the line in `docs/differences.md` that says so.

/// One known difference.
pub struct Rule {
    /// `D-01` and so on.
    pub id: &'static str,
    /// Which facts; `*` stands for anything.
    pub fact: &'static str,
    how: How,
}

enum How {
    /// The original's words and ours, whole.
    Is(&'static str, &'static str),
    /// Words that only ours has, in a list of words.
    More(&'static [&'static str]),
    /// Both are taken down to what they have in common.
    Both(fn(&str) -> String),
}

impl Rule {
    pub const fn is(id: &'static str, fact: &'static str, theirs: &'static str, ours: &'static str) -> Self {
        Self { id, fact, how: How::Is(theirs, ours) }
    }

    const fn more(id: &'static str, fact: &'static str, words: &'static [&'static str]) -> Self {
        Self { id, fact, how: How::More(words) }
    }

    const fn both(id: &'static str, fact: &'static str, reduce: fn(&str) -> String) -> Self {
        Self { id, fact, how: How::Both(reduce) }
    }

    /// Takes this difference out of two values; whether there was one.
    pub fn explain(&self, fact: &str, theirs: &mut String, ours: &mut String) -> bool {
        if !matches(self.fact, fact) {
            return false;
        }
        match self.how {
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

/// A line or a name without the numbers that differ from run to run: process ids, sockets, counters of a session.
pub fn without_numbers(text: &str) -> String {
    let text = text.split(" peer=").next().unwrap_or_default();
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        // `-123.diff`, and what a number of five digits and more means is not known to a test.
        let number = out.ends_with('-') && c == '.';
        out += if number && !digits.is_empty() { "{pid}" } else { &digits };
        digits.clear();
        out.push(c);
    }
    out.trim_end_matches('\0').to_owned()
}

/// The differences that any configuration may show.
pub fn everywhere() -> Vec<Rule> {
    let mut rules = vec![
        Rule::more("D-45", "*: go flags", &["FLUSH", "FUA", "TRIM"]),
        Rule::more("D-45", "*: info flags", &["FLUSH", "FUA", "TRIM"]),
        Rule::more("D-45", "*: old way", &["FLUSH", "FUA", "TRIM"]),
        Rule::more("D-71", "*: go flags", &["CACHE"]),
        Rule::more("D-71", "*: info flags", &["CACHE"]),
        Rule::more("D-71", "*: old way", &["CACHE"]),
        Rule::more("D-72", "*: go flags", &["FAST_ZERO"]),
        Rule::more("D-72", "*: info flags", &["FAST_ZERO"]),
        Rule::more("D-72", "*: old way", &["FAST_ZERO"]),
        Rule::is("D-71", "*: 34 cache", "error 22", "done"),
        Rule::is("D-72", "*: 26 zero fast", "error 22", "done"),
        Rule::is("D-50", "*: info size", "0", "*"),
    ];
    for (id, key, theirs, ours) in NBDINFO {
        rules.push(Rule::is(id, key, theirs, ours));
    }
    for (id, line) in ONLY_THEIRS {
        rules.push(Rule::is(id, line, "<*> nbd_server", "-"));
    }
    for (id, line) in ONLY_OURS {
        rules.push(Rule::is(id, line, "-", "<*> nbd_server"));
    }
    rules
}

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
    ("D-102", "log: No authorization file, granting access."),
    ("D-102", "log: virtstyle *"),
    ("D-102", "log: virtualization is off"),
    ("D-103", "log: E: received invalid flag *"),
    ("D-103", "log: E: received unknown command *"),
    ("D-104", "log: Exiting."),
    ("D-104", "log: Modern initial negotiation failed"),
    ("D-104", "log: Session terminated by client"),
];

/// Lines of the log that only ours has.
const ONLY_OURS: &[(&str, &str)] = &[("D-105", "log: disconnected")];
