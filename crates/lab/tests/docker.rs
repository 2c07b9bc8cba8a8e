//! The Docker build, by the commands that the `Dockerfile` tells, and what comes out of it.
#![allow(missing_docs, reason = "the whole file is a test")]

use lab::{Base, Container, Engine, Product, Ran, repository, run, sh, wait_until};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::setup::{export, free_port};
use testkit::{Client, TempDir, pattern};

const PATIENCE: Duration = Duration::from_secs(30);

/// What glibc is made of: all that the programs may ask the system for.
const OF_LIBC: &[&str] = &["linux-vdso", "libc.", "libpthread.", "libdl.", "libm.", "librt.", "ld-linux"];

#[test]
fn the_programs_need_nothing_but_a_libc_of_2_31() {
    let Some((_engine, product)) = built("the_programs_need_nothing_but_a_libc_of_2_31") else { return };
    for program in [product.server(), product.nbdctl()] {
        let libraries = run(Command::new("ldd").arg(&program)).ok();
        assert!(libraries.contains("libc.so.6"), "this is no list of libraries: {libraries}");
        let strange: Vec<&str> = libraries
            .lines()
            .filter(|line| {
                !OF_LIBC.iter().any(|name| {
                    line.trim().trim_start_matches("/lib64/").trim_start_matches("/lib/").starts_with(name)
                })
            })
            .collect();
        assert!(strange.is_empty(), "{}: {strange:?}", program.display());
        let symbols = run(Command::new("objdump").arg("-T").arg(&program)).ok();
        let versions = symbols
            .split("GLIBC_2.")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
        let newest = versions.max().expect("it uses libc");
        assert!(newest <= 31, "{} wants glibc 2.{newest}", program.display());
    }
    let server = product.server();
    let version = run(Command::new(&server).arg("-V")).ok();
    assert_eq!(version, "This is nbd-server version 3.24");
    let usage = run(Command::new(&server).arg("--help"));
    assert_eq!(usage.code, Some(1), "as the original: {usage}");
    assert!(usage.out.contains("Usage: nbd-server"), "{usage}");
}

#[test]
fn manual_completions_units_checksums_and_package_lie_beside_the_programs() {
    let Some((_engine, product)) =
        built("manual_completions_units_checksums_and_package_lie_beside_the_programs")
    else {
        return;
    };
    let dir = product.dir();
    let mut sums = Command::new("sha256sum");
    let checked = run(sums.args(["--check", "--strict", "SHA256SUMS"]).current_dir(dir)).ok();
    for file in [
        "nbd-server-enhanced",
        "nbdctl",
        "man/nbd-server.1",
        "man/nbd-server.5",
        "man/nbdctl.1",
        "completions/_nbdctl",
        "completions/nbdctl.bash",
        "completions/nbdctl.fish",
        "systemd/nbd-server.service",
        "nbd-server-enhanced.cdx.json",
        "nbdctl.cdx.json",
    ] {
        assert!(checked.contains(&format!("{file}: OK")), "{file} is not there: {checked}");
    }
    run(Command::new("bash").arg("-n").arg(dir.join("completions/nbdctl.bash"))).ok();
    let packages = checked.lines().filter(|line| line.contains(".deb: OK")).count();
    assert_eq!(packages, 1, "{checked}");
}

/// Cargo is asked what is linked in, the bill what it lists.
#[test]
fn each_bill_of_materials_names_everything_that_is_linked_in() {
    let Some((_engine, product)) = built("each_bill_of_materials_names_everything_that_is_linked_in") else {
        return;
    };
    for (package, more, bill) in [
        ("server", &["--features", "vendored"][..], "nbd-server-enhanced.cdx.json"),
        ("nbdctl", &[], "nbdctl.cdx.json"),
    ] {
        let mut tree = Command::new("cargo");
        tree.current_dir(repository()).args(["tree", "--locked", "--prefix=none", "--edges=normal"]);
        tree.args(["--format={lib} {p}", "-p", package]).args(more);
        let tree = run(&mut tree).ok();
        let linked: BTreeSet<(String, String)> = tree
            .lines()
            .filter(|line| !line.starts_with(' ') && !line.contains("(proc-macro)"))
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1);
                Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
            })
            .filter(|(name, _)| name != package)
            .collect();
        let text = std::fs::read_to_string(product.file(bill)).expect("a text");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let listed: BTreeSet<(String, String)> = json["components"]
            .as_array()
            .expect("components")
            .iter()
            .map(|part| {
                let text = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
                (text("name"), text("version"))
            })
            .collect();
        assert!(linked.len() > 20, "this is not what {package} is made of: {linked:?}");
        let missing: Vec<_> = linked.difference(&listed).collect();
        assert!(missing.is_empty(), "{bill} does not name {missing:?}");
    }
}

