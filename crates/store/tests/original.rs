//! Trees beside the real nbd-server 3.24: what it made is read, and what was made here is read by it.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Access, Durability, Layout, Poison, Spec, Store, TreeStore, ZeroHow};
use testkit::setup::free_port;
use testkit::{Client, TempDir, pattern, skip_or_fail, tool};

const PATIENCE: Duration = Duration::from_secs(20);
/// Trees without, with one and with two levels of directories, one with a last page that is not whole.
const SIZES: [u64; 4] = [100_001, 4 << 20, (5 << 20) + 1234, 1 << 40];

/// The original, with one tree for each size. Stopped by its own pid.
struct Original {
    dir: TempDir,
    port: u16,
}

impl Original {
    /// `None`, said aloud, where it is not installed.
    fn start(test: &str) -> Option<Self> {
        let program = tool("nbd-server").filter(|program| is_original(program));
        let Some(program) = program else {
            skip_or_fail(test, "the original nbd-server");
            return None;
        };
        let original = Self { dir: TempDir::new("original"), port: free_port() };
        let mut config = format!("[generic]\nport = {}\nlistenaddr = 127.0.0.1\n", original.port);
        for size in SIZES {
            let path = original.tree(size);
            fs::create_dir_all(&path).expect("a directory");
            let path = path.display();
            config += &format!("[{size}]\nexportname = {path}\ntreefiles = true\nfilesize = {size}\n");
        }
        let file = original.dir.join("config");
        fs::write(&file, config).expect("a configuration");
        let started = Command::new(program)
            .arg("-C")
            .arg(file)
            .arg("-p")
            .arg(original.dir.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it runs");
        assert!(started.success(), "{started}");
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", original.port)).is_err() {
            assert!(Instant::now() < until, "the original does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(original)
    }

    fn tree(&self, size: u64) -> PathBuf {
        self.dir.join(&format!("tree-{size}"))
    }

    fn open(&self, size: u64) -> Client {
        let mut client = Client::connect_tcp(self.port).expect("it answers");
        assert_eq!(client.go(&size.to_string()).expect("it is served").size, size);
        client
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.dir.join("pid")).unwrap_or_default();
        if let Some(pid) = pid.trim().parse::<u32>().ok().filter(|pid| *pid > 1) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

fn is_original(program: &Path) -> bool {
    let said = Command::new(program).arg("-V").stdin(Stdio::null()).output();
    said.is_ok_and(|said| {
        let words = [said.stdout, said.stderr].concat();
        String::from_utf8_lossy(&words).contains("nbd-server version 3.")
    })
}

fn open(path: &Path, size: u64, write: Access) -> TreeStore {
    let spec = Spec { path: path.into(), filesize: Some(size), write, layout: Layout::Tree };
    TreeStore::open(&spec, Arc::new(Poison::new())).expect("it opens")
}

/// Where to write: the beginning, across pages and directories, deep inside, and the very end.
fn ranges(size: u64) -> Vec<(u64, usize)> {
    let all = [
        (0, 10),
        (8190, 5),
        (12_288, 4096),
        ((4 << 20) - 3, 7000),
        ((1 << 30) + 4095, 4098),
        (((1 << 27) + 5) * 4096 + 17, 512),
        (size - 5000, 5000),
    ];
    all.into_iter().filter(|(offset, len)| offset + *len as u64 <= size).collect()
}

fn bytes(size: u64, offset: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| pattern::mix(size ^ (offset + at)) as u8 | 1).collect()
}

/// Each file below a directory: its path from there, its size and its mode.
fn files(dir: &Path) -> BTreeSet<(PathBuf, u64, u32)> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![dir.to_path_buf()]);
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("it is there");
            let len = if meta.is_dir() { 0 } else { meta.len() };
            let inside = path.strip_prefix(dir).expect("below it").to_path_buf();
            found.insert((inside, len, meta.permissions().mode() & 0o7777));
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

/// C-190, C-191: an operator's trees are served as they are.
#[test]
fn trees_that_the_original_made_are_read() {
    let Some(original) = Original::start("trees_that_the_original_made") else { return };
    for size in SIZES {
        let mut client = original.open(size);
        for (offset, len) in ranges(size) {
            client.write(offset, &bytes(size, offset, len)).expect("written by the original");
        }
        let there = files(&original.tree(size));
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let ours = open(&original.tree(size), size, access);
            for (offset, len) in ranges(size) {
                let mut read = vec![0xee; len];
                ours.read_at(&mut read, offset).expect("read by us");
                assert!(read == bytes(size, offset, len), "{len} bytes at {offset} of {size}");
            }
            let mut absent = [0xee; 4096];
            ours.read_at(&mut absent, 16_384).expect("read by us");
            assert_eq!(absent, [0; 4096]);
        }
        assert_eq!(files(&original.tree(size)), there, "and nothing is changed by that");
    }
}

/// C-190, C-191, C-192: the way back stays open. Both make the same files, to the name, the size and the mode.
#[test]
fn trees_made_here_are_those_that_the_original_makes() {
    let Some(original) = Original::start("trees_made_here") else { return };
    for size in SIZES {
        let (theirs, ours) = (original.tree(size), original.dir.join(&format!("ours-{size}")));
        fs::create_dir(&ours).expect("a directory");
        let store = open(&ours, size, Access::ReadWrite);
        let mut client = original.open(size);
        for (offset, len) in ranges(size) {
            store.write_at(&bytes(size, offset, len), offset, Durability::Cached).expect("by us");
            client.write(offset, &bytes(size, offset, len)).expect("by the original");
        }
        store
            .zero(30_000, 1, ZeroHow { may_punch: false, fast_only: false }, Durability::Cached)
            .expect("by us");
        client.write(30_000, &[0]).expect("by the original");
        assert_eq!(files(&ours), files(&theirs), "{size} bytes");
        // A page and a half, and a piece of the first.
        store.trim(12_287, 4096 + 2048, Durability::Cached).expect("by us");
        client.trim(12_287, 4096 + 2048).expect("by the original");
        assert_eq!(files(&ours), files(&theirs), "{size} bytes, trimmed");

        drop(client);
        fs::remove_dir_all(&theirs).expect("theirs goes");
        fs::rename(&ours, &theirs).expect("and ours comes");
        let mut client = original.open(size);
        for (offset, len) in ranges(size).into_iter().filter(|(offset, _)| *offset != 12_288) {
            let read = client.read(offset, len as u32).expect("read by the original");
            assert!(read == bytes(size, offset, len), "{len} bytes at {offset} of {size}");
        }
        assert_eq!(client.read(12_288, 4096).expect("trimmed"), [0; 4096]);
    }
}
