//! The appliance: our server under its unit and its configuration, volumes that are plugged in and pulled out, and what
//! each of them must hold.

use lab::{Base, Engine, Machine, Product, Ran};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;
use testkit::spec::FLAG_READ_ONLY;
use testkit::{Client, Event, Reloaded, TempDir, pattern};

/// The block that replication writes by.
pub const BLOCK: usize = 64 << 10;
/// Blocks of a volume.
pub const BLOCKS: u64 = 128;

/// The appliance's unit.
pub const UNIT: &str = "\
[Unit]
Description=NBD Server for Migration
After=network.target

[Service]
Type=forking
User=root
Group=root
ExecStart=/usr/bin/nbd-server -C /etc/nbd-server/config
ExecReload=/bin/kill -HUP $MAINPID
PIDFile=/run/nbd-server.pid
Restart=always
RestartSec=5
TimeoutStartSec=30
TimeoutStopSec=30
StandardOutput=journal
StandardError=journal
SyslogIdentifier=nbd-server

[Install]
WantedBy=multi-user.target
";

/// The appliance's main file, with the keys that no nbd-server has ever known.
const CONFIG: &str = "\
[generic]
user = root
group = root
port = 10809
bind = 127.0.0.1
allowlist = true
includedir = /etc/nbd-server/conf.d
logfile = /var/log/nbd-server.log
loglevel = 3
max_connections = 50
timeout = 30
[dummy]
exportname = /dev/null
readonly = true
";

/// A disk of the storage behind the appliance: a file here, a virtio disk there while it is plugged in.
pub struct Volume {
    /// Its serial number, as the appliance finds it in `/dev/disk/by-id`.
    pub serial: &'static str,
    pub file: PathBuf,
    number: u64,
    /// The round of replication that it holds.
    round: Cell<u64>,
}

impl Volume {
    pub fn export(&self) -> String {
        format!("migration-vol-{}", self.serial)
    }

    /// A block as it was written last.
    pub fn block(&self, block: u64) -> Vec<u8> {
        self.block_of_round(0, block)
    }

    /// A block as it will be written so many rounds from now.
    pub fn block_of_round(&self, later: u64, block: u64) -> Vec<u8> {
        pattern::block(self.number, block, self.round.get() + later, BLOCK)
    }

    /// Another round begins: what is written from now on.
    pub fn begin_round(&self) {
        self.round.set(self.round.get() + 1);
    }

    /// Fails unless the whole of it is what was written to it last, and nothing else.
    #[track_caller]
    pub fn check(&self) {
        let bytes = std::fs::read(&self.file).expect("the volume's file");
        assert_eq!(bytes.len(), BLOCKS as usize * BLOCK);
        for (block, bytes) in (0..).zip(bytes.chunks(BLOCK)) {
            pattern::verify(self.number, block, self.round.get(), bytes)
                .unwrap_or_else(|why| panic!("{}: {why}", self.serial));
        }
    }
}

/// A machine and its volumes: two that are migrated to, and one of somebody else.
pub struct Desk {
    pub machine: Machine,
    pub a: Volume,
    pub b: Volume,
    pub other: Volume,
    pub dir: TempDir,
}

impl Desk {
    /// Boots the appliance's generation and starts the server, or says aloud why this test cannot run.
    pub fn boot(test: &str) -> Option<Self> {
        Self::boot_with(test, Base::Bookworm, UNIT, false)
    }

    /// As [`Desk::boot`], with another distribution, another unit, and the operator's program too.
    pub fn boot_with(test: &str, base: Base, unit: &str, with_nbdctl: bool) -> Option<Self> {
        if let Some(what) = lab::missing(Machine::PROGRAMS) {
            testkit::skip_or_fail(test, &what);
            return None;
        }
        let server = server(test)?;
        let dir = TempDir::new("volumes");
        let [a, b, other] = [("vol-a", 1), ("vol-b", 2), ("vol-other", 3)].map(|(serial, number)| {
            let volume = Volume { serial, file: dir.join(serial), number, round: Cell::new(0) };
            let content: Vec<u8> = (0..BLOCKS).flat_map(|block| volume.block(block)).collect();
            std::fs::write(&volume.file, content).expect("a new directory can be written");
            volume
        });
        for (name, text) in [("unit", unit), ("config", CONFIG)] {
            std::fs::write(dir.join(name), text).expect("a new directory can be written");
        }
        let begun = Instant::now();
        let (nbdctl, config, unit) = (server.with_file_name("nbdctl"), dir.join("config"), dir.join("unit"));
        let mut files = vec![
            (server.as_path(), "/usr/bin/nbd-server"),
            (&config, "/etc/nbd-server/config"),
            (&unit, "/etc/systemd/system/nbd-server.service"),
        ];
        if with_nbdctl {
            files.push((&nbdctl, "/usr/bin/nbdctl"));
        }
        let machine = Machine::boot(base, &files);
        println!("the machine is up after {:?}, {:?} with its image", machine.booted_in, begun.elapsed());
        machine
            .sh("mkdir -p /etc/nbd-server/conf.d; systemctl start nbd-server; systemctl is-active nbd-server")
            .ok();
        Some(Self { machine, a, b, other, dir })
    }

