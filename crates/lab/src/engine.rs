//! A Docker engine of the test's own: it changes nothing in the host's network, and its images, which bear the names of
//! official ones, are seen by nobody else.

use crate::base::{Base, Toolchain};
use crate::place::{kept, lock};
use crate::ran::{Ran, run, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::TempDir;

/// A running engine. One at a time; ended on drop, with everything that runs in it.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    dir: TempDir,
    client: PathBuf,
    _turn: File,
}

/// Not the machine's own settings, which may contradict these. What builds keep stays within bounds.
const CONFIG: &str = r#"{"builder": {"gc": {"enabled": true, "defaultKeepStorage": "8GB"}}}"#;

/// What an engine needs from the machine.
pub const PROGRAMS: &[&str] = &["dockerd", "docker", "mmdebstrap", "setpriv"];

impl Engine {
    /// Starts one, or says aloud why this test cannot run.
    ///
    /// # Panics
    /// Where it does not come up, or something is missing in CI.
    #[track_caller]
    pub fn start(test: &str) -> Option<Self> {
        if let Some(what) = crate::missing(PROGRAMS) {
            testkit::skip_or_fail(test, &what);
            return None;
        }
        let turn = lock("engine");
        let dir = TempDir::new("engine");
        let log_path = kept("").join("dockerd.log");
        let log = File::create(&log_path).expect("a file below target");
        let config = dir.join("daemon.json");
        std::fs::write(&config, CONFIG).expect("a new directory can be written");
        let child = Command::new("setpriv")
            // Its end is ours, however we end.
            .args([
                "--pdeathsig",
                "TERM",
                "dockerd",
                "--iptables=false",
                "--ip-forward=false",
                "--bridge=none",
                // Where a containerd runs already, the engine uses that one, and another engine may do so, too.
                "--containerd-namespace=nbd-lab",
                "--containerd-plugins-namespace=nbd-lab-plugins",
            ])
            .arg("--config-file")
            .arg(config)
            .arg("--data-root")
            .arg(kept("engine"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", dir.join("socket").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("setpriv runs");
        let mut engine = Self { child, dir, client: client(), _turn: turn };
        wait_until("the engine answers", Duration::from_secs(60), || {
            if let Ok(Some(status)) = engine.child.try_wait() {
                panic!("dockerd: {status}\n{}", std::fs::read_to_string(&log_path).unwrap_or_default());
            }
            engine.docker(&["version"]).is_ok()
        });
        // Of a test that was killed, and of sources that have changed.
        engine.clear();
        engine.docker(&["image", "prune", "--force"]).ok();
        Some(engine)
    }

    /// Takes every container away, and the networks, each of which has a device in the host's.
    fn clear(&self) {
        for id in self.docker(&["ps", "--all", "--quiet"]).out.split_whitespace() {
            self.docker(&["rm", "--force", "--volumes", id]);
        }
        self.docker(&["network", "prune", "--force"]);
    }

    /// Runs the client.
    pub fn docker(&self, args: &[&str]) -> Ran {
        run(self.client().args(args))
    }

    /// Types lines of shell, in which `docker` is this engine's client.
    ///
    /// # Panics
    /// Where one of them fails.
    #[track_caller]
    pub fn type_in(&self, dir: &Path, lines: &str) {
        // There is no network but the host's in this engine, and only a build wants one here.
        let docker = format!(
            "docker() {{ if test $1 = build; then shift; set -- build --network=host \"$@\"; fi; {} \"$@\"; }}",
            self.client.display()
        );
        let mut shell = Command::new("sh");
        shell.current_dir(dir).envs(self.variables()).args(["-euc", &format!("{docker}\n{lines}")]);
        run(&mut shell).ok();
    }

    /// What tells a client of Docker where this engine is.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("DOCKER_HOST", format!("unix://{}", self.dir.join("socket").display())),
            ("DOCKER_BUILDKIT", "1".into()),
            ("BUILDKIT_PROGRESS", "plain".into()),
        ]
    }

    /// The client, to be given its arguments.
    pub fn client(&self) -> Command {
        let mut client = Command::new(&self.client);
        client.envs(self.variables());
        client
    }

    /// The image of a distribution with these packages; gives its name.
    pub fn base(&self, base: Base, packages: &[&str]) -> String {
        let tar = base.root(packages, Toolchain::Without);
        let name = tar.file_stem().map(|stem| format!("lab:{}", stem.display())).expect("a file has a name");
        self.import(&tar, &name, &[]);
        name
    }

    /// Makes an image that a `Dockerfile` begins with, under the name that it has there.
    ///
    /// # Panics
    /// Where the name tells no distribution.
    pub fn base_of_dockerfile(&self, name: &str) {
        let base = Base::of_image(name).unwrap_or_else(|| panic!("no distribution is known for {name}"));
        if name.starts_with("rust:") {
            let path =
                "ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            let tar = base.root(&[], Toolchain::With);
            self.import(&tar, name, &[path, "ENV CARGO_HOME=/usr/local/cargo"]);
        } else {
            self.import(&base.root(&[], Toolchain::Without), name, &[]);
        }
    }

    fn import(&self, tar: &Path, name: &str, changes: &[&str]) {
        // The same name from another recipe is another image.
        let mark = format!("LABEL made-of={}", tar.file_stem().unwrap_or_default().display());
        let known = self.docker(&[
            "image",
            "inspect",
            "--format",
            "LABEL made-of={{index .Config.Labels \"made-of\"}}",
            name,
        ]);
        if known.is_ok() && known.out.trim() == mark {
            return;
        }
        let mut import = self.client();
        import.arg("import");
        for change in changes.iter().chain([&mark.as_str()]) {
            import.arg("--change").arg(change);
        }
        run(import.arg(tar).arg(name)).ok();
    }
}

/// Debian's own client speaks with BuildKit by itself; another one that comes first in PATH may lack that.
fn client() -> PathBuf {
    let debian = PathBuf::from("/usr/bin/docker");
    if debian.exists() { debian } else { PathBuf::from("docker") }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.clear();
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.child.wait();
        // Of containers in the host's network; it keeps the directory from being removed.
        run(Command::new("umount").arg("--lazy").arg(self.dir.join("exec/netns/default")));
    }
}