#[test]
fn it_serves_in_the_oldest_the_appliances_and_the_newest_distribution() {
    let Some((engine, product)) = built("it_serves_in_the_oldest_the_appliances_and_the_newest_distribution")
    else {
        return;
    };
    for base in Base::ALL {
        let image = engine.base(base, &[]);
        let disks = Disks::new("/disks/control.sock");
        let container = Container::run(
            &engine,
            &[
                "--network=host",
                &mount(product.dir(), "/product"),
                &disks.mount(),
                &image,
                "/product/nbd-server-enhanced",
                "-n",
                "-C",
                "/disks/config",
            ],
        );
        disks.is_served(&container);
        let status = container.exec(&["/product/nbdctl", "--socket=/disks/control.sock", "status"]).ok();
        assert!(status.contains("nbd-server"), "{}: {status}", base.suite());
    }
}

/// As it is meant to run: not root, nothing to write but its own directory, no capability, no io_uring.
#[test]
fn the_image_serves_reloads_tells_its_health_and_ends_in_order() {
    let Some((engine, product)) = built("the_image_serves_reloads_tells_its_health_and_ends_in_order") else {
        return;
    };
    let image = product.target(&engine, "runtime");
    let disks = Disks::new("/run/nbd-server/control.sock");
    let seccomp = disks.dir.join("no-io-uring.json");
    let uring = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_KILL_PROCESS",
        "names": ["io_uring_setup", "io_uring_enter", "io_uring_register"]}]}"#;
    std::fs::write(&seccomp, uring).expect("a new directory can be written");
    let container = Container::run(
        &engine,
        &[
            "--network=host",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            &format!("--security-opt=seccomp={}", seccomp.display()),
            "--health-interval=1s",
            "--health-timeout=3s",
            "--health-retries=1",
            &disks.mount(),
            &image,
            "-n",
            "-C",
            "/disks/config",
            "-p",
            "/run/nbd-server/pid",
        ],
    );
    disks.is_served(&container);
    let health = || container.inspect("{{.State.Health.Status}}");
    wait_until("it is healthy", PATIENCE, || health() == "healthy");
    assert_eq!(container.sh("id -u; id -g").ok(), "10809\n10809");
    let root = container.exec(&["touch", "/here"]);
    assert!(root.failed().contains("Read-only"), "the root was to be read-only");

    // Every signal goes through PID 1 to the server.
    std::fs::write(disks.dir.join("conf.d/more.conf"), disks.export("more")).expect("written");
    container.kill("HUP");
    wait_until("it says that the reload is complete", PATIENCE, || {
        container.logs().contains("MIGRATEKIT: reload complete generation=3 added=1")
    });
    assert!(Client::connect_tcp(disks.port).expect("it listens").go("more").is_ok());

    // A hook leaves a process behind, and PID 1 takes it when that ends.
    let mut hooked = Client::connect_tcp(disks.port).expect("it listens");
    assert!(hooked.go("hooked").is_ok());
    wait_until("what the hook left behind has run", PATIENCE, || disks.dir.join("orphan").exists());
    let zombies = "cat /proc/[0-9]*/stat | grep ') Z ' || true";
    wait_until("nobody is left unburied", PATIENCE, || container.sh(zombies).ok().is_empty());

    // Somebody who does not answer is not well.
    let server = container.sh("cat /run/nbd-server/pid").ok();
    container.sh(&format!("kill -STOP {server}")).ok();
    wait_until("it is unhealthy", PATIENCE, || health() == "unhealthy");
    container.sh(&format!("kill -CONT {server}")).ok();

    engine.docker(&["stop", "--time=10", container.id()]).ok();
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "0", "{}", container.logs());
}

