//! System calls that fail under the real server: each error number becomes the right word to the client, and the next
//! request is served. The failing is done from outside, by strace.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use testkit::spec::*;
use testkit::{Client, Failing, ServerProcess, skip_or_fail};

fn serving() -> ServerProcess {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, vec![7; 64 * BLOCK]).expect("a disk");
    setup.export("disk", &disk, "").start()
}

fn number(answer: Result<testkit::Answer, std::io::Error>) -> u32 {
    answer.expect("an answer").error
}

/// `reliability` §4. An error that says "ask again", or "not in this way", is none to the client.
#[test]
fn each_error_of_the_system_becomes_the_right_one_of_the_protocol() {
    let table = [
        ("pwrite64", "EIO", CMD_WRITE, EIO),
        ("pwrite64", "ENOSPC", CMD_WRITE, ENOSPC),
        ("pwrite64", "EDQUOT", CMD_WRITE, ENOSPC),
        ("pwrite64", "EROFS", CMD_WRITE, EPERM),
        ("pwrite64", "ENOMEM", CMD_WRITE, ENOMEM),
        ("pwrite64", "ENODEV", CMD_WRITE, EIO),
        ("pwrite64", "EINVAL", CMD_WRITE, EIO),
        ("pwrite64", "ETIMEDOUT", CMD_WRITE, EIO),
        ("preadv2", "EIO", CMD_READ, EIO),
        ("preadv2", "EAGAIN", CMD_READ, 0),
        ("preadv2", "ENOSYS", CMD_READ, 0),
        ("fallocate", "EIO", CMD_WRITE_ZEROES, EIO),
        ("fallocate", "ENOSPC", CMD_WRITE_ZEROES, ENOSPC),
        ("fallocate", "EOPNOTSUPP", CMD_WRITE_ZEROES, 0),
        ("fallocate", "EOPNOTSUPP", CMD_TRIM, 0),
        ("fallocate", "EIO", CMD_TRIM, EIO),
        ("fadvise64", "EIO", CMD_CACHE, 0),
    ];
    for (call, error, command, expected) in table {
        let server = serving();
        let mut client = server.open("disk");
        let data = if command == CMD_WRITE { vec![1; BLOCK] } else { Vec::new() };
        let Some(failing) = Failing::begin(server.pid(), call, error) else {
            return skip_or_fail("each_error_of_the_system", "strace, and leave to use it");
        };
        assert_eq!(number(client.transact(0, command, 0, BLOCK as u32, &data)), expected, "{call} {error}");
        drop(failing);
        assert_eq!(
            client.read(32 * BLOCK as u64, BLOCK as u32),
            Ok(vec![7; BLOCK]),
            "{call} {error}: in step"
        );
        client.write(0, &[2; BLOCK]).expect("and served");
    }
}

/// P6: the kernel tells of a lost page once. So one failed sync is remembered: whatever it says the next time, FLUSH and
/// FUA fail, in this session and in others, until the export is given another disk.
#[test]
fn a_failed_sync_is_never_forgotten() {
    let server = serving();
    let other = server.dir().join("other.img");
    fs::write(&other, vec![7; 64 * BLOCK]).expect("a disk");
    let mut client = server.open("disk");
    client.write(0, &[1; BLOCK]).expect("written");
    let Some(failing) = Failing::begin(server.pid(), "fdatasync", "EIO") else {
        return skip_or_fail("a_failed_sync_is_never_forgotten", "strace, and leave to use it");
    };
    assert_eq!(client.flush(), Err(EIO));
    drop(failing);
    let refuse = |client: &mut Client| {
        assert_eq!(client.flush(), Err(EIO), "the kernel would say that all is well");
        assert_eq!(client.write_with(CMD_FLAG_FUA, 0, &[3; BLOCK]), Err(EIO));
        assert_eq!(client.read(0, 1), Ok(vec![1]), "nothing of it was begun");
    };
    refuse(&mut client);
    refuse(&mut server.open("disk"));
    client.disc().expect("left");
    drop(client);
    refuse(&mut server.open("disk"));
    server.reload().expect_complete();
    refuse(&mut server.open("disk"));
    let said = |line: &str| line.contains("export disk") && line.contains("flush");
    assert!(
        server.wait_for(|line| said(line), std::time::Duration::from_secs(20)).is_some(),
        "the operator is told"
    );
    // Another disk under the name is another matter.
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    fs::write(server.config_path(), text.replace("disk.img", "other.img")).expect("written");
    server.reload().expect_complete();
    server.open("disk").flush().expect("a new disk");
}
