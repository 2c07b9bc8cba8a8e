//! From the command line to a serving process, and back out.

mod tasks;
mod words;

use crate::access::Peer;
use crate::bind::{self, Activated, BindError, Wanted};
use crate::catalog::Entry;
use crate::changes::Changes;
use crate::cli::{self, Foreground, Invocation};
use crate::connections::Sessions;
use crate::daemon;
use crate::exit::Exit;
use crate::fence;
use crate::guest::Guest;
use crate::listen::Acceptor;
use crate::log::Log;
use crate::operator::Operator;
use crate::pidfile::PidFile;
use crate::privileges;
use crate::reconcile::Reconciler;
use crate::report::Report;
use crate::requests::Requests;
use crate::rivals::Rivals;
use crate::sources::{Files, MainOnly};
use crate::state::Shared;
use crate::stderr::Stderr;
use crate::tls;
use crate::watch;
use config::{Export, Loaded, Refused, Sources};
use session::{Ending, Limits, Sitter, Workers as _};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What commands after sessions get at the end of the server, which must be over within five seconds.
const HOOKS_MAX: Duration = Duration::from_secs(3);
/// What they get after requests that hung until the end.
const HOOKS_MIN: Duration = Duration::from_millis(500);

/// The program: returns the exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let invocation = match cli::parse(arguments) {
        Ok(invocation) => invocation,
        Err(outcome) => {
            let status = words::answer(&outcome.stdout, outcome.status);
            if !outcome.stderr.is_empty() {
                words::complain(outcome.stderr.trim_end_matches('\n'));
            }
            return status;
        }
    };
    let result = run(&invocation);
    Stderr::flush();
    match result {
        Ok(status) => status,
        Err(exit) => {
            words::complain(exit);
            1
        }
    }
}

/// The exit status of what was done.
fn run(invocation: &Invocation) -> Result<u8, Exit> {
    // Whoever sends SIGHUP to all servers by name may meet one that is starting. It is taken, and followed later.
    let early = Arc::new(AtomicBool::new(false));
    let _ = signal_hook::flag::register(SIGHUP, early.clone());
    let background = daemon::is_background();
    if !background {
        for warning in &invocation.warnings {
            words::complain(warning);
        }
    }
    let start = Start::new(invocation)?;
    if let Some(task) = &invocation.task {
        return start.carry_out(task);
    }
    if invocation.foreground.is_none() && !background {
        // The main file says whether this is inetd; the rest is for the server to read.
        let main = start.load(&MainOnly(&start.files))?;
        if start.port(&main) != "0" {
            return daemon::launch(&early).map(|()| 0);
        }
    }
    let loaded = start.load(&start.files)?;
    if start.port(&loaded) == "0" {
        return start.serve_standard_input(loaded).map(|()| 0);
    }
    start.serve(loaded, background, &early).map(|()| 0)
}

/// What became of certificates and keys at start.
type FirstTls = Result<Option<tls::Loaded>, tls::Problem>;

/// What is had before the first thread starts and the rights are given up.
struct Prepared {
    bound: bind::Bound,
    control: bind::ControlSockets,
    pid_file: Option<PidFile>,
    tls: FirstTls,
}

/// What is known before anything is opened.
struct Start<'a> {
    invocation: &'a Invocation,
    files: Files,
    main: PathBuf,
    command_line: Option<Export>,
}

impl<'a> Start<'a> {
    fn new(invocation: &'a Invocation) -> Result<Self, Exit> {
        let base = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let main = base.join(&invocation.config);
        let command_line = invocation.export.as_ref().map(command_line_export).transpose()?;
        Ok(Self { invocation, files: Files { base }, main, command_line })
    }

    fn options(&self) -> config::Options {
        config::Options { command_line_export: self.command_line.is_some() }
    }

    fn read(&self, sources: &dyn Sources) -> Result<Loaded, Refused> {
        match config::load(&self.main, sources, None, self.options()) {
            // A command-line export needs no configuration file, unless one was asked for by name and is broken (C-009).
            Err(refused) if self.command_line.is_some() && refused.missing => Ok(Loaded::default()),
            result => result,
        }
    }

    fn load(&self, sources: &dyn Sources) -> Result<Loaded, Exit> {
        self.read(sources).map_err(|refused| {
            let mut text = String::new();
            for problem in &refused.problems {
                text.push_str(&format!("Could not parse config file: {problem}\n"));
            }
            text.push_str("No configured exports; quitting.");
            Exit::Configuration(text)
        })
    }

    /// The configuration's port wins over the command line's (C-008).
    fn port(&self, loaded: &Loaded) -> String {
        let generic = &loaded.config.generic;
        match &self.invocation.listen {
            Some(listen) if !generic.port_given => listen.port.clone(),
            _ => generic.port.clone(),
        }
    }

