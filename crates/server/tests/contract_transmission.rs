//! What a client gets once it has its export: statements of the contract about transmission that we keep.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, qemu_io, server};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::spec::*;
use testkit::{ServerProcess, pattern, skip_or_fail, tool};

const SIZE: usize = 1 << 20;

fn noise(len: usize) -> Vec<u8> {
    (0..len as u64 / 8).flat_map(|word| pattern::mix(word).to_le_bytes()).collect()
}

/// `disk`: a MiB of noise.
fn serving(more: &str) -> (ServerProcess, PathBuf) {
    let setup = server();
    let path = setup.dir().join("disk.img");
    fs::write(&path, noise(SIZE)).expect("a disk");
    (setup.export("disk", &path, more).start(), path)
}

fn blocks(path: &Path) -> u64 {
    fs::metadata(path).expect("the disk").blocks()
}

/// A guest that trims wants its space back, and its size to stay what it is.
///
/// C-126
#[test]
fn trim_gives_space_back_and_reads_as_zeros() {
    for more in ["", "trim = false"] {
        let (server, path) = serving(more);
        let mut client = server.open("disk");
        client.flush().expect("flushed");
        let before = blocks(&path);
        client.trim(65_536, 524_288).expect("trimmed");
        assert!(blocks(&path) < before, "space was given back");
        assert_eq!(client.read(65_536, 524_288), Ok(vec![0; 524_288]));
        assert_eq!(fs::metadata(&path).expect("the disk").len(), SIZE as u64);
        let (data, kept) = (noise(SIZE), fs::read(&path).expect("the disk"));
        assert!(kept[..65_536] == data[..65_536] && kept[589_824..] == data[589_824..], "{more}");
    }
}

/// C-128
#[test]
fn zeroes_of_any_range_are_zeros_and_nothing_beside_them() {
    let (server, path) = serving("");
    let mut client = server.open("disk");
    let mut expected = noise(SIZE);
    for (flags, at, len) in [(0, 1, 1), (0, 4_095, 8_194), (2, 100_001, 77_777), (3, 1_000_000, 48_576)] {
        client.zero(flags, at, len).expect("zeroed");
        expected[at as usize..][..len as usize].fill(0);
        assert!(client.read(0, SIZE as u32).expect("read") == expected, "{len} bytes at {at}");
    }
    assert!(fs::read(&path).expect("the disk") == expected);
}

/// CAN_MULTI_CONN is believed by clients that read what another connection wrote.
///
/// C-121, C-139
#[test]
fn what_one_connection_wrote_another_reads() {
    let (server, _) = serving("");
    let (mut one, mut two) = (server.open("disk"), server.open("disk"));
    for round in 0..50_u8 {
        let at = u64::from(round) * 1000;
        one.write(at, &[round; 1000]).expect("written");
        assert_eq!(two.read(at, 1000), Ok(vec![round; 1000]));
        two.write(at, &[round + 100; 10]).expect("written");
        assert_eq!(one.read(at, 10), Ok(vec![round + 100; 10]));
    }
}

/// Each request is answered once, whichever is done first.
///
/// C-137
#[test]
fn every_request_is_answered_once_in_whatever_order() {
    let (server, _) = serving("");
    let mut client = server.open("disk");
    let commands = [CMD_READ, CMD_WRITE, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES];
    for cookie in 0..200_u64 {
        let command = commands[cookie as usize % commands.len()];
        let data = if command == CMD_WRITE { vec![1; 4096] } else { Vec::new() };
        let len = if command == CMD_FLUSH { 0 } else { 4096 };
        client.send_request(0, command, 1000 + cookie, cookie * 4096, len, &data).expect("sent");
    }
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let answer = client.recv_answer().expect("an answer");
        assert!(answer.error == 0 && answered.insert(answer.cookie), "{answer:?}");
    }
    assert_eq!((client.in_flight(), answered.len()), (0, 200));
    client.disc().expect("left");
    client.expect_eof();
}

/// C-132
#[test]
fn a_goodbye_waits_for_what_is_under_way() {
    let (server, _) = serving("");
    let mut client = server.open("disk");
    for cookie in 0..8 {
        client.send_request(0, CMD_READ, 100 + cookie, cookie * 65_536, 65_536, &[]).expect("sent");
    }
    client.disc().expect("sent");
    let data = noise(SIZE);
    for _ in 0..8 {
        let answer = client.recv_answer().expect("an answer");
        let at = (answer.cookie - 100) as usize * 65_536;
        assert!(answer.error == 0 && answer.data == data[at..at + 65_536]);
    }
    client.expect_eof();
}

