//! The journal's own protocol: what a line is about, as fields.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, wait_until};
use common::room::{DEV_LOG, Entry, Room};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use testkit::Client;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A server in the background in a room.
struct Scene {
    room: Room,
    place: Place,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        Some(Self { room: Room::new(test)?, place: Place::new("includedir = conf.d") })
    }

    fn launch(&self, log: &str) -> Pid {
        fs::create_dir(self.place.dir.join("conf.d")).expect("a new directory");
        let args = ["-C", "config", "-p", "pid"];
        let output = self.room.server(log).args(args).current_dir(self.place.dir.path()).output();
        let output = output.expect("unshare runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.place.pid().expect("a pid file")
    }

    fn describe(&self, name: &str, path: &str) {
        let text = format!("[{name}]\nexportname = {path}\nreadonly = true\n");
        fs::write(self.place.dir.join("conf.d").join(format!("{name}.conf")), text).expect("written");
    }
}

fn hup(pid: Pid) {
    kill_process(pid, Signal::HUP).expect("it runs");
}

fn of<'a>(entries: &'a [Entry], event: &str) -> &'a Entry {
    let mut found = entries.iter().filter(|entry| entry.get("NBD_EVENT").is_some_and(|is| is == event));
    found.next().unwrap_or_else(|| panic!("no {event} in {entries:#?}"))
}

/// Each event has its id, and every other line comes the same way, so that the order is kept. What stands in a file's name
/// is no field of its own, and `grep MIGRATEKIT` finds what it always found.
#[test]
fn the_facts_of_a_reload_are_fields_of_the_journal() {
    let Some(scene) = Scene::new("the_facts_of_a_reload") else { return };
    let (journal, syslog) = (scene.room.listen(SOCKET), scene.room.listen(DEV_LOG));
    let pid = scene.launch(DEV_LOG);
    let start = journal.entries_until("Starting to serve");
    let number = pid.as_raw_nonzero().to_string();
    for entry in &start {
        assert_eq!((entry["SYSLOG_IDENTIFIER"].as_str(), &entry["SYSLOG_PID"]), ("nbd_server", &number));
        assert_eq!(entry["SYSLOG_FACILITY"], "3");
    }
    let serving = start.last().expect("the line just found");
    assert_eq!((serving["PRIORITY"].as_str(), serving.get("NBD_EVENT")), ("6", None));
    let started = of(&start, "start complete");
    assert_eq!((started["NBD_GENERATION"].as_str(), started["NBD_ADDED"].as_str()), ("1", "1"));

    let odd = scene.place.dir.join("a\nPRIORITY=0");
    fs::write(&odd, [1; 4096]).expect("a disk");
    // In the order of their files' names.
    scene.describe("odd", &odd.display().to_string().replace('\n', "\\n"));
    scene.describe("sunk", "/nonexistent/disk");
    hup(pid);
    let lines = journal.entries_until("MIGRATEKIT: reload complete");
    let added = of(&lines, "export added");
    assert_eq!((&added["NBD_EXPORT"], &added["NBD_NEW"]), (&"odd".into(), &odd.display().to_string()));
    assert_eq!((added["PRIORITY"].as_str(), added["NBD_SIZE"].as_str()), ("5", "4096"));
    assert!(added["MESSAGE"].starts_with("MIGRATEKIT: export added export=odd new="), "{added:?}");
    assert!(!added["MESSAGE"].contains('\n'));
    let missing = of(&lines, "export unavailable");
    assert_eq!((missing["NBD_EXPORT"].as_str(), missing["PRIORITY"].as_str()), ("sunk", "4"));
    assert!(missing["NBD_REASON"].contains("No such file"), "{missing:?}");
    let closing = of(&lines, "reload complete");
    let counts = ["NBD_GENERATION", "NBD_ADDED", "NBD_CHANGED", "NBD_REMOVED", "NBD_KEPT", "NBD_FENCED"];
    assert_eq!(counts.map(|key| closing[key].as_str()), ["2", "2", "0", "0", "0", "0"]);
    let at = |event| lines.iter().position(|entry| entry.get("NBD_EVENT").is_some_and(|is| is == event));
    assert!(at("reload requested") < at("export added"), "in the order in which they were said");
    let mut ids: Vec<&str> =
        lines.iter().filter_map(|entry| Some(entry.get("MESSAGE_ID")?.as_str())).collect();
    let events = lines.iter().filter(|entry| entry.contains_key("NBD_EVENT")).count();
    assert_eq!(ids.len(), events, "each event has one");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "requested, added, unavailable, complete");
    assert!(syslog.is_empty(), "nothing twice");
}

