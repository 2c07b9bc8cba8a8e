//! The units of `packaging/systemd`: systemd finds nothing wrong with them, what they run runs, and what the server never
//! needs is closed to it. Whole machines run them in the lab's tests.
#![allow(missing_docs)]

mod common;

use common::manager::Manager;
use common::place::{Place, Running, is_alive, wait_until};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use testkit::{TempDir, program, skip_or_fail, tool};

const OURS: &str = env!("CARGO_BIN_EXE_nbd-server");
const UNITS: [&str; 6] = [
    "nbd-server.service",
    "nbd-server-notify.service",
    "nbd-server-forking.service",
    "nbd-server.socket",
    "nbd-drift.service",
    "nbd-drift.timer",
];
const SERVERS: [&str; 3] = ["nbd-server.service", "nbd-server-notify.service", "nbd-server-forking.service"];
const DROP_IN: &str = "nbd-server.service.d/enhanced.conf";

/// How systemd wraps an init script, and the appliance's own unit: what the drop-in is laid over.
const OTHERS: [&str; 2] = [
    "[Unit]\nDescription=LSB: Network Block Device server\n[Service]\nType=forking\nRestart=no\nKillMode=process\n\
     GuessMainPID=no\nRemainAfterExit=yes\nExecStart=/bin/true start\nExecStop=/bin/true stop\n",
    "[Unit]\nDescription=NBD\n[Service]\nType=forking\nExecStart=/usr/bin/nbd-server -C /etc/nbd-server/config\n\
     ExecReload=/bin/kill -HUP $MAINPID\nPIDFile=/run/nbd-server.pid\nRestart=always\n",
];

