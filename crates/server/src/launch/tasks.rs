//! What a run of the program does instead of serving.

use super::{Start, words};
use crate::bind;
use crate::check::{self, Surroundings};
use crate::cli::Task;
use crate::exit::Exit;
use crate::overlays;
use crate::privileges;
use crate::tls;
use config::Loaded;
use control::view::{Problem, Startup};
use nix::unistd::geteuid;

impl Start<'_> {
    /// Does it, and says what was done. The exit status.
    pub fn carry_out(&self, task: &Task) -> Result<u8, Exit> {
        let config = || self.load(&self.files).map(|loaded| loaded.config);
        let done = match task {
            Task::Check => return self.check(),
            Task::CommitOverlay(name) => overlays::commit(name, &config()?)?,
            Task::DropOverlay(name) => overlays::discard(name, &config()?)?,
        };
        Ok(words::answer(&format!("{done}\n"), 0))
    }

    fn check(&self) -> Result<u8, Exit> {
        let startup = match self.read(&self.files) {
            Ok(loaded) => self.look(&loaded),
            Err(refused) => check::refused(&self.main, &refused),
        };
        let text = serde_json::to_string_pretty(&startup)
            .map_err(|error| Exit::Launch(format!("what was found cannot be told: {error}")))?;
        Ok(words::answer(&format!("{text}\n"), check::status(&startup)))
    }

    fn look(&self, loaded: &Loaded) -> Startup {
        let around = self.surroundings(loaded);
        let mut wanted = loaded.config.clone();
        if let Some(export) = &self.command_line {
            wanted.exports.push(export.clone());
        }
        check::look(&self.main, &wanted, loaded, around)
    }

    /// Everything but the exports, in the order of a start: keys as whoever started it, disks as whoever it becomes.
    fn surroundings(&self, loaded: &Loaded) -> Surroundings {
        let generic = &loaded.config.generic;
        let mut around = Surroundings {
            wanted: self.wanted(loaded),
            refused: Vec::new(),
            lacking: Vec::new(),
            warnings: Vec::new(),
        };
        let refusal = |key: Option<&str>, reason: String| Problem {
            file: self.main.display().to_string(),
            line: None,
            key: key.map(Into::into),
            reason,
        };
        match tls::load(&self.files, &generic.tls) {
            Err(problem) if generic.strict => {
                around.refused.push(refusal(Some(problem.key), problem.reason));
            }
            Err(problem) => {
                around.lacking.push(format!("TLS cannot be had: {}: {}", problem.key, problem.reason))
            }
            Ok(_) => {}
        }
        match bind::port_number(&around.wanted.port) {
            Ok(number) => around.wanted.port = number.to_string(),
            Err(error) => around.refused.push(refusal(Some("port"), error.to_string())),
        }
        match privileges::resolve(generic.user.as_deref(), generic.group.as_deref()) {
            Err(why) => around.refused.push(refusal(None, why)),
            Ok(ids) if geteuid().is_root() => {
                if let Err(why) = privileges::drop_to(&ids) {
                    around.refused.push(refusal(None, why));
                }
            }
            Ok(_) if generic.user.is_some() || generic.group.is_some() => around.warnings.push(
                "the disks were looked at as who runs this, not as the configured user and group: be root for that".into(),
            ),
            Ok(_) => {}
        }
        around
    }
}
