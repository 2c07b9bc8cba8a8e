//! Clients that mean harm, or are broken: memory stays bounded, nothing hangs, and the next client is served.
#![allow(missing_docs)]

mod common;

use common::server;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use testkit::client::counted;
use testkit::spec::*;
use testkit::{Client, ServerProcess, pattern, raise_descriptors, request_header};

const SIZE: u64 = 64 << 20;
/// What a server may have taken at most, unless a test says how much more it has given cause for.
const RSS_MAX_KIB: u64 = 64 << 10;

fn serving() -> ServerProcess {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::File::create(&disk).and_then(|file| file.set_len(SIZE)).expect("a disk");
    setup.export("disk", &disk, "").start()
}

#[track_caller]
fn serves(server: &mut ServerProcess) {
    assert!(server.is_running());
    let mut client = server.open("disk");
    client.write(0, &[1; 512]).expect("written");
    assert_eq!(client.read(0, 512), Ok(vec![1; 512]));
    client.zero(0, 0, 512).expect("cleared");
    client.disc().expect("left");
}

fn option(kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn info(name: &str) -> Vec<u8> {
    [counted(name), vec![0, 1, 0, 3]].concat()
}

fn meta(name: &str, query: &str) -> Vec<u8> {
    [counted(name), vec![0, 0, 0, 1], counted(query)].concat()
}

/// What a real client sends from its first byte to its last.
fn recorded() -> Vec<u8> {
    [
        3_u32.to_be_bytes().to_vec(),
        option(OPT_LIST, &[]),
        option(OPT_STRUCTURED_REPLY, &[]),
        option(OPT_SET_META_CONTEXT, &meta("disk", "base:allocation")),
        option(OPT_GO, &info("disk")),
        request_header(0, CMD_READ, 1, 0, 512).to_vec(),
        request_header(CMD_FLAG_FUA, CMD_WRITE, 2, 4096, 64).to_vec(),
        vec![9; 64],
        request_header(0, CMD_WRITE_ZEROES, 3, 8192, 4096).to_vec(),
        request_header(0, CMD_BLOCK_STATUS, 4, 0, 65536).to_vec(),
        request_header(0, CMD_FLUSH, 5, 0, 0).to_vec(),
        request_header(0, CMD_DISC, 6, 0, 0).to_vec(),
    ]
    .concat()
}

/// Sends bytes and nothing after them; the server must come to an end of it.
#[track_caller]
fn send_and_finish(server: &ServerProcess, bytes: &[u8], what: &str) {
    let mut client = Client::raw_tcp(server.port()).expect("connected");
    // The server may have hung up in the middle of it, which is its right.
    let _ = client.send_bytes(bytes);
    let _ = client.finish_sending();
    assert!(client.is_closed(), "{what}: the server keeps the connection");
}

#[test]
fn a_stream_may_be_cut_after_every_byte() {
    let mut server = serving();
    let bytes = recorded();
    for len in 0..=bytes.len() {
        send_and_finish(&server, &bytes[..len], &format!("cut after {len} bytes"));
    }
    // The same, torn off without a goodbye of the connection itself.
    for len in (0..=bytes.len()).step_by(7) {
        let mut client = Client::raw_tcp(server.port()).expect("connected");
        let _ = client.send_bytes(&bytes[..len]);
        drop(client);
    }
    serves(&mut server);
    assert!(server.rss_kib() < RSS_MAX_KIB, "{} KiB", server.rss_kib());
}

/// Each byte of a real session turned into others: the server answers or hangs up.
#[test]
fn a_stream_may_have_any_byte_wrong() {
    let mut server = serving();
    let bytes = recorded();
    for at in 0..bytes.len() {
        for change in [0xff, 0x80, 0x01] {
            let mut wrong = bytes.clone();
            wrong[at] ^= change;
            send_and_finish(&server, &wrong, &format!("byte {at} ^ {change:#x}"));
        }
    }
    for seed in 0..200_u64 {
        let noise: Vec<u8> = (0..64).flat_map(|word| pattern::mix(seed << 8 | word).to_be_bytes()).collect();
        send_and_finish(&server, &noise, &format!("noise {seed}"));
        let after_greeting = [&3_u32.to_be_bytes()[..], &noise].concat();
        send_and_finish(&server, &after_greeting, &format!("noise {seed} behind the greeting"));
    }
    serves(&mut server);
    assert!(server.rss_kib() < RSS_MAX_KIB, "{} KiB", server.rss_kib());
}

/// Every place where the stream has a length, with the sixteen largest values.
#[test]
fn every_length_may_be_enormous() {
    let mut server = serving();
    let flags = 3_u32.to_be_bytes().to_vec();
    let ready = [flags.clone(), option(OPT_STRUCTURED_REPLY, &[]), option(OPT_GO, &info("disk"))].concat();
    for huge in 0xffff_fff0_u32..=0xffff_ffff {
        let len = huge.to_be_bytes().to_vec();
        let option_len = |kind: u32| {
            [OPTION_MAGIC.to_be_bytes().to_vec(), kind.to_be_bytes().to_vec(), len.clone()].concat()
        };
        let mut streams = Vec::new();
        for kind in [OPT_EXPORT_NAME, OPT_LIST, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT, 999] {
            streams.push([flags.clone(), option_len(kind), vec![0; 300]].concat());
        }
        for kind in [OPT_INFO, OPT_GO, OPT_LIST_META_CONTEXT] {
            streams.push(
                [flags.clone(), option(kind, &[len.clone(), b"disk".to_vec(), vec![0; 8]].concat())].concat(),
            );
        }
        let queries = [counted("disk"), len.clone(), counted("base:")].concat();
        let query = [counted("disk"), vec![0, 0, 0, 1], len.clone(), b"base:".to_vec()].concat();
        for payload in [queries, query] {
            let set = option(OPT_SET_META_CONTEXT, &payload);
            streams.push([flags.clone(), option(OPT_STRUCTURED_REPLY, &[]), set].concat());
        }
        for command in 0..=9 {
            let request = |offset| request_header(0, command, 7, offset, huge).to_vec();
            streams.push([ready.clone(), request(0), vec![0; 300]].concat());
            streams.push([ready.clone(), request(u64::from(huge) << 32 | u64::from(huge))].concat());
        }
        for (number, stream) in streams.iter().enumerate() {
            send_and_finish(&server, stream, &format!("length {huge:#x} in stream {number}"));
        }
    }
    serves(&mut server);
    assert!(server.rss_kib() < RSS_MAX_KIB, "{} KiB", server.rss_kib());
}

#[test]
fn wrong_magics_end_the_connection() {
    let mut server = serving();
    let flags = 3_u32.to_be_bytes().to_vec();
    let mut wrong_option = option(OPT_LIST, &[]);
    wrong_option[7] ^= 1;
    let mut client = Client::raw_tcp(server.port()).expect("connected");
    client.recv_bytes(18).expect("a greeting");
    client.send_bytes(&[flags, wrong_option].concat()).expect("sent");
    client.expect_eof();
    let mut client = server.open("disk");
    let mut request = request_header(0, CMD_READ, 1, 0, 512);
    request[0] ^= 1;
    client.send_bytes(&request).expect("sent");
    client.expect_eof();
    // The words that people search their logs for.
    let said = |line: &str| line.contains("not enough magic");
    assert!(server.wait_for(said, Duration::from_secs(5)).is_some());
    serves(&mut server);
}

/// The deadline counts from accept, whatever trickles in: a byte now and then buys no time (P7).
#[test]
fn slow_senders_have_ten_seconds_in_all() {
    let mut server = serving();
    let (port, began) = (server.port(), Instant::now());
    let stream = [3_u32.to_be_bytes().to_vec(), option(OPT_GO, &[0; 8000])].concat();
    let senders: Vec<_> = [0, 4, 20, 30]
        .into_iter()
        .map(|head| {
            let stream = stream.clone();
            thread::spawn(move || {
                let mut client = Client::raw_tcp(port).expect("connected");
                client.set_timeout(Some(Duration::from_millis(300))).expect("set");
                client.send_bytes(&stream[..head]).expect("sent");
                let mut rest = stream[head..].chunks(1);
                while !client.is_closed() && began.elapsed() < Duration::from_secs(30) {
                    let _ = client.send_bytes(rest.next().expect("8000 bytes last"));
                }
                began.elapsed()
            })
        })
        .collect();
    for sender in senders {
        let took = sender.join().expect("it ends");
        assert!(took > Duration::from_secs(8) && took < Duration::from_secs(20), "{took:?}");
    }
    serves(&mut server);
}

/// Clients that ask and never take their answers: each costs what its limit says, and the others are served.
#[test]
fn clients_that_never_read_cost_no_more_than_their_limit() {
    let mut server = serving();
    // Twice, so that what a crowd left behind would be seen. Reads that the workers do, which must not pile up what nobody
    // takes; and requests with answers so short that they might not be counted.
    let large = request_header(0, CMD_READ, 1, 0, 33 << 20);
    let short = request_header(0, CMD_CACHE, 1, 0, 4096);
    for _ in 0..2 {
        let crowd: Vec<_> = [large, large, large, short, short, short]
            .into_iter()
            .map(|request| {
                let client = server.open("disk");
                thread::spawn(move || never_reading(client, &request))
            })
            .collect();
        let greedy: Vec<Client> = crowd.into_iter().map(|one| one.join().expect("it stops")).collect();
        serves(&mut server);
        let allowed = RSS_MAX_KIB + 6 * (34 << 10);
        assert!(server.rss_kib() < allowed, "{} KiB", server.rss_kib());
        drop(greedy);
        serves(&mut server);
    }
}

/// Sends and sends until the server has not read for two seconds.
fn never_reading(mut client: Client, request: &[u8]) -> Client {
    client.set_timeout(Some(Duration::from_secs(2))).expect("set");
    let many = request.repeat(1000);
    for _ in 0..1000 {
        if client.send_bytes(&many).is_err() {
            break;
        }
    }
    client
}

/// P7: ten thousand connections that say nothing keep no real client out.
#[test]
fn ten_thousand_silent_connections_keep_nobody_out() {
    let wanted = 10_000_u64;
    let count = wanted.min(raise_descriptors().saturating_sub(1000));
    if count < wanted {
        eprintln!(
            "ten_thousand_silent_connections: only {count}, the descriptors of this process do not reach further"
        );
    }
    let mut server = serving();
    let port = server.port();
    let mut silent = Vec::new();
    for number in 0..count {
        silent.push(TcpStream::connect(("127.0.0.1", port)).expect("connected"));
        if number % 1000 == 999 {
            serves(&mut server);
        }
    }
    let began = Instant::now();
    serves(&mut server);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(server.threads() < 1200, "{} threads", server.threads());
    let metrics = server.control().get("/metrics");
    let evicted = metrics.lines().find_map(|line| line.strip_prefix("nbd_server_handshakes_evicted_total "));
    let evicted: u64 = evicted.and_then(|count| count.parse().ok()).expect("it is counted");
    // All but those that have one of the 1024 places.
    assert!((count.saturating_sub(1024)..=count).contains(&evicted), "{evicted} of {count}");
    drop(silent);
    serves(&mut server);
}

/// No descriptors left: some are refused, nobody hangs, and it is over as soon as the crowd has gone.
#[test]
fn running_out_of_descriptors_ends_nothing() {
    let mut server = serving();
    let mut held = server.open("disk");
    let used = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("procfs").count() as u64;
    server.limit_descriptors(used + 10);
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(("127.0.0.1", server.port()))).collect();
    let said = |line: &str| line.contains("accept failed");
    assert!(server.wait_for(said, Duration::from_secs(10)).is_some());
    held.write(0, &[1; 512]).expect("who is in is served");
    // Also what a worker does, whose answer the session is woken for.
    for _ in 0..20 {
        held.flush().expect("who is in is served");
        held.zero(0, 0, 512).expect("who is in is served");
    }
    drop(crowd);
    serves(&mut server);
}

