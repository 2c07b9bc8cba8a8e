//! Lines as they compare: without what differs from run to run, and by what they are about.

/// A line or a name without the numbers that differ from run to run: process ids, counters of a session, times.
pub fn without_numbers(text: &str) -> String {
    let text = text.split(" peer=").next().unwrap_or_default().split(" ms=").next().unwrap_or_default();
    let text = text.split(" (").next().filter(|_| text.ends_with("since the last line)")).unwrap_or(text);
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let pid = !digits.is_empty() && out.ends_with('-') && c == '.';
        out += if pid { "{pid}" } else { &digits };
        digits.clear();
        out.push(c);
    }
    out.trim_end_matches('\0').to_owned()
}

/// Lines that people search for: how each begins, and what ends the part that is searched for.
const KNOWN: &[(&str, &str)] = &[
    ("Client '", " is not authorized to access"),
    ("Client '", " not allowed access by prerun script"),
    ("Connection not allowed (too many clients)", ""),
    ("Connection dropped", ""),
    ("Could not create diff file", ""),
    ("Could not open exported file ", ": "),
    ("Could not open transactionlog ", ", moving on without it"),
    ("File ", " appeared"),
    ("Invalid group name: ", "name"),
    ("Invalid user name: ", "name"),
    ("Protocol error: not enough magic.", ""),
    ("Size of exported file is too big", ""),
    ("failed to append new servers", ""),
    ("failed to setup servers: failed to open a modern socket: ", "failed to get address info"),
];

/// What a line of the log is about, and whether it says more than that.
pub fn kind(line: &str) -> (String, bool) {
    let line = line.trim_end_matches("\\n");
    for (begin, end) in KNOWN {
        let Some(at) = line.find(begin) else { continue };
        let Some(length) = line[at + begin.len()..].find(end) else { continue };
        let upto = at + begin.len() + length + end.len();
        return (line[at..upto].to_owned(), at > 0 || upto < line.len());
    }
    (line.to_owned(), false)
}

/// What stands behind a line that says more than it is known for.
pub const MORE: &str = ", and more";

/// Whether a line says more, and how loudly, is not what it says.
pub fn without_more(value: &str) -> String {
    value.trim_end_matches(MORE).to_owned()
}

/// The sentences of the original, which ours has in front of the reason.
const BEGINNINGS: &[&str] = &[
    "POLICY Access denied by server configuration",
    "server reported: Access denied by server configuration",
    "UNSUP The given option is unknown to this server",
    "opt_go request: Operation not supported",
    "opt_go request: No such file or directory",
    "POLICY TLS not allowed on this server",
];

/// An error without the reason behind the words of the original.
pub fn without_a_reason(value: &str) -> String {
    let cut = BEGINNINGS.iter().find_map(|begin| Some(value.find(begin)? + begin.len()));
    cut.map_or(value, |at| &value[..at]).to_owned()
}

/// Problems of a configuration without file, line, group, value and hint, and GLib's reasons.
pub fn without_a_place(text: &str) -> String {
    const START: &str = "Could not parse config file: ";
    let line = |line: &str| {
        let Some(rest) = line.strip_prefix(START) else { return line.to_owned() };
        let rest = if rest.starts_with("{dir}") {
            rest.split_once(": ").map_or(rest, |(_, rest)| rest)
        } else {
            rest
        };
        let rest =
            if rest.starts_with('[') { rest.split_once("] ").map_or(rest, |(_, rest)| rest) } else { rest };
        let ends = [": Key ", ": \"", " ("].iter().filter_map(|end| rest.find(end)).min();
        format!("{START}{}", &rest[..ends.unwrap_or(rest.len())])
    };
    let lines = text.lines().filter(|line| !line.starts_with("the server ended while it started"));
    lines.map(line).collect::<Vec<_>>().join("\n")
}
