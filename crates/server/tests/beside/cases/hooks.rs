//! Commands before and after a session.

use crate::case::Case;
use crate::place::Place;
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
            .without_tools(),
        Case::one("a prerun that is killed", "prerun = kill -9 $$").without_tools(),
        Case::new("a prerun that makes the file")
            .export("a", "exportname = {dir}/made\nprerun = head -c 4096 /dev/zero > %s")
            .without_tools(),
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
            .without_tools(),
        Case::one("a postrun that fails", "postrun = exit 7"),
        Case::one("postrun of a copy", &format!("copyonwrite = true\n{}", recording("postrun")))
            .without_tools()
            .probe(|visit| {
                lines(visit.place, 2);
            }),
        Case::one(
            "no prerun for who is not let in",
            &format!("authfile = {{dir}}/allow\n{}", recording("prerun")),
        )
        .text("allow", "")
        .without_tools(),
    ]
}

/// Waits until a record has its lines: a client is let go before the command has ended.
fn lines(place: &Place, count: usize) {
    let until = Instant::now() + Duration::from_secs(5);
    let written = || std::fs::read_to_string(place.dir.join("record")).unwrap_or_default().lines().count();
    while written() < count && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}
