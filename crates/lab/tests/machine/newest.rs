//! The unit of this project under a systemd that waits for reloads, and device-mapper, on the newest release.

use super::desk::{BLOCK, BLOCKS, Desk};

/// The unit that the package brings.
pub fn unit() -> String {
    let path = lab::repository().join("packaging/systemd/nbd-server.service");
    std::fs::read_to_string(path).expect("the unit is there")
}

/// `systemctl reload` has an answer: what it was asked for is so when it returns.
pub fn a_reload_returns_when_it_is_done(desk: &Desk) {
    assert_eq!(desk.sh("systemctl show -p Type --value nbd-server").ok(), "notify-reload");
    let at = desk.plug(&desk.a);
    desk.configure(&desk.a, &at);
    desk.sh("systemctl reload nbd-server").ok();
    desk.replicate(&desk.a);
    let mut late = desk.open(&desk.a);
    desk.unconfigure(&desk.a);
    desk.sh("systemctl reload nbd-server").ok();
    assert_eq!(desk.listed(), ["dummy"]);
    let holders = desk.sh(&format!("ls -l /proc/$(pgrep nbd-server)/fd | grep -c {at} || true")).ok();
    assert_eq!(holders, "0", "the server has let go of the disk");
    assert!(late.write(0, &[0xee; BLOCK]).is_err(), "its session has ended");
    desk.unplug(&desk.a);
    desk.check();
    let said = desk
        .sh("journalctl -u nbd-server --since '1 minute ago' | grep -c 'MIGRATEKIT: reload complete'")
        .ok();
    assert_eq!(said, "2");
}

/// `/dev/mapper/vol` leads to A and, without a word, to B: its name, its number and its size are the same. Nobody enters
/// until the next reload; who is connected writes to neither. The module came after the server had started.
pub fn a_mapped_disk_that_leads_elsewhere_is_refused(desk: &Desk) {
    let (a, b) = (&desk.a, &desk.b);
    let [at_a, at_b] = [a, b].map(|volume| desk.plug(volume));
    let sectors = BLOCKS * BLOCK as u64 / 512;
    desk.sh(&format!("modprobe dm-mod; dmsetup create vol --table '0 {sectors} linear {at_a} 0'")).ok();
    desk.configure(a, "/dev/mapper/vol");
    desk.sh("systemctl reload nbd-server").ok();
    desk.replicate(a);
    let mut early = desk.open(a);
    early.read(0, BLOCK as u32).expect("served until then");
    let table = format!(
        "dmsetup suspend vol; dmsetup load vol --table '0 {sectors} linear {at_b} 0'; dmsetup resume vol"
    );
    desk.sh(&table).ok();
    assert!(early.write(0, &[0xee; BLOCK]).is_err(), "before its first write it is asked where it leads");
    let why = desk.refused(a);
    assert!(why.contains("another disk is at /dev/mapper/vol since the last reload"), "{why}");
    desk.check();
    // The appliance removes one volume's file and writes the other's.
    desk.unconfigure(a);
    desk.configure(b, "/dev/mapper/vol");
    desk.sh("systemctl reload nbd-server").ok();
    desk.replicate(b);
    desk.check();
    desk.unconfigure(b);
    desk.sh("systemctl reload nbd-server; dmsetup remove vol").ok();
    desk.unplug(a);
    desk.unplug(b);
}
