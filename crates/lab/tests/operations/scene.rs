//! The appliance of the runbook: Debian's nbd-server in service, volumes of every kind, and what happens to them.

use lab::{Appliance, Base, Engine, Product, Ran, run};
use std::process::Command;
use testkit::spec::{CMD_WRITE, EIO, ESHUTDOWN};
use testkit::{CLOSED, Client, Failing, LoopDevice, TempDir};

const PORT: u16 = 10809;
const SIZE: u64 = 64 << 20;

/// As the appliance writes it.
const CONFIG: &str = "[generic]\nport = 10809\nallowlist = true\nincludedir = /etc/nbd-server/conf.d\n\
                      [dummy]\nexportname = /dev/null\nreadonly = true\n";

/// An appliance, and who comes to it.
pub struct Scene<'a> {
    appliance: Appliance<'a>,
    clients: Vec<Client>,
    disks: Vec<(LoopDevice, std::path::PathBuf)>,
    dir: TempDir,
    swapped: bool,
    /// The sum of the program that the distribution has.
    original: String,
}

const SUM: &str = "sha256sum < $(readlink -f /usr/bin/nbd-server)";

impl<'a> Scene<'a> {
    pub fn new(engine: &'a Engine, product: &Product) -> Option<Self> {
        let dir = TempDir::new("operations");
        let mut disks = Vec::new();
        for name in ["one", "two", "under slow"] {
            let image = dir.sparse(name, SIZE);
            let Some(disk) = LoopDevice::attach(&image) else {
                testkit::skip_or_fail("the runbook", "loop devices");
                return None;
            };
            disks.push((disk, image));
        }
        let node = |at: usize| disks[at].0.path().display().to_string();
        std::fs::create_dir(dir.join("slow")).expect("a new directory can be written");
        run(Command::new("mkfs.ext4").arg("-q").arg(disks[2].0.path())).ok();
        run(Command::new("mount").arg(disks[2].0.path()).arg(dir.join("slow"))).ok();
        let devices = ["vdb", "vdc"].iter().enumerate();
        let devices: Vec<String> =
            devices.map(|(at, name)| format!("--device={}:/dev/{name}", node(at))).collect();
        let slow = format!("--volume={}:/srv/slow", dir.join("slow").display());
        let appliance = Appliance::start(engine, Base::Bookworm, &[&devices[0], &devices[1], &slow]);
        let original = appliance.sh(SUM).ok();
        let scene = Self { appliance, clients: Vec::new(), disks, dir, swapped: false, original };
        scene.appliance.copy_in(product.dir(), "/opt/output");
        scene.appliance.write("/etc/nbd-server/config", CONFIG);
        scene.appliance.sh("mkdir -p /etc/nbd-server/conf.d; truncate -s 16M /srv/slow/vol-3.img").ok();
        for (name, path) in [("vol-1", "/dev/vdb"), ("vol-2", "/dev/vdc"), ("vol-3", "/srv/slow/vol-3.img")] {
            scene.appliance.write(
                &format!("/etc/nbd-server/conf.d/{name}.conf"),
                &format!("[{name}]\nexportname = {path}\n"),
            );
        }
        scene.appliance.sh("systemctl restart nbd-server").ok();
        scene.appliance.wait_for("nbd-client -l localhost");
        Some(scene)
    }

    /// Types a command as root, in the directory with the programs.
    pub fn type_in(&self, command: &str) -> Ran {
        self.appliance.exec(&["sh", "-c", &format!("cd /opt/output; {command}")])
    }

