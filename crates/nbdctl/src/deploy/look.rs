//! What is there before anything is touched.

use super::attributes::Attributes;
use super::clients;
use super::command::ask;
use super::leads::Knows;
use super::listing::{self, Listing, Seen, Served};
use super::nbd::Address;
use super::original;
use super::planned;
use super::process::{self, PID_FILE, Process};
use super::program::{Kind, Program};
use super::service::Manager;
use super::target::{self, Target};
use super::which::{self, Found};
use super::work::Work;
use super::{CONFIG, backup::Manifest};
use crate::args::{self, Place};
use crate::client::{Ask, Client, Path as Route};
use crate::text::{name, shown};
use control::view::{Export, Session, Startup, Status};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is there.
pub struct Scene {
    /// The server that runs.
    pub process: Option<Process>,
    /// Processes of other servers, which go on as they are.
    pub others: Vec<Process>,
    /// Processes that serve a client each for a server of this configuration that has ended.
    pub orphans: Vec<Process>,
    /// What it executes.
    pub runs: Option<Program>,
    /// The file that is replaced.
    pub target: Target,
    /// What is in that file.
    pub in_place: Program,
    /// What that file has of extended attributes.
    pub attributes: Attributes,
    /// That does not run any more.
    pub damaged: bool,
    /// Who restarts the server.
    pub manager: Manager,
    /// Its configuration.
    pub config: PathBuf,
    /// Its pid file; none where it writes none.
    pub pid_file: Option<PathBuf>,
    /// What a start comes to.
    pub startup: Option<Startup>,
    /// What is served now.
    pub now: Option<Vec<Seen>>,
    /// Where it answers now.
    pub listens: Vec<Address>,
    /// Who is connected.
    pub clients: Vec<String>,
    /// Exports of which the server refuses the disk that is at their path now (P4), and why.
    pub swapped: BTreeMap<String, String>,
    /// The server says itself that a reload would change nothing.
    pub settled: bool,
}

/// Looks at everything but exports and clients.
///
/// # Errors
/// It cannot be told which server is meant, or what it is.
pub fn look(work: &mut Work<'_, '_>, place: &Place, manifest: Option<&Manifest>) -> Result<Scene, String> {
    let known = |asked: &Option<PathBuf>, known: Option<&PathBuf>| asked.clone().or_else(|| known.cloned());
    let asked = known(&place.target, manifest.map(|one| &one.target));
    let asked = asked.map(|path| std::fs::canonicalize(&path).unwrap_or(path));
    let config = known(&place.config, manifest.map(|one| &one.config));
    let pid_file = known(&place.pid_file, manifest.and_then(|one| one.pid_file.as_ref()));
    let (manager, Found { server: process, others, orphans }) =
        find_server(place, manifest, asked.as_deref(), pid_file.as_deref())?;
    let target = target::find(asked.as_deref(), process.as_ref().map(|one| one.exe.as_path()))?;
    match &process {
        Some(one) => work.say(format!("running: process {}: {}", one.pid, one.words.join(" "))),
        None if !rustix::process::geteuid().is_root() => {
            work.say("running: no server that can be seen, and those of others can be seen by root only");
        }
        None => work.say("running: no server"),
    }
    say_others(work, &target.path, &others);
    let runs =
        process.as_ref().map(|one| Program::look(Path::new(&format!("/proc/{}/exe", one.pid)))).transpose();
    let (in_place, damaged) = look_at(work, &target.path, manifest.is_some())?;
    work.say(format!("target: {in_place}"));
    if let Some(one) = process.as_ref().filter(|one| one.exe != target.path && !in_place.script) {
        let (what, target) = (one.exe.display(), target.path.display());
        return Err(format!(
            "process {} executes {what}, not {target}: --target says what is replaced",
            one.pid
        ));
    }
    target.notes.iter().for_each(|note| work.say(note));
    let attributes = Attributes::of(&target.path)?;
    attributes.notes().iter().for_each(|note| work.say(note));
    // What a script executes in the end need not answer as the script does.
    let itself = process.as_ref().is_some_and(|one| one.exe == target.path);
    let by_script = in_place.script && !itself;
    let runs = if by_script { process.as_ref().map(|_| in_place.clone()) } else { runs? };
    if process.as_ref().is_some_and(|one| one.replaced) {
        work.say("the server that runs was started from a file that is not there any more");
    }
    let given = process.as_ref().map(Process::given).unwrap_or_default();
    let known = config.or(given.config.clone());
    if known.is_none() && process.is_none() {
        reads_another(&target.path, others.iter().chain(&orphans))?;
    }
    let config = known.unwrap_or_else(|| CONFIG.into());
    work.say(format!("configuration: {}", config.display()));
    let orphans = of_configuration(orphans, &config);
    let pid_file = pid_file.or_else(|| written(process.as_ref()?));
    match &pid_file {
        Some(file) => work.say(format!("pid file: {}", file.display())),
        None => work.say("pid file: none that holds its number"),
    }
    work.say(format!("restart: {manager}"));
    Ok(Scene {
        process,
        others,
        orphans,
        runs,
        target,
        in_place,
        attributes,
        damaged,
        manager,
        config,
        pid_file,
        startup: None,
        now: None,
        listens: Vec::new(),
        clients: Vec::new(),
        swapped: BTreeMap::new(),
        settled: false,
    })
}