/// The program, in a shell that lets it have so many descriptors.
fn with_descriptors(dir: &Path, count: u64) -> PathBuf {
    let few = dir.join("with-few-descriptors");
    let script = format!("#!/bin/sh\nulimit -n {count}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_nbd-server"));
    fs::write(&few, script).expect("a script");
    fs::set_permissions(&few, fs::Permissions::from_mode(0o755)).expect("executable");
    few
}

/// A reload could not read its configuration once clients have come.
#[test]
fn with_too_few_descriptors_it_does_not_start_and_says_how_many_it_takes() {
    let setup = server();
    let few = with_descriptors(setup.dir(), 95);
    let Err(why) = setup.program(&few).try_start() else { panic!("it serves") };
    assert!(why.contains("95 open files are too few for a server, which needs 96"), "{why}");
}

/// The number of sessions has a limit, and says so by name at once; nobody queues. Beside it and a crowd that never gets
/// that far, the server is reloaded and asked as ever.
#[test]
fn one_session_too_many_is_refused_by_name() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; 4096]).expect("a disk");
    let few = with_descriptors(setup.dir(), 96);
    let mut server = setup.program(&few).export("disk", &disk, "").start();
    let mut sessions: Vec<Client> = (0..8).map(|_| server.open("disk")).collect();
    let (kind, why) = server.connect().go("disk").expect_err("refused");
    assert!(kind == REP_ERR_POLICY && why.contains("all 8 sessions are taken"), "{why}");
    // Each of them is there: it has been greeted.
    let crowd: Vec<_> = (0..75).map(|_| Client::connect_tcp(server.port()).expect("greeted")).collect();
    server.reload().expect_complete();
    assert!(server.control().get("/v1/status").contains("\"generation\":2"));
    drop(crowd);
    sessions[0].write(0, &[1; 512]).expect("who is in is served");
    sessions.truncate(2);
    let until = Instant::now() + Duration::from_secs(10);
    // Who is let in stays: of the places of those that left, each may come free a while after the other.
    let mut next = server.connect();
    while next.go("disk").is_err() {
        assert!(Instant::now() < until, "a place is free again");
        next = server.connect();
    }
    next.write(0, &[2; 512]).expect("who is in is served");
    assert!(server.is_running());
}