    /// Holds one claim after another, and says how long each took.
    pub fn hold(&self, claims: &[super::Claim]) {
        for (what, claim) in claims {
            let begun = Instant::now();
            println!("{what} ...");
            claim(self);
            println!("{what}: held, {:.1} s", begun.elapsed().as_secs_f32());
        }
    }

    /// Plugs a volume in, and gives its name.
    #[track_caller]
    pub fn plug(&self, volume: &Volume) -> String {
        self.machine.plug(&volume.file, volume.serial)
    }

    #[track_caller]
    pub fn unplug(&self, volume: &Volume) {
        self.machine.unplug(volume.serial);
    }

    fn conf(volume: &Volume) -> String {
        format!("/etc/nbd-server/conf.d/{}.conf", volume.export())
    }

    /// Writes a volume's file, as the appliance does.
    #[track_caller]
    pub fn configure(&self, volume: &Volume, path: &str) {
        let text = format!(
            "[{}]\nexportname = {path}\nreadonly = false\nmultifile = false\ncopyonwrite = false\n",
            volume.export()
        );
        self.machine.write(&Self::conf(volume), &text);
    }

    #[track_caller]
    pub fn unconfigure(&self, volume: &Volume) {
        self.machine.sh(&format!("rm {}", Self::conf(volume))).ok();
    }

    /// Every `MIGRATEKIT` line in the journal.
    #[track_caller]
    fn events(&self) -> Vec<Event> {
        let text = self.machine.sh("journalctl -u nbd-server -o cat --no-pager").ok();
        text.lines().filter_map(Event::parse).collect()
    }

    /// Asks for a reload by this command, and gives what the journal says of it.
    #[track_caller]
    pub fn reload_by(&self, command: &str) -> Reloaded {
        let before = self.events().len();
        self.machine.sh(command).ok();
        let closed = "journalctl -u nbd-server -o cat --no-pager | grep MIGRATEKIT | \
                      tail -n +BEFORE | grep -qE 'MIGRATEKIT: reload (complete|incomplete|refused)'";
        self.machine.wait_for(&closed.replace("BEFORE", &(before + 1).to_string()));
        let events = self.events().split_off(before);
        let closing = events.iter().find_map(Event::closing).expect("it was waited for");
        Reloaded { closing, events }
    }

    /// As operators do.
    #[track_caller]
    pub fn hup(&self) -> Reloaded {
        self.reload_by("kill -HUP $(pgrep nbd-server)")
    }

    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect_tcp(self.machine.port()).expect("the server greets")
    }

    #[track_caller]
    pub fn open(&self, volume: &Volume) -> Client {
        let mut client = self.connect();
        let info = client.go(&volume.export()).unwrap_or_else(|why| panic!("{}: {why:?}", volume.serial));
        assert_eq!((info.size, info.flags & FLAG_READ_ONLY), (BLOCKS * BLOCK as u64, 0), "{}", volume.serial);
        client
    }

    /// A replication job: the whole disk, and a flush at its end.
    #[track_caller]
    pub fn replicate(&self, volume: &Volume) {
        let mut client = self.open(volume);
        volume.begin_round();
        for block in 0..BLOCKS {
            client.write(block * BLOCK as u64, &volume.block(block)).expect("written");
        }
        client.flush().expect("flushed");
        client.disc().expect("left");
    }

    /// Fails unless every volume holds what was meant for it, wherever it is plugged in.
    #[track_caller]
    pub fn check(&self) {
        for volume in [&self.a, &self.b, &self.other] {
            volume.check();
        }
    }

    /// The export cannot be entered; gives the reason that the client is told.
    #[track_caller]
    pub fn refused(&self, volume: &Volume) -> String {
        let (_, why) = self.connect().go(&volume.export()).expect_err("nobody may enter");
        why
    }

    #[track_caller]
    pub fn listed(&self) -> Vec<String> {
        self.connect().list().expect("a list")
    }

    #[track_caller]
    pub fn sh(&self, text: &str) -> Ran {
        self.machine.sh(text)
    }
}

/// The server that the `Dockerfile` builds, built once for all tests of this file, or the one that `LAB_SERVER` names.
fn server(test: &str) -> Option<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(named) = std::env::var_os("LAB_SERVER") {
        return Some(named.into());
    }
    let mut built = BUILT.lock().expect("no build has panicked");
    if built.is_none() {
        let engine = Engine::start(test)?;
        *built = Some(Product::build(&engine).server());
    }
    built.clone()
}
