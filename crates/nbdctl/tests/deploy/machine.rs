//! A machine in a directory: Debian's `nbd-server` as it is, its configuration, pid file and backups, and a command that
//! restarts it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::setup::free_port;
use testkit::{Client, TempDir, program, tool};

/// Of each disk.
pub const SIZE: u64 = 4 << 20;

/// The machine. Its server is ended when it goes.
pub struct Machine {
    pub dir: TempDir,
    pub port: u16,
}

/// How a run of `nbdctl` ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
}

/// nbd-server 3.24 itself; not ours under its name.
pub fn original() -> Option<PathBuf> {
    let path = tool("nbd-server")?;
    let output = Command::new(&path).arg("--nonsense").stdin(Stdio::null()).output().ok()?;
    let usage = String::from_utf8_lossy(&output.stdout).into_owned();
    (usage.starts_with("This is nbd-server version 3.24\n") && !usage.contains("enhanced")).then_some(path)
}

/// For a shell, before the command that starts a server.
fn at_once() -> String {
    testkit::starts_at_once().map(|library| format!("LD_PRELOAD={}", library.display())).unwrap_or_default()
}

impl Machine {
    /// With these exports, each on a disk of its own bytes; the original serves them. None where there is no original.
    pub fn new(exports: &[&str]) -> Option<Self> {
        let original = original()?;
        let machine = Self { dir: TempDir::new("deploy"), port: free_port() };
        for dir in ["bin", "conf.d", "disks"] {
            fs::create_dir(machine.dir.join(dir)).expect("a directory");
        }
        fs::copy(original, machine.target()).expect("the original");
        let dir = machine.dir.path().display();
        let text = format!(
            "[generic]\nport = {}\nlistenaddr = 127.0.0.1\nallowlist = true\nincludedir = {dir}/conf.d\n\
             controlsock = {dir}/control.sock\n[dummy]\nexportname = /dev/null\n",
            machine.port
        );
        fs::write(machine.config(), text).expect("written");
        for (at, name) in exports.iter().enumerate() {
            let byte = u8::try_from(at + 1).expect("few");
            fs::write(machine.disk(name), vec![byte; SIZE as usize]).expect("written");
            machine.export(name, &machine.disk(name), "");
        }
        let restart = format!(
            // Whatever was started goes, as a service manager sees to it.
            "#!/bin/sh\nset -e\nfor file in {dir}/pid {dir}/other-pid; do\n  [ -s $file ] || continue\n  \
             pid=$(cat $file)\n  kill $pid 2>/dev/null || true\n  \
             while readlink /proc/$pid/exe >/dev/null; do sleep 0.02; done\n  rm -f $file\ndone\n\
             {} exec {dir}/bin/nbd-server -C {dir}/config -p {dir}/pid\n",
            at_once()
        );
        machine.script("restart", &restart);
        machine.restart();
        Some(machine)
    }

    /// Whatever is in place.
    #[track_caller]
    pub fn restart(&self) {
        let started = Command::new(self.dir.join("restart")).status().expect("it runs");
        assert!(started.success());
        self.wait("it serves", || Client::connect_tcp(self.port).is_ok());
    }

    /// The same with a `unixsock`, which takes the place of the port: where it is.
    #[track_caller]
    pub fn restart_on_a_unix_socket(&self) -> PathBuf {
        let socket = self.dir.join("nbd.sock");
        let text = fs::read_to_string(self.config()).expect("read");
        let text = text.replace("[dummy]", &format!("unixsock = {}\n[dummy]", socket.display()));
        fs::write(self.config(), text).expect("written");
        let started = Command::new(self.dir.join("restart")).status().expect("it runs");
        assert!(started.success());
        self.wait("it serves", || Client::connect_unix(&socket).is_ok());
        socket
    }

    /// Ours, with a byte more.
    pub fn later_build(&self) -> PathBuf {
        let later = self.dir.join("later");
        fs::copy(program("nbd-server"), &later).expect("copied");
        let mut file = fs::OpenOptions::new().append(true).open(&later).expect("opened");
        std::io::Write::write_all(&mut file, b"\n").expect("written");
        later
    }

    pub fn target(&self) -> PathBuf {
        self.dir.join("bin/nbd-server")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("config")
    }

    pub fn disk(&self, name: &str) -> PathBuf {
        self.dir.join("disks").join(name)
    }

