//! The package's AppArmor profile, enforced: what the server is for goes on, and what it must never do is refused.

use super::desk::{BLOCK, Desk, UNIT};
use testkit::spec::{EPERM, FLAG_READ_ONLY};

const PROGRAM: &str = "/usr/libexec/nbd-server-enhanced/nbd-server";
const PROFILE: &str = "/etc/apparmor.d/usr.libexec.nbd-server-enhanced.nbd-server";

fn text_of(file: &str) -> String {
    let path = lab::repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// As the package lays it out, under the appliance's unit and under the hardened one.
pub fn the_profile_lets_it_work_and_nothing_else(desk: &Desk) {
    desk.sh("systemctl stop nbd-server; mkdir -p /usr/libexec/nbd-server-enhanced").ok();
    desk.sh(&format!("mv /usr/bin/nbd-server {PROGRAM}; ln -s {PROGRAM} /usr/bin/nbd-server")).ok();
    desk.machine.write(PROFILE, &text_of("packaging/debian/apparmor"));
    desk.sh(&format!("apparmor_parser --replace --skip-cache {PROFILE}")).ok();
    let hardened = text_of("packaging/systemd/nbd-server-forking.service");
    for (what, unit) in [("the appliance's unit", UNIT), ("the hardened unit", hardened.as_str())] {
        println!("  {what}");
        desk.machine.write("/etc/systemd/system/nbd-server.service", unit);
        desk.sh("systemctl daemon-reload; mkdir -p /run/nbd-server; systemctl restart nbd-server").ok();
        let label = desk.sh("cat /proc/$(pgrep nbd-server)/attr/current").ok();
        assert_eq!(label, "nbd-server-enhanced (enforce)");
        what_it_is_for_goes_on(desk);
        assert_eq!(denied(desk), "", "{what}");
        what_it_must_not_do_is_refused(desk, unit == UNIT);
    }
}

fn denied(desk: &Desk) -> String {
    desk.sh("dmesg | grep 'apparmor=\"DENIED\"' || true").ok()
}

/// A virtio disk, a file, a hook, reloads, the operator's program, TLS, another user.
fn what_it_is_for_goes_on(desk: &Desk) {
    let at = desk.plug(&desk.a);
    desk.configure(&desk.a, &at);
    desk.hup().expect_complete();
    desk.replicate(&desk.a);
    desk.unconfigure(&desk.a);

    desk.sh("mkdir -p /srv; truncate -s 8M /srv/disk.img; rm -f /tmp/hook").ok();
    let file = "[file]\nexportname = /srv/disk.img\nprerun = echo %s > /tmp/hook\n";
    desk.machine.write("/etc/nbd-server/conf.d/file.conf", file);
    desk.reload_by("kill -HUP $(cat /run/nbd-server.pid)").expect_complete();
    let mut client = desk.connect();
    client.go("file").expect("its hook ran");
    client.write(0, &[7; BLOCK]).expect("written");
    client.flush().expect("flushed");
    assert_eq!(desk.sh("head -c 1 /srv/disk.img | od -An -tu1; cat /tmp/hook").ok(), "7\n/srv/disk.img");
    drop(client);

    desk.sh(&format!("nbdctl add added {at} readonly=false")).ok();
    assert!(desk.listed().contains(&"added".to_owned()));
    desk.sh("nbdctl remove added").ok();
    assert!(!desk.listed().contains(&"added".to_owned()));
    desk.unplug(&desk.a);
    desk.check();

    desk.sh(
        "mkdir -p /etc/nbd-server/tls; cd /etc/nbd-server/tls; \
         openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=appliance -keyout key.pem -out cert.pem 2> /dev/null; \
         chmod 600 key.pem; chown daemon key.pem; chown daemon /srv/disk.img; cp ../config /tmp/config; \
         sed -i 's/^user = root/user = daemon/; s/^group = root/group = daemon/; \
         /^port/a keyfile = /etc/nbd-server/tls/key.pem\\ncertfile = /etc/nbd-server/tls/cert.pem' ../config; \
         rm /tmp/hook; systemctl restart nbd-server",
    )
    .ok();
    assert_eq!(desk.sh("ps -o user= -p $(pgrep nbd-server)").ok(), "daemon");
    let mut client = desk.connect();
    client.go("file").expect("another user's file, and its hook");
    client.write(0, &[8; BLOCK]).expect("written");
    drop(client);
    desk.sh("cp /tmp/config /etc/nbd-server/config; rm /etc/nbd-server/conf.d/file.conf; systemctl restart nbd-server").ok();
}

/// An export that leads to a file of the system's: nobody writes to it. The kernel's log says that
/// the profile forbade it, where the unit has not already.
fn what_it_must_not_do_is_refused(desk: &Desk, by_profile: bool) {
    desk.sh("truncate -s 1M /etc/important; dmesg --clear").ok();
    desk.machine.write("/etc/nbd-server/conf.d/bad.conf", "[bad]\nexportname = /etc/important\n");
    desk.hup();
    // As a file that the server may read and not write, it is served to be read.
    let mut client = desk.connect();
    let info = client.go("bad").expect("to be read");
    assert_ne!(info.flags & FLAG_READ_ONLY, 0);
    assert_eq!(client.write(0, &[0xee; BLOCK]), Err(EPERM));
    drop(client);
    assert_eq!(desk.sh("tr -d '\\0' < /etc/important | wc -c").ok(), "0");
    let said = denied(desk);
    assert_eq!(said.contains("/etc/important"), by_profile, "{said}");
    desk.sh("rm /etc/nbd-server/conf.d/bad.conf /etc/important; dmesg --clear").ok();
    desk.hup().expect_complete();
}
