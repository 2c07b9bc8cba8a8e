//! The command line, as the original takes it.

mod options;
mod value;

use config::ExportName;
use options::{Opt, Sets, VERSION};
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
    /// Work to do instead of serving.
    pub task: Option<Task>,
    /// For standard error.
    pub warnings: Vec<String>,
}

/// Work instead of serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// `--check`: say what a start would come to.
    Check,
    /// `--commit-overlay`: write it into what it lies over, and begin anew.
    CommitOverlay(ExportName),
    /// `--drop-overlay`: forget what was written, and begin anew.
    DropOverlay(ExportName),
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

const DEFAULT_CONFIG: &str = "/etc/nbd-server/config";
const DEFAULT_PID_FILE: &str = "/var/run/nbd-server.pid";

/// Understands the words, the program's own name first.
///
/// # Errors
/// The run is over: the version, a printed section, or what is wrong.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Invocation, Outcome> {
    let mut words = words;
    let program =
        words.next().map_or_else(|| "nbd-server".into(), |name| name.to_string_lossy().into_owned());
    let mut parser = Parser { program, words, given: Given::default(), positional: 0 };
    parser.run()?;
    parser.conclude()
}

#[derive(Default)]
struct Given {
    config: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    foreground: Option<Foreground>,
    listen: Option<Listen>,
    /// With an empty path until there is a FILE.
    export: CommandLineExport,
    output: Option<String>,
    task: Option<Task>,
}

struct Parser<I> {
    program: String,
    words: I,
    given: Given,
    /// Words so far that belong to no option.
    positional: usize,
}

impl<I: Iterator<Item = OsString>> Parser<I> {
    fn run(&mut self) -> Result<(), Outcome> {
        while let Some(word) = self.words.next() {
            match word.as_bytes() {
                b"--" => {
                    while let Some(word) = self.words.next() {
                        self.positional(&word)?;
                    }
                }
                [b'-', b'-', long @ ..] => self.long(long)?,
                [b'-', short @ ..] if !short.is_empty() => self.short(short)?,
                _ => self.positional(&word)?,
            }
        }
        Ok(())
    }

    /// `PORT FILE SIZE`; what follows is ignored, as in the original. What is wrong is said at once: an option behind it
    /// makes no difference any more.
    fn positional(&mut self, word: &OsStr) -> Result<(), Outcome> {
        self.positional += 1;
        match self.positional {
            1 => self.given.listen = Some(listen(&word.to_string_lossy())?),
            2 if !word.as_bytes().starts_with(b"/") => {
                return Err(wrong("E: The to be exported file needs to be an absolute filename!"));
            }
            2 => self.given.export.file = word.into(),
            3 => self.given.export.size = size(&word.to_string_lossy())?,
            _ => {}
        }
        Ok(())
    }

    /// `--name`, `--name=value`, `--name value`; a beginning that fits one name only is enough.
    fn long(&mut self, word: &[u8]) -> Result<(), Outcome> {
        let split = word.iter().position(|&byte| byte == b'=');
        let name = String::from_utf8_lossy(&word[..split.unwrap_or(word.len())]).into_owned();
        let given = String::from_utf8_lossy(word);
        let option = options::by_word(&name, &given).map_err(|what| self.usage(&what))?;
        let value = match (split, option.value) {
            (Some(at), Some(_)) => Some(OsString::from_vec(word[at + 1..].to_vec())),
            (None, Some(_)) => {
                let missing = format!("option '--{}' requires an argument", option.long);
                Some(self.words.next().ok_or_else(|| self.usage(&missing))?)
            }
            (Some(_), None) => {
                return Err(self.usage(&format!("option '--{}' doesn't allow an argument", option.long)));
            }
            (None, None) => None,
        };
        self.option(option, value.unwrap_or_default())
    }

    /// `-d`, `-rn`, `-Cfile`, `-C file`.
    fn short(&mut self, letters: &[u8]) -> Result<(), Outcome> {
        let mut rest = letters;
        while let [letter, more @ ..] = rest {
            let shown = letter.escape_ascii();
            let Some(option) = options::by_letter(*letter) else {
                return Err(self.usage(&format!("invalid option -- '{shown}'")));
            };
            if option.value.is_none() {
                self.option(option, OsString::new())?;
                rest = more;
                continue;
            }
            let value =
                if more.is_empty() { self.words.next() } else { Some(OsString::from_vec(more.to_vec())) };
            let missing = || self.usage(&format!("option requires an argument -- '{shown}'"));
            let value = value.ok_or_else(missing)?;
            return self.option(option, value);
        }
        Ok(())
    }

