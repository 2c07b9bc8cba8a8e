//! What operators and the appliance type, and what they read.

use super::desk::Desk;

/// `systemctl`, `pgrep`, the pid file, `nbd-client -l` and the journal, as their programs and scripts use them.
pub fn commands_do_what_they_did(desk: &Desk) {
    let pid = desk.sh("pgrep nbd-server").ok();
    assert!(pid.parse::<u32>().is_ok(), "one pid and nothing else: {pid:?}");
    assert_eq!(desk.sh("cat /run/nbd-server.pid").ok(), pid);
    assert_eq!(desk.sh("systemctl show -p MainPID --value nbd-server").ok(), pid);
    // The appliance takes the first number; the shell that asks is among them.
    assert_eq!(desk.sh("pgrep -f 'nbd-server.*config' | head -n 1").ok(), pid);
    let status = desk.sh("systemctl status --no-pager nbd-server").ok();
    assert!(status.contains("active (running)"), "{status}");
    assert_eq!(desk.sh("nbd-client -l localhost 10809 | grep -cx dummy").ok(), "1");
    assert_ne!(desk.sh("ss -Htln sport = :10809").ok(), "");

    desk.reload_by("systemctl reload nbd-server").expect_complete();
    desk.reload_by(&format!("kill -HUP {pid}")).expect_complete();
    desk.reload_by("pkill -HUP nbd-server").expect_complete();
    assert_eq!(desk.sh("pgrep nbd-server").ok(), pid, "the same process after every reload");
    let said = desk.sh("journalctl -u nbd-server --since '1 minute ago' | grep MIGRATEKIT").ok();
    let closing: Vec<&str> = said.lines().filter(|line| line.contains("reload complete")).collect();
    assert_eq!(closing.len(), 3, "{said}");

    desk.sh("systemctl restart nbd-server").ok();
    assert_eq!(desk.sh("systemctl is-active nbd-server").ok(), "active");
    let after = desk.sh("pgrep nbd-server").ok();
    assert_ne!(after, pid);
    // The unit is up when the server is: whoever connects next is served.
    assert_eq!(desk.listed(), ["dummy"]);
}

/// `Restart=always` brings back a server that was killed, with every export, and systemd knows its new process.
pub fn a_server_that_is_killed_comes_back(desk: &Desk) {
    let at = desk.plug(&desk.a);
    desk.configure(&desk.a, &at);
    desk.hup().expect_complete();
    let pid = desk.sh("pgrep nbd-server").ok();
    desk.sh("kill -9 $(pgrep nbd-server)").ok();
    desk.machine.wait_for(&format!(
        "systemctl is-active nbd-server; test \"$(systemctl show -p MainPID --value nbd-server)\" != {pid}; \
         test \"$(cat /run/nbd-server.pid)\" = \"$(pgrep nbd-server)\""
    ));
    desk.replicate(&desk.a);
    desk.check();
    desk.unconfigure(&desk.a);
    desk.hup().expect_complete();
    desk.unplug(&desk.a);
}
