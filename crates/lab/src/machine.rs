//! A virtual machine: Debian's kernel, systemd as its first process, disks that are plugged in and pulled out while it
//! runs. Emulated, so that it runs wherever QEMU does.

mod guest;
mod image;
mod json;

use crate::base::Base;
use crate::ran::Ran;
use guest::Agent;
use image::Image;
use json::Talk;
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use testkit::TempDir;
use testkit::setup::free_port;

/// How long it may take to come up: 10 s on two idle processors.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);

/// How long a command in it may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);

/// Where the server listens in it.
const PORT_INSIDE: u16 = 10809;

/// A running machine. Its power is cut on drop.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    dir: TempDir,
    machine: Mutex<Talk>,
    agent: Mutex<Agent>,
    port: u16,
    /// From the start until commands can be run in it.
    pub booted_in: Duration,
}

impl Machine {
    /// What it needs from the machine that it runs on.
    pub const PROGRAMS: &[&str] = &["qemu-system-x86_64", "mmdebstrap", "mke2fs", "setpriv"];

    /// Starts one with these files in it, each where it lies here and where it is wanted there, and waits until it is up.
    ///
    /// # Panics
    /// Where it does not come up; with its console.
    #[track_caller]
    pub fn boot(base: Base, files: &[(&Path, &str)]) -> Self {
        let image = Image::of(base);
        let dir = TempDir::new("machine");
        let root = dir.join("files");
        std::fs::create_dir(&root).expect("a new directory can be written");
        for (from, to) in files {
            let to = root.join(to.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap_or(&root)).expect("a new directory can be written");
            std::fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        image.early(&root, &dir.join("early.cpio"));
        let port = free_port();
        let begun = Instant::now();
        let mut qemu = start(&image, &dir, port);
        let mut come_up = || -> Result<(Talk, Agent), String> {
            let mut machine = connect(&mut qemu, &dir.join("qmp"))?;
            machine.ask("qmp_capabilities", &json!({}))?;
            Ok((machine, Agent::connect(&dir.join("agent"))?))
        };
        match come_up() {
            Ok((machine, agent)) => {
                let (machine, agent) = (Mutex::new(machine), Mutex::new(agent));
                Self { qemu, dir, machine, agent, port, booted_in: begun.elapsed() }
            }
            Err(why) => {
                let _ = qemu.kill();
                let _ = qemu.wait();
                panic!("the machine does not come up: {why}\n{}", console(&dir));
            }
        }
    }

    /// The port of this host that leads to the server in it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a line of shell in it, which stops at its first failure.
    ///
    /// # Panics
    /// Where the machine is no longer there.
    #[track_caller]
    pub fn sh(&self, text: &str) -> Ran {
        self.sh_with(text, b"")
    }

    /// As [`Machine::sh`], with this on its standard input.
    #[track_caller]
    pub fn sh_with(&self, text: &str, input: &[u8]) -> Ran {
        let ran = held(&self.agent).sh(text, input, COMMAND_PATIENCE);
        ran.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Writes a file in it as the appliance does: in place.
    ///
    /// # Panics
    /// Where that fails.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        self.sh_with(&format!("cat > '{path}'"), text.as_bytes()).ok();
    }

    /// Plugs in a disk whose content is this file, and gives the name under which it has appeared, such as `/dev/vdb`.
    ///
    /// # Panics
    /// Where it does not appear.
    #[track_caller]
    pub fn plug(&self, file: &Path, serial: &str) -> String {
        let name = format!("disk-{serial}");
        let medium = json!({
            "driver": "raw",
            "node-name": name,
            "file": { "driver": "file", "filename": file },
        });
        let disk = json!({ "driver": "virtio-blk-pci", "id": name, "drive": name, "serial": serial });
        let mut machine = held(&self.machine);
        let done = machine.ask("blockdev-add", &medium).and_then(|_| machine.ask("device_add", &disk));
        drop(machine);
        done.unwrap_or_else(|why| panic!("{why}"));
        // A machine that is busy with the disk before may miss that another one came; asked, it finds it.
        let link = format!("/dev/disk/by-id/virtio-{serial}");
        self.sh(&format!(
            "udevadm wait --timeout=5 --settle {link} || echo 1 > /sys/bus/pci/rescan; \
             udevadm wait --timeout=60 --settle {link}; readlink -f {link}"
        ))
        .ok()
    }

    /// Pulls a disk out, as a host does that detaches a volume, and waits until the machine has let go of it.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn unplug(&self, serial: &str) {
        let name = format!("disk-{serial}");
        let mut machine = held(&self.machine);
        let mut done = Err(String::new());
        // QEMU lets go of a request that the machine has missed: it is busy with another one.
        for _ in 0..12 {
            let asked = machine.ask("device_del", &json!({ "id": name }));
            done = machine
                .event("DEVICE_DELETED", &name, Duration::from_secs(5))
                .map_err(|why| format!("{why}; {asked:?}"));
            if done.is_ok() {
                break;
            }
        }
        let done = done.and_then(|()| machine.ask("blockdev-del", &json!({ "node-name": name })));
        drop(machine);
        done.unwrap_or_else(|why| panic!("{why}\n{}", console(&self.dir)));
        self.sh(&format!("udevadm wait --timeout=60 --settle --removed /dev/disk/by-id/virtio-{serial}"))
            .ok();
    }