/// Not on a volume: on the container's own layers.
#[test]
#[ignore = "cargo x lab"]
fn the_image_serves_files_of_its_own_file_system() {
    let Some((engine, product)) = built("the_image_serves_files_of_its_own_file_system") else { return };
    let image = product.target(&engine, "runtime");
    let port = free_port();
    let config = TempDir::new("image");
    open_to_all(config.path());
    let disk = "[disk]\nexportname = /srv/nbd/disk.img\nfilesize = 16777216\n";
    std::fs::write(config.join("config"), format!("[generic]\nport = {port}\n{disk}")).expect("written");
    let container = Container::run(
        &engine,
        &["--network=host", &mount(&config.join("config"), "/etc/nbd-server/config"), &image],
    );
    let mut client = connected(&container, port);
    assert_eq!(client.go("disk").expect("served").size, 16 << 20);
    work(&mut client);
    assert!(container.sh("grep -c overlay /proc/mounts").is_ok(), "this is a test of overlayfs");
}

/// The compose file as it is, but for the ports.
#[test]
#[ignore = "cargo x lab"]
fn the_compose_file_shows_a_volume_a_reload_and_the_metrics() {
    let test = "the_compose_file_shows_a_volume_a_reload_and_the_metrics";
    if let Some(what) = lab::missing(&["docker-compose"]) {
        testkit::skip_or_fail(test, &what);
        return;
    }
    let Some((engine, product)) = built(test) else { return };
    let image = product.target(&engine, "runtime");
    engine.docker(&["tag", &image, "nbd-server-enhanced"]).ok();
    let dir = TempDir::new("compose");
    sh(&format!("cp -r {}/packaging/docker/. {}", repository().display(), dir.path().display())).ok();
    let (port, metrics) = (free_port(), free_port());
    let compose = |args: &[&str]| -> Ran {
        let mut compose = Command::new("docker-compose");
        compose.envs(engine.variables());
        compose.env("NBD_PORT", port.to_string()).env("METRICS_PORT", metrics.to_string());
        run(compose.current_dir(dir.path()).args(["--project-name", "lab"]).args(args))
    };
    compose(&["down", "--volumes"]);
    compose(&["up", "--detach", "--no-build"]).ok();
    wait_until("it serves", PATIENCE, || Client::connect_tcp(port).is_ok());
    let mut client = Client::connect_tcp(port).expect("it listens");
    assert_eq!(client.go("disk").expect("served").size, 1 << 30);
    work(&mut client);
    std::fs::write(
        dir.join("conf.d/more.conf"),
        "[more]\nexportname = /srv/nbd/more.img\nfilesize = 1048576\n",
    )
    .expect("written");
    let said = compose(&["exec", "-T", "nbd", "nbdctl", "reload"]).ok();
    assert!(said.contains("more"), "{said}");
    let figures = sh(&format!("curl --silent --fail http://127.0.0.1:{metrics}/metrics")).ok();
    assert!(figures.contains("\nnbd_"), "{figures}");
    compose(&["kill", "-s", "HUP", "nbd"]).ok();
    wait_until("the signal arrives", PATIENCE, || {
        compose(&["logs", "--no-color"]).out.contains("reload complete generation=3")
    });
    compose(&["down", "--volumes"]).ok();
}

/// From nothing, twice: not even the caches of the first build are left for the second.
#[test]
#[ignore = "two cold builds take ten minutes: cargo x lab"]
fn two_builds_of_one_commit_are_the_same_to_the_byte() {
    let Some((engine, product)) = built("two_builds_of_one_commit_are_the_same_to_the_byte") else { return };
    let sums = || std::fs::read_to_string(product.file("SHA256SUMS")).expect("a text");
    let first = sums();
    engine.docker(&["image", "rm", "--force", "nbd-server-builder", "lab-runtime"]);
    engine.docker(&["builder", "prune", "--all", "--force"]).ok();
    Product::build(&engine);
    assert_eq!(first, sums());
}

