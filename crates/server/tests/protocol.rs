//! The protocol over a real socket and a real file, as a client that was written from the specification sees it.
#![allow(missing_docs)]

mod common;

use common::{qemu_io, server};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use testkit::spec::*;
use testkit::{CLOSED, Client, ServerProcess, pattern, skip_or_fail, tool};

const SIZE: u64 = 1 << 20;

/// `disk`: a MiB whose first half is data and whose second half is a hole. `locked`: the same, read-only.
fn serving() -> (ServerProcess, PathBuf) {
    let setup = server();
    let path = setup.dir().join("disk.img");
    fs::write(&path, vec![0xda; (SIZE / 2) as usize]).expect("a file");
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(SIZE)).expect("a hole");
    let server = setup.export("disk", &path, "").export("locked", &path, "readonly = true").unix().start();
    (server, path)
}

fn structured(server: &ServerProcess) -> Client {
    let mut client = server.connect();
    client.structured().expect("granted");
    client.set_meta("disk", &["base:allocation"]).expect("granted");
    client.go("disk").expect("granted");
    client
}

/// The three ways in tell the same, on TCP and on the Unix socket.
#[test]
fn every_way_in_tells_the_same() {
    let (server, _) = serving();
    let go = server.connect().go("disk").expect("granted");
    let wanted = FLAG_HAS_FLAGS
        | FLAG_SEND_FLUSH
        | FLAG_SEND_FUA
        | FLAG_SEND_TRIM
        | FLAG_SEND_WRITE_ZEROES
        | FLAG_CAN_MULTI_CONN
        | FLAG_SEND_CACHE
        | FLAG_SEND_FAST_ZERO;
    assert_eq!((go.size, go.flags), (SIZE, wanted));
    assert_eq!(go.block_sizes, Some((1, 4096, 32 << 20)));
    let mut client = server.connect();
    assert_eq!(client.info("disk"), Ok(go.clone()));
    assert_eq!(client.info("disk"), Ok(go.clone()), "asking twice changes nothing");
    let old = server.connect().export_name("disk").expect("granted");
    assert_eq!((old.size, old.flags), (SIZE, wanted));
    let mut unix = Client::connect_unix(&server.socket()).expect("connected");
    assert_eq!(unix.go("disk"), Ok(go.clone()));
    let locked = server.connect().go("locked").expect("granted");
    assert!(locked.has(FLAG_READ_ONLY));
    let mut chunks = server.connect();
    chunks.structured().expect("granted");
    assert_eq!(chunks.go("disk").expect("granted").flags, go.flags | FLAG_SEND_DF);
}

