//! The kit's client against servers that others wrote: if it misreads the specification, it is noticed here and not
//! taken for a fault of ours.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::spec::{self, EINVAL, ENOSPC, REP_ERR_UNKNOWN};
use testkit::{Client, TempDir, pattern, skip_or_fail, tool};

struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ended by the pid in its file.
struct Daemon(PathBuf);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0).unwrap_or_default();
        if pid.trim().parse::<u32>().is_ok_and(|pid| pid > 1) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
    }
}

fn start(command: &mut Command) -> Foreign {
    Foreign(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("a program that was found"))
}

fn connect(socket: &Path) -> Client {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match Client::connect_unix(socket) {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < until, "no server at {}: {error}", socket.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_client_speaks_with_nbdkit_in_chunks() {
    let Some(nbdkit) = tool("nbdkit") else {
        return skip_or_fail("the_client_speaks_with_nbdkit_in_chunks", "nbdkit");
    };
    let dir = TempDir::new("nbdkit");
    let socket = dir.join("socket");
    let _server = start(Command::new(nbdkit).args(["-f", "-U"]).arg(&socket).args(["memory", "1M"]));

    let mut client = connect(&socket);
    client.structured().unwrap();
    let contexts = client.set_meta("", &["base:allocation"]).unwrap();
    assert_eq!(contexts.len(), 1);
    let info = client.go("").unwrap();
    assert!(info.size == 1 << 20 && info.has(spec::FLAG_SEND_DF | spec::FLAG_CAN_MULTI_CONN), "{info:?}");

    let block = pattern::block(1, 2, 3, 65536);
    client.write_with(spec::CMD_FLAG_FUA, 65536, &block).unwrap();
    assert_eq!(client.read(65536, 65536), Ok(block));
    let (hole_then_data, len) = (client.block_status(0, 1 << 20).unwrap(), 65536);
    assert_eq!(hole_then_data[0].1, spec::STATE_HOLE | spec::STATE_ZERO);
    assert!(hole_then_data.iter().any(|run| *run == (len, 0) || run.1 == 0), "{hole_then_data:?}");
    client.zero(0, 65536, 65536).unwrap();
    assert_eq!(client.read(65536, 8), Ok(vec![0; 8]));
    client.trim(0, 4096).unwrap();
    client.flush().unwrap();
    assert!(matches!(client.write(1 << 20, &[0]), Err(EINVAL | ENOSPC)));
    client.disc().unwrap();
    client.expect_eof();
}

#[test]
fn the_client_speaks_with_the_original_server() {
    let Some(original) = tool("nbd-server") else {
        return skip_or_fail("the_client_speaks_with_the_original_server", "nbd-server 3.24");
    };
    let dir = TempDir::new("original");
    let (socket, disk) = (dir.join("socket"), dir.sparse("disk", 1 << 20));
    let config = dir.join("config");
    let text = format!(
        "[generic]\nport = {}\nlistenaddr = 127.0.0.1\nunixsock = {}\nallowlist = true\n[disk]\nexportname = {}\n",
        testkit::setup::free_port(),
        socket.display(),
        disk.display()
    );
    std::fs::write(&config, text).unwrap();
    // As a daemon: with `-d` version 3.24 serves one client and ends.
    let started = Command::new(original).arg("-C").arg(&config).arg("-p").arg(dir.join("pid")).status();
    assert!(started.expect("a program that was found").success());
    let _server = Daemon(dir.join("pid"));

    let mut client = connect(&socket);
    assert_eq!(client.list().unwrap(), ["disk"]);
    assert_eq!(client.go("nobody").unwrap_err().0, REP_ERR_UNKNOWN);
    assert_eq!(client.go("disk").unwrap().size, 1 << 20);
    client.write(512, &[7; 512]).unwrap();
    let sent: Vec<u64> = (0..8).map(|_| client.next_cookie()).collect();
    for cookie in &sent {
        client.send_request(0, spec::CMD_READ, *cookie, 512, 512, &[]).unwrap();
    }
    for cookie in sent.iter().rev() {
        assert_eq!(client.wait_for(*cookie).unwrap().data, [7; 512]);
    }
    client.disc().unwrap();
    assert!(client.is_closed());

    let mut old_way = connect(&socket);
    assert_eq!(old_way.export_name("disk").unwrap().size, 1 << 20);
    assert_eq!(old_way.read(512, 1), Ok(vec![7]));
}
