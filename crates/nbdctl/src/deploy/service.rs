//! Who starts and stops the server on this machine.

use super::command::{ask, carry_out, line};
use super::process::Process;
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

/// The processes of a service, as systemd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The name of the service.
    pub unit: String,
    /// The one that systemd takes for the server; none where it does not run, or there is no telling.
    pub main: Option<u32>,
    /// The group of all of them; none where it does not run.
    pub group: Option<String>,
    /// A script in `/etc/init.d` starts and ends them, by the number in its pid file.
    pub by_script: bool,
}

impl Members {
    /// Of the lines of `systemctl show`.
    fn of(unit: &str, text: &str) -> Self {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Self {
            unit: unit.into(),
            main: value("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0),
            group: value("ControlGroup").filter(|group| group.len() > 1).map(Into::into),
            by_script: value("SourcePath").is_some_and(|path| path.starts_with("/etc/init.d/")),
        }
    }

    /// It is one of them.
    pub fn has(&self, process: &Process) -> bool {
        self.main == Some(process.pid)
            || self.group.as_ref().is_some_and(|group| is_in_group(group, &process.groups()))
    }
}

/// `0::/system.slice/x.service`; in a container there may be more in front, and a service may divide its own.
fn is_in_group(group: &str, lines: &str) -> bool {
    let mut paths = lines.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.any(|path| path.ends_with(group) || path.contains(&format!("{group}/")))
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

    /// Which processes are the service's; none where nobody keeps account of them.
    pub fn members(&self) -> Option<Members> {
        let Self::Systemd(unit) = self else { return None };
        let shown = ask(
            "systemctl",
            &["show", "-p", "MainPID", "-p", "ControlGroup", "-p", "SourcePath", unit],
            None,
        )
        .ok()?;
        shown.is_well().then(|| Members::of(unit, &shown.out))
    }

    /// What restarts it, as words.
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::Systemd(unit) => vec!["systemctl", "restart", unit],
            Self::Init(script) => vec![script, "restart"],
            Self::Command(command) => vec!["/bin/sh", "-c", command],
        }
    }

    /// Restarts it. `note` is given the number of the process that does it, before it does anything.
    ///
    /// # Errors
    /// That failed, or takes too long.
    pub fn restart(
        &self,
        work: &mut Work<'_, '_>,
        note: &mut dyn FnMut(u32) -> Result<(), String>,
    ) -> Result<(), String> {
        if let Self::Systemd(unit) = self {
            // A start that failed often is refused else, and it may be ours that is to be undone.
            let _ = ask("systemctl", &["reset-failed", unit], None);
        }
        let ran = carry_out(work, &self.words(), note);
        if let (Err(_), Self::Systemd(unit)) = (&ran, self)
            && let Ok(status) = ask("systemctl", &["status", "--no-pager", "--full", unit], None)
        {
            work.say(status.out.trim_end());
        }
        ran.map(drop)
    }

    /// What stops it, as words; none where only a command that restarts is known.
    pub fn stop_words(&self) -> Option<Vec<&str>> {
        match self {
            Self::Systemd(unit) => Some(vec!["systemctl", "stop", unit]),
            Self::Init(script) => Some(vec![script, "stop"]),
            Self::Command(_) => None,
        }
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
        f.write_str(&line(&self.words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_of_a_service_tells_whose_a_process_is() {
        let runs = Members::of("x", "MainPID=0\nControlGroup=/system.slice/x.service\n");
        assert_eq!((runs.main, runs.group.as_deref()), (None, Some("/system.slice/x.service")));
        assert_eq!(Members::of("x", "MainPID=7\nControlGroup=\n").main, Some(7));
        assert_eq!(Members::of("x", "MainPID=0\nControlGroup=\n").group, None);
        assert!(Members::of("x", "SourcePath=/etc/init.d/x\n").by_script && !runs.by_script);
        let is = |lines: &str| is_in_group("/system.slice/x.service", lines);
        assert!(is("0::/system.slice/x.service\n") && is("0::/docker/1/system.slice/x.service/part\n"));
        assert!(is("2:cpu:/\n1:name=systemd:/system.slice/x.service\n"));
        assert!(!is("0::/system.slice/yx.service\n") && !is("0::/user.slice\n") && !is(""));
    }
}
