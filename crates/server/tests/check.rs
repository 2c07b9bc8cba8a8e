//! `--check`: what a start would come to, said before anybody starts it.
#![allow(missing_docs)]

use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::{TempDir, is_root, skip_or_fail};

/// Runs it on a configuration's text. Its exit status, and what it says.
fn check(dir: &TempDir, text: &str, words: &[&str]) -> (Option<i32>, Value) {
    let (config, pid) = (dir.join("config"), dir.join("pid"));
    fs::write(&config, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nbd-server"));
    command.arg("--check").arg("-C").arg(config).arg("-p").arg(pid).args(words).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), value)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> = entries.map(|one| one.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_check_says_what_a_start_comes_to_and_does_nothing() {
    let dir = TempDir::new("check");
    let disk = dir.sparse("disk", 8192);
    // Somebody has the port already: that is no matter for whoever only looks.
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("bound").port();
    let at = dir.path().display();
    let text = format!(
        "[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nallowlist = true\nunixsock = {at}/sock\nduallisten = true\n\
         controlsock = {at}/control\n[a]\nexportname = {}\nreadonly = true\nprerun = touch {at}/prerun\n\
         [dummy]\nexportname = /dev/null\n",
        disk.display()
    );
    let (status, said) = check(&dir, &text, &[]);
    assert_eq!(status, Some(0), "{said:#}");
    assert_eq!(
        (&said["program"], &said["starts"], &said["complete"]),
        (&"nbd-server-enhanced".into(), &true.into(), &true.into())
    );
    let export = &said["exports"][0];
    assert_eq!(
        (&export["name"], &export["size"], &export["read_only"]),
        (&"a".into(), &8192.into(), &true.into())
    );
    assert_eq!((&said["exports"][1]["placeholder"], &export["unavailable"]), (&true.into(), &Value::Null));
    assert_eq!(export["settings"]["prerun"], format!("touch {at}/prerun"));
    let listening = &said["listening"];
    assert_eq!(
        (&listening["addresses"][0], &listening["port"]),
        (&"127.0.0.1".into(), &port.to_string().into())
    );
    assert_eq!(
        (&listening["unixsock"], &listening["controlsock"]),
        (&format!("{at}/sock").into(), &format!("{at}/control").into())
    );
    assert_eq!(names(dir.path()), ["config", "disk"], "no socket, no pid file, no prerun");
}

#[test]
fn what_would_be_left_out_is_named_with_its_reason() {
    let dir = TempDir::new("check");
    let (disk, at) = (dir.sparse("disk", 8192), dir.path().display().to_string());
    fs::create_dir(dir.join("conf.d")).expect("a directory");
    let main = format!("[generic]\nincludedir = {at}/conf.d\n[a]\nexportname = {}\n", disk.display());
    let missing = format!("{main}[b]\nexportname = {at}/missing\n");
    let (status, said) = check(&dir, &missing, &[]);
    assert_eq!(
        (status, &said["starts"], &said["complete"]),
        (Some(2), &true.into(), &false.into()),
        "{said:#}"
    );
    assert_eq!(said["exports"][1]["unavailable"], format!("{at}/missing: No such file or directory"));
    fs::write(dir.join("conf.d/c.conf"), "[c\n").expect("written");
    let (status, said) = check(&dir, &main, &[]);
    assert_eq!(status, Some(2), "{said:#}");
    let problem = &said["kept_back"][0]["problem"];
    assert_eq!((&problem["file"], &problem["line"]), (&format!("{at}/conf.d/c.conf").into(), &1.into()));
    assert_eq!(said["twice"].as_array().map(Vec::len), Some(0), "{said:#}");
    let other = dir.join("other").display().to_string();
    fs::write(dir.join("conf.d/c.conf"), format!("[a]\nexportname = {other}\n")).expect("written");
    let (status, said) = check(&dir, &main, &[]);
    assert_eq!((status, &said["exports"][0]["path"]), (Some(2), &disk.display().to_string().into()));
    let (twice, kept) = (&said["twice"][0], &said["kept_back"][0]["problem"]);
    assert_eq!((&twice["name"], &twice["path"], &twice["file"]), (&"a".into(), &other.into(), &kept["file"]));
    fs::remove_file(dir.join("conf.d/c.conf")).expect("removed");
    let keys = main.replace("[a]", "certfile = /nonexistent/cert\nkeyfile = /nonexistent/key\n[a]");
    let (status, said) = check(&dir, &keys, &[]);
    assert_eq!(status, Some(2), "{said:#}");
    assert!(said["warnings"][0].as_str().is_some_and(|said| said.contains("TLS cannot be had")), "{said:#}");
    let (status, said) = check(&dir, &keys.replace("[generic]", "[generic]\nstrict = true"), &[]);
    assert_eq!((status, &said["starts"]), (Some(1), &false.into()), "all or nothing: {said:#}");
}

#[test]
fn what_would_not_start_says_why() {
    let dir = TempDir::new("check");
    let disk = dir.sparse("disk", 8192).display().to_string();
    let cases = [
        (format!("[generic]\nport = 99999\n[a]\nexportname = {disk}\n"), "port", "99999"),
        (
            format!("[generic]\nuser = no-such-user\n[a]\nexportname = {disk}\n"),
            "",
            "Invalid user name: no-such-user",
        ),
        (format!("[generic]\n[a]\nexportname = {disk}\nreadonly = maybe\n"), "readonly", "maybe"),
        ("[generic\n".into(), "", "group"),
    ];
    for (text, key, reason) in cases {
        let (status, said) = check(&dir, &text, &[]);
        assert_eq!((status, &said["starts"]), (Some(1), &false.into()), "{text}: {said:#}");
        let refused = &said["refused"][0];
        assert_eq!(refused["key"].as_str().unwrap_or_default(), key, "{said:#}");
        assert!(refused["reason"].as_str().is_some_and(|said| said.contains(reason)), "{said:#}");
        assert_eq!(refused["file"], dir.join("config").display().to_string());
    }
}

#[test]
fn the_export_of_the_command_line_is_looked_at_too() {
    let dir = TempDir::new("check");
    let disk = dir.sparse("disk", 8192).display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_nbd-server"))
        .args(["-C", "/nonexistent/config", "-r", "--check", "127.0.0.1@20777", &disk])
        .output()
        .expect("it runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{said:#}");
    let export = &said["exports"][0];
    assert_eq!(
        (&export["name"], &export["path"], &export["read_only"]),
        (&"".into(), &disk.into(), &true.into())
    );
    assert_eq!(
        (&said["listening"]["addresses"][0], &said["listening"]["port"]),
        (&"127.0.0.1".into(), &"20777".into())
    );
}

/// A disk that root can see and the server's user cannot is none that would be served.
#[test]
fn root_looks_as_the_user_that_the_server_becomes() {
    if !is_root() {
        return skip_or_fail("check", "root");
    }
    let dir = TempDir::new("check");
    fs::create_dir(dir.join("closed")).expect("a directory");
    let disk = dir.sparse("closed/disk", 8192).display().to_string();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(dir.join("closed"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let text = format!("[generic]\nuser = nobody\n[a]\nexportname = {disk}\n");
    let (status, said) = check(&dir, &text, &[]);
    assert_eq!(status, Some(2), "{said:#}");
    assert!(
        said["exports"][0]["unavailable"].as_str().is_some_and(|why| why.contains("not permitted")),
        "{said:#}"
    );
    let (status, said) = check(&dir, &text.replace("user = nobody\n", ""), &[]);
    assert_eq!(status, Some(0), "{said:#}");
}
