//! The command line, as the original takes it.

mod value;

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use value::{listen, number, size};

/// What this run is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The main configuration file.
    pub config: PathBuf,
    /// Where the process's number goes.
    pub pid_file: PathBuf,
    /// Stay in the foreground.
    pub foreground: Option<Foreground>,
    /// Address and port, which the configuration overrides.
    pub listen: Option<Listen>,
    /// An export with the empty name.
    pub export: Option<CommandLineExport>,
    /// For standard error.
    pub warnings: Vec<String>,
}

/// How to stay in the foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreground {
    /// `-d`: without a pid file, as in the original.
    DontFork,
    /// `-n`: with one.
    NoDaemon,
}

/// `[ADDRESS SEPARATOR]PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// None for all.
    pub addresses: Vec<String>,
    /// Number or service name.
    pub port: String,
}

/// `FILE [SIZE]` and the options that concern it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLineExport {
    /// Absolute.
    pub file: PathBuf,
    /// Bytes; all where nothing is said.
    pub size: Option<u64>,
    /// `-r`
    pub readonly: bool,
    /// `-m`
    pub multifile: bool,
    /// `-c`
    pub copyonwrite: bool,
    /// `-l`
    pub authfile: Option<PathBuf>,
    /// `-M`
    pub maxconnections: i64,
}

/// The run is over before it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// The exit status.
    pub status: u8,
}

/// The version that programs look for, and the line they look for it in.
const VERSION: &str = "This is nbd-server version 3.24\n";
const DEFAULT_CONFIG: &str = "/etc/nbd-server/config";
const DEFAULT_PID_FILE: &str = "/var/run/nbd-server.pid";

/// Short option, long option, takes a word.
const OPTIONS: &[(u8, &str, bool)] = &[
    (b'C', "config-file", true),
    (b'p', "pid-file", true),
    (b'd', "dont-fork", false),
    (b'n', "nodaemon", false),
    (b'r', "read-only", false),
    (b'm', "multi-file", false),
    (b'c', "copy-on-write", false),
    (b'l', "authorize-file", true),
    (b'M', "max-connection", true),
    (b'M', "max-connections", true),
    (b'o', "output-config", true),
    (b'V', "version", false),
];

const USAGE: &str = "\
This is nbd-server version 3.24, served by nbd-server-enhanced
Usage: nbd-server [options] [[ADDRESS@]PORT FILE [SIZE]]
  -C, --config-file FILE      configuration (default /etc/nbd-server/config)
  -p, --pid-file FILE         where the pid goes (default /var/run/nbd-server.pid)
  -d, --dont-fork             stay in the foreground, write no pid file
  -n, --nodaemon              stay in the foreground
  -V, --version               print the version
  -o, --output-config NAME    print the export of the command line as a group, and exit
For the export of the command line (PORT FILE [SIZE], or ADDRESS:PORT for IPv4):
  -r, --read-only             refuse changes
  -m, --multi-file            FILE.0, FILE.1, … as one disk
  -c, --copy-on-write         changes are private to the client
  -l, --authorize-file FILE   who may connect (default /etc/nbd-server/allow)
  -M, --max-connection N      sessions at a time
  SIZE                        bytes, or with k, m, g, t
";

/// Understands the words, the program's own name first.
///
/// # Errors
/// The run is over: the version, a printed section, or what is wrong.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Invocation, Outcome> {
    let mut words = words;
    let program =
        words.next().map_or_else(|| "nbd-server".into(), |name| name.to_string_lossy().into_owned());
    let mut parser = Parser { program, words, given: Given::default(), output: None, positional: Vec::new() };
    parser.run()?;
    parser.conclude()
}

#[derive(Default)]
struct Given {
    config: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    foreground: Option<Foreground>,
    export: CommandLineExport,
}

struct Parser<I> {
    program: String,
    words: I,
    given: Given,
    output: Option<String>,
    positional: Vec<OsString>,
}

impl<I: Iterator<Item = OsString>> Parser<I> {
    fn run(&mut self) -> Result<(), Outcome> {
        while let Some(word) = self.words.next() {
            match word.as_bytes() {
                b"--" => {
                    self.positional.extend(self.words.by_ref());
                }
                [b'-', b'-', long @ ..] => self.long(&OsString::from_vec(long.to_vec()))?,
                [b'-', short @ ..] if !short.is_empty() => self.short(short)?,
                _ => self.positional.push(word),
            }
        }
        Ok(())
    }