/// An old client: no fixed newstyle, no NO_ZEROES, EXPORT_NAME. The 124 zeroes must be there.
#[test]
fn a_client_from_before_fixed_newstyle_is_served() {
    let (server, _) = serving();
    let mut client = Client::raw_tcp(server.port()).expect("connected");
    let greeting = client.recv_bytes(18).expect("a greeting");
    assert_eq!(greeting[16..], (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
    client.send_bytes(&0_u32.to_be_bytes()).expect("sent");
    client.send_option(OPT_EXPORT_NAME, b"disk").expect("sent");
    let answer = client.recv_bytes(134).expect("an answer with zeroes");
    assert_eq!(answer[..8], SIZE.to_be_bytes());
    assert!(answer[10..].iter().all(|&byte| byte == 0));
    assert_eq!(client.read(0, 4), Ok(vec![0xda; 4]));
}

#[test]
fn a_client_flag_that_was_not_offered_ends_the_connection() {
    let (server, _) = serving();
    let mut client = Client::raw_tcp(server.port()).expect("connected");
    client.recv_bytes(18).expect("a greeting");
    client.send_bytes(&0x4000_0001_u32.to_be_bytes()).expect("sent");
    // At once, and not by the deadline of the handshake.
    client.set_timeout(Some(Duration::from_secs(5))).expect("set");
    client.expect_eof();
}

#[test]
fn an_unknown_export_is_refused_and_ends_the_old_way_in() {
    let (server, _) = serving();
    assert_eq!(server.connect().go("none").expect_err("refused").0, REP_ERR_UNKNOWN);
    let mut client = server.connect();
    assert!(client.export_name("none").is_err());
    assert!(client.is_closed());
    let said = |line: &str| line.contains("none") && line.contains("Export unknown");
    assert!(server.wait_for(said, Duration::from_secs(5)).is_some(), "the log names the export");
}

/// Each command on real bytes, in both reply styles.
#[test]
fn every_command_does_what_it_says() {
    for chunks in [false, true] {
        let (server, path) = serving();
        let mut client = if chunks { structured(&server) } else { server.open("disk") };
        assert_eq!(client.read(SIZE / 2 - 2, 4), Ok(vec![0xda, 0xda, 0, 0]));
        client.write(4096, &[1; 8192]).expect("written");
        client.write_with(CMD_FLAG_FUA, 0, &[2; 512]).expect("written");
        assert_eq!(fs::read(&path).expect("the file")[4096..12288], [1; 8192]);
        client.zero(0, 4096, 4096).expect("zeroed");
        client.zero(CMD_FLAG_NO_HOLE, 8192, 100).expect("zeroed");
        assert_eq!(client.read(4096, 4196), Ok(vec![0; 4196]));
        assert_eq!(client.read(8292, 1), Ok(vec![1]));
        client.trim(0, 65536).expect("trimmed");
        client.cache(0, 65536).expect("cached");
        client.flush().expect("flushed");
        client.write(SIZE - 1, &[3]).expect("the last byte");
        assert_eq!(client.read(SIZE - 1, 1), Ok(vec![3]));
        client.read(0, 0).expect("nothing is read");
        client.disc().expect("sent");
        client.expect_eof();
        assert_eq!(fs::metadata(&path).expect("the file").len(), SIZE);
    }
}

/// NO_HOLE keeps the space, without it the space is given back. Spec: "NBD_CMD_WRITE_ZEROES".
#[test]
fn zeroes_give_space_back_unless_they_must_not() {
    let (server, path) = serving();
    let mut client = server.open("disk");
    let blocks = || fs::metadata(&path).expect("the file").blocks();
    client.flush().expect("flushed");
    let before = blocks();
    client.zero(CMD_FLAG_NO_HOLE, 0, 262_144).expect("zeroed");
    client.flush().expect("flushed");
    assert!(blocks() >= before, "{} blocks, {before} before", blocks());
    client.zero(0, 0, 262_144).expect("zeroed");
    client.flush().expect("flushed");
    assert!(blocks() < before, "{} blocks, {before} before", blocks());
    assert_eq!(client.read(0, 262_144), Ok(vec![0; 262_144]));
}

/// What it is; flags, command, offset, length and payload; the error.
type Wrong = (&'static str, u16, u16, u64, u32, &'static [u8], u32);

/// What is wrong is answered, what was sent with it is swallowed, and the next request is understood.
#[test]
fn wrong_requests_have_their_numbers_and_stay_in_step() {
    let (server, _) = serving();
    let refused: [Wrong; 14] = [
        ("a read past the end", 0, CMD_READ, SIZE - 1, 2, &[], EINVAL),
        ("a read far outside", 0, CMD_READ, 1 << 63, 1, &[], EINVAL),
        ("a read that wraps", 0, CMD_READ, u64::MAX, u32::MAX, &[], EINVAL),
        ("a write past the end", 0, CMD_WRITE, SIZE - 1, 2, &[1, 2], ENOSPC),
        ("zeroes past the end", 0, CMD_WRITE_ZEROES, SIZE, 1, &[], ENOSPC),
        ("a trim past the end", 0, CMD_TRIM, SIZE, 1, &[], EINVAL),
        ("a cache past the end", 0, CMD_CACHE, SIZE, 1, &[], EINVAL),
        ("an unknown command", 0, 77, 0, 0, &[], EINVAL),
        ("RESIZE", 0, CMD_RESIZE, 0, 0, &[], EINVAL),
        ("a flag on the wrong command", CMD_FLAG_REQ_ONE, CMD_READ, 0, 1, &[], EINVAL),
        ("DF without structured replies", CMD_FLAG_DF, CMD_READ, 0, 1, &[], EINVAL),
        ("an unknown flag on a write", 1 << 9, CMD_WRITE, 0, 3, &[1, 2, 3], EINVAL),
        ("BLOCK_STATUS without a context", 0, CMD_BLOCK_STATUS, 0, 512, &[], EINVAL),
        ("PAYLOAD_LEN without extended headers", 1 << 5, CMD_WRITE, 0, 1, &[1], EINVAL),
    ];
    let mut client = server.open("disk");
    for (what, flags, command, offset, len, data, number) in refused {
        let answer = client.transact(flags, command, offset, len, data).expect("an answer");
        assert_eq!(answer.error, number, "{what}");
        assert_eq!(client.read(0, 2), Ok(vec![0xda; 2]), "in step after {what}");
    }
    let mut locked = server.open("locked");
    for (command, data) in [(CMD_WRITE, &[1_u8; 4][..]), (CMD_WRITE_ZEROES, &[]), (CMD_TRIM, &[])] {
        assert_eq!(locked.transact(0, command, 0, 4, data).expect("an answer").error, EPERM);
        assert_eq!(locked.read(0, 2), Ok(vec![0xda; 2]));
    }
}

/// Holes travel without their zeros, and DF asks for one chunk all the same.
#[test]
fn a_structured_read_leaves_holes_out() {
    let (server, _) = serving();
    let mut client = structured(&server);
    let answer = client.transact(0, CMD_READ, 0, SIZE as u32, &[]).expect("an answer");
    let kinds: Vec<u16> = answer.chunks.iter().map(|chunk| chunk.kind).collect();
    assert!(kinds.contains(&REPLY_TYPE_OFFSET_HOLE) && kinds.contains(&REPLY_TYPE_OFFSET_DATA), "{kinds:?}");
    assert!(answer.data[..(SIZE / 2) as usize].iter().all(|&byte| byte == 0xda));
    assert!(answer.data[(SIZE / 2) as usize..].iter().all(|&byte| byte == 0));
    let whole = client.transact(CMD_FLAG_DF, CMD_READ, 0, SIZE as u32, &[]).expect("an answer");
    assert_eq!((whole.chunks.len(), whole.chunks[0].kind), (1, REPLY_TYPE_OFFSET_DATA));
    assert_eq!(whole.data, answer.data);
    let refused = client.transact(0, CMD_READ, SIZE, 1, &[]).expect("an answer");
    assert_eq!((refused.error, refused.message.as_str()), (EINVAL, "the range is outside the export"));
}

#[test]
fn block_status_tells_data_and_holes() {
    let (server, _) = serving();
    let mut client = structured(&server);
    let half = (SIZE / 2) as u32;
    let hole = STATE_HOLE | STATE_ZERO;
    assert_eq!(client.block_status(0, SIZE as u32), Ok(vec![(half, 0), (half, hole)]));
    assert_eq!(client.block_status(SIZE / 2 - 512, 1024), Ok(vec![(512, 0), (512, hole)]));
    let one = client.transact(CMD_FLAG_REQ_ONE, CMD_BLOCK_STATUS, 0, SIZE as u32, &[]).expect("an answer");
    assert_eq!(one.extents, [(1, vec![(half, 0)])]);
    assert_eq!(client.block_status(SIZE, 1), Err(EINVAL));
    assert_eq!(client.block_status(0, 0), Err(EINVAL));
    client.write(SIZE - 4096, &[1; 4096]).expect("written");
    let after = client.block_status(0, SIZE as u32).expect("an answer");
    assert_eq!(after.last(), Some(&(4096, 0)));
}

/// The original takes requests of any length; so do we, in pieces.
#[test]
fn requests_beyond_the_advertised_size_are_served_in_pieces() {
    let setup = server();
    let path = setup.dir().join("big.img");
    let size = 80_u64 << 20;
    fs::File::create(&path).and_then(|file| file.set_len(size)).expect("a file");
    let server = setup.export("disk", &path, "").start();
    for chunks in [false, true] {
        let mut client = server.connect();
        if chunks {
            client.structured().expect("granted");
        }
        client.go("disk").expect("granted");
        let data: Vec<u8> = (0..65_u32 << 18).flat_map(u32::to_be_bytes).collect();
        client.write(12345, &data).expect("written");
        let answer = client.read(12345, data.len() as u32).expect("read");
        assert!(answer == data, "65 MiB came back as they were");
        client.flush().expect("flushed");
    }
    assert!(server.rss_kib() < 150 << 10, "{} KiB", server.rss_kib());
}

/// Many requests at once on one connection; answers may come in any order, each with its own data.
#[test]
fn a_full_queue_of_requests_is_answered_one_by_one() {
    let (server, _) = serving();
    let mut client = server.open("disk");
    for number in 0..200_u64 {
        client
            .send_request(0, CMD_WRITE, 1000 + number, number * 512, 512, &[number as u8; 512])
            .expect("sent");
    }
    for _ in 0..200 {
        assert_eq!(client.recv_answer().expect("an answer").error, 0);
    }
    for number in 0..200_u64 {
        client.send_request(0, CMD_READ, 2000 + number, number * 512, 512, &[]).expect("sent");
    }
    for _ in 0..200 {
        let answer = client.recv_answer().expect("an answer");
        assert_eq!(answer.data, vec![(answer.cookie - 2000) as u8; 512]);
    }
}

/// Large reads leave without being copied, small ones in batches, and what is not at hand by way of a worker: the bytes and
/// their order are the same, whichever it is, on both kinds of socket.
#[test]
fn reads_of_every_size_are_exact_whichever_way_they_are_sent() {
    let setup = server().unix();
    let path = setup.dir().join("noise.img");
    let noise: Vec<u8> = (0..1_u64 << 19).flat_map(|word| pattern::mix(word).to_le_bytes()).collect();
    fs::write(&path, &noise).expect("a disk");
    let server = setup.export("disk", &path, "").start();
    let ranges =
        [(0, 1), (3, 32_767), (5, 32_768), (4095, 32_769), (100_001, 300_003), (1, 1 << 20), (9, 3 << 20)];
    for (unix, chunks) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut client =
            if unix { Client::connect_unix(&server.socket()) } else { Client::connect_tcp(server.port()) }
                .expect("connected");
        if chunks {
            client.structured().expect("granted");
        }
        client.go("disk").expect("granted");
        let mut asked = Vec::new();
        for round in 0..40_u64 {
            let (offset, len) = ranges[(round as usize * 3) % ranges.len()];
            client.send_request(0, CMD_READ, 900 + round, offset, len, &[]).expect("sent");
            asked.push((offset as usize, len as usize));
        }
        for _ in 0..40 {
            let answer = client.recv_answer().expect("an answer");
            let (offset, len) = asked[(answer.cookie - 900) as usize];
            assert!(answer.data == noise[offset..offset + len], "{len} bytes at {offset}");
        }
        client.disc().expect("left");
    }
    // A file that became smaller under the session: an error, in step, and never other bytes. Within a second it ends.
    let mut client = server.open("disk");
    let mut before = server.connect();
    before.structured().expect("granted");
    before.set_meta("disk", &["base:allocation"]).expect("granted");
    before.go("disk").expect("granted");
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(1 << 20)).expect("cut");
    let lost = |error: u32| [EIO, ESHUTDOWN, CLOSED].contains(&error);
    let behind = before.read(2 << 20, 1 << 20);
    assert!(behind.is_err_and(lost), "what is behind its end now is lost, and no hole");
    assert!(before.block_status(2 << 20, 1 << 20).is_err_and(lost));
    assert!(client.read((1 << 20) - 100, 1 << 20).is_err_and(lost));
    assert!(client.is_closed() && before.is_closed());
    let mut chunks = server.connect();
    chunks.structured().expect("granted");
    chunks.set_meta("disk", &["base:allocation"]).expect("granted");
    chunks.go("disk").expect("granted");
    assert_eq!(chunks.read(2 << 20, 1 << 20), Err(EINVAL), "a new session knows the new size");
    assert!(chunks.read(0, 1 << 20).expect("what is left") == noise[..1 << 20]);
}