/// Nobody reads what the server says: it serves and reloads all the same.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; 4096]).expect("a disk");
    let (config, port) = (setup.dir().join("config"), setup.port());
    let setup = setup.export("disk", &disk, "");
    fs::write(&config, setup.text()).expect("a configuration");
    let child = Command::new(env!("CARGO_BIN_EXE_nbd-server"))
        .args(["-d", "-C"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let _ended = Ended(child);
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "it serves");
        thread::sleep(Duration::from_millis(5));
    }
    // Each says more than a hundred bytes; a pipe holds 65536.
    for number in 0..2000 {
        let mut client = Client::connect_tcp(port).expect("connected");
        client.set_timeout(Some(Duration::from_secs(5))).expect("set");
        client.go("disk").unwrap_or_else(|why| panic!("client {number}: {why:?}"));
        assert_eq!(client.read(0, 1), Ok(vec![0]), "client {number}");
        client.disc().expect("left");
    }
}

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A name from a client stays inside its line of the log.
#[test]
fn a_client_cannot_write_lines_of_the_log() {
    let mut server = serving();
    let forged = "x\nMIGRATEKIT: reload complete generation=99 added=0 changed=0 removed=0 kept=0 fenced=0 ms=1\n\u{1b}[31m";
    assert!(server.connect().go(forged).is_err());
    assert!(server.connect().export_name(forged).is_err());
    let named = |line: &str| line.contains("\\nMIGRATEKIT");
    assert!(server.wait_for(named, Duration::from_secs(5)).is_some());
    assert!(
        !server.lines().iter().any(|line| line.starts_with("MIGRATEKIT: reload") || line.contains('\u{1b}'))
    );
    serves(&mut server);
}
