//! Exports added and removed at run time: the files stay the truth, and what is refused has changed nothing.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::spec::REP_ERR_UNKNOWN;
use testkit::{CLOSED, ServerProcess, TempDir};

/// A server with an export of its main file, and disks.
struct Scene {
    server: ServerProcess,
    disks: TempDir,
}

impl Scene {
    fn new() -> Self {
        let disks = TempDir::new("disks");
        let scene = |name: &str| {
            let path = disks.join(name);
            fs::write(&path, [name.as_bytes()[0]; 4 * BLOCK]).expect("a disk");
            path
        };
        let main = scene("main");
        let _ = ["a", "b"].map(scene);
        Self { server: server().export("in-main", &main, "").start(), disks }
    }

    fn disk(&self, name: &str) -> String {
        self.disks.join(name).display().to_string()
    }

    fn put(&self, name: &str, settings: &Value) -> (u16, Value) {
        self.ask("PUT", &format!("/v1/exports/{name}"), &settings.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.server.control().ask(method, path, body);
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Every file of the configuration with its text, and the generation.
    fn state(&self) -> (BTreeMap<PathBuf, Vec<u8>>, Value) {
        let dir = self.server.conf("");
        let files = fs::read_dir(dir).expect("conf.d").flatten().map(|entry| entry.path());
        let files = files.chain([self.server.config_path()]);
        let (_, status) = self.ask("GET", "/v1/status", "");
        (
            files.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect(),
            status["generation"].clone(),
        )
    }

    fn first_byte(&self, export: &str) -> u8 {
        self.server.open(export).read(0, 1).expect("read")[0]
    }
}

#[test]
fn an_export_that_is_put_is_in_its_file_and_is_served() {
    let scene = Scene::new();
    let (status, reload) = scene.put("vol-1", &json!({"exportname": scene.disk("a"), "readonly": "true"}));
    assert_eq!((status, reload["outcome"].as_str()), (200, Some("complete")), "{reload}");
    assert_eq!(reload["plan"]["steps"][0]["action"], "add");
    assert_eq!(scene.first_byte("vol-1"), b'a');
    let text = fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file");
    assert!(text.contains("[vol-1]\n") && text.contains("readonly = true\n"), "{text}");
    assert_eq!(scene.server.reload().expect_complete().closing.added, 0, "the files say the same");

    // Put again it leads elsewhere, and who was there is cut off.
    let mut old = scene.server.open("vol-1");
    let (status, reload) = scene.put("vol-1", &json!({"exportname": scene.disk("b")}));
    assert_eq!((status, reload["fenced"].as_u64()), (200, Some(1)), "{reload}");
    assert_eq!(old.read(0, 1), Err(CLOSED));
    assert_eq!(scene.first_byte("vol-1"), b'b');

    let (status, reload) = scene.ask("DELETE", "/v1/exports/vol-1", "");
    assert_eq!((status, reload["removed"].as_u64()), (200, Some(1)), "{reload}");
    assert!(!scene.server.conf("vol-1.conf").exists());
    assert_eq!(scene.server.connect().go("vol-1").expect_err("gone").0, REP_ERR_UNKNOWN);
    assert_eq!(scene.ask("DELETE", "/v1/exports/vol-1", "").0, 404);
}

#[test]
fn several_exports_are_put_and_followed_by_one_reload() {
    let scene = Scene::new();
    for name in ["vol-1", "vol-2"] {
        let body = json!({"exportname": scene.disk("a"), "readonly": "true"}).to_string();
        let (status, answer) = scene.ask("PUT", &format!("/v1/exports/{name}?apply=false"), &body);
        assert!((200..300).contains(&status), "{status} {answer}");
    }
    assert!(scene.server.connect().go("vol-1").is_err(), "not yet");
    // Put once more before it was followed: the file is still its own.
    let body = json!({"exportname": scene.disk("b")}).to_string();
    assert!((200..300).contains(&scene.ask("PUT", "/v1/exports/vol-2?apply=false", &body).0));
    let (status, reload) = scene.ask("POST", "/v1/reload", "");
    assert_eq!((status, reload["added"].as_u64()), (200, Some(2)), "{reload}");
    assert_eq!((scene.first_byte("vol-1"), scene.first_byte("vol-2")), (b'a', b'b'));
}

#[test]
fn names_may_hold_what_a_group_may_and_stay_in_the_directory() {
    let scene = Scene::new();
    for (name, path) in [("vol 1/ü%", "vol%201%2F%C3%BC%25"), ("../up", "..%2Fup"), (".hidden", ".hidden")] {
        let (status, answer) = scene.put(path, &json!({"exportname": scene.disk("a"), "readonly": "true"}));
        assert_eq!(status, 200, "{name}: {answer}");
        assert_eq!(scene.first_byte(name), b'a');
    }
    assert_eq!(fs::read_dir(scene.server.conf("")).expect("conf.d").count(), 3);
    for path in ["a%5Db", "a%0Ab", "generic", &"x".repeat(300)] {
        let (status, answer) = scene.put(path, &json!({"exportname": scene.disk("a")}));
        assert!(status == 422 || status == 409, "{path}: {status} {answer}");
    }
}

#[test]
fn what_is_refused_has_changed_nothing() {
    let scene = Scene::new();
    let good = json!({"exportname": scene.disk("a")});
    scene.server.write_conf(
        "two.conf",
        &format!("[two]\nexportname = {0}\n[three]\nexportname = {0}\nreadonly = true\n", scene.disk("a")),
    );
    scene.server.reload().expect_complete();
    let before = scene.state();
    let refused = |path: &str, settings: &Value, status: u16, word: &str| {
        let (given, answer) = scene.put(path, settings);
        assert_eq!(given, status, "{path} {settings}: {answer}");
        assert!(answer.to_string().contains(word), "{path} {settings}: {answer}");
        assert!(scene.state() == before, "{path} {settings}");
    };
    refused("in-main", &good, 409, "includedir");
    refused("two", &good, 409, "two.conf");
    refused("vol", &json!({}), 422, "exportname");
    refused("vol", &json!({"exportname": "/x", "readonyl": "true"}), 422, "readonly");
    refused("vol", &json!({"exportname": "/x", "readonly": "yes"}), 422, "true or false");
    refused("vol", &json!({"exportname": "/x", "sdp": "true"}), 422, "SDP");
    for (path, status) in [("in-main", 409), ("two", 409), ("nobody", 404)] {
        let (given, answer) = scene.ask("DELETE", &format!("/v1/exports/{path}"), "");
        assert_eq!(given, status, "{path}: {answer}");
        assert!(scene.state() == before, "{path}");
    }
}

/// A file that somebody is writing, or has broken, is not ours to replace; and nothing is written that no reload would
/// follow.
#[test]
fn broken_files_are_in_the_way_and_stay() {
    let scene = Scene::new();
    let good = json!({"exportname": scene.disk("a")});
    scene.server.write_conf("vol.conf", "[vol\n");
    let (status, answer) = scene.put("vol", &good);
    assert!(status == 409 && answer.to_string().contains("vol.conf"), "{answer}");
    scene.server.remove_conf("vol.conf");

    // Somebody else's file, not followed yet, has the name.
    scene.server.write_conf("a-first.conf", &format!("[vol]\nexportname = {}\n", scene.disk("b")));
    let (status, answer) = scene.put("vol", &good);
    assert!(status == 409 && answer.to_string().contains("described twice"), "{answer}");
    assert!(!scene.server.conf("vol.conf").exists());
    scene.server.remove_conf("a-first.conf");

    let main = fs::read_to_string(scene.server.config_path()).expect("the main file");
    fs::write(scene.server.config_path(), "[generic\n").expect("broken");
    let (status, answer) = scene.put("vol", &good);
    assert!(status == 422 && !scene.server.conf("vol.conf").exists(), "{answer}");
    fs::write(scene.server.config_path(), main).expect("mended");
    assert_eq!(scene.put("vol", &good).0, 200);
}

#[test]
fn a_server_without_a_directory_for_files_says_so() {
    let dir = TempDir::new("no-includedir");
    let disk = dir.join("disk");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let main = "[generic]\nport = {port}\nlistenaddr = 127.0.0.1\ncontrolsock = {dir}/control.sock\n";
    let server = server().main(&format!("{main}[disk]\nexportname = {}\n", disk.display())).start();
    let body = json!({"exportname": Path::new("/x")}).to_string();
    let (status, answer) = server.control().ask("PUT", "/v1/exports/vol", &body);
    assert!(status == 409 && answer.contains("includedir"), "{status} {answer}");
}

/// Who asked stands in the log before it is done.
#[test]
fn each_change_is_logged_with_who_asked_for_it() {
    let scene = Scene::new();
    scene.put("vol", &json!({"exportname": scene.disk("a")}));
    scene.ask("POST", "/v1/reload", "");
    scene.ask("DELETE", "/v1/exports/vol", "");
    let (pid, uid) = (std::process::id(), rustix::process::getuid().as_raw());
    for action in ["add", "reload", "remove"] {
        let said = format!("MIGRATEKIT: control request action={action}");
        let line = scene.server.wait_for(|line| line.contains(&said), std::time::Duration::from_secs(10));
        let line = line.expect("it is logged");
        assert!(line.contains(&format!("pid={pid} uid={uid}")), "{line}");
    }
}