#[test]
fn listing_is_answered_only_where_it_is_allowed() {
    let (server, _) = serving();
    assert_eq!(server.connect().list(), Ok(vec!["disk".to_owned(), "locked".to_owned()]));
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    fs::write(server.config_path(), text.replace("allowlist = true", "allowlist = false")).expect("written");
    let mut early = server.connect();
    server.reload().expect_complete();
    assert_eq!(early.list().expect_err("refused").0, REP_ERR_POLICY);
    assert!(early.go("disk").is_ok(), "in step");
}

/// What foreign clients make of it.
#[test]
fn foreign_clients_see_size_flags_and_holes() {
    let (server, path) = serving();
    let uri = format!("nbd://127.0.0.1:{}/disk", server.port());
    for (name, args) in [
        ("nbdinfo", vec!["--map", &uri]),
        ("nbdcopy", vec![&uri, "null:"]),
        ("nbdinfo", vec!["--json", &uri]),
    ] {
        let Some(program) = tool(name) else { return skip_or_fail("foreign_clients", name) };
        let output = Command::new(program).args(&args).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        if args[0] == "--map" {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(words, ["0", "524288", "0", "data", "524288", "524288", "3", "hole,zero"], "{text}");
        }
        if args[0] == "--json" {
            assert!(
                text.contains("\"export-size\": 1048576") && text.contains("\"can_multi_conn\": true"),
                "{text}"
            );
        }
    }
    let Some(nbd_client) = tool("nbd-client") else { return skip_or_fail("foreign_clients", "nbd-client") };
    let port = server.port().to_string();
    let output = Command::new(nbd_client).args(["-l", "127.0.0.1", &port]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("disk"), "{output:?}");
    let commands = ["write -P 7 0 64k", "read -P 7 0 64k", "discard 64k 64k", "write -z 128k 64k", "flush"];
    if qemu_io(server.port(), "disk", &commands).is_none() {
        return skip_or_fail("foreign_clients", "qemu-io");
    }
    assert_eq!(fs::read(path).expect("the file")[..65536], vec![7; 65536]);
}

/// Spec, "Termination of the session": who is told to go gets what it was promised, and then the end.
#[test]
fn a_client_that_stops_sending_still_gets_its_answers() {
    let (server, _) = serving();
    let mut client = server.open("disk");
    for cookie in 0..50 {
        client.send_request(0, CMD_READ, 500 + cookie, 0, 4096, &[]).expect("sent");
    }
    client.finish_sending().expect("half closed");
    for _ in 0..50 {
        assert_eq!(client.recv_answer().expect("an answer").data.len(), 4096);
    }
    client.expect_eof();
    assert_eq!(server.connect().list().map(|names| names.len()), Ok(2));
}
