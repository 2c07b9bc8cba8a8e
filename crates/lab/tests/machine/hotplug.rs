//! Volumes are detached and attached from outside, and `/dev/vdX` is another disk afterwards.

use super::desk::{BLOCK, BLOCKS, Desk};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use testkit::Client;
use testkit::spec::EIO;

/// A volume goes to a test machine in the appliance's order (detached first, then its file and the signal), another one
/// in the other order; a third takes a name meanwhile; they return in another order and under each other's names; the
/// next replication comes at once.
pub fn failover_and_failback(desk: &Desk, rounds: u32) {
    let (a, b, other) = (&desk.a, &desk.b, &desk.other);
    let [mut at_a, mut at_b] = [a, b].map(|volume| desk.plug(volume));
    desk.configure(a, &at_a);
    desk.configure(b, &at_b);
    assert_eq!(desk.hup().expect_complete().closing.added, 2);
    for round in 0..rounds {
        desk.replicate(a);
        desk.replicate(b);
        desk.check();

        // The other disk takes the name before anybody tells the server.
        desk.unplug(a);
        assert_eq!(desk.plug(other), at_a, "the name is free at once");
        let why = desk.refused(a);
        assert!(why.contains(&format!("another disk is at {at_a} since the last reload")), "{why}");
        desk.unconfigure(a);
        assert_eq!(desk.hup().expect_complete().closing.removed, 1);
        assert!(!desk.listed().contains(&a.export()));

        // A session that is open when its export goes keeps nothing back.
        let mut late = desk.open(b);
        late.read(0, BLOCK as u32).expect("served until then");
        desk.unconfigure(b);
        let reloaded = desk.reload_by("systemctl reload nbd-server").expect_complete();
        assert_eq!((reloaded.closing.removed, reloaded.closing.fenced), (1, 1));
        desk.unplug(b);
        assert!(late.write(0, &[0xee; BLOCK]).is_err(), "its session has ended");
        desk.unplug(other);

        // Back, the one that had the second name first: it gets the first.
        let (was_a, was_b) = (at_a, at_b);
        if was_a < was_b {
            at_b = desk.plug(b);
            at_a = desk.plug(a);
        } else {
            at_a = desk.plug(a);
            at_b = desk.plug(b);
        }
        assert_eq!((&at_a, &at_b), (&was_b, &was_a), "round {round}: the names have swapped");
        desk.configure(a, &at_a);
        desk.configure(b, &at_b);
        assert_eq!(desk.hup().expect_complete().closing.added, 2);
        desk.replicate(b);
        desk.replicate(a);
        desk.check();
    }
    leave(desk);
}

/// Both volumes return under each other's names, and nobody tells the server: neither is written to, until a reload.
pub fn names_that_swap_are_refused(desk: &Desk) {
    let (a, b) = (&desk.a, &desk.b);
    let [at_a, at_b] = [a, b].map(|volume| desk.plug(volume));
    desk.configure(a, &at_a);
    desk.configure(b, &at_b);
    desk.hup().expect_complete();
    desk.replicate(a);
    desk.replicate(b);
    desk.unplug(a);
    desk.unplug(b);
    assert_eq!((desk.plug(b), desk.plug(a)), (at_a.clone(), at_b.clone()), "the names have swapped");
    for (volume, at) in [(a, &at_a), (b, &at_b)] {
        let why = desk.refused(volume);
        assert!(why.contains(&format!("another disk is at {at} since the last reload")), "{why}");
    }
    desk.check();
    // The appliance compares and rewrites its files.
    desk.configure(a, &at_b);
    desk.configure(b, &at_a);
    assert_eq!(desk.reload_by("systemctl reload nbd-server").expect_complete().closing.changed, 2);
    desk.replicate(a);
    desk.replicate(b);
    desk.check();
    leave(desk);
}

/// The disk is pulled out while a client reads and writes: what it is told is an input/output error, what it has read is
/// its own bytes, and who works on another disk notices nothing. The same disk, plugged in again, is served again, but
/// promises nothing (P6) until its export is made anew.
pub fn a_disk_pulled_out_is_an_error(desk: &Desk) {
    let (a, b) = (&desk.a, &desk.b);
    let [at_a, at_b] = [a, b].map(|volume| desk.plug(volume));
    desk.configure(a, &at_a);
    desk.configure(b, &at_b);
    desk.hup().expect_complete();
    let (on_a, mut on_b) = (desk.open(a), desk.open(b));
    let [on_disk, on_neighbour] =
        [a, b].map(|volume| (0..BLOCKS).map(|block| volume.block(block)).collect::<Vec<_>>());
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work_until_error(on_a, &on_disk, &done));
        let neighbour = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (block, bytes) in (0..).zip(&on_neighbour) {
                    on_b.write(block * BLOCK as u64, bytes).expect("undisturbed");
                    assert!(on_b.read(block * BLOCK as u64, BLOCK as u32).expect("undisturbed") == *bytes);
                }
            }
            on_b.flush().expect("undisturbed");
            on_b.disc().expect("left");
        });
        lab::wait_until("the client is at work", testkit::client::TIMEOUT, || {
            done.load(Ordering::Relaxed) > 20
        });
        desk.unplug(a);
        let (mut on_a, error) = worker.join().expect("it read nothing but its own");
        let flushed = on_a.flush();
        // Before anything may fail: the scope waits for its threads.
        over.store(true, Ordering::Relaxed);
        neighbour.join().expect("undisturbed");
        assert_eq!(error, EIO);
        assert!(flushed.is_err(), "nothing is promised of a disk that is gone");
    });
    let why = desk.refused(a);
    assert!(why.contains("No such file or directory"), "{why}");
    assert_eq!(desk.plug(a), at_a, "nobody holds the name");
    let mut again = desk.open(a);
    assert_eq!(again.read(0, BLOCK as u32).as_ref(), Ok(&on_disk[0]), "it is served without a reload");
    assert_eq!(again.flush(), Err(EIO), "what was lost with it is not forgotten");
    again.disc().expect("left");
    // The appliance's way of beginning anew.
    desk.unconfigure(a);
    desk.hup().expect_complete();
    desk.configure(a, &at_a);
    desk.hup().expect_complete();
    desk.replicate(a);
    desk.check();
    leave(desk);
}

/// Writes the same bytes again: whatever of them reaches the disk, it holds what is expected of it.
fn work_until_error(mut client: Client, blocks: &[Vec<u8>], done: &AtomicU64) -> (Client, u32) {
    loop {
        for (block, bytes) in (0..).zip(blocks) {
            let at = block * BLOCK as u64;
            match client.write(at, bytes).and_then(|()| client.read(at, BLOCK as u32)) {
                Ok(read) => assert!(read == *bytes, "other bytes than those of this disk"),
                Err(error) => return (client, error),
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Everything is as at the beginning.
fn leave(desk: &Desk) {
    for volume in [&desk.a, &desk.b] {
        desk.unconfigure(volume);
    }
    desk.hup().expect_complete();
    for volume in [&desk.a, &desk.b] {
        desk.unplug(volume);
    }
    desk.check();
}
