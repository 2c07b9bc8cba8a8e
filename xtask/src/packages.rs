//! What the tests need from the machine, and how it gets there.

use crate::apt::install;
use crate::run::{Run, tool};
use std::path::Path;

/// A program, the Debian package that has it, and what is not tested without it.
const NEEDED: &[(&str, &str, &str)] = &[
    ("losetup", "mount", "disks that come and go (loop devices)"),
    ("mkfs.ext4", "e2fsprogs", "requests that hang (a frozen file system)"),
    ("fsfreeze", "util-linux", "requests that hang (a frozen file system)"),
    ("nbdcopy", "libnbd-bin", "replication jobs, libnbd as a client"),
    ("nbdinfo", "libnbd-bin", "what clients see of an export"),
    ("qemu-io", "qemu-utils", "qemu as a client"),
    ("qemu-img", "qemu-utils", "qemu as a client"),
    ("nbd-client", "nbd-client", "listing by nbd-client"),
    ("nbdkit", "nbdkit", "the kit's own client, comparison"),
    ("nbd-server", "nbd-server", "comparison with the original"),
    ("strace", "strace", "faults of system calls"),
    ("unshare", "util-linux", "logs and directories of the system, in mount namespaces"),
    ("systemd-analyze", "systemd", "the example units"),
    ("systemd-socket-activate", "systemd", "sockets that systemd opens"),
    ("fio", "fio", "workloads"),
    ("c++", "g++", "fuzz targets"),
    // GLib itself comes with the original server.
    ("python3", "python3", "configurations beside GLib's own reader"),
    ("pip3", "python3-pip", "the control socket against its own description (schemathesis)"),
    ("curl", "curl", "curl as a client of the control socket"),
    ("gnutls-cli", "gnutls-bin", "GnuTLS as a client"),
    ("openssl", "openssl", "OpenSSL as a client"),
    ("promtool", "prometheus", "metrics and alert rules as Prometheus reads them"),
    ("tmux", "tmux", "nbdctl in a terminal"),
    ("mariadbd", "mariadb-server", "drift against MariaDB"),
    ("postgres", "postgresql", "drift against PostgreSQL"),
    ("sqlite3", "sqlite3", "drift against SQLite"),
    ("go", "golang-go", "the integration guide's Go program"),
    ("dockerd", "docker.io", "the Docker build, distributions, the package, the appliance"),
    ("docker-compose", "docker-compose", "the compose file"),
    ("mmdebstrap", "mmdebstrap", "base images, a virtual machine"),
    ("mke2fs", "e2fsprogs", "a virtual machine"),
    (
        "qemu-system-x86_64",
        "qemu-system-x86",
        "a virtual machine: disks that are unplugged, the kernel's client",
    ),
    ("setpriv", "util-linux", "engines and machines that end with their test"),
    ("objdump", "binutils", "which libc the programs want"),
];

/// Packages whose daemon would start at the next boot (the original would take port 10809), and its service.
const DAEMONS: &[(&str, &str)] = &[
    ("docker.io", "docker"),
    ("nbd-server", "nbd-server"),
    ("mariadb-server", "mariadb"),
    ("postgresql", "postgresql"),
    ("prometheus", "prometheus"),
];

/// Has every program of the list there, or says aloud which tests will not run.
pub fn provide() {
    let mut packages: Vec<&str> = missing().map(|(_, package, _)| *package).collect();
    packages.dedup();
    if !packages.is_empty() && can_install() {
        println!("== installing {}", packages.join(" "));
        let _quiet = NoDaemons::begin();
        let fresh = |package| !Path::new(&format!("/var/lib/dpkg/info/{package}.list")).exists();
        let new: Vec<_> =
            DAEMONS.iter().filter(|(package, _)| packages.contains(package) && fresh(package)).collect();
        install(&packages);
        for (_, service) in new {
            let _ = Run::new("update-rc.d")
                .args([service, "disable"])
                .quiet()
                .go(&format!("{service} stays off"));
        }
    }
    for (program, package, about) in missing() {
        println!("MISSING: {program} (package {package}); tests SKIPPED: {about}");
    }
}

/// Has OpenSSL's headers there, if they can be had; without them it is built from source.
pub fn for_building() {
    if !openssl_is_there() && can_install() {
        let packages = ["pkg-config", "libssl-dev"];
        println!("== installing {}", packages.join(" "));
        install(&packages);
    }
}

/// What cargo must be told besides where it builds the server.
pub fn server_features() -> &'static [&'static str] {
    if openssl_is_there() {
        return &[];
    }
    println!("OpenSSL's headers are not there: it is built from source, which takes minutes the first time");
    &["--features", "server/vendored"]
}

fn openssl_is_there() -> bool {
    // Whoever says where it is need not have pkg-config.
    let named = ["OPENSSL_DIR", "OPENSSL_LIB_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    let known = || Run::new("pkg-config").args(["--exists", "openssl"]).quiet().output();
    named || known().is_ok_and(|output| output.status.success())
}

fn missing() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    NEEDED.iter().filter(|(program, ..)| tool(program).is_none() && !is_of_postgresql(program))
}

/// Debian keeps PostgreSQL's server by version, where no PATH leads.
fn is_of_postgresql(program: &str) -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin").join(program)).any(|path| path.is_file())
}

fn can_install() -> bool {
    let root = Run::new("id").args(["-u"]).text().is_ok_and(|id| id.trim() == "0");
    root && tool("apt-get").is_some() && Path::new("/etc/debian_version").exists()
}

/// While it lives, packages do not start their daemons.
struct NoDaemons(bool);

impl NoDaemons {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Self {
        if Path::new(Self::POLICY).exists() {
            return Self(false);
        }
        let written = std::fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n").is_ok();
        let _ = Run::new("chmod").args(["755", Self::POLICY]).quiet().output();
        Self(written)
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.0 {
            let _ = std::fs::remove_file(Self::POLICY);
        }
    }
}
