//! The hardened units on whole machines: what the server does for its users it still does, and what it never needs is closed.
#![allow(missing_docs, reason = "the whole file is a test")]

mod common;

use common::Machine;
use lab::{Base, Engine};
use std::os::unix::fs::FileExt;
use testkit::spec::CMD_FLAG_FUA;
use testkit::{LoopDevice, TempDir};

const SIZE: u64 = 8 << 20;
const UNITS: &str = "/usr/share/doc/nbd-server-enhanced/examples/systemd";
const DROP_IN: &str = "nbd-server.service.d/enhanced.conf";
/// As operators ask; the journal knows a unit by its own name only, not by an alias.
const JOURNAL: &str = "journalctl --sync; journalctl --unit nbd-server --output cat";

/// Exports everywhere, under another user, with a hook that tries what it must not.
const CONFIG: &str = "[generic]\nuser = nbd\ngroup = nbd\nunixsock = /shared/nbd.sock\nduallisten = true\nallowlist = true\n\
                      includedir = /etc/nbd-server/conf.d\n\
                      [block]\nexportname = DEVICE\nprerun = touch /tmp/hook /usr/escaped /etc/escaped /boot/escaped; true\n\
                      [srv]\nexportname = /srv/disk.img\n[home]\nexportname = HOME/disk.img\n";

/// What `ProtectHome=` would close.
const HOME: &str = "/home";

/// Whether `systemctl reload` learns how a reload ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reload {
    Answered,
    Signalled,
}

#[test]
#[ignore = "cargo x lab"]
fn the_packages_own_unit_serves_disks_and_files_where_the_original_is_not() {
    let Some((engine, disk)) = lab("the_packages_own_unit_serves_disks_and_files") else { return };
    let machine = disk.machine(&engine, Base::Bookworm);
    machine.dpkg("--purge nbd-server");
    let said = machine.dpkg("--install /opt/ours.deb");
    assert_eq!(machine.sh("systemctl is-enabled nbd-server"), "enabled", "{said}");
    assert_eq!(
        machine.sh("systemctl is-active nbd-server || true"),
        "inactive",
        "there is no configuration yet"
    );
    disk.configure(&machine);
    machine.sh("systemctl start nbd-server");
    disk.serves(&machine, Reload::Answered);
    disk.closes_the_system(&machine);

    // The original comes later, and finds its name taken; it goes, and nothing happens to anybody.
    let mut client = machine.session("srv");
    let pid = machine.pid();
    machine.dpkg("--install /opt/original.deb");
    machine.sh("systemctl daemon-reload");
    assert_eq!(machine.pid(), pid, "it runs on");
    let unit = "systemctl show --property=FragmentPath --value nbd-server | xargs readlink -f";
    assert_eq!(machine.sh(unit), "/usr/share/nbd-server-enhanced/nbd-server.service");
    assert!(client.read(0, 512).is_ok());

    // Removed and installed again, without the original: it is as before, and it is there after the next boot too.
    machine.dpkg("--purge nbd-server");
    machine.dpkg("--remove nbd-server-enhanced");
    // The original's purge took the user that the configuration names.
    disk.configure(&machine);
    machine.dpkg("--install /opt/ours.deb");
    let state = "systemctl is-enabled nbd-server; systemctl is-active nbd-server";
    assert_eq!(machine.sh(state), "enabled\nactive");
    machine.wait_until_it_serves("srv");

    // What an administrator has disabled stays so.
    machine.sh("systemctl stop nbd-server; systemctl disable nbd-server");
    machine.dpkg("--install /opt/ours.deb");
    for claim in ["systemctl is-enabled nbd-server", "pgrep nbd-server"] {
        machine.appliance.sh(claim).failed();
    }
    machine.dpkg("--purge nbd-server-enhanced");
    assert_eq!(machine.sh("find /etc/systemd /var/lib -name '*nbd-server*' -not -path '*/dpkg/*'"), "");
}

/// As its name says; the appliance's own unit, and Debian's init script under the drop-in.
#[test]
#[ignore = "cargo x lab"]
fn every_unit_serves_disks_and_files_on_the_systemd_that_it_is_for() {
    let Some((engine, disk)) = lab("every_unit_serves_disks_and_files") else { return };
    let drop_in = format!("install -Dm644 -t /etc/systemd/system/nbd-server.service.d {UNITS}/{DROP_IN}");
    let own = |name: &str| format!("install -Dm644 {UNITS}/{name} /etc/systemd/system/nbd-server.service");
    let cases = [
        (Base::Bookworm, drop_in.clone(), Reload::Answered),
        (Base::Trixie, drop_in, Reload::Answered),
        (Base::Bookworm, own("nbd-server-forking.service"), Reload::Answered),
        (Base::Trixie, own("nbd-server.service"), Reload::Signalled),
        (Base::Trixie, own("nbd-server-notify.service"), Reload::Answered),
    ];
    for (base, install, reload) in cases {
        println!("{base:?}: {install}");
        let machine = disk.machine(&engine, base);
        machine.dpkg("--install /opt/ours.deb");
        disk.configure(&machine);
        machine.sh(&install);
        machine.sh("systemctl daemon-reload; systemctl restart nbd-server");
        disk.serves(&machine, reload);
        disk.closes_the_system(&machine);
        // The drop-in goes with the package: the original knows nothing of what it asks for.
        if install.contains(DROP_IN) {
            machine.dpkg("--remove nbd-server-enhanced");
            machine.wait_until_it_serves("srv");
            machine.appliance.sh(&format!("test -e /etc/systemd/system/{DROP_IN}")).failed();
            assert!(!machine.program().contains("enhanced"), "{}", machine.program());
        }
    }
}

