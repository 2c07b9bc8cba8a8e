//! The table of options: what the parser takes, what the usage shows, and what the manual has to list.

use std::fmt::Write as _;

/// The version that programs look for, and the line they look for it in.
pub const VERSION: &str = "This is nbd-server version 3.24\n";

/// What an option sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sets {
    /// The export of the command line refuses changes.
    ReadOnly,
    /// It is several files.
    MultiFile,
    /// Its changes are private.
    CopyOnWrite,
    /// Foreground, without a pid file.
    DontFork,
    /// Foreground, with one.
    NoDaemon,
    /// Who may connect to it.
    AuthorizeFile,
    /// The configuration.
    ConfigFile,
    /// The pid file.
    PidFile,
    /// Print the export as a group.
    OutputConfig,
    /// How many may connect to it.
    MaxConnection,
    /// Print the version.
    Version,
    /// Write a kept overlay into what it lies over.
    CommitOverlay,
    /// Forget a kept overlay.
    DropOverlay,
    /// Say what a start would come to.
    Check,
}

/// Where the usage shows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It concerns the server.
    Server,
    /// It concerns the export of the command line.
    Export,
    /// It looks instead of serving.
    Look,
    /// It is work to do instead of serving.
    Task,
    /// Another spelling of the one before it.
    Alias,
}

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// One letter behind one dash.
    pub short: Option<u8>,
    /// A word behind two.
    pub long: &'static str,
    /// What its own word is called, where it takes one.
    pub value: Option<&'static str>,
    /// What it does.
    pub sets: Sets,
    /// 3.24 has it too. A beginning that 3.24 takes for one of its options stays that option, whatever was added.
    original: bool,
    part: Part,
    about: &'static str,
}

const fn original(
    short: u8,
    long: &'static str,
    value: Option<&'static str>,
    sets: Sets,
    part: Part,
    about: &'static str,
) -> Opt {
    Opt { short: Some(short), long, value, sets, original: true, part, about }
}

const fn added(
    short: Option<u8>,
    long: &'static str,
    value: Option<&'static str>,
    sets: Sets,
    part: Part,
    about: &'static str,
) -> Opt {
    Opt { short, long, value, sets, original: false, part, about }
}

/// All of them; those of 3.24 in its order, in which it names them when a beginning fits several.
pub const OPTIONS: &[Opt] = &[
    original(b'r', "read-only", None, Sets::ReadOnly, Part::Export, "refuse changes"),
    original(b'm', "multi-file", None, Sets::MultiFile, Part::Export, "FILE.0, FILE.1, … as one disk"),
    original(
        b'c',
        "copy-on-write",
        None,
        Sets::CopyOnWrite,
        Part::Export,
        "changes are private to the client",
    ),
    original(
        b'd',
        "dont-fork",
        None,
        Sets::DontFork,
        Part::Server,
        "stay in the foreground, write no pid file",
    ),
    original(
        b'l',
        "authorize-file",
        Some("FILE"),
        Sets::AuthorizeFile,
        Part::Export,
        "who may connect (default /etc/nbd-server/allow)",
    ),
    original(
        b'C',
        "config-file",
        Some("FILE"),
        Sets::ConfigFile,
        Part::Server,
        "configuration (default /etc/nbd-server/config)",
    ),
    original(
        b'p',
        "pid-file",
        Some("FILE"),
        Sets::PidFile,
        Part::Server,
        "where the pid goes (default /var/run/nbd-server.pid)",
    ),
    original(
        b'o',
        "output-config",
        Some("NAME"),
        Sets::OutputConfig,
        Part::Export,
        "print it as a group of the configuration, and exit",
    ),
    original(b'M', "max-connection", Some("N"), Sets::MaxConnection, Part::Export, "sessions at a time"),
    original(b'V', "version", None, Sets::Version, Part::Server, "print the version, and exit"),
    added(None, "max-connections", Some("N"), Sets::MaxConnection, Part::Alias, ""),
    added(Some(b'n'), "nodaemon", None, Sets::NoDaemon, Part::Server, "stay in the foreground"),
    added(
        None,
        "commit-overlay",
        Some("EXPORT"),
        Sets::CommitOverlay,
        Part::Task,
        "write its overlay into what it lies over",
    ),
    added(None, "drop-overlay", Some("EXPORT"), Sets::DropOverlay, Part::Task, "forget its overlay"),
    added(
        None,
        "check",
        None,
        Sets::Check,
        Part::Look,
        "print what a start would come to, as JSON, and exit",
    ),
];

/// The option of a letter.
#[must_use]
pub fn by_letter(letter: u8) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

