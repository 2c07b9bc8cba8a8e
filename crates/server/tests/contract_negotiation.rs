//! What a client is told before it has an export: statements of the contract about negotiation that we keep.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::process::Command;
use testkit::client::counted;
use testkit::spec::*;
use testkit::{Client, ServerProcess, skip_or_fail, tool};

/// `a` and `b`, in this order, each of one block.
fn serving(allowlist: bool) -> ServerProcess {
    let setup = server().generic(&format!("allowlist = {allowlist}"));
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [7; BLOCK]).expect("a disk");
    setup.export("a", &disk, "").export("b", &disk, "readonly = true").start()
}

/// An old client is written against these bytes.
///
/// C-090, C-091
#[test]
fn the_greeting_is_that_of_the_original() {
    let server = serving(true);
    for flags in 0..4_u32 {
        let mut client = Client::raw_tcp(server.port()).expect("connected");
        assert_eq!(client.recv_bytes(18).expect("a greeting"), b"NBDMAGICIHAVEOPT\0\x03");
        client.send_bytes(&flags.to_be_bytes()).expect("sent");
        client.send_option(OPT_EXPORT_NAME, b"a").expect("sent");
        let answer = client.recv_bytes(10).expect("an answer");
        assert_eq!(answer[..8], (BLOCK as u64).to_be_bytes());
        if flags & FLAG_C_NO_ZEROES == 0 {
            assert_eq!(client.recv_bytes(124).expect("reserved bytes"), [0; 124]);
        }
        assert_eq!(client.read(0, 4), Ok(vec![7; 4]), "flags {flags}");
    }
}

/// EXPORT_NAME has no word for no. The server lives, whatever was asked.
///
/// C-093, C-094, C-116
#[test]
fn the_old_way_in_closes_without_a_byte() {
    let server = serving(true);
    for name in [&b"nobody"[..], b"", &[b'n'; 4097]] {
        let mut client = server.connect();
        client.send_option(OPT_EXPORT_NAME, name).expect("sent");
        client.expect_eof();
    }
    let mut client = server.connect();
    let header = [&OPTION_MAGIC.to_be_bytes()[..], &OPT_EXPORT_NAME.to_be_bytes(), &u32::MAX.to_be_bytes()];
    client.send_bytes(&header.concat()).expect("sent");
    client.expect_eof();
    assert!(server.connect().go("a").is_ok());
}

/// C-095, C-096, C-100
#[test]
fn info_and_go_tell_size_and_flags_whatever_else_is_asked_for() {
    let server = serving(true);
    for items in [&[][..], &[0], &[0, 1, 2, 3], &[3, 77, 0xffff]] {
        let mut client = server.connect();
        let told = client.describe(OPT_INFO, "a", items).expect("told");
        assert_eq!(told.size, BLOCK as u64);
        let again = client.describe(OPT_GO, "a", items).expect("the haggling goes on");
        assert_eq!((again.size, again.flags), (told.size, told.flags), "{items:?}");
        assert_eq!(client.read(0, 4), Ok(vec![7; 4]));
    }
}

/// C-097, C-099, C-108
#[test]
fn after_a_refusal_the_next_option_is_heard() {
    let server = serving(true);
    let mut client = server.connect();
    assert_eq!(client.go("nobody").expect_err("refused").0, REP_ERR_UNKNOWN);
    for option in [0, 4, 77, u32::MAX] {
        client.send_option(option, b"some payload").expect("sent");
        let reply = client.read_option_reply().expect("an answer");
        assert_eq!((reply.option, reply.kind), (option, REP_ERR_UNSUP));
    }
    assert!(client.go("a").is_ok());
    assert_eq!(client.read(0, 4), Ok(vec![7; 4]));
}

