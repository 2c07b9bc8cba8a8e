//! What a virtual machine boots from, made of Debian's packages and kept below `target/lab`.

use crate::base::Base;
use crate::place::{kept, lock};
use crate::ran::run;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::pattern::checksum;

/// Packages that are unpacked. The kernel for virtual machines has every module that is asked for here, in a third of
/// the size.
const PACKAGES: &[&str] = &[
    "apparmor",
    "usr-is-merged",
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "dmsetup",
    "e2fsprogs",
    "findutils",
    "grep",
    "iproute2",
    "kmod",
    "libc-bin",
    // Modules are compressed in newer releases.
    "liblzma5",
    "linux-image-cloud-amd64",
    "mawk",
    "mount",
    "nbd-client",
    "openssl",
    "procps",
    "qemu-guest-agent",
    "sed",
    "systemd",
    "systemd-sysv",
    "udev",
    "util-linux",
];

const SCRIPT: &str = include_str!("recipe.sh");

/// The size of the root file system; it is sparse.
const SIZE: &str = "768M";

/// A directory with `root.img`, `vmlinuz`, `early.cpio` and `busybox`.
#[derive(Debug)]
pub(super) struct Image(PathBuf);

impl Image {
    /// The image of a distribution, made if it is not there or its recipe has changed.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn of(base: Base) -> Self {
        let recipe = format!("{} {} {SIZE} {SCRIPT}", base.suite(), PACKAGES.join(","));
        let name = format!("machine-{}-{:016x}", base.suite(), checksum(recipe.as_bytes()));
        let _turn = lock(&name);
        let dir = kept("").join(&name);
        if !dir.exists() {
            // Under another name until it is whole: a test that was ended in the middle leaves no half image.
            let half = dir.with_extension("half");
            let _ = std::fs::remove_dir_all(&half);
            std::fs::create_dir_all(&half).expect("a directory below target");
            make(base, &half);
            forget_others(base);
            std::fs::rename(&half, &dir).expect("a name in the same directory");
        }
        Self(dir)
    }

    /// The root file system. It is to be opened for reading only.
    pub fn root(&self) -> PathBuf {
        self.0.join("root.img")
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.0.join("vmlinuz")
    }

    /// Writes the initial file system, with more files for the root: all that is below `files`, at the same place.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn early(&self, files: &Path, to: &Path) {
        let mut whole = std::fs::read(self.0.join("early.cpio")).expect("it was made");
        // The kernel takes one archive after another, each beginning at a multiple of four.
        whole.resize(whole.len().next_multiple_of(512), 0);
        let busybox = self.0.join("busybox");
        whole.extend(archive(&busybox, files.parent().expect("a directory has a parent"), "files"));
        std::fs::write(to, whole).expect("the initial file system is written");
    }
}

/// Images of earlier recipes. A machine that still runs from one keeps its file open.
fn forget_others(base: Base) {
    let prefix = format!("machine-{}-", base.suite());
    for entry in std::fs::read_dir(kept("")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(&prefix) && !name.to_string_lossy().ends_with(".half") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn make(base: Base, dir: &Path) {
    let (root, script) = (dir.join("root"), dir.join("recipe.sh"));
    std::fs::write(&script, SCRIPT).expect("a file below target");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--mode=root", "--format=directory", "--variant=extract"])
        .args(["--aptopt=Acquire::Languages \"none\"", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"])
        .arg(format!("--include={}", PACKAGES.join(",")))
        .args([base.suite()])
        .arg(&root);
    run(with_system_programs(&mut make)).ok();
    run(with_system_programs(Command::new("sh").arg(&script).arg(&root))).ok();
    let early = root.join("early");
    std::fs::copy(root.join("usr/bin/busybox"), dir.join("busybox")).expect("busybox is among the packages");
    let archived = archive(&dir.join("busybox"), &early, ".");
    std::fs::write(dir.join("early.cpio"), archived).expect("the initial file system is written");
    std::fs::remove_dir_all(&early).expect("it is ours");
    std::fs::rename(the_kernel(&root), dir.join("vmlinuz")).expect("a name in the same directory");
    let mut fill = Command::new("mke2fs");
    // The image is thrown away with each machine: a journal would cost time and be of no use.
    fill.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"])
        .arg(&root)
        .arg(dir.join("root.img"))
        .arg(SIZE);
    run(with_system_programs(&mut fill)).ok();
    std::fs::remove_dir_all(&root).expect("it is ours");
}

fn the_kernel(root: &Path) -> PathBuf {
    let boot = std::fs::read_dir(root.join("boot")).expect("the kernel's package has it").flatten();
    boot.map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz")))
        .expect("the kernel is among the packages")
}

/// An archive as the kernel reads it.
fn archive(busybox: &Path, dir: &Path, what: &str) -> Vec<u8> {
    let text = "\"$0\" find \"$1\" | \"$0\" cpio -o -H newc";
    let mut pack = Command::new("sh");
    pack.current_dir(dir).args(["-euc", text]).arg(busybox).arg(what).stdin(Stdio::null());
    let output = pack.output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// dpkg and the file systems' tools are where not everybody's PATH leads.
fn with_system_programs(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
}