    fn wanted(&self, loaded: &Loaded) -> Wanted {
        let generic = &loaded.config.generic;
        let addresses = match &self.invocation.listen {
            Some(listen) if !generic.listenaddr_given && !listen.addresses.is_empty() => {
                listen.addresses.clone()
            }
            _ => generic.listenaddr.clone(),
        };
        Wanted {
            addresses,
            port: self.port(loaded),
            unixsock: generic.unixsock.clone(),
            unixsock_mode: generic.unixsock_mode,
            unixsock_owner: generic.unixsock_owner.clone(),
            duallisten: generic.duallisten,
        }
    }

    /// Binds, writes the pid file, drops privileges, loads the exports, serves until SIGTERM.
    fn serve(&self, loaded: Loaded, background: bool, early: &AtomicBool) -> Result<(), Exit> {
        let passed = Activated::take(background).map_err(|error| Exit::Bind(error.to_string()))?;
        // Before the first thread, which is the log's.
        privileges::forbid_gains(loaded.config.generic.user.as_deref()).map_err(Exit::Identity)?;
        let log = if background { Log::syslog() } else { Log::stderr() };
        let descriptors = privileges::raise_fd_limit();
        // Before the first thread: signals that arrive from here on are kept for the loop below.
        let signals = Signals::new([SIGHUP, SIGTERM, SIGINT, SIGUSR1])
            .map_err(|error| Exit::Launch(format!("cannot take signals: {error}")))?;
        let enough = Sessions::enough(descriptors).map_err(Exit::Launch);
        let prepared = enough.and_then(|()| self.prepare(&loaded, background, passed, &log));
        let Prepared { bound, mut control, pid_file, tls } =
            prepared.inspect_err(|exit| log.error(exit.to_string()))?;
        let shared = Shared::new(log.clone(), Limits::default(), Sessions::within(descriptors));
        shared.tls.start(self.files.clone(), &loaded.config.generic.tls, tls, &log);
        let mut reconciler =
            Reconciler::new(shared.clone(), self.main.clone(), self.files.clone(), self.command_line.clone());
        reconciler.start(loaded);
        let cannot = |error: io::Error| Exit::Launch(format!("cannot start a thread: {error}"));
        let listening = bound.listening();
        let acceptor = Acceptor::start(shared.clone(), bound).map_err(cannot)?;
        let watched = shared.clone();
        spawn("watch", move || watch::run(&watched)).map_err(cannot)?;
        let requests = Requests::start(reconciler).map_err(cannot)?;
        let operator = self.operator(&shared, &requests, listening);
        let controls =
            control::serve(Arc::new(operator), std::mem::take(&mut control.sockets)).map_err(cannot)?;
        if early.load(Ordering::SeqCst) {
            requests.hangup();
        }
        log.info("Starting to serve");
        if background {
            daemon::ready().map_err(|error| Exit::Launch(format!("cannot leave the terminal: {error}")))?;
        }
        shared.notify.serving(&shared, acceptor.pulse()).map_err(cannot)?;
        wait_for_the_end(signals, &requests, &shared);
        shared.notify.stopping();
        acceptor.stop();
        control.remove();
        // Beside the fence: a client of the control socket is nothing that sessions wait for.
        let controls = thread::spawn(move || controls.stop());
        // Not by way of the reconciler: a reload that waits for a hung request must not keep the server from stopping.
        let hooks_until = Instant::now() + HOOKS_MAX;
        fence::stop(&shared);
        if !shared.hooks.wait_idle(hooks_until.max(Instant::now() + HOOKS_MIN)) {
            log.warning("a prerun or postrun goes on after the end of the server");
        }
        if let Some(pid_file) = pid_file {
            pid_file.remove();
        }
        if controls.is_finished() {
            let _ = controls.join();
        }
        log.info("stopped");
        Ok(())
    }

    fn operator(&self, shared: &Arc<Shared>, requests: &Requests, listening: Vec<String>) -> Operator {
        let (files, main) = (self.files.clone(), self.main.clone());
        let configuration = main.display().to_string();
        let report = Report::new(shared.log.clone());
        let changes = Changes::new(requests.clone(), report, files, main, self.command_line.is_some());
        Operator::new(shared.clone(), changes, configuration, listening)
    }

    fn prepare(
        &self,
        loaded: &Loaded,
        background: bool,
        mut passed: Activated,
        log: &Log,
    ) -> Result<Prepared, Exit> {
        let generic = &loaded.config.generic;
        let ids =
            privileges::resolve(generic.user.as_deref(), generic.group.as_deref()).map_err(Exit::Identity)?;
        let tls = self.load_tls(loaded)?;
        let cannot = |error: BindError| Exit::Bind(error.to_string());
        let note = passed.note(generic, self.invocation.listen.is_some());
        let bound = passed.bound().map_or_else(|| bind::bind(&self.wanted(loaded)), Ok).map_err(cannot)?;
        let control = bind::bind_control(&generic.control, ids.user, &mut passed)
            .inspect_err(|_| bound.remove())
            .map_err(cannot)?;
        for warning in bound.warnings.iter().chain(&control.warnings) {
            log.warning(warning);
        }
        for note in control.notes.iter().chain(&note) {
            log.info(note);
        }
        // As in the original, -d alone writes none (C-029).
        let writes_pid = self.invocation.foreground != Some(Foreground::DontFork);
        let pid_file = writes_pid.then(|| self.write_pid(log)).flatten();
        let drop = privileges::drop_to(&ids).map_err(Exit::Identity);
        let detach = || daemon::detach().map_err(|error| Exit::Launch(format!("cannot detach: {error}")));
        let result = drop.and_then(|()| if background { detach() } else { Ok(()) });
        match result {
            Ok(()) => Ok(Prepared { bound, control, pid_file, tls }),
            Err(exit) => {
                if let Some(pid_file) = pid_file {
                    pid_file.remove();
                }
                bound.remove();
                control.remove();
                Err(exit)
            }
        }
    }