/// Who restarts the server, and which one that is.
fn find_server(
    place: &Place,
    manifest: Option<&Manifest>,
    target: Option<&Path>,
    pid_file: Option<&Path>,
) -> Result<(Manager, Found), String> {
    let manager = match manifest.filter(|_| place.restart.is_none() && place.service == super::SERVICE) {
        Some(manifest) => manifest.manager.clone(),
        None => Manager::find(&place.service, place.restart.as_deref())?,
    };
    let members = manager.members();
    let found = which::find(&which::Wanted {
        target,
        config: place.config.as_deref(),
        config_then: manifest.map(|one| one.config.as_path()),
        pid_file,
        by_script: match &manager {
            Manager::Init(_) => true,
            _ => members.as_ref().is_some_and(|members| members.by_script),
        },
        members: members.as_ref(),
    })?;
    Ok((manager, found))
}

/// What is in the target, and whether that is damaged: a rollback is for that too.
fn look_at(work: &mut Work<'_, '_>, target: &Path, may_be_damaged: bool) -> Result<(Program, bool), String> {
    match Program::look(target) {
        Err(why) if may_be_damaged => {
            work.say(&why);
            Ok((Program::broken(target, why)?, true))
        }
        looked => Ok((looked?, false)),
    }
}

/// Other servers of the same file.
fn say_others(work: &mut Work<'_, '_>, target: &Path, others: &[Process]) {
    let heads = which::heads(others, |_| true);
    for one in heads.into_iter().filter(|one| one.is_of(target)) {
        let words = one.words.join(" ");
        work.say(format!(
            "another server executes that file, and goes on with what is in it now: process {}: {words}",
            one.pid
        ));
    }
}

/// Where nobody says which configuration is meant, whoever executes the target may be who is meant.
fn reads_another<'a>(target: &Path, mut others: impl Iterator<Item = &'a Process>) -> Result<(), String> {
    let other = others.find(|one| one.is_of(target) && one.config() != Path::new(CONFIG));
    other.map_or(Ok(()), |one| {
        let (pid, target, config) = (one.pid, target.display(), one.config());
        Err(format!(
            "process {pid} executes {target} with the configuration {}, and no server of {CONFIG} is seen: --config says which is meant",
            config.display()
        ))
    })
}

/// Of those that serve for a server that has ended, the ones that it started with this configuration: they have its disks.
fn of_configuration(orphans: Vec<Process>, config: &Path) -> Vec<Process> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let is_same = |one: &Process| {
        let its = one.directory().unwrap_or_default().join(one.config());
        its == config || real(&its).is_some_and(|its| Some(its) == real(config))
    };
    orphans.into_iter().filter(is_same).collect()
}

/// The pid file that a server writes, where it has its number.
fn written(process: &Process) -> Option<PathBuf> {
    let given = process.given();
    let file = given.pid_file.unwrap_or_else(|| PID_FILE.into());
    let file = process.directory().unwrap_or_default().join(file);
    (process::pid_in(&file) == Some(process.pid)).then_some(file)
}

impl Scene {
    /// Asks one of ours what a start comes to, with the words that the running server was started with.
    ///
    /// # Errors
    /// It does not say.
    pub fn ask_for_startup(&self, program: &Path, place: &Place) -> Result<Startup, String> {
        let mut words: Vec<&str> = vec!["--check"];
        if let Some(process) = &self.process {
            words.extend(process.words.iter().skip(1).map(String::as_str));
        }
        let config = self.config.to_string_lossy();
        if place.config.is_some() || self.process.is_none() {
            words.extend(["-C", &config]);
        }
        let dir = self.process.as_ref().and_then(Process::directory);
        let ran = ask(program, &words, dir.as_deref())?;
        serde_json::from_str(&ran.out).map_err(|_| {
            let said = format!("{}{}", ran.out, ran.err);
            format!("{} --check does not say what a start would come to: {}", program.display(), said.trim())
        })
    }

    /// What a start of this program comes to: 3.24 makes something else of some configurations.
    pub fn startup_as(&self, kind: Kind) -> Option<Startup> {
        self.startup.as_ref().map(|startup| original::startup_of(kind, startup))
    }

    /// The server was found by its address; the target is a script that has started it.
    pub fn is_served_by(&mut self, server: Process) {
        self.pid_file = self.pid_file.take().or_else(|| written(&server));
        self.runs = Some(self.in_place.clone());
        self.process = Some(server);
    }

    /// What is served now, and where.
    pub fn served(&self) -> Served {
        Served { exports: self.now.clone().unwrap_or_default(), listens: self.listens.clone() }
    }

    /// Where the server listens, as the configuration says.
    pub fn addresses(&self) -> Vec<Address> {
        self.startup
            .as_ref()
            .and_then(|startup| startup.listening.as_ref())
            .map(listing::addresses)
            .unwrap_or_default()
    }