/// A block device of this machine that the container has.
struct Disk {
    device: LoopDevice,
    _dir: TempDir,
}

fn lab(test: &str) -> Option<(Engine, Disk)> {
    let engine = Engine::start(test)?;
    let dir = TempDir::new("units");
    let image = dir.join("image");
    std::fs::File::create(&image).and_then(|file| file.set_len(SIZE)).expect("an image");
    let Some(device) = LoopDevice::attach(&image) else {
        testkit::skip_or_fail(test, "a loop device");
        return None;
    };
    Some((engine, Disk { device, _dir: dir }))
}

impl Disk {
    fn machine<'a>(&self, engine: &'a Engine, base: Base) -> Machine<'a> {
        let device = format!("--device={}", self.device.path().display());
        // A container's own rules may be narrower than the unit's, and then it cannot have them.
        Machine::new(engine, base, &[&device, "--device-cgroup-rule=b *:* rwm"])
    }

    fn configure(&self, machine: &Machine<'_>) {
        machine.sh("mkdir -p /etc/nbd-server/conf.d; id nbd 2>/dev/null || useradd --system nbd");
        machine.sh("for dir in srv home; do truncate -s 8M /$dir/disk.img; chown nbd: /$dir/disk.img; done");
        machine.sh(&format!("chown nbd: {} /etc/nbd-server/conf.d /shared", self.device.path().display()));
        let config =
            CONFIG.replace("DEVICE", &self.device.path().display().to_string()).replace("HOME", HOME);
        machine.appliance.write("/etc/nbd-server/config", &config);
    }

    /// Everything that a user has of a server.
    fn serves(&self, machine: &Machine<'_>, reload: Reload) {
        let pid = machine.pid();
        assert_eq!(machine.sh("systemctl is-active nbd-server"), "active");
        assert_eq!(machine.sh("pgrep nbd-server"), pid, "one process");
        assert_eq!(machine.sh("systemctl show --property=MainPID --value nbd-server"), pid);
        assert_eq!(machine.sh(&format!("ps -o user= -p {pid}")), "nbd");
        assert_eq!(machine.sh("nbdctl status --json | grep -c '\"sessions\":0'"), "1");

        // A disk, with all that is asked of one.
        let mut client = machine.session("block");
        client.write_with(CMD_FLAG_FUA, 4096, b"on the disk itself").expect("a write");
        client.zero(0, 8192, 4096).expect("zeroes");
        client.trim(16384, 4096).expect("a trim");
        client.flush().expect("a flush");
        let mut found = [0; 18];
        let node = std::fs::File::open(self.device.path()).expect("the device");
        node.read_exact_at(&mut found, 4096).expect("its bytes");
        assert_eq!(&found, b"on the disk itself");
        // Files, wherever they lie.
        for export in ["srv", "home"] {
            let mut client = machine.session(export);
            client.write_with(CMD_FLAG_FUA, 0, export.as_bytes()).expect("a write");
            machine.sh(&format!("head -c {} /{export}/disk.img | grep -qx {export}", export.len()));
        }
        // Followed when the command returns, by the file and by the word; the old session goes on.
        machine.sh("printf '[later]\\nexportname = /srv/disk.img\\n' > /etc/nbd-server/conf.d/later.conf");
        machine.sh("systemctl reload nbd-server");
        assert!(machine.serves("later"), "at once");
        machine.sh(&format!("nbdctl add word {HOME}/disk.img readonly=true"));
        assert!(machine.serves("word"), "at once");
        machine.sh("nbdctl remove word; rm /etc/nbd-server/conf.d/later.conf; systemctl reload nbd-server");
        assert!(!machine.serves("later") && client.read(4096, 18).is_ok());
        assert!(machine.sh(JOURNAL).contains("MIGRATEKIT: reload complete"), "in the journal");
        machine.appliance.write("/etc/nbd-server/conf.d/broken.conf", "[broken\n");
        let ran = machine.appliance.sh("systemctl reload nbd-server");
        assert_eq!(ran.is_ok(), reload == Reload::Signalled, "{ran}");
        machine.sh("rm /etc/nbd-server/conf.d/broken.conf; systemctl reload nbd-server");

        // And stops within its time, with nothing left behind.
        machine.sh("systemctl stop nbd-server");
        assert_eq!(
            machine.sh("pgrep nbd-server || ls /run/nbd-server.pid /shared/nbd.sock 2>/dev/null || true"),
            ""
        );
        assert_eq!(machine.sh("systemctl show --property=Result --value nbd-server"), "success");
        machine.sh("systemctl start nbd-server");
        machine.wait_until_it_serves("srv");
    }

    /// What the server starts as root has nothing of the system open to it either.
    fn closes_the_system(&self, machine: &Machine<'_>) {
        let hook = "ls /tmp/hook /usr/escaped /etc/escaped /boot/escaped 2>/dev/null || true";
        machine.sh("sed -i '/^user/d; /^group/d' /etc/nbd-server/config; rm -f /tmp/hook; systemctl restart nbd-server");
        assert_eq!(machine.sh("ps -o user= -p $(cat /run/nbd-server.pid)"), "root");
        assert!(machine.serves("block"));
        assert_eq!(machine.sh(hook), "/tmp/hook", "it ran, and that is all that it could do");
    }
}
