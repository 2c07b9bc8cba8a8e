//! The kernel's own client (`nbd.ko`, `nbd-client`), with a file system on it.

use super::desk::Desk;
use std::process::Command;

/// A file system is made, mounted and written to over so many connections, while reloads add and remove other exports;
/// its check finds no fault, before and after, inside and outside, and the file in it is whole.
pub fn a_file_system_outlives_reloads(desk: &Desk, connections: u32) {
    let serial = "vol-fs";
    let file = desk.dir.sparse(serial, 48 << 20);
    let at = desk.machine.plug(&file, serial);
    let at_other = desk.plug(&desk.other);
    desk.machine.write("/etc/nbd-server/conf.d/fs.conf", &format!("[fs]\nexportname = {at}\n"));
    desk.hup().expect_complete();

    let attach = format!(
        "modprobe nbd; nbd-client 127.0.0.1 10809 -N fs -C {connections} /dev/nbd0 >&2; \
         udevadm settle; blockdev --getsize64 /dev/nbd0"
    );
    assert_eq!(desk.sh(&attach).ok(), (48 << 20).to_string());
    let sessions = desk.sh("ss -Htn state established sport = :10809 | grep -c .").ok();
    assert_eq!(sessions, connections.to_string());
    desk.sh("mkfs.ext4 -q /dev/nbd0; mkdir -p /mnt/fs; mount /dev/nbd0 /mnt/fs").ok();
    let mut sums = Vec::new();
    for round in 0..3 {
        // The file is being written while the server reloads.
        let write = format!(
            "systemd-run -q --unit=write-{connections}-{round} -p Type=oneshot --no-block \
                             sh -c 'head -c 8M /dev/urandom > /mnt/fs/file-{round}; sync'"
        );
        desk.sh(&write).ok();
        desk.configure(&desk.other, &at_other);
        assert_eq!(desk.hup().expect_complete().closing.added, 1);
        desk.unconfigure(&desk.other);
        let reloaded = desk.hup().expect_complete();
        assert_eq!((reloaded.closing.removed, reloaded.closing.fenced), (1, 0));
        desk.machine.wait_for(&format!(
            "test \"$(systemctl is-active write-{connections}-{round})\" = inactive; \
             test \"$(stat -c %s /mnt/fs/file-{round})\" = 8388608"
        ));
        sums.push(desk.sh(&format!("sha256sum < /mnt/fs/file-{round}")).ok());
    }
    desk.sh("sync; umount /mnt/fs; nbd-client -d /dev/nbd0 >&2").ok();
    let errors = desk
        .sh("dmesg | grep -iE 'nbd0.*(error|timed out)|I/O error|EXT4-fs error' | grep -v vda || true")
        .ok();
    assert_eq!(errors, "", "the kernel has complained");

    // The disk itself, and what is seen of it outside, with everything flushed.
    desk.sh(&format!("e2fsck -fn {at}")).ok();
    lab::run(Command::new("/usr/sbin/e2fsck").arg("-fn").arg(&file)).ok();
    desk.sh(&attach).ok();
    desk.sh("e2fsck -fn /dev/nbd0; mount -o ro /dev/nbd0 /mnt/fs").ok();
    for (round, sum) in sums.iter().enumerate() {
        assert_eq!(desk.sh(&format!("sha256sum < /mnt/fs/file-{round}")).ok(), *sum);
    }
    desk.sh("umount /mnt/fs; nbd-client -d /dev/nbd0 >&2; rm /etc/nbd-server/conf.d/fs.conf").ok();
    desk.hup().expect_complete();
    desk.machine.unplug(serial);
    desk.unplug(&desk.other);
    desk.check();
}
