//! The transaction log as a file: read by the original's own tools, and equal to what the original writes.
#![allow(missing_docs)]

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, PATIENCE, end_of};
use server::TransactionLog;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;
use store::{Access, Layout, Spec, Store};
use testkit::setup::free_port;
use testkit::spec::*;
use testkit::{Client, MemoryStore, TempDir, is_root, pattern, skip_or_fail, tool};

const SIZE: usize = 1 << 20;

fn disk(path: &Path) -> Arc<dyn Store> {
    let spec = Spec { path: path.into(), filesize: None, write: Access::ReadWrite, layout: Layout::One };
    store::open(&spec, Arc::default()).expect("it opens").store
}

/// A desk whose sessions log into this file.
fn logging(store: Arc<dyn Store>, log: &Path, datalog: bool) -> Desk {
    let mut desk = Desk::new(store);
    let log = log.to_path_buf();
    desk.journal = Arc::new(move |_| {
        Some(TransactionLog::open(&log, datalog, |error| panic!("not written: {error}")).expect("it opens"))
    });
    desk
}

/// What one client does, one thing after the other, and what it read. Only what both servers answer alike.
fn story(client: &mut Client) -> Vec<u8> {
    client.go("disk").expect("granted");
    client.write(0, &pattern::block(1, 0, 0, 4096)).expect("written");
    client.write_with(CMD_FLAG_FUA, 512 << 10, &pattern::block(1, 1, 0, 200 << 10)).expect("written");
    client.write(8192, &[7; 3 << 10]).expect("written");
    client.flush().expect("flushed");
    client.trim(4096, 4096).expect("trimmed");
    client.zero(0, 1024, 512).expect("zeroed");
    client.zero(CMD_FLAG_NO_HOLE | CMD_FLAG_FUA, 9216, 1024).expect("zeroed");
    let read = client.read(0, 64 << 10).expect("read");
    assert_eq!(client.read(SIZE as u64, 512), Err(EINVAL));
    assert_eq!(client.write(SIZE as u64 - 512, &[9; 1024]), Err(ENOSPC));
    let unknown = client.transact(0, 42, 3, 4, &[]).expect("an answer");
    let flagged = client.transact(1 << 7, CMD_WRITE, 0, 512, &[8; 512]).expect("an answer");
    assert_eq!((unknown.error, flagged.error), (EINVAL, EINVAL));
    client.write(1536, &[6; 512]).expect("in step");
    client.disc().expect("sent");
    read
}

/// What our server writes for the story, and the disk afterwards.
fn ours(dir: &TempDir, datalog: bool) -> (Vec<u8>, Vec<u8>) {
    let (image, log) = (dir.sparse("ours.img", SIZE as u64), dir.join("ours.log"));
    let (mut client, ending) = logging(disk(&image), &log, datalog).connect();
    client.greet().expect("a greeting");
    story(&mut client);
    end_of(&ending);
    (fs::read(log).expect("a log"), fs::read(image).expect("the disk"))
}

/// The original, one client, one thread. Ends with its client.
struct Original(Child);

