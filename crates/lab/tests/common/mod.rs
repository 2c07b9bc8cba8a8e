//! A machine with Debian's nbd-server in force, and packages to put over it.
#![allow(dead_code, reason = "each test takes what it needs")]

use lab::{Appliance, Base, Engine, Product, Ran};
use std::path::PathBuf;
use testkit::{Client, TempDir};

/// As Debian's package leaves it, with one export and a socket that the test reaches from outside.
const CONFIG: &str = "[generic]\nunixsock = /shared/nbd.sock\nduallisten = true\nallowlist = true\n\
                      includedir = /etc/nbd-server/conf.d\n[disk]\nexportname = /srv/disk.img\n";

/// Makes a package of what is installed, as `/opt/original.deb`, and one as a later release would have it, where the program
/// lies under the path's other spelling.
const REPACK: &str = r"
    mkdir -p /opt/o/DEBIAN
    dpkg-query --listfiles nbd-server | while read -r path; do
        if test -d $path; then mkdir -p /opt/o$path; elif test -e $path; then cp -a $path /opt/o$path; fi
    done
    for part in preinst postinst prerm postrm config templates conffiles; do
        if test -e /var/lib/dpkg/info/nbd-server.$part; then cp /var/lib/dpkg/info/nbd-server.$part /opt/o/DEBIAN/; fi
    done
    dpkg-query --status nbd-server | sed '/^Status:/d; /^Conffiles:/d; /^ \/etc/d' > /opt/o/DEBIAN/control
    dpkg-deb -Znone --build /opt/o /opt/original.deb
    mkdir -p /opt/o/bin /opt/o/usr/bin
    if test -e /opt/o/bin/nbd-server; then from=bin to=usr/bin; else from=usr/bin to=bin; fi
    mv /opt/o/$from/nbd-server /opt/o/$to/
    sed -i 's/^Version: .*/Version: 9:9/' /opt/o/DEBIAN/control
    dpkg-deb -Znone --build /opt/o /opt/respelt.deb";

/// Both without compression: they are unpacked many times.
const NEWER: &str = "dpkg-deb --raw-extract /opt/ours.deb /opt/n;
    dpkg-deb -Znone --build --root-owner-group /opt/n /opt/ours.deb;
    sed -i 's/^Version: .*/Version: 99.0-1/' /opt/n/DEBIAN/control;
    dpkg-deb -Znone --build --root-owner-group /opt/n /opt/newer.deb";

/// The machine.
pub struct Machine<'a> {
    /// Where it runs.
    pub appliance: Appliance<'a>,
    shared: TempDir,
}

impl<'a> Machine<'a> {
    /// With the original configured and not started, and the packages below `/root`.
    pub fn new(engine: &'a Engine, base: Base, args: &[&str]) -> Self {
        let shared = TempDir::new("package");
        let volume = format!("--volume={}:/shared", shared.path().display());
        let appliance = Appliance::start(engine, base, &[&[volume.as_str()], args].concat());
        let machine = Self { appliance, shared };
        machine.appliance.copy_in(&package(engine), "/opt/ours.deb");
        machine.sh(REPACK);
        machine.appliance.write("/etc/nbd-server/config", CONFIG);
        machine.sh("truncate -s 16M /srv/disk.img");
        machine
    }

    /// A line of shell that must succeed; gives what it printed.
    #[track_caller]
    pub fn sh(&self, text: &str) -> String {
        self.appliance.sh(text).ok()
    }

    /// Makes a second build with a higher version, as `/opt/newer.deb`.
    pub fn make_newer(&self) {
        self.sh(NEWER);
    }

    /// Installs a package, or removes one; gives all that dpkg said.
    #[track_caller]
    pub fn dpkg(&self, args: &str) -> String {
        // Nobody installs ten packages in ten seconds but a test, and systemd counts the starts of a service.
        self.appliance.sh("systemctl reset-failed nbd-server.service");
        self.dpkg_after_a_crash(args)
    }

    /// The same, with what systemd remembers of the service.
    #[track_caller]
    pub fn dpkg_after_a_crash(&self, args: &str) -> String {
        let ran: Ran =
            self.appliance.sh(&format!("DEBIAN_FRONTEND=noninteractive dpkg --force-downgrade {args}"));
        assert!(ran.is_ok(), "{ran}");
        ran.out + &ran.err
    }

    /// The program that the service's process was started from.
    #[track_caller]
    pub fn program(&self) -> String {
        self.sh("readlink /proc/$(cat /run/nbd-server.pid)/exe")
    }

    /// The service's process.
    #[track_caller]
    pub fn pid(&self) -> String {
        self.sh("cat /run/nbd-server.pid")
    }

    /// A client in an export.
    #[track_caller]
    pub fn session(&self, export: &str) -> Client {
        let mut client =
            Client::connect_unix(&self.shared.join("nbd.sock")).expect("the server accepts connections");
        client.go(export).expect("the export is served");
        client
    }

    /// Whether the service answers a new client.
    pub fn serves(&self, export: &str) -> bool {
        let client = Client::connect_unix(&self.shared.join("nbd.sock"));
        client.is_ok_and(|mut client| client.go(export).is_ok())
    }

    /// Waits until it does: the original's init script returns before it listens.
    #[track_caller]
    pub fn wait_until_it_serves(&self, export: &str) {
        lab::wait_until("the export is served", std::time::Duration::from_secs(30), || self.serves(export));
    }
}

/// The Debian package that the Dockerfile makes.
pub fn package(engine: &Engine) -> PathBuf {
    let product = Product::build(engine);
    let files = std::fs::read_dir(product.dir()).expect("the product is there").flatten();
    let mut packages =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|it| it == "deb"));
    packages.next().expect("the product has a package")
}
