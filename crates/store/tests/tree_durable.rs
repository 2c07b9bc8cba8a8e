//! What is durable in a tree of small files, and when nothing is promised any more (P6).
#![allow(missing_docs)]

use std::fs;
use std::process::Command;
use std::sync::Arc;
use store::{Access, Cause, Durability, Layout, Poison, Spec, Store, TreeStore, ZeroHow};
use testkit::{TempDir, skip_or_fail, tool};

const PUNCH: ZeroHow = ZeroHow { may_punch: true, fast_only: false };

fn spec(dir: &TempDir, write: Access) -> Spec {
    Spec { path: dir.path().into(), filesize: Some((5 << 20) + 1234), write, layout: Layout::Tree }
}

fn open(dir: &TempDir, write: Access, poison: &Arc<Poison>) -> TreeStore {
    TreeStore::open(&spec(dir, write), poison.clone()).expect("it opens")
}

/// P6: one failed sync, and every later promise of durability is refused, also by a store that is opened anew.
#[test]
fn a_poisoned_tree_makes_no_promises() {
    let dir = TempDir::new("tree");
    let poison = Arc::new(Poison::new());
    let store = open(&dir, Access::ReadWrite, &poison);
    store.write_at(&[1; 4096], 0, Durability::Durable).expect("well so far");
    poison.remember("syncfs: I/O error");
    let reader = open(&dir, Access::ReadOnly, &poison);
    assert_eq!(reader.flush().expect_err("refused").cause, Cause::Poisoned);
    for store in [&store, &open(&dir, Access::ReadWrite, &poison)] {
        let errors = [
            store.flush(),
            store.write_at(&[2; 512], 0, Durability::Durable),
            store.zero(0, 4096, PUNCH, Durability::Durable),
            store.trim(0, 4096, Durability::Durable),
        ];
        for error in errors {
            assert_eq!(error.expect_err("refused").cause, Cause::Poisoned);
        }
        let mut bytes = [0; 512];
        store.read_at(&mut bytes, 0).expect("read");
        assert_eq!(bytes, [1; 512], "and nothing of it was begun");
        store.write_at(&[1], 0, Durability::Cached).expect("without a promise it is written");
    }
    poison.clear();
    store.flush().expect("an operator has accepted the loss");
}

/// P6: what is durable was asked of the file system, once for each promise; without one, and for readers, it is left alone.
#[test]
fn a_promise_is_a_sync_of_the_file_system() {
    const INSIDE: &str = "STORE_TREE_UNDER_STRACE";
    let name = "a_promise_is_a_sync_of_the_file_system";
    let dir = TempDir::new("tree");
    if std::env::var_os(INSIDE).is_some() {
        let (tree, reader) =
            (open(&dir, Access::ReadWrite, &Arc::default()), open(&dir, Access::ReadOnly, &Arc::default()));
        tree.write_at(&[1; 5000], 0, Durability::Cached).expect("written");
        tree.zero(0, 4096, PUNCH, Durability::Cached).expect("zeroed");
        tree.trim(4096, 4096, Durability::Cached).expect("trimmed");
        reader.flush().expect("nothing to do");
        tree.flush().expect("flushed");
        tree.write_at(&[1; 5000], 0, Durability::Durable).expect("written");
        return;
    }
    let Some(strace) = tool("strace") else { return skip_or_fail(name, "strace") };
    let (trace, this) = (dir.join("trace"), std::env::current_exe().expect("a test"));
    let run = Command::new(strace)
        .args(["-f", "-qq", "-e", "trace=syncfs,sync,fsync,fdatasync", "-o"])
        .args([trace.as_os_str(), this.as_os_str()])
        .args(["--exact", name])
        .env(INSIDE, "1")
        .output()
        .expect("it runs");
    let trace = fs::read_to_string(&trace).unwrap_or_default();
    if trace.is_empty() && !run.status.success() {
        return skip_or_fail(name, "a system that lets strace work");
    }
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains("sync")).collect();
    assert!(calls.len() == 2 && calls.iter().all(|call| call.contains("syncfs(")), "{calls:#?}");
}