    /// Has something happen on the appliance.
    pub fn play(&mut self, direction: &str) {
        match direction {
            "a migration writes to vol-1" => self.migrate("vol-1"),
            "the migration ends" => self.clients.clear(),
            "the disk of vol-3 hangs in a write" => {
                self.clients.clear();
                self.freeze("--freeze");
                self.migrate("vol-3");
            }
            "the disk of vol-3 answers again" => {
                self.freeze("--unfreeze");
                self.clients.clear();
            }
            "the names of the disks are swapped" => {
                self.clients.clear();
                self.appliance.sh("mv /dev/vdb /dev/x; mv /dev/vdc /dev/vdb; mv /dev/x /dev/vdc").ok();
                let mut client = self.appliance.connect(PORT).expect("the server accepts connections");
                // Refused until somebody has said that this is meant; the second time it is the disk that was there before.
                let refused = client.go("vol-1").is_err();
                self.swapped = !self.swapped;
                assert_eq!(refused, self.swapped);
            }
            "the disk of vol-2 is lost under a migration" => {
                self.migrate("vol-2");
                let (disk, image) = &self.disks[1];
                std::fs::File::create(image).expect("an image");
                disk.resized().expect("a disk of no size");
                let client = self.clients.last_mut().expect("the migration");
                // The session is ended within a second: it may have been already.
                assert!(
                    [EIO, ESHUTDOWN, CLOSED]
                        .contains(&client.write(0, &[1; 4096]).expect_err("there is no disk"))
                );
            }
            "the disk of vol-2 comes back" => {
                self.clients.clear();
                let (disk, image) = &self.disks[1];
                std::fs::File::create(image).and_then(|file| file.set_len(SIZE)).expect("an image");
                disk.resized().expect("a disk of its old size");
                let mut client = self.appliance.connect(PORT).expect("the server accepts connections");
                client.go("vol-2").expect("it is served again");
            }
            "a sync of vol-2 fails under a migration" => {
                self.migrate("vol-2");
                let _failing = self.failing_syncs();
                let client = self.clients.last_mut().expect("the migration");
                assert_eq!(client.flush(), Err(EIO));
            }
            "the original is in place" => {
                assert_eq!(self.appliance.sh(SUM).ok(), self.original);
                // It writes its number a little later.
                self.appliance.wait_for("test -s /run/nbd-server.pid");
                let runs = self.appliance.sh("sha256sum < /proc/$(cat /run/nbd-server.pid)/exe").ok();
                assert_eq!(runs, self.original, "and runs");
            }
            "a build that does not start" => self.build(),
            "nbdctl is killed between replacing and restarting" => {
                let killed = "cp nbd-server-enhanced another-build; echo >> another-build; \
                              nbdctl deploy ./another-build --restart \
                              'test -e /tmp/killed || { touch /tmp/killed; kill -9 $PPID; }; systemctl restart nbd-server'";
                assert!(!self.type_in(killed).is_ok());
            }
            _ => panic!("nobody knows how to play `{direction}`"),
        }
    }

    /// A client that has written, and stays.
    fn migrate(&mut self, export: &str) {
        let mut client = self.appliance.connect(PORT).expect("the server accepts connections");
        client.go(export).expect("the export is served");
        let cookie = client.next_cookie();
        client.send_request(0, CMD_WRITE, cookie, 0, 4096, &[7; 4096]).expect("sent");
        self.clients.push(client);
    }

    fn freeze(&self, how: &str) {
        run(Command::new("fsfreeze").arg(how).arg(self.dir.join("slow"))).ok();
    }

    /// A server that promises all, and does not come up.
    fn build(&self) {
        let text = "#!/bin/sh\ncase \"$*\" in *-V*|*--help*|*--check*) exec /opt/output/nbd-server-enhanced \"$@\" ;; esac\n\
                    echo 'this build does not start' >&2\nexit 1\n";
        self.appliance.write("/opt/output/broken-build", text);
        self.appliance.sh("chmod 755 /opt/output/broken-build").ok();
    }

    /// The server's syncs fail for as long as this lives.
    fn failing_syncs(&self) -> Failing {
        Failing::begin(self.appliance.host_pid("nbd-server"), "fdatasync,fsync", "EIO")
            .expect("strace is there")
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.dir.join("slow")));
    }
}