impl Original {
    fn start(program: &Path, dir: &TempDir, image: &Path, log: &Path, datalog: bool) -> (Self, Client) {
        for _ in 0..4 {
            let port = free_port();
            let config = dir.join("config");
            let text = format!(
                "[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nmax_threads = 1\n[disk]\nexportname = {}\n\
                 flush = true\nfua = true\ntrim = true\ntransactionlog = {}\ndatalog = {datalog}\n",
                image.display(),
                log.display()
            );
            fs::write(&config, text).expect("a configuration");
            let mut command = Command::new(program);
            command.arg("-d").arg("-C").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
            let mut server = Self(command.stderr(Stdio::null()).spawn().expect("it starts"));
            // It says nothing when it is ready. Knocking is not silent: a client that hangs up ends it.
            let until = Instant::now() + PATIENCE;
            while server.0.try_wait().expect("a child").is_none() && Instant::now() < until {
                if let Ok(client) = Client::connect_tcp(port) {
                    return (server, client);
                }
                thread::yield_now();
            }
        }
        panic!("the original does not start");
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// C-199: byte for byte what the original writes for the same client, with payloads and without.
#[test]
fn the_log_of_one_client_is_that_of_the_original() {
    let Some(program) = tool("nbd-server") else {
        return skip_or_fail("the_log_of_one_client_is_that_of_the_original", "the original nbd-server");
    };
    for datalog in [false, true] {
        let dir = TempDir::new("original");
        let (image, log) = (dir.sparse("theirs.img", SIZE as u64), dir.join("theirs.log"));
        let (mut server, mut client) = Original::start(&program, &dir, &image, &log, datalog);
        story(&mut client);
        assert!(server.0.wait().expect("a child").success(), "it ends with its client");
        let theirs = (fs::read(log).expect("a log"), fs::read(image).expect("the disk"));
        let ours = ours(&dir, datalog);
        assert!(ours.0 == theirs.0, "{}", first_difference(&ours.0, &theirs.0));
        assert!(ours.1 == theirs.1, "and so are the disks");
    }
}

fn first_difference(ours: &[u8], theirs: &[u8]) -> String {
    let at = ours.iter().zip(theirs).position(|(one, other)| one != other);
    format!("lengths {} and {}, they differ at {at:?}", ours.len(), theirs.len())
}

/// C-199: `nbd-trdump` tells what the client did. Its words are the original's, so they are not repeated here in full.
#[test]
fn the_originals_reader_says_what_the_client_did() {
    let Some(program) = tool("nbd-trdump") else {
        return skip_or_fail("the_originals_reader_says_what_the_client_did", "nbd-trdump");
    };
    for datalog in [false, true] {
        let dir = TempDir::new("trdump");
        let length = ours(&dir, datalog).0.len() as u64;
        assert_eq!(length, fs::metadata(dir.join("ours.log")).expect("a log").len());
        let log = fs::File::open(dir.join("ours.log")).expect("a log");
        let output = Command::new(&program).stdin(log).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("TRACE_OPTION")).collect();
        let asked = |line: &&&str| line.starts_with("> ");
        let commands: Vec<&str> = lines
            .iter()
            .filter(asked)
            .map(|line| line.split(['(', '+']).nth(1).unwrap_or_default().trim())
            .map(|name| name.trim_start_matches("NBD_CMD_"))
            .collect();
        assert_eq!(
            commands,
            [
                "WRITE",
                "WRITE",
                "WRITE",
                "FLUSH",
                "TRIM",
                "WRITE_ZEROES",
                "WRITE_ZEROES",
                "READ",
                "READ",
                "WRITE",
                "UNKNOWN",
                "WRITE",
                "WRITE",
                "DISC"
            ]
        );
        assert_eq!(lines.len(), 2 * commands.len() - 1, "each is answered but the last:\n{text}");
        assert!(lines[2].contains("O=0000000000080000 L=00032000") && lines[2].contains("FUA"), "{text}");
        assert!(lines[3].contains("H=0000000000000002 E=0x00000000"), "{text}");
        assert!(lines.iter().any(|line| line.contains("H=000000000000000a E=0x0000001c")), "{text}");
        let option = text.contains("TRACE_OPTION DATALOG set to 1.");
        assert_eq!((option, text.contains('?')), (datalog, false), "{text}");
    }
}

fn replay(program: &Path, log: &Path, image: &Path) -> String {
    let output = Command::new(program).arg("-i").arg(image).arg("-l").arg(log).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    text
}

/// C-199: `nbd-trplay` makes the disk again from what was recorded, of several clients and of sizes that are served in
/// different ways.
#[test]
fn the_originals_player_makes_the_disk_again() {
    let Some(program) = tool("nbd-trplay") else {
        return skip_or_fail("the_originals_player_makes_the_disk_again", "nbd-trplay");
    };
    const LARGE: usize = 48 << 20;
    let dir = TempDir::new("trplay");
    let (image, log) = (dir.sparse("disk.img", LARGE as u64), dir.join("log"));
    let desk = logging(disk(&image), &log, true);
    for round in 0..3 {
        let (mut client, ending) = desk.open(round == 1);
        client.write(round * 4096, &pattern::block(2, round, 0, 4096)).expect("written");
        client.write((1 << 20) + round * 512, &pattern::block(2, 9, round, 3 << 20)).expect("written");
        client.zero(0, (2 << 20) + round * 1024, 512).expect("zeroed");
        client.trim(8 << 20, 4096).expect("trimmed");
        // More than was offered: several records.
        client.write(5 << 20, &pattern::block(2, 10, round, 33 << 20)).expect("written");
        client.write_with(CMD_FLAG_FUA, 40 << 20, &pattern::block(2, 11, round, 4096)).expect("written");
        client.disc().expect("sent");
        end_of(&ending);
    }
    let again = dir.sparse("again.img", LARGE as u64);
    let text = replay(&program, &log, &again);
    assert!(text.contains("End of transaction log"), "{text}");
    assert!(fs::read(again).expect("an image") == fs::read(image).expect("the disk"));
}

/// One record of a log, read without `wire`.
#[derive(Debug, PartialEq, Eq)]
enum Record {
    Payloads(bool),
    Asked { command: u16, cookie: u64, payload: Vec<u8> },
    Answered { cookie: u64, error: u32 },
}

use Record::{Answered, Asked, Payloads};

/// Reads a log to its last byte.
fn records(mut bytes: &[u8]) -> Vec<Record> {
    let be32 = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
    let be64 = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight"));
    let (mut list, mut payloads) = (Vec::new(), false);
    while !bytes.is_empty() {
        let (record, len) = match be32(bytes, 0) {
            REQUEST_MAGIC => {
                let (command, cookie) = (be32(bytes, 4) as u16, be64(bytes, 8));
                let carried = if command == CMD_WRITE && payloads { be32(bytes, 24) as usize } else { 0 };
                (Asked { command, cookie, payload: bytes[28..28 + carried].to_vec() }, 28 + carried)
            }
            SIMPLE_REPLY_MAGIC => (Answered { cookie: be64(bytes, 8), error: be32(bytes, 4) }, 16),
            0x2560_9514 => {
                assert_eq!((be32(bytes, 4), be64(bytes, 8), be64(bytes, 16)), (1, 0, 0x4A93_BA39_A54F_31B6));
                payloads = be32(bytes, 24) != 0;
                (Payloads(payloads), 28)
            }
            other => panic!("a record begins {other:08x}, {} bytes before the end", bytes.len()),
        };
        list.push(record);
        bytes = &bytes[len..];
    }
    list
}

/// C-199, C-200: eight clients, each connection with a way into the same file. No record is inside another, none is
/// lost, and each answer stands behind its request.
#[test]
fn records_of_many_clients_stand_whole_one_after_the_other() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 40;
    let dir = TempDir::new("writers");
    let log = dir.join("log");
    let mut desk = logging(Arc::new(MemoryStore::new(4 << 20)), &log, true);
    // So that many of them come in pieces.
    desk.limits.piece_len = 16 << 10;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (mut client, ending) = desk.open(writer % 2 == 1);
            thread::spawn(move || {
                for write in 0..WRITES {
                    let (cookie, bytes) = content(writer, write);
                    let (offset, len) = (write * 65536, bytes.len() as u32);
                    client.send_request(0, CMD_WRITE, cookie, offset, len, &bytes).expect("sent");
                    if write % 4 == 3 {
                        (0..4).for_each(|_| assert_eq!(client.recv_answer().expect("an answer").error, 0));
                    }
                }
                client.disc().expect("sent");
                end_of(&ending);
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    let records = records(&fs::read(log).expect("a log"));
    assert_eq!(records.iter().filter(|record| **record == Payloads(true)).count(), WRITERS as usize);
    for (writer, write) in (0..WRITERS).flat_map(|writer| (0..WRITES).map(move |write| (writer, write))) {
        let (wanted, bytes) = content(writer, write);
        let answered = position(&records, &Answered { cookie: wanted, error: 0 });
        let asked = position(&records, &Asked { command: CMD_WRITE, cookie: wanted, payload: bytes });
        assert!(asked < answered, "{writer} {write}: {asked} {answered}");
    }
    let openings_and_goodbyes = 2 * WRITERS;
    assert_eq!(records.len() as u64, 2 * WRITERS * WRITES + openings_and_goodbyes);
}

/// A cookie, and what goes under it: of lengths that come inline, apart and in pieces.
fn content(writer: u64, write: u64) -> (u64, Vec<u8>) {
    let len = [512, 5000, 40_000, 16 << 10][(write % 4) as usize];
    (writer << 32 | write, vec![(writer * 37 + write) as u8; len])
}

#[track_caller]
fn position(records: &[Record], wanted: &Record) -> usize {
    let found = records.iter().position(|record| record == wanted);
    found.unwrap_or_else(|| panic!("not in the log: {:.100}", format!("{wanted:?}")))
}

/// One client that flushes and goes.
fn visit(desk: &Desk) {
    let (mut client, ending) = desk.open(false);
    client.flush().expect("flushed");
    client.disc().expect("sent");
    end_of(&ending);
}

/// C-200: what was recorded stays, where the original writes over it. A file that is new is for its owner alone.
#[test]
fn a_later_session_appends_to_what_is_there() {
    let dir = TempDir::new("append");
    let log = dir.join("log");
    let desk = logging(Arc::new(MemoryStore::new(SIZE)), &log, false);
    visit(&desk);
    let first = fs::read(&log).expect("a log");
    assert_eq!(first.len(), 28 + 16 + 28);
    assert_eq!(fs::metadata(&log).expect("a log").permissions().mode() & 0o7777, 0o600);
    visit(&desk);
    let (mut client, ending) = desk.open(false);
    client.flush().expect("flushed");
    // One that comes while the other is there.
    visit(&desk);
    client.disc().expect("sent");
    end_of(&ending);
    let (asked, answered, left) = (&first[..28], &first[28..44], &first[44..]);
    let overlap = [asked, answered, asked, answered, left, left].concat();
    assert!(fs::read(&log).expect("a log") == [&first[..], &first, &overlap].concat());
}

/// `datalog` can change at a reload, and old sessions go on as they began, in the same file. A reader must know of
/// every WRITE whether bytes follow.
#[test]
fn a_reader_is_told_when_sessions_log_in_different_ways() {
    let dir = TempDir::new("turns");
    let log = dir.join("log");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(SIZE));
    let (with, without) = (logging(store.clone(), &log, true), logging(store, &log, false));
    let (mut old, _one) = without.open(false);
    let (mut new, _two) = with.open(false);
    for round in 0..2 {
        new.write(0, &[round; 64]).expect("written");
        old.write(64, &[round; 64]).expect("written");
    }
    let told: Vec<usize> = records(&fs::read(&log).expect("a log"))
        .iter()
        .filter_map(|record| if let Asked { payload, .. } = record { Some(payload.len()) } else { None })
        .collect();
    assert_eq!(told, [64, 0, 64, 0]);
    // Older than this process, as far as it can know: nothing is taken for granted.
    let stranger = dir.join("stranger");
    fs::copy(&log, &stranger).expect("a copy");
    let bytes = fs::read(&stranger).expect("a log");
    visit(&logging(Arc::new(MemoryStore::new(SIZE)), &stranger, false));
    assert_eq!(records(&fs::read(&stranger).expect("a log")[bytes.len()..])[0], Payloads(false));
    // Nor where somebody else has written since the last session.
    fs::write(&stranger, &bytes).expect("written over");
    visit(&logging(Arc::new(MemoryStore::new(SIZE)), &stranger, false));
    assert_eq!(records(&fs::read(&stranger).expect("a log")[bytes.len()..])[0], Payloads(false));
}

type Said = Arc<Mutex<Vec<String>>>;

/// As the server opens it: with or without, the client is served.
fn logging_or_not(log: PathBuf) -> (Desk, Said) {
    let said = Said::default();
    let mut desk = Desk::new(Arc::new(MemoryStore::new(SIZE)));
    let heard = said.clone();
    desk.journal = Arc::new(move |_| {
        let heard = heard.clone();
        let say = move |line: &str| heard.lock().expect("no test panics in here").push(line.to_owned());
        TransactionLog::open_or_say(&log, true, say)
    });
    (desk, said)
}

/// C-201: no file, no directory for it, or something that is no file. A pipe would stop the session when its reader
/// does, so it is none either, with a reader or without.
#[test]
fn a_log_that_cannot_be_opened_is_said_and_the_client_served() {
    let dir = TempDir::new("unopened");
    let (pipe, lonely) = (dir.join("pipe"), dir.join("lonely"));
    let made = Command::new("mkfifo").args([&pipe, &lonely]).status().expect("mkfifo runs");
    assert!(made.success());
    let read_too = fs::OpenOptions::new().read(true).write(true).open(&pipe);
    let _reader = read_too.expect("a pipe with somebody at both ends");
    for path in [dir.join("nowhere/log"), dir.path().to_path_buf(), pipe, lonely] {
        let (desk, said) = logging_or_not(path.clone());
        visit(&desk);
        let said = said.lock().expect("alive");
        let words = format!("Could not open transactionlog {}, moving on without it", path.display());
        assert!(said.len() == 1 && said[0].starts_with(&words), "{said:?}");
    }
}

/// A log that is full takes nothing from the client, is said once for a session, and keeps no half of a record that a
/// reader would stumble over.
#[test]
fn a_log_that_is_full_ends_with_a_whole_record() {
    let (desk, said) = logging_or_not("/dev/full".into());
    visit(&desk);
    let words = "Could not open transactionlog /dev/full, moving on without it";
    assert!(said.lock().expect("alive")[0].starts_with(words), "the first record fails at once");

    let name = "a_log_that_is_full_ends_with_a_whole_record";
    let Some(small) = Small::mount(name) else { return };
    let log = small.dir.join("log");
    let (desk, said) = logging_or_not(log.clone());
    let (mut client, _ending) = desk.open(false);
    for round in 0..30 {
        client.write(0, &[round; 3000]).expect("the client does not notice");
    }
    assert!(fs::metadata(&log).expect("a log").size() > 30_000, "it took what it could");
    records(&fs::read(&log).expect("a log"));
    let roomy = small.dir.path().with_extension("roomy");
    let (mut client, _ending) = logging_or_not(roomy.clone()).0.open(false);
    (0..30).for_each(|round| client.write(0, &[round; 3000]).expect("written"));
    let whole = fs::read(&roomy).expect("a log");
    fs::remove_file(&roomy).expect("removed");
    assert!(whole.starts_with(&fs::read(&log).expect("a log")), "no gap before its end");
    let said = said.lock().expect("alive");
    let words = format!("Could not write to transactionlog {}, moving on without it", log.display());
    assert!(said.len() == 1 && said[0].starts_with(&words), "{said:?}");
}

/// A file system of 64 KiB.
struct Small {
    dir: TempDir,
}

impl Small {
    fn mount(test: &str) -> Option<Self> {
        let dir = TempDir::new("small");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir.path()).stderr(Stdio::null());
        if !is_root() || !mount.status().is_ok_and(|status| status.success()) {
            skip_or_fail(test, "root, and a tmpfs of 64 KiB");
            return None;
        }
        Some(Self { dir })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a session may still have its log open.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}
