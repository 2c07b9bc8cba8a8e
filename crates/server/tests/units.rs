//! The example units: systemd finds nothing wrong with them, and what they run runs.
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
const UNITS: [&str; 3] = ["nbd-server.service", "nbd-server-forking.service", "nbd-server.socket"];

fn unit(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// With the programs where they were built.
fn installed(text: &str) -> String {
    text.replace("/usr/bin/nbd-server", OURS)
        .replace("/usr/bin/nbdctl", &program("nbdctl").display().to_string())
}

/// Versions before 253 do not know `notify-reload`, as the unit says.
#[test]
fn systemd_finds_nothing_wrong_with_the_example_units() {
    let (Some(analyze), Some(version)) = (tool("systemd-analyze"), systemd()) else {
        return skip_or_fail("systemd_finds_nothing_wrong", "systemd-analyze");
    };
    let dir = TempDir::new("units");
    let verify = |texts: [String; 3]| {
        let paths = UNITS.map(|name| dir.join(name));
        for (path, text) in paths.iter().zip(texts) {
            fs::write(path, text).expect("written");
        }
        let output =
            Command::new(&analyze).args(["verify", "--man=no"]).args(&paths).output().expect("it runs");
        // Others' units, which it reads too, are no concern of ours.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().filter(|line| line.contains("nbd-server")).map(Into::into).collect::<Vec<String>>()
    };
    let mut said = verify(UNITS.map(|name| installed(&unit(name))));
    if version < 253 {
        said.retain(|line| !line.ends_with("Failed to parse service type, ignoring: notify-reload"));
    }
    assert_eq!(said, Vec::<String>::new());
    // It would have found something.
    let said = verify(UNITS.map(|name| installed(&unit(name)).replace("ListenStream", "ListenSteam")));
    assert!(said.iter().any(|line| line.contains("ListenSteam")), "{said:?}");
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