/// The option of a word or of its beginning; `given` is what stands on the line, with a value perhaps.
///
/// # Errors
/// What the original says of it, without the program's name.
pub fn by_word(word: &str, given: &str) -> Result<&'static Opt, String> {
    if let Some(exact) = OPTIONS.iter().find(|option| option.long == word) {
        return Ok(exact);
    }
    let beginning = |original| {
        OPTIONS.iter().filter(move |option| option.original == original && option.long.starts_with(word))
    };
    let fitting: Vec<_> = match beginning(true).collect::<Vec<_>>() {
        none if none.is_empty() => beginning(false).collect(),
        those => those,
    };
    match fitting[..] {
        [] => Err(format!("unrecognized option '--{given}'")),
        [one] => Ok(one),
        _ => {
            let names: Vec<_> = fitting.iter().map(|option| format!("'--{}'", option.long)).collect();
            Err(format!("option '--{given}' is ambiguous; possibilities: {}", names.join(" ")))
        }
    }
}

/// What stands on standard output after a mistake.
#[must_use]
pub fn usage() -> String {
    let mut text = format!(
        "{VERSION}Served by nbd-server-enhanced.\nUsage: nbd-server [options] [[ADDRESS@]PORT [FILE [SIZE]]]\n"
    );
    let parts = [
        (Part::Server, ""),
        (
            Part::Export,
            "For the export of the command line (PORT FILE [SIZE]; ADDRESS:PORT works for IPv4):\n",
        ),
        (Part::Look, "Instead of serving:\n"),
        (Part::Task, "Instead of serving, for an export of the configuration:\n"),
    ];
    for (part, title) in parts {
        text += title;
        for option in OPTIONS.iter().filter(|option| option.part == part) {
            let short = option.short.map_or("   ".into(), |letter| format!("-{},", char::from(letter)));
            let value = option.value.map_or(String::new(), |value| format!(" {value}"));
            let _ = writeln!(text, "  {short} {:<24}{}", format!("--{}{value}", option.long), option.about);
        }
        if part == Part::Export {
            let _ = writeln!(text, "  {:<28}bytes, or with k, m, g, t", "SIZE");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What 3.24 takes a beginning for, it is: nothing that was added may make one ambiguous.
    ///
    /// C-005
    #[test]
    fn every_beginning_that_the_original_takes_leads_to_the_same_option() {
        let theirs: Vec<_> = OPTIONS.iter().filter(|option| option.original).collect();
        assert_eq!(theirs.len(), 10);
        for option in &theirs {
            for end in 1..=option.long.len() {
                let beginning = &option.long[..end];
                let fitting = theirs.iter().filter(|other| other.long.starts_with(beginning)).count();
                match by_word(beginning, beginning) {
                    Ok(found) if fitting == 1 => assert_eq!(found.sets, option.sets, "--{beginning}"),
                    Err(why) if fitting > 1 => assert!(why.contains("is ambiguous"), "--{beginning}: {why}"),
                    other => panic!("--{beginning}: {other:?}"),
                }
            }
        }
        assert_eq!(by_word("d", "d").map(|option| option.long), Ok("dont-fork"));
        assert_eq!(by_word("com", "com").map(|option| option.long), Ok("commit-overlay"));
        assert_eq!(by_word("ch", "ch").map(|option| option.long), Ok("check"));
        assert!(by_word("c", "c").is_err_and(|why| !why.contains("check")), "3.24 has three of them");
        assert_eq!(by_word("dr", "dr").map(|option| option.long), Ok("drop-overlay"));
        assert_eq!(by_word("n", "n").map(|option| option.long), Ok("nodaemon"));
    }

    /// The manual has a row for each option, spelled as the usage spells it, and no row for one that there is not.
    #[test]
    fn the_manual_lists_the_options_of_the_table() {
        let page = include_str!("../../../../docs/man/nbd-server.1.md");
        let rows: BTreeSet<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `-")?.split(" |").next())
            .map(|cell| format!("`-{cell}"))
            .collect();
        let wanted: BTreeSet<String> = OPTIONS
            .iter()
            .map(|option| {
                let value = option.value.map_or(String::new(), |value| format!(" {value}"));
                let short =
                    option.short.map_or(String::new(), |letter| format!("`-{}`, ", char::from(letter)));
                format!("{short}`--{}{value}`", option.long)
            })
            .collect();
        assert_eq!(rows, wanted);
        for option in OPTIONS.iter().filter(|option| option.part != Part::Alias) {
            assert!(
                usage().contains(&format!("--{}", option.long)) && !option.about.is_empty(),
                "{option:?}"
            );
        }
    }
}