    pub fn backups(&self) -> PathBuf {
        self.dir.join("backups")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn export(&self, name: &str, path: &Path, more: &str) {
        let text = format!("[{name}]\nexportname = {}\n{more}\n", path.display());
        fs::write(self.dir.join("conf.d").join(format!("{name}.conf")), text).expect("written");
    }

    /// A program for a shell.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// Ours, but what the shell does in `first` with its words comes before it.
    pub fn wrapped(&self, name: &str, first: &str) -> PathBuf {
        let ours = program("nbd-server");
        self.script(name, &format!("#!/bin/sh\n{first}\nexec {} \"$@\"\n", ours.display()))
    }

    /// `nbdctl WORD` on this machine, with further words.
    pub fn command(&self, word: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nbdctl"));
        let dir = self.dir.path().display();
        command.arg(word).args(["--target", &format!("{dir}/bin/nbd-server")]);
        command.args(["--pid-file", &format!("{dir}/pid"), "--backups", &format!("{dir}/backups")]);
        command.args(["--restart", &format!("{dir}/restart")]);
        if !more.contains(&"--dry-run") {
            command.args(["--log", &format!("{dir}/log")]);
        }
        command.args(more).stdin(Stdio::null());
        command
    }

    /// The same, but nobody says where the number of the server is.
    pub fn run_without_pid_file(&self, word: &str, more: &[&str]) -> Ran {
        let command = self.command(word, more);
        let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let at = words.iter().position(|word| word == "--pid-file").expect("it is said");
        let mut command = Command::new(command.get_program());
        ran(&command.args(&words[..at]).args(&words[at + 2..]).output().expect("nbdctl runs"))
    }

    pub fn run(&self, word: &str, more: &[&str]) -> Ran {
        ran(&self.command(word, more).output().expect("nbdctl runs"))
    }

    pub fn start(&self, word: &str, more: &[&str]) -> Child {
        let mut command = self.command(word, more);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nbdctl runs")
    }

    /// Ends the server by a signal, and by nothing else.
    #[track_caller]
    pub fn stop(&self, signal: &str) {
        let pid = self.pid().expect("it runs").to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        self.wait("it has ended", || fs::read_link(format!("/proc/{pid}/exe")).is_err());
    }

    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }

    /// A client in transmission.
    pub fn open(&self, export: &str) -> Client {
        let mut client = Client::connect_tcp(self.port).expect("it listens");
        client.go(export).expect("it is served");
        client
    }

    /// Which program answers, by what only ours knows; and each export has the bytes of its disk.
    #[track_caller]
    pub fn serves(&self, ours: bool, exports: &[&str]) {
        let usage = Command::new(self.target()).arg("--help").output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&usage.stdout).contains("enhanced"), ours);
        for (at, name) in exports.iter().enumerate() {
            let byte = u8::try_from(at + 1).expect("few");
            let mut client = self.open(name);
            assert_eq!(client.read(SIZE - 4096, 4096).expect("read"), vec![byte; 4096], "{name}");
        }
    }

    /// Waits for something that does not tell by itself.
    #[track_caller]
    pub fn wait(&self, what: &str, mut is: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is() {
            assert!(Instant::now() < until, "not within 20 s: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Every file below the directory with its bytes, mode and time, in order.
    pub fn tree(&self) -> Vec<String> {
        let find =
            "find . -printf '%p %m %s %T@ ' \\( -type f -exec sha256sum {} \\; -o -printf '\\n' \\) | sort";
        let output =
            Command::new("sh").args(["-c", find]).current_dir(self.dir.path()).output().expect("find");
        String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect()
    }

    pub fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join(dir)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|one| one.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

pub fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout) + &text(&output.stderr) }
}

impl Ran {
    /// It ended so, and said each of these.
    #[track_caller]
    pub fn ends(&self, code: i32, said: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.out);
        for piece in said {
            assert!(self.out.contains(piece), "{piece:?} is missing in:\n{}", self.out);
        }
        self
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The original ends its children with it.
        let file = |name: &str| fs::read_to_string(self.dir.join(name)).ok()?.trim().parse::<u32>().ok();
        for pid in ["pid", "other-pid"].into_iter().filter_map(file) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
            let until = Instant::now() + Duration::from_secs(5);
            while fs::read_link(format!("/proc/{pid}/exe")).is_ok() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
