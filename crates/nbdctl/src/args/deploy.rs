//! `deploy` and `rollback`

use super::values;
use crate::text::for_shell;
use clap::{Args, ValueHint};
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

/// What both words are told of the place.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The file that is replaced; what the running server executes, where nothing is said
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub target: Option<PathBuf>,
    /// The service that is restarted
    #[arg(long, value_name = "NAME", default_value = "nbd-server", value_hint = ValueHint::Other)]
    pub service: String,
    /// Restart with this command of a shell, instead of by systemd or /etc/init.d
    #[arg(long, value_name = "COMMAND", value_hint = ValueHint::CommandString)]
    pub restart: Option<String>,
    /// The server's configuration; what the running server was started with, where nothing is said
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The server's pid file; what the running server was started with, where nothing is said
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pid_file: Option<PathBuf>,
    /// Where binaries that were replaced are kept
    #[arg(long, value_name = "DIR", default_value = "/var/backups/nbd-server", value_hint = ValueHint::DirPath)]
    pub backups: PathBuf,
    /// Where each step is logged; a new file in /var/log/nbd-server-deploy, where nothing is said
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,
    /// Go on though sessions end by it, or an export is lost or becomes another
    #[arg(long)]
    pub yes: bool,
    /// Look, and say each step; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long a restart, a start or a reload may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::patience)]
    pub wait: Duration,
}

impl Place {
    /// The same from every directory: what is logged, kept and advised is read later, and elsewhere.
    ///
    /// # Errors
    /// The directory of now is not known.
    pub fn anywhere(&self) -> std::io::Result<Self> {
        let given = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
        let here = std::env::current_dir()?;
        Ok(Self {
            target: given(&self.target)?,
            restart: self.restart.as_deref().map(|command| from(&here, command)),
            config: given(&self.config)?,
            pid_file: given(&self.pid_file)?,
            backups: absolute(&self.backups)?,
            log: given(&self.log)?,
            ..self.clone()
        })
    }
}

/// A command of a shell that names something of this directory is run in it.
fn from(here: &Path, command: &str) -> String {
    let of_here = |word: &str| !word.starts_with(['/', '-']) && here.join(word).exists();
    let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';']));
    if !words.any(|word| !word.is_empty() && of_here(word)) {
        return command.into();
    }
    format!("cd {} || exit; {command}", for_shell(&here.display().to_string()))
}

/// `deploy`
#[derive(Clone, Debug, Args)]
#[command(after_help = CODES)]
pub struct Deploy {
    /// The program that takes the place of the server
    #[arg(value_name = "NEW_BINARY", value_hint = ValueHint::FilePath)]
    pub new: PathBuf,
    /// The place.
    #[command(flatten)]
    pub place: Place,
}

/// `rollback`
#[derive(Clone, Debug, Args)]
#[command(after_help = CODES)]
pub struct Rollback {
    /// The backup that comes back; what was there before the newest deploy, where nothing is said
    #[arg(long, value_name = "BACKUP", value_hint = ValueHint::FilePath)]
    pub to: Option<PathBuf>,
    /// List the backups, and do nothing
    #[arg(long)]
    pub list: bool,
    /// The place.
    #[command(flatten)]
    pub place: Place,
}

const CODES: &str = "\
Exit codes of deploy and rollback:
  0   it is in place and was seen to serve
  1   refused, nothing was touched
  2   it failed, and it is as it was before
  4   it failed, and so did the way back: an operator is needed
  64  the command line makes no sense";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_names_something_of_this_directory_is_run_in_it() {
        let here = std::env::temp_dir().join(format!("nbdctl it's here {}", std::process::id()));
        std::fs::create_dir_all(here.join("sub")).expect("a directory");
        std::fs::write(here.join("sub/restart"), "echo \"$1\" > done\n").expect("written");
        let same = ["systemctl restart nbd-server", "/bin/true", "echo -n; true", ""];
        same.iter().for_each(|command| assert_eq!(from(&here, command), *command));
        let command = from(&here, "sh ./sub/restart 'a  b'");
        let status = std::process::Command::new("sh").args(["-c", &command]).current_dir("/").status();
        assert!(status.expect("sh").success(), "{command}");
        assert_eq!(std::fs::read(here.join("done")).expect("read"), b"a  b\n");
        std::fs::remove_dir_all(here).expect("removed");
    }
}
