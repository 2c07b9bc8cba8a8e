//! The power is cut: QEMU is killed, and what the machine had not written to its disks by then is gone.

use super::desk::{BLOCK, BLOCKS, Desk};
use testkit::pattern;
use testkit::spec::CMD_FLAG_FUA;

/// On A half of the blocks are written with FUA and the rest flushed; on B everything is written by a session that ends
/// without a flush. All of it is there afterwards. What A was told later, and never to flush, is lost at least in part, or
/// this test would show nothing.
pub fn what_was_flushed_outlives_it(desk: Desk) {
    let (a, b) = (&desk.a, &desk.b);
    let [at_a, at_b] = [a, b].map(|volume| desk.plug(volume));
    desk.configure(a, &at_a);
    desk.configure(b, &at_b);
    desk.hup().expect_complete();

    b.begin_round();
    let mut forgetful = desk.open(b);
    for block in 0..BLOCKS {
        forgetful.write(block * BLOCK as u64, &b.block(block)).expect("written");
    }
    forgetful.disc().expect("left");
    desk.machine.wait_for("journalctl -u nbd-server -o cat --no-pager | grep 'disconnected peer=10.0.2.2'");

    a.begin_round();
    let mut client = desk.open(a);
    for block in (0..BLOCKS).step_by(2) {
        client.write(block * BLOCK as u64, &a.block(block)).expect("written");
    }
    client.flush().expect("flushed");
    for block in (1..BLOCKS).step_by(2) {
        client.write_with(CMD_FLAG_FUA, block * BLOCK as u64, &a.block(block)).expect("written through");
    }
    for block in 0..BLOCKS {
        client
            .write(block * BLOCK as u64, &a.block_of_round(1, block))
            .expect("acknowledged, and not promised");
    }
    let Desk { machine, a, b, dir: _dir, .. } = desk;
    machine.cut();

    b.check();
    let bytes = std::fs::read(&a.file).expect("the volume's file");
    let mut lost = 0;
    for (block, bytes) in (0..).zip(bytes.chunks(BLOCK)) {
        if bytes == a.block(block) {
            lost += 1;
        } else {
            assert!(
                bytes == a.block_of_round(1, block),
                "block {block} holds {:?}",
                pattern::identify(bytes)
            );
        }
    }
    assert!(lost > 0, "nothing was lost: the power was not cut");
    println!("  {lost} of {BLOCKS} blocks that nobody flushed are lost");
}