/// An engine and what was built in it.
fn built(test: &str) -> Option<(Engine, Product)> {
    if let Some(what) = lab::missing(&["objdump", "curl"]) {
        testkit::skip_or_fail(test, &what);
        return None;
    }
    let engine = Engine::start(test)?;
    let product = Product::build(&engine);
    Some((engine, product))
}

fn mount(from: &Path, to: &str) -> String {
    format!("--volume={}:{to}", from.display())
}

/// Whoever serves in a container is another user than who wrote its files.
fn open_to_all(dir: &Path) {
    sh(&format!("chmod -R a+rwX {}", dir.display())).ok();
}

/// A configuration and its disks, seen as `/disks` in a container.
struct Disks {
    dir: TempDir,
    port: u16,
}

impl Disks {
    fn new(controlsock: &str) -> Self {
        let disks = Self { dir: TempDir::new("disks"), port: free_port() };
        let hook = "prerun = sh -c '(sleep 1; touch /disks/orphan) >/dev/null 2>&1 &'\n";
        let text = format!(
            "[generic]\nport = {}\nallowlist = true\nincludedir = /disks/conf.d\ncontrolsock = {controlsock}\n{}{}",
            disks.port,
            disks.export("disk"),
            export("hooked", Path::new("/disks/hooked.img"), hook),
        );
        disks.dir.sparse("hooked.img", 1 << 20);
        std::fs::create_dir(disks.dir.join("conf.d")).expect("a new directory can be written");
        std::fs::write(disks.dir.join("config"), text).expect("a new directory can be written");
        open_to_all(disks.dir.path());
        disks
    }

    /// A disk, and the group of the configuration that serves it.
    fn export(&self, name: &str) -> String {
        self.dir.sparse(&format!("{name}.img"), 16 << 20);
        open_to_all(self.dir.path());
        export(name, Path::new(&format!("/disks/{name}.img")), "")
    }

    fn mount(&self) -> String {
        mount(self.dir.path(), "/disks")
    }

    /// Written and read through the server, and there in the file; a reload brings another disk.
    #[track_caller]
    fn is_served(&self, container: &Container<'_>) {
        let mut client = connected(container, self.port);
        assert_eq!(client.go("disk").expect("served").size, 16 << 20);
        work(&mut client);
        let file = std::fs::read(self.dir.join("disk.img")).expect("a file");
        pattern::verify(1, 3, 1, &file[3 << 16..4 << 16]).expect("what was written is in the file");
        std::fs::write(self.dir.join("conf.d/new.conf"), self.export("new")).expect("written");
        container.kill("HUP");
        wait_until("the new disk is served", PATIENCE, || {
            Client::connect_tcp(self.port).is_ok_and(|mut client| client.go("new").is_ok())
        });
    }
}

#[track_caller]
fn connected(container: &Container<'_>, port: u16) -> Client {
    let mut client = None;
    wait_until("it listens", PATIENCE, || {
        assert_eq!(container.inspect("{{.State.Running}}"), "true", "{}", container.logs());
        client = Client::connect_tcp(port).ok();
        client.is_some()
    });
    client.expect("it was waited for")
}

/// Every kind of change, each seen again.
#[track_caller]
fn work(client: &mut Client) {
    let block = 64 << 10;
    for at in 0..8 {
        client.write(at * block, &pattern::block(1, at, 1, 64 << 10)).expect("written");
    }
    client.flush().expect("flushed");
    client.zero(0, 0, 4096).expect("zeroed");
    client.trim(8 * block, 64 << 10).expect("trimmed");
    assert_eq!(client.read(0, 4096).expect("read"), vec![0; 4096]);
    let read = client.read(3 * block, 64 << 10).expect("read");
    pattern::verify(1, 3, 1, &read).expect("what was written is read");
}