/// Away, it is syslog's turn, and nothing is lost; back again, it has its fields again.
#[test]
fn a_journal_that_is_away_is_replaced_by_syslog_until_it_is_back() {
    let Some(scene) = Scene::new("a_journal_that_is_away") else { return };
    let (journal, syslog) = (scene.room.listen(SOCKET), scene.room.listen(DEV_LOG));
    let pid = scene.launch(DEV_LOG);
    journal.entries_until("Starting to serve");
    drop(journal);
    hup(pid);
    let lines = syslog.lines_until("MIGRATEKIT: reload complete");
    assert!(lines[0].contains("reconfiguration request received"), "{lines:?}");
    let prefix =
        format!("<29>nbd_server[{}]: MIGRATEKIT: reload complete generation=2 ", pid.as_raw_nonzero());
    assert!(lines.last().is_some_and(|line| line.starts_with(&prefix)), "{lines:?}");
    let journal = scene.room.listen(SOCKET);
    hup(pid);
    let lines = journal.entries_until("MIGRATEKIT: reload complete");
    assert_eq!(of(&lines, "reload complete")["NBD_GENERATION"], "3");
    assert!(syslog.is_empty(), "nothing twice");
}

/// Somebody else reads `/dev/log` (rsyslog, a container's host): then that is where the lines go, journal or not.
#[test]
fn syslog_is_spoken_where_somebody_else_reads_it() {
    let Some(scene) = Scene::new("syslog_is_spoken_where") else { return };
    let (journal, syslog) = (scene.room.listen(SOCKET), scene.room.listen("/run/other"));
    scene.launch("/run/other");
    let lines = syslog.lines_until("Starting to serve");
    assert!(
        lines.iter().any(|line| line.contains("nbd_server[") && line.contains("MIGRATEKIT: start complete"))
    );
    assert!(journal.is_empty());
}

/// In the foreground, where standard error is the journal's.
#[test]
fn in_the_foreground_the_journal_gets_fields_too() {
    let Some(scene) = Scene::new("in_the_foreground_the_journal") else { return };
    let journal = scene.room.listen(SOCKET);
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let about = fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd())).expect("it is ours");
    let mut command = scene.room.server(DEV_LOG);
    fs::create_dir(scene.place.dir.join("conf.d")).expect("a new directory");
    command.args(["-d", "-C", "config"]).current_dir(scene.place.dir.path()).stderr(writer);
    command.env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()));
    let mut running = Running(command.spawn().expect("it runs"));
    drop(command);
    let start = journal.entries_until("Starting to serve");
    let started = of(&start, "start complete");
    assert_eq!(
        (started["SYSLOG_IDENTIFIER"].as_str(), started["NBD_GENERATION"].as_str()),
        ("nbd-server", "1")
    );
    assert_eq!(started["SYSLOG_PID"], running.pid().as_raw_nonzero().to_string());
    drop(journal);
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    running.wait();
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(said, "<6>stopped\n", "only what was said while the journal was away");
}

/// A journal that does not read costs no client anything.
#[test]
fn a_journal_that_is_stuck_holds_up_no_client() {
    let Some(scene) = Scene::new("a_journal_that_is_stuck") else { return };
    let (journal, _syslog) = (scene.room.listen(SOCKET), scene.room.listen(DEV_LOG));
    let pid = scene.launch(DEV_LOG);
    journal.fill();
    hup(pid);
    for _ in 0..20 {
        let mut client = Client::connect_tcp(scene.place.port).expect("it accepts");
        client.go("disk").expect("served");
        assert_eq!(client.read(0, 1), Ok(vec![5]));
    }
    wait_until("the reload is over all the same", || {
        let control = testkit::Control::at(scene.place.dir.join("control.sock"));
        control.get("/v1/status").contains("\"generation\":2")
    });
    let entries = journal.entries_until("Starting to serve");
    assert!(entries.iter().any(|entry| entry.contains_key("NBD_EVENT")));
}
