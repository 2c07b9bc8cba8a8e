//! `nbdctl deploy` on an appliance: Debian's package with its service under systemd, the journal, and what the Docker build
//! made.
#![allow(missing_docs, reason = "the whole file is a test")]

use lab::{Appliance, Base, Engine, Product, Ran};
use std::time::Duration;
use testkit::{Client, TempDir};

const CONFIG: &str = "[generic]\nunixsock = /shared/nbd.sock\nduallisten = true\nallowlist = true\n\
                      includedir = /etc/nbd-server/conf.d\n[dummy]\nexportname = /dev/null\n";

/// An appliance that the original serves on, and the programs below `/opt`.
struct Machine<'a> {
    appliance: Appliance<'a>,
    shared: TempDir,
}

impl<'a> Machine<'a> {
    fn new(engine: &'a Engine, base: Base) -> Self {
        // The build leaves a processor free now and then.
        let product = std::thread::scope(|scope| {
            scope.spawn(|| Appliance::image(engine, base));
            Product::build(engine)
        });
        let shared = TempDir::new("deploy");
        let volume = format!("--volume={}:/shared", shared.path().display());
        let machine = Self { appliance: Appliance::start(engine, base, &[&volume]), shared };
        for (file, to) in [
            (product.server(), "/opt/nbd-server-enhanced"),
            (product.nbdctl(), "/opt/nbdctl"),
            (product.file("SHA256SUMS"), "/opt/SHA256SUMS"),
        ] {
            machine.appliance.copy_in(&file, to);
        }
        machine.appliance.write("/etc/nbd-server/config", CONFIG);
        machine.sh("mkdir -p /etc/nbd-server/conf.d; for disk in a b; do \
                    printf $disk > /srv/$disk.img; truncate -s 4M /srv/$disk.img; \
                    printf \"[$disk]\\nexportname = /srv/$disk.img\\n\" > /etc/nbd-server/conf.d/$disk.conf; done");
        machine.sh("systemctl restart nbd-server");
        machine.wait_until_it_serves();
        machine
    }

    #[track_caller]
    fn sh(&self, text: &str) -> String {
        self.appliance.sh(text).ok()
    }

    /// `nbdctl …`, which must end like this and say each of these.
    #[track_caller]
    fn ctl(&self, words: &str, code: i32, said: &[&str]) {
        let ran: Ran = self.appliance.sh(&format!("/opt/nbdctl {words}"));
        assert_eq!(ran.code, Some(code), "{ran}");
        for piece in said {
            assert!(ran.out.contains(piece), "{piece:?} is missing: {ran}");
        }
    }

    /// A client in an export; it has the bytes of its disk.
    #[track_caller]
    fn session(&self, export: &str) -> Client {
        let mut client = Client::connect_unix(&self.shared.join("nbd.sock")).expect("it listens");
        client.go(export).expect("it is served");
        assert_eq!(client.read(0, 1).expect("it reads"), export.as_bytes());
        client
    }

    #[track_caller]
    fn wait_until_it_serves(&self) {
        let serves = || {
            let client = Client::connect_unix(&self.shared.join("nbd.sock"));
            client.is_ok_and(|mut client| client.go("a").is_ok())
        };
        lab::wait_until("the original serves", Duration::from_secs(30), serves);
    }

    /// The bytes that the package put there.
    #[track_caller]
    fn has_the_original(&self) {
        assert_eq!(self.sh("dpkg --verify nbd-server"), "");
        assert_eq!(
            self.sh("sha256sum < $(dpkg -L nbd-server | grep -m1 bin/nbd-server)"),
            self.sh("cat /opt/original")
        );
        self.session("a");
        self.session("b");
    }
}

/// A maintenance window: it is looked at, refused while somebody works, fails and is put right, succeeds, and is undone.
#[test]
fn a_maintenance_window_on_an_appliance_and_back() {
    let Some(engine) = Engine::start("a_maintenance_window_on_an_appliance_and_back") else { return };
    let machine = Machine::new(&engine, Base::Bookworm);
    machine.sh("sha256sum < $(dpkg -L nbd-server | grep -m1 bin/nbd-server) > /opt/original");
    let mut client = machine.session("a");
    machine.ctl(
        "deploy /opt/nbd-server-enhanced --dry-run",
        1,
        &[
            "target: /usr/bin/nbd-server (the original; ",
            "it is as /opt/SHA256SUMS says",
            "belongs to the package nbd-server, whose next upgrade will replace it again",
            "client: somebody has /srv/a.img open (process ",
            "  restart: systemctl restart nbd-server, within 30 s",
        ],
    );
    machine.ctl("deploy /opt/nbd-server-enhanced", 1, &["1 connection is open and ends with the restart"]);
    let divert = "dpkg-divert --local --no-rename --divert /bin/nbd-server.distrib";
    machine.sh(&format!("{divert} --add /bin/nbd-server"));
    machine.ctl(
        "deploy /opt/nbd-server-enhanced --yes",
        1,
        &["is diverted (local diversion of /bin/nbd-server to"],
    );
    machine.sh(&format!("{divert} --remove /bin/nbd-server"));
    client.read(0, 512).expect("nobody was disturbed");
    drop(client);

    // It passes for ours until it is to serve.
    machine.sh(
        "printf '#!/bin/sh\\ncase \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) exit 1 ;; esac\\n\
         exec /opt/nbd-server-enhanced \"$@\"\\n' > /opt/broken; chmod 755 /opt/broken",
    );
    machine.ctl(
        "deploy /opt/broken --wait 5",
        2,
        &["FAILED: ", "back      back: /usr/bin/nbd-server (the original"],
    );
    machine.has_the_original();

    // Another server of the same file, which is none of the service's.
    machine.sh("printf '[generic]\\nport = 20809\\n[z]\\nexportname = /srv/a.img\\n' > /opt/other; \
                systemd-run --unit=other -p Type=forking /usr/bin/nbd-server -C /opt/other -p /run/other.pid");
    let mut client = machine.session("a");
    machine.ctl(
        "deploy /opt/nbd-server-enhanced --yes",
        0,
        &[
            "another server executes that file, and goes on with what is in it now: process ",
            "verify    systemd says of nbd-server: active",
            "verify    export: b 4194304 bytes, read",
            "verify    SIGHUP: answered, seen in the journal: MIGRATEKIT: reload complete generation=2",
            "verify    journal: no error of process ",
        ],
    );
    assert!(client.read(0, 512).is_err(), "its session ended with the original");
    machine.session("b");
    machine.sh("systemctl is-active other && systemctl stop other");
    machine
        .sh("/opt/nbdctl status; systemctl reload nbd-server || true; pgrep nbd-server | wc -l | grep -qx 1");
    assert_eq!(machine.sh("ls /var/log/nbd-server-deploy | wc -l"), "4", "a log of each run but the dry one");
    machine.sh(
        "grep -q 'deploy ends with 0' /var/log/nbd-server-deploy/*; ls -l /var/backups/nbd-server/*.json",
    );

    machine.ctl("rollback", 0, &["SIGHUP: not sent", "verify    export: a 4194304 bytes, read"]);
    machine.has_the_original();
}
