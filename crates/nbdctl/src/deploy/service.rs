//! Who starts and stops the server on this machine.

use super::command::{ask, carry_out};
use super::work::Work;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Who restarts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// systemd, by the name of the unit.
    Systemd(String),
    /// A script in `/etc/init.d`.
    Init(String),
    /// A command for a shell.
    Command(String),
}

impl Manager {
    /// Who it is here.
    ///
    /// # Errors
    /// Nobody knows the service.
    pub fn find(service: &str, command: Option<&str>) -> Result<Self, String> {
        if let Some(command) = command {
            return Ok(Self::Command(command.into()));
        }
        let script = format!("/etc/init.d/{service}");
        if Path::new("/run/systemd/system").is_dir() {
            let known = ask("systemctl", &["show", "-p", "LoadState", "--value", service], None)?;
            return match known.out.trim() {
                "loaded" => Ok(Self::Systemd(service.into())),
                state => Err(format!(
                    "systemd does not have the service {service} (it is {state}): --service says which it is, --restart how else to restart it"
                )),
            };
        }
        if Path::new(&script).is_file() {
            return Ok(Self::Init(script));
        }
        Err(format!("there is neither systemd nor {script}: --restart says how the server is restarted"))
    }

    /// What restarts it, as words.
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::Systemd(unit) => vec!["systemctl", "restart", unit],
            Self::Init(script) => vec![script, "restart"],
            Self::Command(command) => vec!["/bin/sh", "-c", command],
        }
    }

    /// Restarts it.
    ///
    /// # Errors
    /// That failed, or takes too long.
    pub fn restart(&self, work: &mut Work<'_, '_>) -> Result<(), String> {
        if let Self::Systemd(unit) = self {
            // A start that failed often is refused else, and it may be ours that is to be undone.
            let _ = ask("systemctl", &["reset-failed", unit], None);
        }
        let ran = carry_out(work, &self.words());
        if let (Err(_), Self::Systemd(unit)) = (&ran, self)
            && let Ok(status) = ask("systemctl", &["status", "--no-pager", "--full", unit], None)
        {
            work.say(status.out.trim_end());
        }
        ran.map(drop)
    }

    /// Whether it says that the service runs; none where nobody says.
    ///
    /// # Errors
    /// It says that it does not.
    pub fn is_active(&self) -> Result<Option<String>, String> {
        let Self::Systemd(unit) = self else { return Ok(None) };
        let ran = ask("systemctl", &["is-active", unit], None)?;
        match ran.out.trim() {
            "active" => Ok(Some(format!("systemd says of {unit}: active"))),
            other => Err(format!("systemd says of {unit}: {other}")),
        }
    }
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}