/// C-133
#[test]
fn bytes_that_are_no_request_end_the_session() {
    let (server, _) = serving("");
    let mut client = server.open("disk");
    client.send_bytes(&[0x55; 28]).expect("sent");
    assert!(client.is_closed());
    let line =
        server.wait_for(|line| line.contains("Protocol error: not enough magic."), testkit::client::TIMEOUT);
    assert!(line.is_some(), "{:?}", server.lines());
}

/// A client that is killed sends a reset, often while a reply is on its way.
///
/// C-141
#[test]
fn a_client_that_is_killed_in_the_middle_of_a_reply_disturbs_nobody() {
    let (mut server, path) = serving("");
    let mut bystander = server.open("disk");
    for _ in 0..50 {
        let mut client = server.open("disk");
        for cookie in 0..16 {
            client.send_request(0, CMD_READ, 100 + cookie, 0, SIZE as u32, &[]).expect("sent");
        }
        // Closed with bytes unread, so the system answers what comes with a reset.
        client.recv_bytes(100).expect("the first bytes");
        drop(client);
        bystander.write(0, &[1; BLOCK]).expect("written");
        assert_eq!(bystander.read(0, 4), Ok(vec![1; 4]));
    }
    assert!(server.is_running());
    assert_eq!(fs::read(path).expect("the disk")[..BLOCK], [1; BLOCK]);
    assert!(server.terminate().success());
}

/// The clients that people use, with everything that 3.24 can be told to offer.
///
/// C-239
#[test]
fn foreign_clients_copy_write_zero_discard_and_flush() {
    let (server, path) = serving("flush = true\nfua = true\ntrim = true");
    let uri = format!("nbd://127.0.0.1:{}/disk", server.port());
    let copy = server.dir().join("copy.img").display().to_string();
    let run = |program: &str, args: &[&str]| {
        let Some(path) = tool(program) else {
            skip_or_fail("foreign_clients_copy", program);
            return None;
        };
        let output = Command::new(path).args(args).output().expect("it runs");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let copied = || assert!(fs::read(&copy).expect("a copy") == noise(SIZE), "the copy differs");
    if let Some(size) = run("nbdinfo", &["--size", &uri]) {
        assert_eq!(size.trim(), SIZE.to_string());
    }
    if let Some(told) = run("qemu-img", &["info", "--output=json", &uri]) {
        assert!(told.contains(&format!("\"virtual-size\": {SIZE}")), "{told}");
    }
    if run("nbdcopy", &[&uri, &copy]).is_some() {
        copied();
    }
    if run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &uri, &copy]).is_some() {
        copied();
    }
    let commands = [
        "write -P 7 4096 65536",
        "write -f -P 8 131072 4096",
        "write -z 200000 50000",
        "discard 262144 65536",
        "flush",
        "read -P 7 4096 65536",
        "read -P 8 131072 4096",
        "read -P 0 200000 50000",
    ];
    if qemu_io(server.port(), "disk", &commands).is_some() {
        let bytes = fs::read(&path).expect("the disk");
        assert!(bytes[4096..69_632].iter().all(|byte| *byte == 7));
        assert!(bytes[200_000..250_000].iter().all(|byte| *byte == 0));
    }
    if run("nbdcopy", &["--flush", &copy, &uri]).is_some() {
        assert!(fs::read(&path).expect("the disk") == noise(SIZE), "what was copied back");
    }
}

/// Clients from before there were cookies in any order set `max_threads = 1`.
///
/// C-137
#[test]
fn with_one_thread_answers_come_in_the_order_of_their_requests() {
    let setup = server().generic("max_threads = 1");
    let path = setup.dir().join("disk.img");
    fs::write(&path, noise(SIZE)).expect("a disk");
    let server = setup.export("disk", &path, "").start();
    let mut client = server.open("disk");
    for cookie in 0..200_u64 {
        let (command, len) =
            [(CMD_FLUSH, 0), (CMD_READ, 4096), (CMD_TRIM, 4096), (CMD_READ, 512)][cookie as usize % 4];
        client.send_request(0, command, 1000 + cookie, cookie * 4096, len, &[]).expect("sent");
    }
    let order: Vec<u64> = (0..200).map(|_| client.recv_answer().expect("an answer").cookie).collect();
    assert_eq!(order, (1000..1200).collect::<Vec<_>>());
}
