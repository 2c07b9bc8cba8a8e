//! What a server shows, as words by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use testkit::{Client, spec};

/// Stands where a server does not show a fact at all.
pub const NOTHING: &str = "-";

/// Facts in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Sets one.
    pub fn put(&mut self, name: impl Into<String>, value: impl Display) {
        self.0.insert(name.into(), value.to_string());
    }

    /// What is known under a name.
    pub fn value(&self, name: &str) -> &str {
        self.0.get(name).map_or(NOTHING, String::as_str)
    }

    /// All names.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// Writes what differs from run to run in the same way for every run.
    pub fn replace(self, pairs: &[(String, &str)]) -> Self {
        let change = |text: String| pairs.iter().fold(text, |text, (from, to)| text.replace(from, to));
        Self(self.0.into_iter().map(|(name, value)| (change(name), change(value))).collect())
    }
}

/// A short name for bytes, and how many they are.
pub fn digest(bytes: &[u8]) -> String {
    if !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0) {
        return format!("{} zeros", bytes.len());
    }
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{} bytes {sum:016x}", bytes.len())
}

/// Transmission flags by their names.
pub fn flags(flags: u16) -> String {
    let names = [
        (spec::FLAG_HAS_FLAGS, "HAS_FLAGS"),
        (spec::FLAG_READ_ONLY, "READ_ONLY"),
        (spec::FLAG_SEND_FLUSH, "FLUSH"),
        (spec::FLAG_SEND_FUA, "FUA"),
        (spec::FLAG_ROTATIONAL, "ROTATIONAL"),
        (spec::FLAG_SEND_TRIM, "TRIM"),
        (spec::FLAG_SEND_WRITE_ZEROES, "WRITE_ZEROES"),
        (spec::FLAG_SEND_DF, "DF"),
        (spec::FLAG_CAN_MULTI_CONN, "MULTI_CONN"),
        (spec::FLAG_SEND_RESIZE, "RESIZE"),
        (spec::FLAG_SEND_CACHE, "CACHE"),
        (spec::FLAG_SEND_FAST_ZERO, "FAST_ZERO"),
    ];
    let named = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned());
    let rest = names.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    named.chain((rest != 0).then(|| format!("{rest:#x}"))).collect::<Vec<_>>().join(" ")
}

/// An option's error by name, with its sentence.
pub fn refusal((kind, sentence): &testkit::Refused) -> String {
    let name = match *kind {
        spec::REP_ERR_UNSUP => "UNSUP",
        spec::REP_ERR_POLICY => "POLICY",
        spec::REP_ERR_INVALID => "INVALID",
        spec::REP_ERR_TLS_REQD => "TLS_REQD",
        spec::REP_ERR_UNKNOWN => "UNKNOWN",
        testkit::CLOSED => return "closed".into(),
        testkit::TIMED_OUT => return "no answer".into(),
        other => return format!("{other:#x} {sentence}"),
    };
    format!("{name} {sentence}")
}

/// What an option was answered with.
pub fn answered<T>(answer: Result<T, testkit::Refused>, say: impl Fn(T) -> String) -> String {
    answer.map_or_else(|refused| refusal(&refused), say)
}

/// Goes on until the server closes.
pub fn until_closed(mut client: Client) -> &'static str {
    if client.is_closed() { "closed" } else { "open" }
}

/// For whoever looks for the reason of a difference.
pub fn side_by_side(theirs: &Facts, ours: &Facts) -> String {
    let names: BTreeSet<String> = theirs.names().union(&ours.names()).cloned().collect();
    let line = |name: &String| {
        let (one, other) = (theirs.value(name), ours.value(name));
        if one == other { format!("  {name}: {one}") } else { format!("! {name}: {one}  ||  {other}") }
    };
    names.iter().map(line).collect::<Vec<_>>().join("\n")
}