/// C-059, C-103, C-104, C-105, C-106
#[test]
fn names_are_listed_in_their_order_or_not_at_all() {
    let (open, closed) = (serving(true), serving(false));
    let mut client = open.connect();
    let replies = client.ask(OPT_LIST, b"").expect("listed");
    let payloads: Vec<&[u8]> = replies.iter().map(|reply| &reply.payload[..]).collect();
    assert_eq!(payloads, [counted("a"), counted("b")], "a length and a name, nothing else");
    let mut client = closed.connect();
    assert_eq!(client.list().expect_err("refused").0, REP_ERR_POLICY);
    assert!(client.go("a").is_ok());
    let said = "Client tried disallowed list option";
    // A thread of its own writes the log.
    let patience = std::time::Duration::from_secs(20);
    assert!(closed.wait_for(|line| line.ends_with(said), patience).is_some(), "{:?}", closed.lines());
    let Some(program) = tool("nbd-client") else { return skip_or_fail("names_are_listed", "nbd-client") };
    let list = |server: &ServerProcess| {
        let port = server.port().to_string();
        let output = Command::new(&program).args(["-l", "127.0.0.1", &port]).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(list(&open), (Some(0), "Negotiation: ..\na\nb\n".into(), String::new()));
    let (status, _, errors) = list(&closed);
    assert!(status == Some(1) && errors.contains("listing not allowed by server"), "{errors}");
}

/// C-111, C-112
#[test]
fn what_comes_in_one_piece_is_answered_in_its_order() {
    let server = serving(true);
    let option = |option: u32, payload: &[u8]| {
        let len = payload.len() as u32;
        let header = [&OPTION_MAGIC.to_be_bytes()[..], &option.to_be_bytes(), &len.to_be_bytes(), payload];
        header.concat()
    };
    let mut client = server.connect();
    let asked = [counted("b"), vec![0, 0]].concat();
    let pieces = [option(OPT_LIST, b""), option(77, b"?"), option(OPT_INFO, &asked), option(OPT_GO, &asked)];
    client.send_bytes(&pieces.concat()).expect("sent");
    let mut kinds = Vec::new();
    while kinds.iter().filter(|(_, kind)| *kind == REP_ACK).count() < 3 {
        let reply = client.read_option_reply().expect("an answer");
        kinds.push((reply.option, reply.kind));
    }
    let (list, info, go) = (OPT_LIST, OPT_INFO, OPT_GO);
    assert_eq!(kinds[..4], [(list, REP_SERVER), (list, REP_SERVER), (list, REP_ACK), (77, REP_ERR_UNSUP)]);
    assert_eq!(kinds[4..], [(info, REP_INFO), (info, REP_ACK), (go, REP_INFO), (go, REP_ACK)]);
    // A request right behind the name of an export.
    let mut client = server.connect();
    let request = testkit::request_header(0, CMD_READ, 9, 0, 4);
    client.send_bytes(&[&option(OPT_EXPORT_NAME, b"a")[..], &request].concat()).expect("sent");
    client.recv_bytes(10).expect("size and flags");
    let reply = client.recv_bytes(20).expect("a reply");
    assert_eq!(reply[..8], [&SIMPLE_REPLY_MAGIC.to_be_bytes()[..], &[0; 4]].concat());
    assert_eq!((&reply[8..16], &reply[16..]), (&9_u64.to_be_bytes()[..], &[7; 4][..]));
}

/// C-110
#[test]
fn who_does_not_speak_the_protocol_disturbs_nobody() {
    let server = serving(true);
    let mut bystander = server.open("a");
    for noise in [&b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..], &[0; 16], &[0xff; 64]] {
        let mut client = server.connect();
        client.send_bytes(noise).expect("sent");
        assert!(client.is_closed());
        assert_eq!(bystander.read(0, 4), Ok(vec![7; 4]));
    }
}

/// C-115: and `a` followed by something is another name.
#[test]
fn names_are_compared_byte_by_byte() {
    let server = serving(true);
    for name in ["A", "a ", " a", "aa", "a\0", "a\0b"] {
        assert_eq!(server.connect().go(name).expect_err("refused").0, REP_ERR_UNKNOWN, "{name:?}");
    }
}
