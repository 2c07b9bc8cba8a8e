//! A volume comes, moves and goes, on the real server: what is said before and after, and on which code a program may act.

mod common;

use common::{Ran, ctl};
use std::path::PathBuf;
use testkit::{ServerProcess, Setup, TempDir, program};

const SIZE: u64 = 4 << 20;

struct Scene {
    server: ServerProcess,
    disks: TempDir,
}

impl Scene {
    fn new() -> Self {
        let disks = TempDir::new("disks");
        let main = disks.sparse("main.img", SIZE);
        let server = Setup::new(program("nbd-server")).export("main", &main, "").start();
        Self { server, disks }
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.disks.sparse(name, SIZE)
    }

    fn ctl(&self, args: &[&str]) -> Ran {
        ctl(&self.server.control_path(), args)
    }

    /// Runs a word that must end with a code, and say a line.
    #[track_caller]
    fn says(&self, args: &[&str], code: i32, line: &str) {
        let ran = self.ctl(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        let all = || ran.out.lines().chain(ran.err.lines());
        assert!(all().any(|said| said == line), "{line:?} is missing in {ran:#?}");
    }
}

#[test]
fn a_volume_comes_moves_and_goes_and_each_step_is_said_before_it_is_done() {
    let scene = Scene::new();
    let (first, second) = (scene.disk("first.img"), scene.disk("second.img"));
    let (first, second) = (first.display().to_string(), second.display().to_string());
    scene.says(&["plan"], 0, "nothing to do");
    scene.says(
        &["add", "vol-1", &first, "--no-reload"],
        0,
        "vol-1: its file is written; the next reload follows it",
    );
    scene.says(&["plan"], 0, &format!("+ vol-1 {first} 4 MiB"));
    assert_eq!(scene.ctl(&["plan", "--exit-code"]).code, 2);
    scene.says(&["reload"], 0, &format!("+ vol-1 {first} 4 MiB"));
    scene.says(&["plan", "--exit-code"], 0, "nothing to do");
    assert_eq!(scene.ctl(&["exports", "--names"]).out, "main\nvol-1\n");

    let mut client = scene.server.open("vol-1");
    client.write(0, &[7; 4096]).expect("it is served");
    let sessions = scene.ctl(&["sessions"]);
    assert!(sessions.out.contains("4 KiB") && sessions.out.contains("vol-1"), "{}", sessions.out);

    scene.server.write_export("vol-1", std::path::Path::new(&second), "");
    scene.says(&["plan"], 0, &format!("~ vol-1 {first} → {second} (1 session will be fenced)"));
    client.write(0, &[8; 4096]).expect("a plan disturbs nobody");
    assert_eq!(scene.ctl(&["reload"]).code, 0);
    assert!(client.write(0, &[9; 4096]).is_err(), "the old disk is nobody's any more");
    assert_eq!(scene.ctl(&["sessions"]).out, "no sessions\n");

    let mut client = scene.server.open("vol-1");
    let ended = scene.ctl(&["end", "2"]);
    assert!(ended.code == 0 && ended.out.starts_with("session 2 ended, in "), "{ended:?}");
    assert!(client.write(0, &[7; 512]).is_err());
    scene.says(&["clear", "vol-1"], 0, "vol-1: no sync had failed");
    let fenced = scene.ctl(&["fence", "vol-1"]);
    assert!(fenced.code == 0 && fenced.out.ends_with("; the disk is closed\n"), "{fenced:?}");
    scene.says(&["remove", "vol-1"], 0, &format!("- vol-1 {second}"));
    scene.says(&["remove", "vol-1"], 1, "nbdctl: there is no export vol-1");
    assert_eq!(scene.ctl(&["exports", "--names"]).out, "main\n");
}

#[test]
fn a_broken_file_makes_a_reload_incomplete_and_holds_up_no_other_volume() {
    let scene = Scene::new();
    let disk = scene.disk("disk.img").display().to_string();
    scene.server.write_conf("broken.conf", "[vol-0\n");
    let kept = |line: &str| line.starts_with("= ") && line.contains("broken.conf:1: ");
    for (args, code) in [(&["plan"][..], 2), (&["check"], 2), (&["reload"], 2)] {
        let ran = scene.ctl(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        let mut lines =
            ran.out.lines().chain(ran.err.lines().map(|line| line.trim_start_matches("nbdctl: ")));
        assert!(lines.any(kept), "{ran:#?}");
    }
    assert_eq!(scene.ctl(&["add", "vol-1", &disk]).code, 0);
    assert_eq!(scene.ctl(&["remove", "vol-1"]).code, 0);
    scene.says(&["check", "-"], 1, "refused: a server would not start with it");
}
