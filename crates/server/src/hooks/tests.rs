use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// A directory for what commands write; its path needs no quotes.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nbd-hooks-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn quiet() -> Log {
    Log::to(|_, _| ())
}

fn hooks(prerun: &str, postrun: &str, pending: &Arc<Pending>) -> Hooks {
    Hooks::new(Some(prerun.into()), Some(postrun.into()), "/srv/disk".into(), pending, &quiet())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// What the shell makes of a name, wherever `%s` stands: the name, as a part of one word. `OUT` is where the command
/// prints to, `N` in what is expected is the name.
const PLACES: &[(&str, &str)] = &[
    ("printf '<%%s>' %s > OUT", "<N>"),
    ("printf '<%%s>' '%s' > OUT", "<N>"),
    ("printf '<%%s>' \"%s\" > OUT", "<N>"),
    ("printf '<%%s>' a%sb > OUT", "<aNb>"),
    ("printf '<%%s>' 'a %s b' > OUT", "<a N b>"),
    ("printf '<%%s>' \"a %s b\" > OUT", "<a N b>"),
    ("printf '<%%s>' \"it's %s\" > OUT", "<it's N>"),
    ("printf '<%%s>' 'a \"%s' > OUT", "<a \"N>"),
    ("printf '<%%s>' \\%s > OUT", "<N>"),
    ("printf '<%%s>' \"\\%s\" > OUT", "<\\N>"),
    ("printf '<%%s>' \\\"%s\\' > OUT", "<\"N'>"),
    ("printf '<%%s>' %s %s > OUT", "<N><N>"),
    ("printf '<%%s>' --file=%s > OUT", "<--file=N>"),
    ("x=%s; printf '<%%s>' \"$x\" > OUT", "<N>"),
    ("printf '<%%s>' \"${x:-%s}\" > OUT", "<N>"),
    ("printf '<%%s>' ${x:-%s} > OUT", "<N>"),
    ("printf '<%%s>' \"$(printf '%%s' %s)\" > OUT", "<N>"),
    ("printf '<%%s>' \"$(printf '%%s' \"%s\")\" > OUT", "<N>"),
    ("printf '<%%s>' \"$(printf '%%s' 'x %s')\" > OUT", "<x N>"),
    ("printf '<%%s>' \"`printf '%%s' %s`\" > OUT", "<N>"),
    ("printf '<%%s>' \"`printf '%%s' '%s'`\" > OUT", "<N>"),
    ("x=`printf '%%s' \"\\%s\"`; printf '<%%s>' \"$x\" > OUT", "<\\N>"),
    ("(printf '<%%s>' %s) > OUT", "<N>"),
    ("f() { printf '<%%s>' %s $1; }; f other > OUT", "<N><other>"),
    ("case x in x) printf '<%%s>' %s;; esac > OUT", "<N>"),
    ("# it's for %s\nprintf '<%%s>' %s > OUT # and (so on", "<N>"),
    ("printf '<%%s>' a#b \"$#\" %s > OUT", "<a#b><0><N>"),
    ("printf '<%%s>' '%d' %% % %s %%s > OUT", "<%d><%><%><N><%s>"),
    ("printf '<%%s>' \"$NBD_EXPORT_FILE\" > OUT", "<N>"),
];

const NAMES: &[&str] = &[
    "/srv/disk",
    "/with blank  and\ttab",
    "/it's",
    "/a\"b\"",
    "/'\"'\"'",
    "/$(touch PROOF)",
    "/`touch PROOF`",
    "/; touch PROOF;",
    "/' ; touch PROOF ; '",
    "/\" ; touch PROOF ; \"",
    "/\ntouch PROOF\n#",
    "/ && touch PROOF",
    "/ | touch PROOF",
    "/*",
    "/${HOME}$HOME~",
    "/\\",
    "/a\\'b\\\"c",
    "/%s%d%%",
    "/#",
    "/*/ü\u{1}",
];

/// C-161, C-176: a name is a name, whatever is in it and wherever it stands, and a command is no format string.
#[test]
fn whatever_is_in_the_name_it_stays_one_word() {
    let folder = Folder::new("names");
    let (out, proof) = (folder.file("out"), folder.file("proof"));
    for (command, expected) in PLACES {
        for name in NAMES {
            let name = name.replace("PROOF", &proof);
            let _ = fs::remove_file(&out);
            let status = run(&command.replace("OUT", &out), &name).expect("it runs");
            assert!(status.success(), "{command} {name:?}");
            assert_eq!(folder.read("out"), expected.replace('N', &name), "{command} {name:?}");
            assert!(!Path::new(&proof).exists(), "{command} carried out {name:?}");
        }
    }
}

/// Commands that make no sense are not understood by anybody. Even there nothing in a name is carried out.
///
/// C-161
#[test]
fn no_command_is_strange_enough_to_carry_out_a_name() {
    let folder = Folder::new("strange");
    let proof = folder.file("proof");
    let names =
        ["/$(touch P)", "/`touch P`", "/;touch P;", "/'\n touch P\n'", "/\"\ntouch P\n\"", "/)\ntouch P\n("];
    let pieces = [
        ":",
        " ",
        " ",
        "'",
        "\"",
        "`",
        "$(",
        ")",
        "(",
        "${x:-",
        "}",
        "\\",
        "#",
        "\n",
        ";",
        "%s",
        "%s",
        "%s",
        "%",
        "$x",
        "<<E\n",
        "\nE\n",
        "case x in x)",
        ";; esac",
    ];
    let mut seed = 7_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..600 {
        let command: String = (0..3 + next(12)).map(|_| pieces[next(pieces.len())]).collect();
        let name = names[next(names.len())].replace('P', &proof);
        let _ = run(&command, &name).expect("the shell starts");
        assert!(!Path::new(&proof).exists(), "{command:?} carried out {name:?}");
    }
}

/// C-176: only status 0 lets a client in, and why it is not is said.
#[test]
fn only_a_prerun_that_succeeds_lets_a_session_begin() {
    let folder = Folder::new("prerun");
    let pending = Arc::new(Pending::default());
    let made = folder.file("made");
    assert!(hooks(&format!("echo %s > {made}"), "", &pending).begin().is_ok());
    assert_eq!(folder.read("made"), "/srv/disk\n", "it may make what is to be served");
    let why = |prerun: &str| hooks(prerun, &format!("touch {}", folder.file("post")), &pending).begin().err();
    assert_eq!(why("exit 3").as_deref(), Some("prerun ended with status 3"));
    assert_eq!(why("kill -KILL $$").as_deref(), Some("prerun ended with signal 9"));
    assert_eq!(why("/nonexistent/command").as_deref(), Some("prerun ended with status 127"));
    assert!(why("true \0").is_some_and(|why| why.starts_with("prerun cannot be run: ")));
    assert!(!Path::new(&folder.file("post")).exists(), "nothing is owed to a client that was refused");
    let line = refused(&Peer::Ip([127, 0, 0, 1].into()), "prerun ended with status 3");
    assert!(line.starts_with("Client '127.0.0.1' not allowed access by prerun script"), "{line}");
    assert!(pending.wait_idle(Instant::now()), "nothing is pending");
}

/// C-179, C-181: once for each session that began, however it ended; its status means nothing.
#[test]
fn a_postrun_runs_exactly_once_however_its_session_ends() {
    let folder = Folder::new("postrun");
    let pending = Arc::new(Pending::default());
    let begin = |how: &str| {
        hooks("", &format!("echo {how} %s >> {}; exit 7", folder.file("log")), &pending)
            .begin()
            .expect("let in")
    };
    let farewell = begin("left");
    assert!(!pending.wait_idle(Instant::now()), "it is owed");
    assert_eq!(folder.read("log"), "", "not while the session lasts");
    drop(farewell);
    let farewell = begin("panicked");
    let thread = std::thread::spawn(move || {
        let _kept = farewell;
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(thread.join().is_err());
    let farewell = begin("failed");
    let opening = move |_kept: Farewell| Err::<(), _>("it cannot be opened");
    assert!(opening(farewell).is_err() && pending.wait_idle(Instant::now()));
    assert_eq!(folder.read("log"), "left /srv/disk\npanicked /srv/disk\nfailed /srv/disk\n");
}

/// C-178: a hook that takes its time holds up nobody else; the end of the server waits for it, but not for ever.
#[test]
fn a_slow_hook_holds_up_its_own_session_and_the_end_for_a_while() {
    let folder = Folder::new("slow");
    let pending = Arc::new(Pending::default());
    let fifo = folder.file("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("it runs").success());
    let slow = hooks(&format!("read line < {fifo}"), "", &pending);
    let (done, when_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let farewell = slow.begin();
        done.send(farewell.is_ok()).expect("somebody listens");
        drop(farewell);
    });
    while pending.wait_idle(Instant::now()) {
        std::thread::yield_now();
    }
    assert!(hooks("true", "true", &pending).begin().is_ok(), "another session begins and ends meanwhile");
    assert!(when_done.try_recv().is_err(), "it is still at it");
    assert!(!pending.wait_idle(Instant::now() + Duration::from_millis(20)), "the deadline comes first");
    fs::write(&fifo, "go on\n").expect("somebody reads");
    assert!(pending.wait_idle(soon()) && thread.join().is_ok());
    assert_eq!(when_done.recv(), Ok(true));
}

/// C-176: a command gets nothing of ours: descriptors, handlers, ignored signals, the terminal's group, a mark. And what
/// it gets is that of the original: `/`, `/dev/null` three times, our user.
#[test]
fn a_command_inherits_nothing_but_who_we_are() {
    use std::os::fd::AsRawFd as _;
    let folder = Folder::new("inherits");
    let _file = fs::File::open(&folder.0).expect("a descriptor");
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a client's socket");
    let socket = fs::read_link(format!("/proc/self/fd/{}", ours.as_raw_fd())).expect("its name");
    let out = |name: &str| folder.file(name);
    let command = format!(
        "ls -l /proc/$$/fd | grep -o '[0-9]* -> .*' > {}; cat /proc/self/status > {}; cat /proc/$$/stat > {}; pwd > {}; \
         env > {}",
        out("fds"),
        out("status"),
        out("stat"),
        out("pwd"),
        out("env"),
    );
    assert!(run(&command, "/srv/disk").expect("it runs").success());
    let fds = folder.read("fds");
    for fd in 0..3 {
        assert!(fds.lines().any(|line| line == format!("{fd} -> /dev/null")), "{fds}");
    }
    let socket = socket.to_str().expect("UTF-8");
    assert!(!fds.contains(socket) && !fds.contains(folder.0.to_str().expect("UTF-8")), "{fds}");
    let status = folder.read("status");
    let mask = |status: &str, name: &str| {
        let field = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        u64::from_str_radix(field.trim(), 16).expect("a mask")
    };
    // Whoever starts this test under nohup has it ignored; a server has a handler.
    let hup = (1 << 0) & !mask(&fs::read_to_string("/proc/self/status").expect("procfs"), "SigIgn:");
    let (pipe, term) = (1 << 12, 1 << 14);
    for name in ["SigIgn:", "SigBlk:"] {
        assert_eq!(mask(&status, name) & (hup | pipe | term), 0, "{status}");
    }
    let stat = folder.read("stat");
    let numbers: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let (pid, group) = (stat.split(' ').next(), numbers[2]);
    assert_eq!(pid, Some(group), "it leads a group of its own: {stat}");
    assert_eq!(folder.read("pwd"), "/\n");
    let env = folder.read("env");
    assert!(env.contains("NBD_EXPORT_FILE=/srv/disk\n"), "{env}");
    let unmarked = shell("", "").get_envs().any(|(key, value)| key == daemon::MARK && value.is_none());
    assert!(unmarked, "a server that it starts goes into the background as usual");
}

/// Nobody is left as a zombie, and commands that are not given cost nothing.
#[test]
fn commands_that_have_ended_are_gone() {
    let pending = Arc::new(Pending::default());
    let none = Hooks::new(None, Some(String::new()), "/srv/disk".into(), &pending, &quiet());
    let farewell = none.begin().expect("nothing to refuse");
    assert!(pending.wait_idle(Instant::now()), "nothing is owed");
    drop(farewell);
    let folder = Folder::new("zombies");
    let command = format!("echo $$ >> {}", folder.file("pids"));
    (0..5).for_each(|_| drop(hooks(&command, &command, &pending).begin().expect("let in")));
    let pids = folder.read("pids");
    assert_eq!(pids.lines().count(), 10);
    assert!(pids.lines().all(|pid| !Path::new("/proc").join(pid).exists()), "{pids}");
}
