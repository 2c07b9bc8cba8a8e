//! Where no server was found: who answers at the addresses of the configuration all the same, and whose number is in the pid file.

use super::look::Scene;
use super::nbd::Address;
use super::process::{self, PID_FILE, Process, pid_in};
use super::service::Manager;
use super::sockets::{Sockets, number};
use super::work::Work;
use std::fmt;
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Whoever listens accepts at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// A pid file is written a moment after its process began.
const LATE: Duration = Duration::from_secs(2);

/// Somebody at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Where.
    pub address: Address,
    /// Who listens there, as far as that can be seen.
    pub who: Vec<Process>,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, who } = self;
        if who.is_empty() {
            return write!(
                f,
                "somebody answers at {address}, and no process of this machine is seen to listen there: another program, or a container's"
            );
        }
        let named: Vec<String> = who.iter().map(name).collect();
        write!(f, "{address} is taken by {}", named.join(", "))
    }
}

/// How a process is named that is no server that is known here.
pub fn name(one: &Process) -> String {
    format!("process {} ({}: {})", one.pid, one.exe.display(), one.words.join(" "))
}

/// Nobody must be where the server will be. Of a target that is a script, which executes another file, it may be the server
/// that is meant.
///
/// # Errors
/// Who is there, and what to do.
pub fn look(work: &mut Work<'_, '_>, scene: &mut Scene) -> Result<(), String> {
    if scene.process.is_some() {
        return Ok(());
    }
    let found = at(&scene.addresses());
    if let Some(server) = behind_script(scene, &found) {
        work.say(format!("running: {}, which {} has started", name(&server), scene.target.path.display()));
        scene.is_served_by(server);
        return Ok(());
    }
    let mut why: Vec<String> = found.iter().map(ToString::to_string).collect();
    let usual = || (!matches!(scene.manager, Manager::Command(_))).then(|| PID_FILE.into());
    if let Some(file) = scene.pid_file.clone().or_else(usual)
        && let Some(process) =
            in_pid_file(&file).filter(|one| scene.others.iter().all(|other| !other.is(one)))
    {
        why.push(format!("the pid file {} holds the number of {}", file.display(), name(&process)));
    }
    if why.is_empty() {
        return Ok(());
    }
    why.push(format!(
        "no server is known that executes {}: if that is one, --target or --pid-file says which; else end it first, or remove a pid file that is an old one",
        scene.target.path.display()
    ));
    Err(why.join("\n"))
}

fn behind_script(scene: &Scene, found: &[Stranger]) -> Option<Process> {
    let one = found.first()?.who.first()?;
    let alone = found.iter().flat_map(|stranger| &stranger.who).all(|other| other.is(one));
    let in_file = || scene.pid_file.as_deref().and_then(pid_in) == Some(one.pid);
    let of_service = || scene.manager.members().is_some_and(|members| members.has(one));
    let by_words = || one.is_named_like_a_server() && one.config() == scene.config;
    let is_it = || in_file() || of_service() || by_words();
    (scene.in_place.script && alone && one.is_of_this_system() && is_it()).then(|| one.clone())
}

/// Who is at each address where anybody is.
pub fn at(addresses: &[Address]) -> Vec<Stranger> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let (sockets, all) = (Sockets::of("self"), process::all());
    let stranger = |address: &Address| {
        let has = |one: &&Process| {
            let links = one.descriptors();
            links.iter().filter_map(|link| sockets.listening.get(number(link)?)).any(|ear| ear.has(address))
        };
        let taken = sockets.listening.values().any(|ear| ear.has(address));
        let who: Vec<Process> = all.values().filter(|_| taken).filter(has).cloned().collect();
        // A socket unit: whoever connects there has the service started, which is given the socket.
        if who.iter().any(is_init) {
            return None;
        }
        (taken || accepts(address)).then(|| Stranger { address: address.clone(), who })
    };
    addresses.iter().filter_map(stranger).collect()
}

fn is_init(one: &Process) -> bool {
    one.pid == 1 && one.exe.file_name().is_some_and(|name| name == "systemd")
}

fn accepts(address: &Address) -> bool {
    match address {
        Address::Unix(path) => UnixStream::connect(path).is_ok(),
        Address::Tcp(host, port) => {
            let ip = host.parse().map(|ip| std::net::SocketAddr::new(ip, *port));
            ip.is_ok_and(|at| TcpStream::connect_timeout(&at, PATIENCE).is_ok())
        }
    }
}

/// The process whose number a pid file holds. Where it began after the file was written, the number is an old one, which was
/// given anew.
pub fn in_pid_file(file: &Path) -> Option<Process> {
    let process = pid_in(file).and_then(Process::at)?;
    let written = fs::metadata(file).and_then(|file| file.modified()).ok()?;
    let (of_file, of_process) = (written.elapsed().unwrap_or_default(), process.age()?);
    (of_process + LATE >= of_file).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::SystemTime;

    #[test]
    fn whoever_listens_at_an_address_is_named_with_its_program() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let address = Address::Tcp("127.0.0.1".into(), port);
        let found = at(std::slice::from_ref(&address));
        let said = found.first().expect("found").to_string();
        let me = std::process::id();
        assert!(said.starts_with(&format!("127.0.0.1:{port} is taken by process {me} (/")), "{said}");
        drop(listener);
        assert_eq!(at(&[address]), []);
    }

    #[test]
    fn an_old_number_in_a_pid_file_is_nobodys() {
        let file = std::env::temp_dir().join(format!("nbdctl-pid-{}", std::process::id()));
        fs::write(&file, std::process::id().to_string()).expect("written");
        assert_eq!(in_pid_file(&file).map(|one| one.pid), Some(std::process::id()));
        let opened = fs::File::options().write(true).open(&file).expect("opened");
        opened.set_modified(SystemTime::now() - Duration::from_secs(3600 * 24 * 365)).expect("set");
        assert_eq!(in_pid_file(&file), None);
        fs::remove_file(file).expect("removed");
    }
}
