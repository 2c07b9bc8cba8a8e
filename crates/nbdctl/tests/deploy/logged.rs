//! The closing line where there is neither a journal nor a control socket: in the file of syslog.

use super::machine::{Machine, Ran, ran};
use super::{no_original, ours};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use testkit::{is_root, skip_or_fail, tool};

/// A mount namespace with a `/dev` and a `/var/log` of the test's own and without a journal, so that the machine's are neither used nor touched.
const INTO_THE_ROOM: &str = r#"
set -e
room=$1; shift
mount -t tmpfs -o mode=755 tmpfs "$room/dev"
for node in null zero full random urandom; do
    : >"$room/dev/$node"
    mount --bind "/dev/$node" "$room/dev/$node"
done
ln -s "$room/dev-log" "$room/dev/log"
mount --bind "$room/var-log" /var/log
mount -t tmpfs tmpfs /run
if test -e "$room/journalctl"; then mkdir -p /run/systemd/journal; PATH=$room:$PATH; fi
mount --move "$room/dev" /dev
exec "$@"
"#;

/// What syslog does: each datagram is a line of the file.
fn syslog(socket: &Path, file: &Path) {
    let socket = UnixDatagram::bind(socket).expect("a socket");
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("a file");
    std::thread::spawn(move || {
        let mut line = [0; 8192];
        while let Ok(length) = socket.recv(&mut line) {
            let _ = file.write_all(&[&line[..length], b"\n"].concat());
        }
    });
}

/// `nbdctl deploy` of ours in the room, and what syslog wrote before.
fn deploy_in_the_room(machine: &Machine, before: &str) -> Option<Ran> {
    if !is_root() || tool("unshare").is_none() {
        skip_or_fail("deploy", "root and unshare");
        return None;
    }
    for dir in ["dev", "var-log"] {
        fs::create_dir(machine.dir.join(dir)).expect("a directory");
    }
    let file = machine.dir.join("var-log/syslog");
    fs::write(&file, before).expect("written");
    syslog(&machine.dir.join("dev-log"), &file);
    let deploy = machine.command("deploy", &[&ours()]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", INTO_THE_ROOM, "sh"]).arg(machine.dir.path());
    command.arg(deploy.get_program()).args(deploy.get_args());
    Some(ran(&command.output().expect("unshare runs")))
}

#[test]
fn without_journal_and_control_socket_the_closing_line_is_seen_in_the_file_of_syslog() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let text = fs::read_to_string(machine.config()).expect("read");
    let nowhere =
        |line: &str| if line.starts_with("controlsock") { "controlsock =".into() } else { line.to_owned() };
    let without: Vec<String> = text.lines().map(nowhere).collect();
    fs::write(machine.config(), without.join("\n") + "\n").expect("written");
    // Of an earlier server that had the same number.
    let before = "nbd_server[1]: MIGRATEKIT: reload refused generation=1\n";
    let Some(ran) = deploy_in_the_room(&machine, before) else { return };
    let seen = "SIGHUP: answered, seen in /var/log/syslog: ";
    ran.ends(0, &[seen, "MIGRATEKIT: reload complete generation=2"]);
    machine.serves(true, &["a"]);
}

/// What journalctl would say, out of the file of syslog: `<27>Nov 24 … nbd_server[7]: text`.
const JOURNALCTL: &str = r#"#!/bin/sh
case " $* " in *" -b "*) ;; *) exit 1 ;; esac
pid=${*#*_PID=}; pid=${pid%% *}
case " $* " in *" err "*) level='^<\(8\|9\|1[01]\|2[4-7]\)>' ;; *) level= ;; esac
grep "$level" /var/log/syslog | sed -n "s/^[^[]*\[$pid\]: //p"
"#;

/// To a client that asks for names or for a disk that is not there, no is an error in the server's journal. Whether it
/// serves is asked for by such a client.
#[test]
fn that_the_look_was_told_no_is_no_error_of_the_server() {
    let Some(machine) = Machine::new(&["a", "missing"]) else { return no_original() };
    let text = fs::read_to_string(machine.config()).expect("read");
    fs::write(machine.config(), text.replace("allowlist = true\n", "")).expect("written");
    fs::remove_file(machine.disk("missing")).expect("removed");
    machine.restart();
    machine.script("journalctl", JOURNALCTL);
    let Some(ran) = deploy_in_the_room(&machine, "") else { return };
    ran.ends(0, &["it does not list (", "SIGHUP: answered, ", "journal: no error of process"]);
    let syslog = fs::read_to_string(machine.dir.join("var-log/syslog")).expect("read");
    assert!(syslog.contains("disallowed list option") && syslog.contains("export missing refused to"));
    machine.serves(true, &["a"]);
}