    /// As whoever we were started: the key need not be readable for whom we become (C-218). Where it cannot be used, only
    /// clients that ask for TLS are the worse for it.
    fn load_tls(&self, loaded: &Loaded) -> Result<FirstTls, Exit> {
        let generic = &loaded.config.generic;
        match tls::load(&self.files, &generic.tls) {
            Err(problem) if generic.strict => {
                let text = format!("Could not use {}: {}", problem.key, problem.reason);
                Err(Exit::Configuration(format!("{text}\nNo configured exports; quitting.")))
            }
            result => Ok(result),
        }
    }

    fn write_pid(&self, log: &Log) -> Option<PidFile> {
        let path = self.files.base.join(&self.invocation.pid_file);
        match PidFile::create(&path) {
            Ok(pid_file) => Some(pid_file),
            Err(error) => {
                // The original serves on, and so do we (C-071); but it does not say so.
                log.warning(format!("cannot write the pid file {}: {error}", path.display()));
                None
            }
        }
    }

    /// inetd mode: one session on standard input, no listening socket (C-087, C-088).
    fn serve_standard_input(&self, loaded: Loaded) -> Result<(), Exit> {
        privileges::forbid_gains(loaded.config.generic.user.as_deref()).map_err(Exit::Identity)?;
        let log = Log::syslog();
        let tls = self.load_tls(&loaded)?;
        let shared =
            Shared::new(log.clone(), Limits::default(), Sessions::within(privileges::raise_fd_limit()));
        shared.tls.start(self.files.clone(), &loaded.config.generic.tls, tls, &log);
        let mut reconciler =
            Reconciler::new(shared.clone(), self.main.clone(), self.files.clone(), self.command_line.clone());
        let generic = &loaded.config.generic;
        let ids =
            privileges::resolve(generic.user.as_deref(), generic.group.as_deref()).map_err(Exit::Identity)?;
        privileges::drop_to(&ids).map_err(Exit::Identity)?;
        reconciler.start(loaded);
        // Not for the hooks: they have another standard input, and nothing else.
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
            .map_err(|error| Exit::Inetd(format!("standard input: {error}")))?;
        let peer = bind::peer_of(&socket).unwrap_or(Peer::Unix);
        let channel = Arc::new(crate::socket::Socket::new(socket));
        let sitter = Sitter::new(peer.to_string(), channel.clone());
        let guest = Guest::new(shared, peer, channel);
        let ending = session::serve(&guest, &sitter, Instant::now(), || ());
        sitter.channel.close();
        match ending {
            Ending::Disconnected => Ok(()),
            other => Err(Exit::Inetd(format!("Error: {other}\nExiting."))),
        }
    }
}

/// The export of the command line: the empty name (C-010).
fn command_line_export(given: &cli::CommandLineExport) -> Result<Export, Exit> {
    let mut export = Export::new("".into(), path_text(&given.file)?);
    export.readonly = given.readonly;
    export.storage.filesize = given.size;
    if given.multifile {
        export.storage.layout = config::Layout::Files;
    }
    if given.copyonwrite {
        export.storage.changes = config::Changes::Private(None);
    }
    export.maxconnections = config::MaxConnections(given.maxconnections);
    export.authfile = Some(given.authfile.clone().unwrap_or_else(|| "/etc/nbd-server/allow".into()));
    Ok(export)
}

fn path_text(path: &Path) -> Result<String, Exit> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Exit::Configuration(format!("{} is not UTF-8", path.display()))),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

fn wait_for_the_end(mut signals: Signals, requests: &Requests, shared: &Arc<Shared>) {
    for signal in signals.forever() {
        match signal {
            SIGHUP => requests.hangup(),
            SIGUSR1 => {
                shared.log.info("Got SIGUSR1");
                look_for_arrivals(shared);
            }
            _ => return,
        }
    }
}

/// Files that exports wait for (`waitfile`): each is looked for by a worker, since taking in what was written takes long.
fn look_for_arrivals(shared: &Arc<Shared>) {
    let catalog = shared.catalog();
    let waits = |entry: &&Arc<Entry>| matches!(entry.medium.storage.changes, config::Changes::UntilThere(_));
    for entry in catalog.entries().iter().filter(waits) {
        let (all, entry, share) = (shared.clone(), entry.clone(), Arc::as_ptr(&entry.medium).addr());
        let look = move || entry.medium.look_for_arrivals(&Rivals::of(&all, &entry));
        shared.pool.submit(share, Box::new(look));
    }
}
