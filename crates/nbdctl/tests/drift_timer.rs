//! The example that compares every minute: systemd takes it, and it asks what `nbdctl` understands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{TempDir, skip_or_fail, tool};

fn example(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(name);
    fs::read_to_string(path).expect("the example is there")
}

#[test]
fn the_example_of_a_timer_is_taken_by_systemd() {
    let Some(analyze) = tool("systemd-analyze") else {
        skip_or_fail("the_example_of_a_timer_is_taken_by_systemd", "systemd-analyze (package systemd)");
        return;
    };
    let dir = TempDir::new("units");
    let installed = example("nbd-drift.service").replace("/usr/bin/nbdctl", env!("CARGO_BIN_EXE_nbdctl"));
    fs::write(dir.join("nbd-drift.service"), installed).expect("a unit");
    fs::write(dir.join("nbd-drift.timer"), example("nbd-drift.timer")).expect("a unit");
    let units = ["nbd-drift.service", "nbd-drift.timer"].map(|name| dir.join(name));
    let output = Command::new(analyze).args(["verify", "--man=no"]).args(units).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("nbd-drift"), "{said}");
}

#[test]
fn the_example_of_a_service_asks_what_nbdctl_understands() {
    let service = example("nbd-drift.service");
    let line =
        service.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).expect("its command");
    assert!(nbdctl::command().try_get_matches_from(line.split_whitespace()).is_ok(), "{line}");
    assert!(example("nbd-drift.timer").contains("OnUnitInactiveSec=1min"));
}

/// An export's file may lie anywhere, and one that cannot be seen is told as lost.
#[test]
fn the_example_of_a_service_hides_no_place_where_an_export_may_lie() {
    let service = example("nbd-drift.service");
    for hiding in
        ["ProtectHome=yes", "ProtectHome=tmpfs", "PrivateTmp=", "PrivateDevices=", "InaccessiblePaths="]
    {
        let found = service.lines().find(|line| line.starts_with(hiding));
        assert_eq!(found, None);
    }
}