    fn option(&mut self, option: &Opt, value: OsString) -> Result<(), Outcome> {
        let given = &mut self.given;
        match option.sets {
            Sets::ConfigFile => given.config = Some(value.into()),
            Sets::PidFile => given.pid_file = Some(value.into()),
            Sets::DontFork => given.foreground = Some(Foreground::DontFork),
            Sets::NoDaemon => given.foreground = given.foreground.or(Some(Foreground::NoDaemon)),
            Sets::ReadOnly => given.export.readonly = true,
            Sets::MultiFile => given.export.multifile = true,
            Sets::CopyOnWrite => given.export.copyonwrite = true,
            Sets::AuthorizeFile => given.export.authfile = Some(value.into()),
            Sets::MaxConnection => given.export.maxconnections = number(&value),
            Sets::OutputConfig => given.output = Some(value.to_string_lossy().into_owned()),
            Sets::CommitOverlay => return self.task(Task::CommitOverlay(value.as_bytes().into())),
            Sets::DropOverlay => return self.task(Task::DropOverlay(value.as_bytes().into())),
            Sets::Check => return self.task(Task::Check),
            // At once, whatever stands behind it.
            Sets::Version => return Err(Outcome { stdout: VERSION.into(), ..Outcome::default() }),
        }
        Ok(())
    }

    fn task(&mut self, task: Task) -> Result<(), Outcome> {
        match self.given.task.replace(task.clone()) {
            None => Ok(()),
            Some(Task::Check) if task == Task::Check => Ok(()),
            Some(earlier) if earlier == Task::Check || task == Task::Check => {
                Err(self.usage("--check changes nothing and goes with no work on an overlay"))
            }
            Some(_) => Err(self.usage("one overlay at a time can be committed or dropped")),
        }
    }

    fn usage(&self, what: &str) -> Outcome {
        Outcome { stdout: options::usage(), stderr: format!("{}: {what}\n", self.program), status: 1 }
    }

    fn conclude(self) -> Result<Invocation, Outcome> {
        let given = self.given;
        let export = Some(given.export).filter(|_| self.positional >= 2);
        if let Some(name) = &given.output {
            return Err(match &export {
                Some(export) => Outcome { stdout: section(name, export), ..Outcome::default() },
                None => wrong(
                    "Need a complete configuration on the command line to output a config file section!",
                ),
            });
        }
        let warning = "Specifying an export on the command line no longer uses the oldstyle protocol.";
        Ok(Invocation {
            config: given.config.unwrap_or_else(|| DEFAULT_CONFIG.into()),
            pid_file: given.pid_file.unwrap_or_else(|| DEFAULT_PID_FILE.into()),
            foreground: given.foreground,
            listen: given.listen,
            warnings: export.iter().map(|_| warning.to_owned()).collect(),
            export,
            task: given.task,
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
    fn the_version_is_one_line_and_wins_over_what_follows() {
        for line in ["-V", "--version", "--vers", "-dV 1 relative", "-V --nonsense", "1 /f 2 -V"] {
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
            assert_eq!((outcome.stdout.as_str(), outcome.status), (options::usage().as_str(), 1), "{line}");
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

    /// Work on an overlay has its export's name, byte for byte, and is one at a time.
    #[test]
    fn an_overlay_can_be_committed_or_dropped() {
        let task = |line: &str| run(line).map(|invocation| invocation.task);
        assert_eq!(task("-C c --commit-overlay a"), Ok(Some(Task::CommitOverlay("a".into()))));
        assert_eq!(task("--drop=b"), Ok(Some(Task::DropOverlay("b".into()))));
        assert_eq!(task("-C c"), Ok(None));
        assert_eq!(task("--check -C c --check"), Ok(Some(Task::Check)));
        assert_eq!(task("--check --drop-overlay a").expect_err("both").status, 1);
        assert_eq!(task("--drop-overlay").expect_err("no name").status, 1);
        assert_eq!(task("--drop-overlay a --commit-overlay a").expect_err("both").status, 1);
    }

    /// C-069
    #[test]
    fn with_nothing_said_the_files_are_those_of_the_original() {
        let invocation = run("").expect("it parses");
        assert_eq!(invocation.config, PathBuf::from("/etc/nbd-server/config"));
        assert_eq!(invocation.pid_file, PathBuf::from("/var/run/nbd-server.pid"));
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