    /// Asks in the machine until a line of shell succeeds.
    ///
    /// # Panics
    /// Where it does not in time.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let (until, patience) = (Instant::now() + COMMAND_PATIENCE, COMMAND_PATIENCE);
        loop {
            let ran = self.sh(text);
            if ran.is_ok() {
                return;
            }
            assert!(Instant::now() < until, "not within {patience:?}: {ran}");
        }
    }

    /// Cuts its power: what it had not written by then is gone.
    pub fn cut(self) {
        drop(self);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Ok(ran) = held(&self.agent).sh("journalctl --no-pager -n 60 -o cat", b"", COMMAND_PATIENCE)
            {
                eprintln!("--- the machine's journal:\n{}", ran.out);
            }
            eprintln!("{}", console(&self.dir));
        }
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// What a panic elsewhere has interrupted is asked all the same: it is about to tell why.
fn held<T>(talk: &Mutex<T>) -> MutexGuard<'_, T> {
    talk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(image: &Image, dir: &TempDir, port: u16) -> Child {
    let at = |name: &str| dir.join(name).display().to_string();
    let log = File::create(dir.join("qemu.log")).expect("a new directory can be written");
    // With slow processors under it the kernel must not judge its timer.
    let line = "console=ttyS0 quiet systemd.show_status=0 net.ifnames=0 no_timer_check mitigations=off \
                random.trust_cpu=on modprobe.blacklist=kvm_amd,kvm_intel,ata_piix,aesni_intel rdinit=/init";
    let mut qemu = Command::new("setpriv");
    // Its end is ours, however we end.
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"])
        // One processor: while one of two maps a new disk's registers, the other's acknowledgement of an interrupt gets lost
        // in the emulation now and then, and it is never interrupted again.
        .args(["-machine", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024"])
        .args(["-display", "none", "-serial", &format!("file:{}", at("console"))])
        .arg("-kernel")
        .arg(image.kernel())
        .args(["-initrd", &at("early.cpio"), "-append", line])
        .args(["-device", "virtio-blk-pci,drive=root,serial=root", "-drive"])
        .arg(format!("if=none,id=root,format=raw,snapshot=on,file={}", image.root().display()))
        .args(["-netdev", &format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{PORT_INSIDE}")])
        // No boot from the network: its firmware would only take time.
        .args(["-device", "virtio-net-pci,netdev=net,romfile="])
        .args([
            "-object",
            "rng-random,id=random,filename=/dev/urandom",
            "-device",
            "virtio-rng-pci,rng=random",
        ])
        .args(["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))])
        .args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", at("agent"))])
        .args(["-device", "virtio-serial-pci"])
        .args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log);
    qemu.spawn().expect("setpriv runs")
}

/// Connects as soon as QEMU listens, unless it has ended.
fn connect(qemu: &mut Child, socket: &Path) -> Result<Talk, String> {
    let until = Instant::now() + BOOT_PATIENCE;
    loop {
        match Talk::connect(socket) {
            Ok(talk) => return Ok(talk),
            Err(error) if Instant::now() > until => return Err(format!("QEMU does not listen: {error}")),
            Err(_) => {}
        }
        if let Ok(Some(status)) = qemu.try_wait() {
            return Err(format!("QEMU ended with {status}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn console(dir: &TempDir) -> String {
    let text = |name: &str| {
        let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    format!("--- QEMU:\n{}\n--- the machine's console:\n{}", text("qemu.log"), text("console"))
}