    /// `--name`, `--name=value`, `--name value`; a beginning that fits one name only is enough.
    fn long(&mut self, word: &OsStr) -> Result<(), Outcome> {
        let bytes = word.as_bytes();
        let split = bytes.iter().position(|&byte| byte == b'=');
        let name = String::from_utf8_lossy(&bytes[..split.unwrap_or(bytes.len())]).into_owned();
        let fitting: Vec<_> = OPTIONS.iter().filter(|(_, long, _)| long.starts_with(&name)).collect();
        let exact = fitting.iter().find(|(_, long, _)| *long == name);
        let same = fitting.iter().all(|(short, ..)| *short == fitting[0].0);
        let Some((short, _, takes)) = exact.or_else(|| fitting.first().filter(|_| same)) else {
            let what = if fitting.is_empty() { "unrecognized option" } else { "ambiguous option" };
            return Err(self.usage(&format!("{what} '--{name}'")));
        };
        let value = match (split, takes) {
            (Some(at), true) => Some(OsString::from_vec(bytes[at + 1..].to_vec())),
            (None, true) => Some(
                self.words
                    .next()
                    .ok_or_else(|| self.usage(&format!("option '--{name}' requires an argument")))?,
            ),
            (Some(_), false) => {
                return Err(self.usage(&format!("option '--{name}' doesn't allow an argument")));
            }
            (None, false) => None,
        };
        self.option(*short, value)
    }

    /// `-d`, `-rn`, `-Cfile`, `-C file`.
    fn short(&mut self, letters: &[u8]) -> Result<(), Outcome> {
        let mut rest = letters;
        while let [letter, more @ ..] = rest {
            let Some((_, _, takes)) = OPTIONS.iter().find(|(short, ..)| short == letter) else {
                return Err(self.usage(&format!("invalid option -- '{}'", letter.escape_ascii())));
            };
            if !takes {
                self.option(*letter, None)?;
                rest = more;
                continue;
            }
            let value =
                if more.is_empty() { self.words.next() } else { Some(OsString::from_vec(more.to_vec())) };
            let Some(value) = value else {
                return Err(
                    self.usage(&format!("option requires an argument -- '{}'", letter.escape_ascii()))
                );
            };
            return self.option(*letter, Some(value));
        }
        Ok(())
    }

    fn option(&mut self, letter: u8, value: Option<OsString>) -> Result<(), Outcome> {
        let given = &mut self.given;
        match letter {
            b'C' => given.config = value.map(PathBuf::from),
            b'p' => given.pid_file = value.map(PathBuf::from),
            b'd' => given.foreground = Some(Foreground::DontFork),
            b'n' => given.foreground = given.foreground.or(Some(Foreground::NoDaemon)),
            b'r' => given.export.readonly = true,
            b'm' => given.export.multifile = true,
            b'c' => given.export.copyonwrite = true,
            b'l' => given.export.authfile = value.map(PathBuf::from),
            b'M' => given.export.maxconnections = number(&value.unwrap_or_default()),
            b'o' => self.output = value.map(|name| name.to_string_lossy().into_owned()),
            // At once, whatever else stands on the line.
            _ => return Err(Outcome { stdout: VERSION.into(), ..Outcome::default() }),
        }
        Ok(())
    }

    fn usage(&self, what: &str) -> Outcome {
        Outcome { stdout: USAGE.into(), stderr: format!("{}: {what}\n", self.program), status: 1 }
    }

    fn conclude(mut self) -> Result<Invocation, Outcome> {
        let mut positional = std::mem::take(&mut self.positional).into_iter();
        let listen = positional.next().map(|word| listen(&word.to_string_lossy())).transpose()?;
        let mut warnings = Vec::new();
        let mut export = None;
        if let Some(file) = positional.next() {
            warnings.push(
                "Specifying an export on the command line no longer uses the oldstyle protocol.".to_owned(),
            );
            let size = positional.next().map(|word| size(&word.to_string_lossy())).transpose()?.flatten();
            if !file.as_bytes().starts_with(b"/") {
                return Err(wrong("E: The to be exported file needs to be an absolute filename!"));
            }
            export = Some(CommandLineExport { file: file.into(), size, ..self.given.export.clone() });
        }
        if let Some(name) = &self.output {
            let Some(export) = &export else {
                return Err(wrong(
                    "Need a complete configuration on the command line to output a config file section!",
                ));
            };
            return Err(Outcome { stdout: section(name, export), ..Outcome::default() });
        }
        Ok(Invocation {
            config: self.given.config.unwrap_or_else(|| DEFAULT_CONFIG.into()),
            pid_file: self.given.pid_file.unwrap_or_else(|| DEFAULT_PID_FILE.into()),
            foreground: self.given.foreground,
            listen,
            export,
            warnings,
        })
    }
}

