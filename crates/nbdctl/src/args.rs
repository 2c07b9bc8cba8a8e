//! The table of words: what may be typed. What each does stands in `words/`.

mod deploy;
mod drift;
mod values;

use crate::exit::Exit;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use control::view::Level;
use std::path::PathBuf;
use std::time::Duration;

pub use deploy::{Deploy, Place, Rollback};
pub use drift::{DATABASE_VARIABLE, Drift};
pub use values::Setting;

/// Where the server listens where nothing is said.
const DEFAULT_SOCKET: &str = "/run/nbd-server/control.sock";

/// Ask a running nbd-server, and change what it serves with an answer.
#[derive(Debug, Parser)]
#[command(name = "nbdctl", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Whom to ask.
    #[command(flatten)]
    pub server: Server,
    /// What to do.
    #[command(subcommand)]
    pub word: Word,
}

/// Whom to ask, and how patiently.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// The server's control socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "NBDCTL_SOCKET",
        default_value = DEFAULT_SOCKET,
        value_hint = ValueHint::FilePath,
        hide_env_values = true,
        display_order = 100
    )]
    pub socket: PathBuf,
    /// How long the server may take, fractions allowed
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value = "30",
        display_order = 101,
        value_parser = values::patience
    )]
    pub timeout: Duration,
}

/// One word for each thing.
#[derive(Debug, Subcommand)]
pub enum Word {
    /// The server as a whole
    Status(Json),
    /// What is served, from which disk, and how it is
    Exports(Exports),
    /// Who is connected
    Sessions(Sessions),
    /// Follow the configuration, and say what was done
    Reload(Json),
    /// What a reload would do now, like a diff; nothing is done
    Plan(Plan),
    /// What a start with a configuration would come to; nothing is done
    Check(Check),
    /// End all sessions of an export and close its disk; clients may come again
    Fence(OneExport),
    /// End one session
    End(End),
    /// Accept the loss behind a failed sync, so that an export may be flushed again
    Clear(OneExport),
    /// Write an export's file in includedir, and reload
    Add(Add),
    /// Delete an export's file in includedir, and reload
    Remove(Remove),
    /// What happens, as it happens
    Events(Events),
    /// From which level on lines are logged; with LEVEL, set it
    LogLevel(LogLevel),
    /// Who disagrees among files, server, devices and a database; with --fix, files follow the database
    Drift(Drift),
    /// Put another server program in place, see that it serves, and go back by itself where it does not
    Deploy(Deploy),
    /// Put a program back that was replaced
    Rollback(Rollback),
    /// Figures in Prometheus' text format
    Metrics,
    /// Exports and sessions live, with rates
    Top(Top),
    /// What a key of the configuration means; all keys without KEY
    Explain(Explain),
    /// A completion script for a shell
    Completions(Completions),
    /// The description of the control socket's HTTP interface, as OpenAPI
    Openapi,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Json {
    /// Print the server's JSON as it came
    #[arg(long)]
    pub json: bool,
}

/// `exports`
#[derive(Debug, Args)]
pub struct Exports {
    /// Only this one, with all that is known of it
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    pub name: Option<String>,
    /// How it is printed.
    #[command(flatten)]
    pub json: Json,
    /// Print names only, one a line
    #[arg(long, conflicts_with_all = ["json", "name"])]
    pub names: bool,
}

/// `sessions`
#[derive(Debug, Args)]
pub struct Sessions {
    /// Only this one, by its number
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    pub id: Option<u64>,
    /// How it is printed.
    #[command(flatten)]
    pub json: Json,
    /// Print numbers only, one a line
    #[arg(long, conflicts_with_all = ["json", "id"])]
    pub ids: bool,
}

/// `plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// End with 2 where there is anything to do
    #[arg(long)]
    pub exit_code: bool,
    /// How it is printed.
    #[command(flatten)]
    pub json: Json,
}

/// `check`
#[derive(Debug, Args)]
pub struct Check {
    /// A main configuration file, - for standard input; the server's own where nothing is said
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// How it is printed.
    #[command(flatten)]
    pub json: Json,
}

/// A word with an export.
#[derive(Debug, Args)]
pub struct OneExport {
    /// The export's name
    #[arg(value_name = "EXPORT", value_hint = ValueHint::Other)]
    pub export: String,
    /// How the answer is printed.
    #[command(flatten)]
    pub json: Json,
}

/// `end`
#[derive(Debug, Args)]
pub struct End {
    /// The session's number
    #[arg(value_name = "SESSION", value_hint = ValueHint::Other)]
    pub session: u64,
    /// How the answer is printed.
    #[command(flatten)]
    pub json: Json,
}

/// `add`
#[derive(Debug, Args)]
pub struct Add {
    /// The export's name
    #[arg(value_name = "EXPORT", value_hint = ValueHint::Other)]
    pub export: String,
    /// Its settings, as in the configuration; a path in the first place is its exportname
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = values::setting, value_hint = ValueHint::AnyPath)]
    pub settings: Vec<Setting>,
    /// Put these settings in the place of those of an export that is there
    #[arg(long)]
    pub replace: bool,
    /// Whether it applies.
    #[command(flatten)]
    pub apply: Apply,
    /// How the answer is printed.
    #[command(flatten)]
    pub json: Json,
}

/// `remove`
#[derive(Debug, Args)]
pub struct Remove {
    /// The export's name
    #[arg(value_name = "EXPORT", value_hint = ValueHint::Other)]
    pub export: String,
    /// Whether it applies.
    #[command(flatten)]
    pub apply: Apply,
    /// How the answer is printed.
    #[command(flatten)]
    pub json: Json,
}

/// Whether a changed file applies at once.
#[derive(Clone, Copy, Debug, Args)]
pub struct Apply {
    /// Change the file only; a later reload follows it
    #[arg(long)]
    pub no_reload: bool,
}

/// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Go on for ever, and over the server's restarts
    #[arg(short, long)]
    pub follow: bool,
    /// End after so many; with exit code 1 where the time is over before
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// How they are printed.
    #[command(flatten)]
    pub json: Json,
}

/// `log-level`
#[derive(Debug, Args)]
pub struct LogLevel {
    /// The level from now on
    #[arg(value_name = "LEVEL", value_parser = values::levels())]
    pub level: Option<Level>,
    /// How it is printed.
    #[command(flatten)]
    pub json: Json,
}

/// `top`
#[derive(Debug, Args)]
pub struct Top {
    /// Seconds between two looks, fractions allowed
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = values::interval)]
    pub interval: Duration,
    /// Print one picture and exit; rates are those of one interval
    #[arg(long)]
    pub once: bool,
    /// Begin with sessions instead of exports
    #[arg(long)]
    pub sessions: bool,
}

/// `explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The key
    #[arg(value_name = "KEY", value_parser = values::KeyName)]
    pub key: Option<String>,
}

/// `completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The table of words with the exit codes below the help.
#[must_use]
pub fn command() -> clap::Command {
    let mut codes = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        codes += &format!("  {:<3} {}\n", exit.code(), exit.about());
    }
    Cli::command().after_help(codes)
}
