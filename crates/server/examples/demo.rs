//! The main job in a temporary folder, without root and without packages: volumes behind device paths, a replication
//! with a built-in client, a failover and a failback under load, and a verdict. Run it with `cargo x demo`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use testkit::{Client, Reloaded, ServerProcess, Setup, pattern};

const BLOCK: usize = 64 << 10;
const BLOCKS: u64 = 256;
const VOLUME_SIZE: u64 = BLOCKS * BLOCK as u64;

fn main() -> ExitCode {
    // Beside us, built by the same command.
    let program =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("nbd-server")));
    let Some(program) = program.filter(|program| program.is_file()) else {
        eprintln!("The server has not been built. Run `cargo x demo`, which does that too.");
        return ExitCode::FAILURE;
    };
    match Demo::new(program).and_then(Demo::play) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("The demo could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Volumes `alpha`, `beta`, `gamma` are files; `dev/vdX` are links that play the device paths.
struct Demo {
    server: ServerProcess,
    verdict: Vec<(bool, String)>,
}

impl Demo {
    fn new(program: PathBuf) -> io::Result<Self> {
        let setup = Setup::new(program);
        fs::create_dir(setup.dir().join("dev"))?;
        for volume in ["alpha", "beta", "gamma", "delta"] {
            fs::File::create(setup.dir().join(volume))?.set_len(VOLUME_SIZE)?;
        }
        println!("A server for three volumes of {} MiB, in {}", VOLUME_SIZE >> 20, setup.dir().display());
        let demo = Self { server: setup.start(), verdict: Vec::new() };
        for (volume, device) in [("alpha", "vdb"), ("beta", "vdc"), ("gamma", "vdd")] {
            demo.attach(volume, device)?;
            demo.server.write_export(volume, &demo.device(device), "");
        }
        demo.reload();
        Ok(demo)
    }

    fn play(mut self) -> io::Result<bool> {
        let pid = self.server.pid();
        println!(
            "\n1. Two migrations run on beta and gamma, writing and checking what they wrote, until the end."
        );
        let load = [Load::start(&self.server, "beta", 2)?, Load::start(&self.server, "gamma", 3)?];

        println!("\n2. alpha is replicated for the first time, into its volume at dev/vdb.");
        self.replicate("alpha", 1, 1)?;
        self.check("alpha holds the first replica, block by block", self.holds("alpha", 1, 1)?);

        println!(
            "\n3. Failover: alpha is detached, its file in conf.d is removed, SIGHUP. Its old client is still connected."
        );
        let mut old = self.client("alpha")?;
        self.server.remove_conf("alpha.conf");
        self.detach("vdb")?;
        let reloaded = self.reload();
        self.check(
            "the old client was cut off, and only it",
            old.is_closed() && reloaded.closing.fenced == 1,
        );
        self.check("the name alpha is refused", self.server.connect().go("alpha").is_err());
        let open = self.server.open_paths().contains(&self.volume("alpha"));
        self.check("the server has let go of alpha's volume", !open);

        println!("\n4. Another volume, delta, takes the path dev/vdb.");
        self.attach("delta", "vdb")?;

        println!(
            "\n5. Failback: alpha returns at dev/vde, its file is written again, SIGHUP. The next replication runs."
        );
        self.attach("alpha", "vde")?;
        self.server.write_export("alpha", &self.device("vde"), "");
        self.reload();
        self.replicate("alpha", 1, 2)?;
        self.check("alpha holds the second replica, block by block", self.holds("alpha", 1, 2)?);
        let untouched = fs::read(self.volume("delta"))?.iter().all(|&byte| byte == 0);
        self.check("delta, at alpha's old path, was not touched", untouched);

        println!(
            "\n6. A file of conf.d is half written, and another one changes: one is kept, the other applies."
        );
        self.server.write_conf("alpha.conf", "[alpha]\nexportname = /dev/v");
        self.server.write_export("delta", &self.device("vdb"), "readonly = true");
        self.reload();
        let served = ["alpha", "delta"].iter().all(|name| self.server.connect().go(name).is_ok());
        self.check("alpha goes on as it was, and delta is served", served);

        for one in load {
            let (name, rounds, errors) = one.stop();
            self.check(
                &format!("{name}: {rounds} blocks written and checked through all of it, {errors} errors"),
                errors == 0,
            );
        }
        let alive = self.server.is_running();
        self.check(&format!("the process that was started, {pid}, serves on"), alive);
        Ok(self.conclude())
    }

    fn conclude(self) -> bool {
        println!("\nVerdict");
        for (right, claim) in &self.verdict {
            println!("  {}  {claim}", if *right { "yes" } else { "NO " });
        }
        self.verdict.iter().all(|(right, _)| *right)
    }

    fn check(&mut self, claim: &str, right: bool) {
        println!("   {} {claim}", if right { "ok:" } else { "WRONG:" });
        self.verdict.push((right, claim.to_owned()));
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.server.dir().join(name)
    }

    fn device(&self, name: &str) -> PathBuf {
        self.server.dir().join("dev").join(name)
    }

    fn attach(&self, volume: &str, device: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(self.volume(volume), self.device(device))
    }

    fn detach(&self, device: &str) -> io::Result<()> {
        fs::remove_file(self.device(device))
    }

    /// SIGHUP, and the lines that the server says about it, as they come.
    fn reload(&self) -> Reloaded {
        let reloaded = self.server.reload();
        let dir = format!("{}/", self.server.dir().display());
        for event in &reloaded.events {
            println!("   | {}", event.text.replace(&dir, ""));
        }
        reloaded
    }

    fn client(&self, export: &str) -> io::Result<Client> {
        connect(self.server.port(), export)
    }

    /// A replication job: every block, then a flush.
    fn replicate(&self, export: &str, volume: u64, round: u64) -> io::Result<()> {
        let mut client = self.client(export)?;
        for block in 0..BLOCKS {
            let bytes = pattern::block(volume, block, round, BLOCK);
            client.write(block * BLOCK as u64, &bytes).map_err(|error| refused(export, error))?;
        }
        client.flush().map_err(|error| refused(export, error))?;
        println!("   {} MiB replicated into {export}", VOLUME_SIZE >> 20);
        client.disc()
    }

    fn holds(&self, name: &str, volume: u64, round: u64) -> io::Result<bool> {
        let bytes = fs::read(Path::new(&self.volume(name)))?;
        let whole = bytes.len() as u64 == VOLUME_SIZE;
        Ok(whole
            && (0..)
                .zip(bytes.chunks(BLOCK))
                .all(|(block, bytes)| pattern::verify(volume, block, round, bytes).is_ok()))
    }
}

/// A migration that must not notice anything: writes a block, reads it back, compares, again and again.
struct Load {
    name: String,
    stop: Arc<AtomicBool>,
    blocks: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Load {
    fn start(server: &ServerProcess, name: &str, volume: u64) -> io::Result<Self> {
        let mut client = connect(server.port(), name)?;
        let (stop, blocks) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), blocks.clone());
        let thread = thread::spawn(move || {
            let mut errors = 0;
            for round in 0.. {
                let (block, bytes) = (round % BLOCKS, pattern::block(volume, round % BLOCKS, round, BLOCK));
                let at = block * BLOCK as u64;
                let right = client.write(at, &bytes).is_ok()
                    && client.read(at, BLOCK as u32).is_ok_and(|read| read == bytes);
                errors += u64::from(!right);
                count.fetch_add(1, Ordering::Relaxed);
                if stopped.load(Ordering::Relaxed) || errors > 10 {
                    break;
                }
            }
            errors
        });
        Ok(Self { name: name.to_owned(), stop, blocks, thread })
    }

    /// Name, blocks written and checked, errors.
    fn stop(self) -> (String, u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let errors = self.thread.join().unwrap_or(u64::MAX);
        (self.name, self.blocks.load(Ordering::Relaxed), errors)
    }
}

fn connect(port: u16, export: &str) -> io::Result<Client> {
    let mut client = Client::connect_tcp(port)?;
    client.go(export).map_err(|(_, why)| io::Error::other(format!("{export}: {why}")))?;
    Ok(client)
}

fn refused(export: &str, error: u32) -> io::Error {
    io::Error::other(format!("{export}: NBD error {error}"))
}
