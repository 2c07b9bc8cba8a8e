//! The closing line where there is neither a journal nor a control socket: in the file of syslog.

use super::machine::{Machine, ran};
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
if test -d /run/systemd; then mount -t tmpfs tmpfs /run/systemd; fi
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

#[test]
fn without_journal_and_control_socket_the_closing_line_is_seen_in_the_file_of_syslog() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    if !is_root() || tool("unshare").is_none() {
        return skip_or_fail("deploy", "root and unshare");
    }
    for dir in ["dev", "var-log"] {
        fs::create_dir(machine.dir.join(dir)).expect("a directory");
    }
    let file = machine.dir.join("var-log/syslog");
    // Of an earlier server that had the same number.
    fs::write(&file, "nbd_server[1]: MIGRATEKIT: reload refused generation=1\n").expect("written");
    syslog(&machine.dir.join("dev-log"), &file);
    let text = fs::read_to_string(machine.config()).expect("read");
    let nowhere =
        |line: &str| if line.starts_with("controlsock") { "controlsock =".into() } else { line.to_owned() };
    let without: Vec<String> = text.lines().map(nowhere).collect();
    fs::write(machine.config(), without.join("\n") + "\n").expect("written");
    let deploy = machine.command("deploy", &[&ours()]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", INTO_THE_ROOM, "sh"]).arg(machine.dir.path());
    command.arg(deploy.get_program()).args(deploy.get_args());
    let output = command.output().expect("unshare runs");
    let seen = "SIGHUP: answered, seen in /var/log/syslog: ";
    ran(&output).ends(0, &[seen, "MIGRATEKIT: reload complete generation=2"]);
    machine.serves(true, &["a"]);
}
