//! Failover and failback under a running server: the reason why it exists.
#![allow(missing_docs)]

mod common;

use common::{Volume, image, nbdcopy, point, qemu_io, server};
use std::fs;
use std::path::PathBuf;
use testkit::ServerProcess;
use testkit::spec::REP_ERR_UNKNOWN;

const TEST: &str = "every_job_lands_on_its_own_volume_through_twenty_failbacks";

/// Volumes go and come back under other paths, and other volumes take the paths they left. Each job must land on its own
/// volume, and nothing else may change anywhere.
#[test]
fn every_job_lands_on_its_own_volume_through_twenty_failbacks() {
    let setup = server();
    let dir = setup.dir().to_path_buf();
    let mut volumes: Vec<Volume> = (0..3).map(|number| Volume::new(TEST, &dir, number)).collect();
    let mut story = Story { server: setup.start(), dir, rounds: [0; 3] };
    for volume in &volumes {
        point(&story.path(volume.number as usize), &volume.path());
        story.describe(volume.number as usize, volume.number as usize);
    }
    assert_eq!(story.server.reload().expect_complete().closing.added, 3);
    for volume in &volumes {
        story.job(volume);
    }
    for cycle in 0..20 {
        story.cycle(&mut volumes, cycle);
    }
    assert_eq!(
        fs::read_to_string(story.server.pid_path()).expect("a pid file"),
        format!("{}\n", story.server.pid())
    );
}

struct Story {
    server: ServerProcess,
    dir: PathBuf,
    /// The round of the last job of each volume.
    rounds: [u64; 3],
}

impl Story {
    /// Device paths: `vd0` to `vd3`. One more than there are volumes.
    fn path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("vd{number}"))
    }

    fn describe(&self, volume: usize, path: usize) {
        self.server.write_export(&format!("migration-vol-{volume}"), &self.path(path), "readonly = false");
    }

    fn cycle(&mut self, volumes: &mut [Volume], cycle: usize) {
        let away = cycle % 3;
        let (old_path, third_path) = (self.where_is(away), self.free_path());
        let name = format!("migration-vol-{away}");

        // An old client stays connected, idle, with something written.
        let mut old = self.server.open(&name);
        let before = old.read(0, 4096).expect("read");
        old.write(0, &before).expect("written");

        // Failover: the volume's file goes, then the volume.
        self.server.remove_conf(&format!("{name}.conf"));
        let reloaded = self.server.reload().expect_complete();
        assert_eq!((reloaded.closing.removed, reloaded.closing.fenced), (1, 1), "{:?}", reloaded.closing);
        volumes[away].detach();
        assert_eq!(
            volumes[away].bytes(),
            image(away as u64, self.rounds[away]),
            "all that was written is on it"
        );
        old.expect_eof();
        let refused = self.server.connect().go(&name).expect_err("the removed name is refused");
        assert_eq!(refused.0, REP_ERR_UNKNOWN);

        // Another volume takes the path that it left; its own export is moved there.
        let other = (away + 1) % 3;
        point(&self.path(old_path), &volumes[other].path());
        fs::remove_file(self.path(self.where_is(other))).expect("its old path is gone");
        self.describe(other, old_path);
        assert_eq!(self.server.reload().expect_complete().closing.changed, 1);

        // Failback, under a third path. The next job comes at once.
        volumes[away].attach(TEST);
        point(&self.path(third_path), &volumes[away].path());
        self.describe(away, third_path);
        assert_eq!(self.server.reload().expect_complete().closing.added, 1);
        self.job(&volumes[away]);
        self.untouched(volumes);
    }

    /// Replicates the next round into a volume, with one real client or another.
    fn job(&mut self, volume: &Volume) {
        let number = volume.number as usize;
        self.rounds[number] += 1;
        let name = format!("migration-vol-{number}");
        let bytes = image(volume.number, self.rounds[number]);
        let source = self.dir.join("source.img");
        fs::write(&source, &bytes).expect("the source");
        nbdcopy(&source, self.server.port(), &name);
        let first = bytes[0];
        let written =
            qemu_io(self.server.port(), &name, &[&format!("write -P {first} 0 1"), "flush", "read 0 64k"]);
        if written.is_none() {
            testkit::skip_or_fail(TEST, "qemu-io");
        }
        self.holds(number);
    }

    /// Read back through the server, every byte.
    fn holds(&self, number: usize) {
        let mut client = self.server.open(&format!("migration-vol-{number}"));
        let expected = image(number as u64, self.rounds[number]);
        for (at, piece) in expected.chunks(1 << 20).enumerate() {
            let found = client.read((at << 20) as u64, piece.len() as u32).expect("read");
            assert!(found == piece, "volume {number} differs in its MiB {at}");
        }
        client.disc().expect("left");
    }

    fn untouched(&self, volumes: &[Volume]) {
        for volume in volumes {
            self.holds(volume.number as usize);
        }
    }

    fn where_is(&self, volume: usize) -> usize {
        let text =
            fs::read_to_string(self.server.conf(&format!("migration-vol-{volume}.conf"))).expect("described");
        let path = (0..4).find(|number| text.contains(&format!("{}\n", self.path(*number).display())));
        path.expect("at one of the paths")
    }

    fn free_path(&self) -> usize {
        let taken: Vec<usize> = (0..3).map(|volume| self.where_is(volume)).collect();
        (0..4).find(|number| !taken.contains(number)).expect("one is free")
    }
}