fn wrong(what: &str) -> Outcome {
    Outcome { stderr: format!("{what}\n"), status: 1, ..Outcome::default() }
}

/// The export as a group (`-o`).
fn section(name: &str, export: &CommandLineExport) -> String {
    let mut text = format!("[{name}]\n\texportname = {}\n", export.file.display());
    let flags =
        [("readonly", export.readonly), ("multifile", export.multifile), ("copyonwrite", export.copyonwrite)];
    for (key, _) in flags.iter().filter(|(_, set)| *set) {
        let _ = writeln!(text, "\t{key} = true");
    }
    if let Some(size) = export.size {
        let _ = writeln!(text, "\tfilesize = {size}");
    }
    let authfile = export.authfile.as_deref().unwrap_or("/etc/nbd-server/allow".as_ref());
    let _ = writeln!(text, "\tauthfile = {}", authfile.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Invocation, Outcome> {
        parse(std::iter::once("nbd-server").chain(line.split_whitespace()).map(Into::into))
    }

    /// C-001
    #[test]
    fn the_version_is_one_line_and_wins_over_all_else() {
        for line in ["-V", "--version", "--vers", "-dV 1 relative", "-V --nonsense"] {
            let outcome = run(line).expect_err("it prints");
            assert_eq!(
                (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
                (VERSION, "", 0),
                "{line}"
            );
        }
    }

    /// C-002
    #[test]
    fn anything_unknown_shows_the_usage_with_status_1() {
        for line in ["-h", "--help", "-?", "-w", "-a", "--co", "-C", "--config-file", "--dont-fork=1"] {
            let outcome = run(line).expect_err("usage");
            assert_eq!((outcome.stdout.as_str(), outcome.status), (USAGE, 1), "{line}");
            assert!(outcome.stderr.starts_with("nbd-server: "), "{line}: {}", outcome.stderr);
        }
    }

    /// C-005, C-006, C-027
    #[test]
    fn options_may_stand_anywhere_and_be_shortened() {
        let spellings = [
            "-C c -p p -r -M 3 2000 /f 4k",
            "--config-file c --pid-file=p 2000 --read-only /f --max-connections 3 4k",
            "2000 -Cc /f -pp 4k -rM3",
            "--config c --pid p 2000 /f 4096 -r --max-connection=0x3",
        ];
        for line in spellings {
            let invocation = run(line).expect("it parses");
            assert_eq!(invocation.config, PathBuf::from("c"), "{line}");
            assert_eq!(invocation.pid_file, PathBuf::from("p"), "{line}");
            let export = invocation.export.expect("an export");
            assert_eq!(
                (export.size, export.readonly, export.maxconnections),
                (Some(4096), true, 3),
                "{line}"
            );
        }
    }

    /// C-011, C-012
    #[test]
    fn the_exported_file_is_absolute() {
        let outcome = run("2000 relative/file").expect_err("refused");
        assert_eq!(outcome.stderr, "E: The to be exported file needs to be an absolute filename!\n");
        assert!(run("2000 /f").expect("it parses").warnings[0].contains("no longer uses the oldstyle"));
    }

    /// C-018, C-020
    #[test]
    fn a_section_can_be_printed() {
        let outcome = run("-o sec 2000 /f 10k -r -m -c -l A").expect_err("it prints");
        let expected = "[sec]\n\texportname = /f\n\treadonly = true\n\tmultifile = true\n\tcopyonwrite = true\n\
                        \tfilesize = 10240\n\tauthfile = A\n";
        assert_eq!((outcome.stdout.as_str(), outcome.status), (expected, 0));
        let outcome = run("-o sec").expect_err("refused");
        assert!(outcome.stderr.contains("complete configuration") && outcome.status == 1);
    }
}
