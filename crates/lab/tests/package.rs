//! The Debian package: put over a running original, upgraded, removed; and never at the cost of a session.
#![allow(missing_docs, reason = "the whole file is a test")]

mod common;

use common::Machine;
use lab::{Base, Container, Engine};

const OURS: &str = "/usr/libexec/nbd-server-enhanced/nbd-server";
const ADVICE: &str = "restart it in a maintenance window: systemctl restart nbd-server";

/// The original's program beside ours, in whichever spelling; both are one file where `/bin` is `/usr/bin`.
const KEPT: &str =
    "for file in /bin/nbd-server.* /usr/bin/nbd-server.*; do readlink -e $file || true; done | sort -u";

/// Everything under `/etc/nbd-server`, to be seen unchanged.
const ETC: &str = "find /etc/nbd-server -type f | sort | xargs sha256sum";

#[test]
fn the_package_takes_over_at_the_next_start_and_its_removal_brings_the_original_back() {
    let Some(engine) = Engine::start("the_package_takes_over_at_the_next_start") else { return };
    let machine = Machine::new(&engine, Base::Bookworm, &[]);
    takes_over_and_gives_back(&machine);
}

/// Where `/bin` is a directory of its own, and where the original has a unit and another spelling.
#[test]
#[ignore = "cargo x lab"]
fn the_package_takes_over_and_gives_back_on_older_and_newer_releases() {
    let Some(engine) = Engine::start("the_package_takes_over_and_gives_back") else { return };
    for base in [Base::Bullseye, Base::Trixie] {
        println!("{base:?}");
        takes_over_and_gives_back(&Machine::new(&engine, base, &[]));
    }
}

fn takes_over_and_gives_back(machine: &Machine<'_>) {
    machine.make_newer();
    let (etc, original) = (machine.sh(ETC), machine.sh("sha256sum < $(readlink -f /bin/nbd-server)"));
    machine.sh("systemctl restart nbd-server");
    machine.wait_until_it_serves("disk");

    // Over a running 3.24: its client notices nothing, and the admin is told what is left to do.
    let mut client = machine.session("disk");
    client.write(0, b"written to the original").expect("it serves");
    let pid = machine.pid();
    let said = machine.dpkg("--install /opt/ours.deb");
    assert!(said.contains(ADVICE), "{said}");
    assert_eq!(machine.pid(), pid, "nobody restarted it");
    assert_eq!(client.read(0, 23).expect("the session goes on"), b"written to the original");
    drop(client);

    // In the maintenance window. Init scripts find the running original by the path that it was started from.
    machine.sh("systemctl restart nbd-server");
    machine.wait_until_it_serves("disk");
    assert_eq!(machine.program(), OURS);
    assert_eq!(machine.sh("pgrep nbd-server"), machine.pid(), "one process");
    let mut client = machine.session("disk");
    assert_eq!(client.read(0, 23).expect("it serves"), b"written to the original");

    // An upgrade and a downgrade under a session leave it alone, and follow when there is none.
    let pid = machine.pid();
    for package in ["newer", "ours"] {
        let said = machine.dpkg(&format!("--install /opt/{package}.deb"));
        assert!(said.contains("(sessions: 1)") && said.contains(ADVICE), "{said}");
        assert_eq!(machine.pid(), pid, "nobody restarted it");
    }
    assert_eq!(client.read(0, 23).expect("the session goes on"), b"written to the original");
    drop(client);
    machine.appliance.wait_for("test -z \"$(nbdctl sessions --ids)\"");
    for package in ["newer", "ours"] {
        let pid = machine.pid();
        let said = machine.dpkg(&format!("--install /opt/{package}.deb"));
        machine.wait_until_it_serves("disk");
        assert!(!said.contains(ADVICE) && machine.pid() != pid, "it has no session: {said}");
        assert_eq!(machine.program(), OURS);
    }

    // The original moves underneath, and we stay where we are.
    for package in ["original", "respelt", "original"] {
        machine.dpkg(&format!("--install /opt/{package}.deb"));
        assert_eq!(machine.sh("readlink -f /usr/bin/nbd-server /bin/nbd-server"), format!("{OURS}\n{OURS}"));
        assert_eq!(machine.sh(&format!("sha256sum < $({KEPT})")), original, "and it is kept, once");
    }
    machine.wait_until_it_serves("disk");
    assert_eq!(machine.program(), OURS);

    // And back.
    machine.dpkg("--remove nbd-server-enhanced");
    machine.wait_until_it_serves("disk");
    assert_eq!(machine.sh("sha256sum < /proc/$(cat /run/nbd-server.pid)/exe"), original, "it runs again");
    assert_eq!(machine.sh("dpkg --verify nbd-server"), "");
    assert_eq!(machine.sh(&format!("{KEPT}; ls /usr/bin/nbdctl 2>/dev/null || true")), "", "nothing is left");
    machine.dpkg("--purge nbd-server-enhanced");
    assert_eq!(machine.sh("find /etc /usr /var /run -xdev -name '*nbd-server-enhanced*'"), "");
    assert!(machine.serves("disk"));
    assert_eq!(machine.sh(ETC), etc);
}