    /// The control socket that the configuration names.
    pub fn controlsock(&self) -> Option<PathBuf> {
        self.startup.as_ref()?.listening.as_ref()?.controlsock.as_ref().map(PathBuf::from)
    }

    /// The Unix socket that the configuration names.
    pub fn unixsock(&self) -> Option<PathBuf> {
        self.startup.as_ref()?.listening.as_ref()?.unixsock.as_ref().map(PathBuf::from)
    }

    /// Who is connected, and then what is served; the look itself is a client too.
    pub fn look_at_exports(&mut self, work: &mut Work<'_, '_>) {
        let (Some(process), Some(runs)) = (self.process.clone(), self.runs.clone()) else { return };
        let client = self.client();
        self.clients = connected(&process, client.as_ref());
        match self.clients.is_empty() {
            true => work.say("clients: nobody is connected"),
            false => self.clients.iter().for_each(|client| work.say(format!("client: {client}"))),
        }
        let (listens, silent) = listing::answering(&self.addresses());
        let named: Vec<String> = listens.iter().map(ToString::to_string).collect();
        work.say(format!(
            "listens: at {}",
            if named.is_empty() { "no address of its configuration".into() } else { named.join(", ") }
        ));
        silent.iter().for_each(|why| work.say(format!("nobody answers at {why}")));
        self.listens = listens;
        let knows = knows(&process, runs.kind, client.as_ref());
        match listing::see_disks(&self.listens, self.startup_as(runs.kind).as_ref(), runs.kind, &knows) {
            Ok(Listing { exports, notes }) => {
                notes.iter().for_each(|note| work.say(format!("exports: {note}")));
                exports.iter().for_each(|export| work.say(format!("export: {export}")));
                self.now = Some(exports);
            }
            Err(why) => work.say(format!("exports: not seen: {why}")),
        }
        if let Some(plan) = client.filter(|_| runs.kind == Kind::Enhanced).as_ref().and_then(planned::ask) {
            work.say("what a reload would do, as its own plan says:");
            planned::told(&plan).iter().for_each(|line| work.say(format!("  {line}")));
            self.settled = planned::changes_nothing(&plan);
            self.swapped = planned::swapped(&plan);
        }
    }

    /// Who is connected to the server of before at this moment; nobody where it has ended.
    pub fn connected_now(&self) -> Vec<String> {
        let process = self.process.as_ref().filter(|process| process.is_alive());
        process.map(|process| connected(process, self.client().as_ref())).unwrap_or_default()
    }

    /// What must have ended once another server serves: the server of before, and what it has for its clients.
    pub fn ends(&self) -> Vec<Process> {
        let server = self.process.clone().filter(|process| !process.has_ended());
        server.map(|one| [clients::children(&one), vec![one]].concat()).unwrap_or_default()
    }

    /// What is said of those that serve for a server that has ended: whatever is said, nothing is started beside them.
    pub fn orphans(&self) -> Vec<String> {
        self.orphans.iter().map(clients::of_orphan).collect()
    }

    /// Who serves at this moment for a server of this configuration that has ended.
    pub fn orphans_now(&self) -> Vec<Process> {
        let all = process::all().into_iter().filter(|(_, one)| one.is_of_this_system()).collect();
        of_configuration(which::orphans(&all, Some(&self.target.path)), &self.config)
    }

    /// The server that runs executes these bytes.
    pub fn runs_bytes_of(&self, program: &Program) -> bool {
        self.runs.as_ref().is_some_and(|runs| runs.sha256 == program.sha256)
    }

    fn client(&self) -> Option<Client> {
        let socket = self.controlsock().filter(|path| path.exists())?;
        let client = Client::new(&args::Server { socket, timeout: Duration::from_secs(10) }).ok()?;
        // The socket may be another server's.
        let status: Status = client.ask(&Ask::get(Route::v1("status"))).ok()?.value().ok()?;
        (Some(status.pid) == self.process.as_ref().map(|process| process.pid)).then_some(client)
    }
}

fn sessions(client: &Client) -> Option<Vec<Session>> {
    client.ask(&Ask::get(Route::v1("sessions"))).ok()?.value().ok()
}

fn session(session: &Session) -> String {
    let (peer, path) = (shown(&session.peer), shown(&session.path));
    format!("{peer} has {} ({path}) open since {}", name(&session.export), session.since)
}

fn connected(process: &Process, client: Option<&Client>) -> Vec<String> {
    match client.and_then(sessions) {
        Some(sessions) => sessions.iter().map(session).collect(),
        None => clients::of(process),
    }
}

/// Who knows which disks the server has open.
fn knows<'a>(process: &'a Process, kind: Kind, client: Option<&Client>) -> Knows<'a> {
    let exports =
        || -> Option<Vec<Export>> { client?.ask(&Ask::get(Route::v1("exports"))).ok()?.value().ok() };
    match (kind, exports()) {
        (Kind::Original, _) => Knows::Children(process),
        (Kind::Enhanced, Some(all)) => Knows::Told(all.into_iter().map(|one| (one.name, one.path)).collect()),
        (Kind::Enhanced, None) => Knows::Nobody,
    }
}
