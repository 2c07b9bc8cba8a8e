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

/// Like the appliance's own unit, with the spelling that every release has.
const UNIT: &str = "[Install]\nWantedBy=multi-user.target\n\
                    [Service]\nType=forking\nPIDFile=/run/nbd-server.pid\n\
                    ExecStart=/bin/nbd-server -C /etc/nbd-server/config -p /run/nbd-server.pid\n";

/// What `systemctl enable` makes of it, at once and without the init script's links.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/nbd-server.service";

#[test]
fn the_package_takes_over_at_the_next_start_and_its_removal_brings_the_original_back() {
    let Some(engine) = Engine::start("the_package_takes_over_at_the_next_start") else { return };
    let machine = Machine::new(&engine, Base::Bookworm, &[]);
    takes_over_and_gives_back(&machine);
    comes_back_from_crashes(&machine);
    takes_the_place_of_a_deployed_one(&machine);
}

/// Where `/bin` is a directory of its own, and where the original has a unit and another spelling.
#[test]
#[ignore = "cargo x lab"]
fn the_package_takes_over_and_gives_back_on_older_and_newer_releases() {
    let Some(engine) = Engine::start("the_package_takes_over_and_gives_back") else { return };
    for base in [Base::Bullseye, Base::Trixie] {
        println!("{base:?}");
        let machine = Machine::new(&engine, base, &[]);
        takes_over_and_gives_back(&machine);
        comes_back_from_crashes(&machine);
        takes_the_place_of_a_deployed_one(&machine);
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
    // Dpkg keeps the sums that the package does not bring.
    let verify = "dpkg --verify nbd-server-enhanced || true";
    assert_eq!(machine.sh(verify), "");
    machine.sh("echo >> /usr/bin/nbdctl");
    assert!(machine.sh(verify).contains("/usr/bin/nbdctl"), "it is seen that a file was changed");

    // Taken back before anybody has restarted it: it is the original still, and nothing has to stop.
    machine.dpkg("--remove nbd-server-enhanced");
    assert_eq!(machine.pid(), pid, "nobody restarted it");
    assert_eq!(client.read(0, 23).expect("the session goes on"), b"written to the original");
    assert_eq!(machine.sh("dpkg --verify nbd-server"), "");
    machine.dpkg("--install /opt/newer.deb");
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
    // Nor is a server stopped that would not serve again what it serves.
    machine.sh("printf '[broken' > /etc/nbd-server/conf.d/broken.conf");
    let said = machine.dpkg("--install /opt/newer.deb");
    assert!(said.contains("it would not serve all of its configuration") && machine.pid() == pid, "{said}");
    machine.sh("rm /etc/nbd-server/conf.d/broken.conf");
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

/// 3.24 crashes at signals, which is when somebody installs ours: a service that nobody has stopped serves afterwards.
fn comes_back_from_crashes(machine: &Machine<'_>) {
    let is = |state: &str| {
        let show = "systemctl show --property=ActiveState,SubState --value nbd-server";
        machine.appliance.wait_for(&format!("test \"$({show} | xargs)\" = '{state}'"));
    };
    let crashes = |state: &str| {
        machine.sh("kill -KILL $(cat /run/nbd-server.pid)");
        is(state);
    };
    let serves = |program: &str| {
        machine.wait_until_it_serves("disk");
        assert_eq!(machine.program(), program);
    };
    let unit = |more: &str| {
        machine.appliance.write("/etc/systemd/system/nbd-server.service", &format!("{UNIT}{more}"));
        machine.sh(&format!(
            "ln -sf ../nbd-server.service {ENABLED}; systemctl daemon-reload; systemctl restart nbd-server"
        ));
        machine.wait_until_it_serves("disk");
    };
    let install = || machine.dpkg_after_a_crash("--install /opt/ours.deb");
    let remove = || {
        // The original would not start over it.
        machine.sh("rm -f /shared/nbd.sock");
        machine.dpkg_after_a_crash("--remove nbd-server-enhanced")
    };
    // As dpkg calls them, but in a tenth of the time.
    let script = |call: &str| machine.sh(&format!("/var/lib/dpkg/info/nbd-server-enhanced.{call}"));
    let original = machine.sh("readlink -f /bin/nbd-server");

    // As Debian has it: systemd takes an init script for active, whatever became of its processes.
    serves(&original);
    let follows = machine.sh("systemctl show --property=RemainAfterExit --value nbd-server") == "no";
    crashes(if follows { "failed failed" } else { "active exited" });
    install();
    serves(OURS);

    // As the appliance has it, before systemd starts it again. A removal that fails later has stopped it, and to start it
    // is more than systemd allows.
    machine.sh("systemctl stop nbd-server");
    let once = "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n";
    unit(&format!("Restart=always\nRestartSec=1h\n{once}"));
    crashes("activating auto-restart");
    script("postinst configure 0.1.0-1");
    serves(OURS);
    crashes("activating auto-restart");
    script("prerm remove");
    is("inactive dead");
    script("postinst abort-remove");
    serves(OURS);

    // As often as systemd starts it: ours at a removal, the original at an installation.
    unit(&format!("Restart=always\nRestartSec=0\n{once}"));
    crashes("failed failed");
    remove();
    serves(&original);
    crashes("failed failed");
    install();
    serves(OURS);

    // Who has stopped it wants it down, and so does who has disabled it.
    machine.sh("systemctl stop nbd-server");
    script("postinst configure 0.1.0-1");
    is("inactive dead");
    unit("");
    machine.sh(&format!("rm {ENABLED}"));
    crashes("failed failed");
    script("postinst configure 0.1.0-1");
    is("failed failed");
    remove();
    is("failed failed");

    machine.sh(
        "rm /etc/systemd/system/nbd-server.service; systemctl daemon-reload; systemctl restart nbd-server",
    );
    machine.wait_until_it_serves("disk");
}

/// `nbdctl deploy` came first: the original is what it replaced.
fn takes_the_place_of_a_deployed_one(machine: &Machine<'_>) {
    let original = machine.sh("sha256sum < $(readlink -f /bin/nbd-server)");
    machine.sh("/opt/n/usr/bin/nbdctl deploy /opt/n/usr/libexec/nbd-server-enhanced/nbd-server");
    let in_place = || {
        machine
            .sh(&format!("sha256sum < $(readlink -f /bin/nbd-server); {KEPT}; dpkg-divert --list '*nbd-*'"))
    };
    let deployed = in_place();
    let mut client = machine.session("disk");
    let pid = machine.pid();

    // An installation that is given up, by us or by dpkg, leaves it all as it was.
    let said = machine.appliance.sh(
        "mv /var/backups/nbd-server /var/backups/away; mkdir -p /opt/n/usr/share/doc/sed; touch /opt/n/usr/share/doc/sed/copyright
         dpkg-deb -Znone --build --root-owner-group /opt/n /opt/clash.deb; dpkg --install /opt/clash.deb",
    );
    let said = said.failed();
    assert!(said.contains("has no original that could come back") && !said.contains("Unpacking"), "{said}");
    assert_eq!(in_place(), deployed);
    let said =
        machine.appliance.sh("mv /var/backups/away /var/backups/nbd-server; dpkg --install /opt/clash.deb");
    assert!(said.failed().contains("trying to overwrite"));
    assert_eq!(in_place(), deployed);

    let said = machine.dpkg("--install /opt/newer.deb");
    assert!(
        said.contains("the original that comes back when the package is removed is /var/backups/"),
        "{said}"
    );
    assert_eq!(machine.sh(&format!("sha256sum < $({KEPT})")), original);
    assert_eq!(machine.pid(), pid, "nobody restarted it");
    client.read(0, 512).expect("the session goes on");
    for words in ["rollback --yes", "deploy --yes /opt/n/usr/libexec/nbd-server-enhanced/nbd-server"] {
        let said = machine.appliance.sh(&format!("nbdctl {words}")).failed();
        assert!(
            said.contains("belongs to the package nbd-server-enhanced: install another version"),
            "{said}"
        );
    }
    assert_eq!(machine.sh("dpkg --verify nbd-server-enhanced"), "");

    // A removal that cannot stop it changes nothing, and is not remembered when nobody wants a server.
    let dir = "/run/systemd/system/nbd-server.service.d";
    machine.sh(&format!(
        "mkdir {dir}; printf '[Unit]\nRefuseManualStop=yes\n' > {dir}/lock.conf; systemctl daemon-reload"
    ));
    machine.appliance.sh("dpkg --remove nbd-server-enhanced").failed();
    client.read(0, 512).expect("the session goes on");
    machine.sh(&format!("rm -r {dir}; systemctl daemon-reload; systemctl stop nbd-server"));
    machine.dpkg("--purge nbd-server-enhanced");
    assert_eq!(machine.sh("systemctl is-active nbd-server || true"), "inactive");
    assert_eq!(machine.sh("sha256sum < $(readlink -f /bin/nbd-server)"), original);
    assert_eq!(machine.sh("dpkg --verify nbd-server"), "");
    machine.sh("systemctl start nbd-server");
    machine.wait_until_it_serves("disk");
}

/// Where nothing but dpkg and the init script is, whatever `/bin` is.
#[test]
#[ignore = "cargo x lab"]
fn the_package_comes_and_goes_without_systemd() {
    let Some(engine) = Engine::start("the_package_comes_and_goes_without_systemd") else { return };
    for base in Base::ALL {
        println!("{base:?}");
        let image = engine.base(base, &["nbd-server", "procps"]);
        // The init script looks at the program of another user's process.
        let args = ["--network=none", "--cap-add=SYS_PTRACE", &image, "sleep", "infinity"];
        let container = Container::run(&engine, &args);
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

        // Who has stopped it wants it down; a crash is nobody's wish. The process stays: nobody here waits for it.
        let install = || container.sh("dpkg --install /opt/ours.deb");
        let runs = "grep -q '^State:.[^Z]' /proc/$(cat /run/nbd-server.pid)/status";
        let crash = || {
            sh("kill -KILL $(cat /run/nbd-server.pid)");
            container.wait_for(&format!("! {runs}"));
        };
        sh("/etc/init.d/nbd-server stop");
        assert!(install().is_ok() && !container.sh(runs).is_ok());
        sh("/etc/init.d/nbd-server start");
        crash();
        assert!(install().is_ok() && program() == OURS);
        crash();
        // As if somebody had waited for it.
        sh("echo 4194304 > /run/nbd-server.pid; dpkg --remove nbd-server-enhanced");
        container.wait_for(runs);
        assert_eq!(sh("sha256sum < /proc/$(cat /run/nbd-server.pid)/exe"), original);

        // 3.24 as another user leaves its pid file whenever it ends, ours only where it crashed.
        sh(
            "/etc/init.d/nbd-server stop; sed -i '/generic/a user = nbd' /etc/nbd-server/config; chown nbd /srv/disk.img",
        );
        sh("/etc/init.d/nbd-server start");
        container.wait_for(runs);
        sh("/etc/init.d/nbd-server stop; test -s /run/nbd-server.pid");
        let ran = install();
        assert!(ran.is_ok() && ran.err.contains("cannot be told"), "{ran}");
        assert!(!container.sh(runs).is_ok());
        sh("/etc/init.d/nbd-server start");
        crash();
        assert!(install().is_ok());
        assert_eq!(sh("nbdctl exports --names"), "disk");
        sh("sed -i '/^user/d' /etc/nbd-server/config");

        sh("dpkg --purge nbd-server-enhanced");
        container.wait_for(runs);
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