/// Where nothing but dpkg and the init script is, whatever `/bin` is.
#[test]
#[ignore = "cargo x lab"]
fn the_package_comes_and_goes_without_systemd() {
    let Some(engine) = Engine::start("the_package_comes_and_goes_without_systemd") else { return };
    for base in Base::ALL {
        println!("{base:?}");
        let image = engine.base(base, &["nbd-server", "procps"]);
        let container = Container::run(&engine, &["--network=none", &image, "sleep", "infinity"]);
        container.copy_in(&common::package(&engine), "/opt/ours.deb");
        container.write("/etc/nbd-server/config", "[generic]\n[disk]\nexportname = /srv/disk.img\n");
        let sh = |text: &str| container.sh(text).ok();
        // Signs of an init; without one, packages start and stop nothing.
        container.write("/sbin/runlevel", "#!/bin/sh\necho N 2\n");
        sh("chmod 755 /sbin/runlevel; ln -sf /bin/true /sbin/init; truncate -s 16M /srv/disk.img");
        let program = || sh("readlink /proc/$(cat /run/nbd-server.pid)/exe");
        let original = sh("sha256sum < $(readlink -f $(command -v nbd-server))");

        sh("/etc/init.d/nbd-server start");
        container.wait_for("test -e /proc/$(cat /run/nbd-server.pid)/exe");
        let ran = container.sh("dpkg --install /opt/ours.deb");
        assert!(ran.is_ok() && ran.err.contains("in a maintenance window"), "{ran}");
        assert_ne!(program(), OURS, "it goes on");
        sh("/etc/init.d/nbd-server stop");
        sh("/etc/init.d/nbd-server start");
        assert_eq!(program(), OURS);
        assert_eq!(sh("nbdctl exports --names"), "disk");
        // It has no session: it follows. The script takes its time.
        let pid = sh("cat /run/nbd-server.pid");
        sh("dpkg --install /opt/ours.deb");
        assert!(sh("cat /run/nbd-server.pid") != pid && program() == OURS);

        sh("dpkg --purge nbd-server-enhanced");
        container.wait_for("test -e /proc/$(cat /run/nbd-server.pid)/exe");
        assert_eq!(sh("sha256sum < /proc/$(cat /run/nbd-server.pid)/exe"), original);
        assert_eq!(sh(KEPT) + &sh("find / -xdev -name '*nbd-server-enhanced*' -not -path '/proc/*'"), "");
    }
}

#[test]
#[ignore = "cargo x lab"]
fn lintian_finds_nothing_wrong_with_the_package() {
    let Some(engine) = Engine::start("lintian_finds_nothing_wrong_with_the_package") else { return };
    let image = engine.base(Base::Trixie, &["lintian"]);
    let container = Container::run(&engine, &["--network=none", &image, "sleep", "infinity"]);
    container.copy_in(&common::package(&engine), "/tmp/ours.deb");
    let lintian = "LC_ALL=C lintian --allow-root --fail-on=warning --tag-display-limit=0 /tmp";
    assert_eq!(container.sh(&format!("{lintian}/ours.deb")).ok(), "");
    // It would have found something.
    container.sh("dpkg-deb -R /tmp/ours.deb /tmp/x; chmod 600 /tmp/x/usr/bin/nbdctl; dpkg-deb -b /tmp/x /tmp/bad.deb").ok();
    container.sh(&format!("{lintian}/bad.deb")).failed();
}

/// What it allows is tried on a kernel that has AppArmor, which this machine's need not.
#[test]
#[ignore = "cargo x lab"]
fn every_releases_apparmor_takes_the_profile() {
    let Some(engine) = Engine::start("every_releases_apparmor_takes_the_profile") else { return };
    for base in Base::ALL {
        let image = engine.base(base, &["apparmor"]);
        let container = Container::run(&engine, &["--network=none", &image, "sleep", "infinity"]);
        container.copy_in(&lab::repository().join("packaging/debian/apparmor"), "/tmp/profile");
        let parse = "apparmor_parser --skip-kernel-load --skip-cache /tmp/profile";
        container.sh(parse).ok();
        container.sh(&format!("sed -i 's/capability chown/capability chow/' /tmp/profile; {parse}")).failed();
    }
}
