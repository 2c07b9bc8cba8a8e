//! `drift`

use super::{Json, values};
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// The environment's word on the database.
pub const DATABASE_VARIABLE: &str = "NBDCTL_DATABASE";

/// `drift`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes of drift:
  0   all agree
  1   somebody disagrees, nothing was changed
  2   --fix mended a part
  3   the server or the database cannot be asked, nothing was changed
  64  the command line makes no sense

The password of the database is the first line of --password-file, or NBDCTL_DATABASE_PASSWORD.")]
pub struct Drift {
    /// A database that knows all exports: mysql://USER@HOST/DB, postgres://USER@HOST/DB, sqlite:///FILE
    #[arg(long, value_name = "URL", env = DATABASE_VARIABLE, hide_env_values = true, value_hint = ValueHint::Url)]
    pub database: Option<String>,
    /// What to ask it: name and path, and the path by another table; the appliance's tables where nothing is said
    #[arg(long, value_name = "SQL", requires = "database", value_hint = ValueHint::Other)]
    pub query: Option<String>,
    /// A file with the password, which others cannot read
    #[arg(long, value_name = "FILE", requires = "database", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Only exports whose name begins with this
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, value_hint = ValueHint::Other)]
    pub prefix: String,
    /// Make the files in includedir follow the database, reload, and compare again
    #[arg(long)]
    pub fix: bool,
    /// With --fix, remove all exports where the database has none
    #[arg(long, requires_all = ["fix", "database"])]
    pub allow_empty: bool,
    /// Count only what is the same after this time; 15 with --fix, else 0
    #[arg(long, value_name = "SECONDS", value_parser = values::settle, value_hint = ValueHint::Other)]
    pub settle: Option<Duration>,
    /// Say so where all agree
    #[arg(short, long)]
    pub verbose: bool,
    /// How it is printed.
    #[command(flatten)]
    pub json: Json,
}