fn unit(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// With the programs where they were built.
fn installed(text: &str) -> String {
    text.replace("/usr/bin/nbd-server", OURS)
        .replace("/usr/bin/nbdctl", &program("nbdctl").display().to_string())
}

/// A directory of units, as systemd has one: the programs stand where they were built.
struct Units(TempDir);

impl Units {
    /// These files with these texts.
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let dir = TempDir::new("units");
        fs::create_dir(dir.join("nbd-server.service.d")).expect("a directory");
        for (name, text) in files {
            fs::write(dir.join(name), installed(&text)).expect("written");
        }
        Self(dir)
    }

    /// `systemd-analyze`; where it is not there, the test says so.
    fn analyze(&self, args: &[&str], names: &[&str]) -> Output {
        let analyze = tool("systemd-analyze").expect("asked for before");
        let paths = names.iter().map(|name| self.0.join(name));
        Command::new(analyze).args(args).args(paths).output().expect("it runs")
    }

    /// What it finds wrong. Others' units, which it reads too, are no concern of ours.
    fn complaints(&self, names: &[&str]) -> Vec<String> {
        let output = self.analyze(&["verify", "--man=no"], names);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours = said.lines().filter(|line| line.contains("nbd-"));
        // Versions before 253 do not know it, as the unit says.
        let old = systemd().is_some_and(|version| version < 253);
        ours.filter(|line| !(old && line.ends_with("ignoring: notify-reload"))).map(Into::into).collect()
    }

    /// Whether what is open to it counts 3.0 or less.
    fn is_closed_enough(&self, name: &str) -> Result<(), String> {
        let output = self.analyze(&["security", "--offline=true", "--threshold=30"], &[name]);
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn has_analyze(test: &str) -> bool {
    let version = systemd();
    // 250 looks at files.
    if version.is_none_or(|version| version < 250) {
        skip_or_fail(test, "systemd-analyze of systemd 250 or later");
    }
    version.is_some_and(|version| version >= 250)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_the_drop_in() {
    if !has_analyze("systemd_finds_nothing_wrong") {
        return;
    }
    let units = Units::new(UNITS.map(|name| (name, unit(name))));
    assert_eq!(units.complaints(&UNITS), Vec::<String>::new());
    for other in OTHERS {
        let units = Units::new([("nbd-server.service", other.to_owned()), (DROP_IN, unit(DROP_IN))]);
        assert_eq!(units.complaints(&["nbd-server.service"]), Vec::<String>::new());
    }
    // It would have found something, in a drop-in too.
    let other = OTHERS[0].to_owned();
    let wrong =
        [("nbd-server.service", other), (DROP_IN, unit(DROP_IN).replace("ProcSubset", "ProcSubsets"))];
    assert!(!Units::new(wrong).complaints(&["nbd-server.service"]).is_empty());
}

#[test]
fn what_the_server_never_needs_is_closed_to_it() {
    if !has_analyze("what_the_server_never_needs_is_closed_to_it") {
        return;
    }
    let units = Units::new(UNITS.map(|name| (name, unit(name))));
    for name in SERVERS {
        assert_eq!(units.is_closed_enough(name), Ok(()), "{name}");
    }
    for other in OTHERS {
        let files = || [("nbd-server.service", other.to_owned()), (DROP_IN, unit(DROP_IN))];
        assert_eq!(Units::new(files()).is_closed_enough("nbd-server.service"), Ok(()));
        let alone = Units::new(files().into_iter().take(1));
        assert!(alone.is_closed_enough("nbd-server.service").is_err(), "the drop-in closes it");
    }
}

/// The argument stands in one of them.
#[test]
fn all_units_of_the_server_close_the_same() {
    let list = |name: &str| {
        let text = unit(name);
        let from = text.find("\nCapabilityBoundingSet=").expect("the beginning of the list");
        let lines: Vec<String> = text[from + 1..].lines().map(Into::into).collect();
        lines.into_iter().take_while(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    let wanted = list("nbd-server.service");
    assert!(wanted.len() > 20, "{wanted:?}");
    for name in SERVERS.into_iter().chain([DROP_IN]) {
        assert_eq!(list(name), wanted, "{name}");
    }
}

fn systemd() -> Option<u32> {
    let output = Command::new(tool("systemd-analyze")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1)?.split(['.', '~']).next()?.parse().ok()
}

/// The command behind a key of a unit, with files of a place of its own.
fn command(name: &str, key: &str, place: &Place) -> Command {
    let text = unit(name);
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect(key);
    let line = installed(line)
        .replace("/etc/nbd-server/config", &place.path("config"))
        .replace("/run/nbd-server.pid", &place.path("pid"));
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn the_command_of_the_notifying_unit_says_when_it_serves() {
    let place = Place::new("");
    let manager = Manager::at(place.dir.join("notify"));
    let mut command = command("nbd-server.service", "ExecStart", &place);
    let mut running = Running(command.env("NOTIFY_SOCKET", manager.path()).spawn().expect("it runs"));
    assert!(manager.hear().has("READY=1"));
    assert!(place.client().go("disk").is_ok());
    assert_eq!(place.pid(), Some(running.pid()), "for programs that look for it");
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    assert!(running.wait().success());
}

#[test]
fn the_commands_of_the_forking_unit_start_and_reload_it() {
    let place = Place::new("");
    let name = "nbd-server-forking.service";
    let status = command(name, "ExecStart", &place).status().expect("it runs");
    assert!(status.success());
    let pid = place.pid().expect("as PIDFile says");
    let reload = || -> Output {
        let mut command = command(name, "ExecReload", &place);
        command.env("NBDCTL_SOCKET", place.dir.join("control.sock")).output().expect("it runs")
    };
    let config = fs::read_to_string(place.path("config")).expect("the configuration");
    fs::write(place.path("config"), config.replace("[disk]", "[renamed]")).expect("written");
    assert!(reload().status.success());
    assert!(place.client().go("renamed").is_ok(), "at once");
    fs::write(place.path("config"), "[generic]\n[x").expect("written");
    assert_eq!(reload().status.code(), Some(1), "the reload was refused, and the manager learns of it");
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("it ends", || !is_alive(pid));
}
