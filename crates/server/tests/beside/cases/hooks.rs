//! Commands before and after a session.

use crate::case::Case;
use crate::place::Place;
use crate::visit::Visit;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    let recording = |what: &str| format!("{what} = echo {what} %s >> {{dir}}/record");
    vec![
        Case::one("prerun and postrun", &format!("{}\n{}", recording("prerun"), recording("postrun")))
            .without_tools()
            .probe(|visit| {
                lines(visit.place, 4);
            }),
        Case::one("a prerun that fails", &format!("prerun = false\n{}", recording("postrun")))
            .without_tools()
            .may_differ("D-106", "log: connect from *", "<30> *", "-"),
        Case::one("a prerun that is killed", "prerun = kill -9 $$").without_tools().may_differ(
            "D-106",
            "log: connect from *",
            "<30> *",
            "-",
        ),
        Case::new("a prerun that makes the file")
            .export("a", "exportname = {dir}/made\nprerun = head -c 4096 /dev/zero > %s")
            .without_tools()
            .differs("D-50", "a: info", "granted", "POLICY *")
            .differs("D-50", "a: info flags", "*", "-")
            .differs("D-50", "log: Could not open exported file {dir}/made: ", "-", "<27> *"),
        Case::one("a prerun of a user", "prerun = id -un > {dir}/out/who; pwd > {dir}/out/cwd")
            .generic("user = nbd\ngroup = nbd")
            .files(|dir| {
                std::fs::create_dir(dir.join("out")).expect("a directory");
                std::fs::set_permissions(
                    dir.join("out"),
                    std::os::unix::fs::PermissionsExt::from_mode(0o777),
                )
                .expect("ours");
            })
            .without_tools()
            .read_only_by_user(),
        Case::one("a postrun that fails", "postrun = exit 7"),
        Case::one("postrun of a copy", &format!("copyonwrite = true\n{}", recording("postrun")))
            .without_tools()
            .copied()
            .differs("D-57", "file: record", "644 postrun {dir}\n*", "644 postrun {dir}/disk\n*")
            .probe(|visit| {
                lines(visit.place, 2);
            }),
        Case::one(
            "no prerun for who is not let in",
            &format!("authfile = {{dir}}/allow\n{}", recording("prerun")),
        )
        .text("allow", "")
        .without_tools()
        .kept_out("a"),
        Case { visited: Vec::new(), ..Case::one("postrun after a wrong magic", &recording("postrun")) }
            .without_tools()
            .probe(wrong_magic)
            .differs("D-58", "file: record", "-", "644 postrun {dir}/disk\n"),
    ]
}

impl Case {
    /// What the server's user may not write is served read-only, and he may not remove the pid file of root.
    pub fn read_only_by_user(self) -> Self {
        let (plain, locked) =
            ("HAS_FLAGS WRITE_ZEROES MULTI_CONN", "HAS_FLAGS READ_ONLY WRITE_ZEROES MULTI_CONN");
        self.differs("D-21", "end: pid file", "left", "emptied").differs(
            "D-50",
            "a: info flags",
            plain,
            locked,
        )
    }
}

/// Not a goodbye, and still the end of a session.
fn wrong_magic(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    client.go("a").expect("served");
    let _ = client.send_bytes(&[0x55; 28]);
    client.is_closed();
    lines(visit.place, 1);
}

/// Waits until a record has its lines: a client is let go before the command has ended.
fn lines(place: &Place, count: usize) {
    let until = Instant::now() + Duration::from_secs(2);
    let written = || std::fs::read_to_string(place.dir.join("record")).unwrap_or_default().lines().count();
    while written() < count && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}
