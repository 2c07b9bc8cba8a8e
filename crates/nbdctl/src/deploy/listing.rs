//! What a server serves, as a client sees it: names, sizes, and whether the bytes are those of the disk.

use super::leads::{Disk, Knows};
use super::nbd::{self, Address, Closed, List};
use super::program::Kind;
use crate::text::{name, shown};
use control::view::{Listening, Startup, StartupExport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What is read at the start and at the end of each export.
const PIECE: u64 = 64 << 10;
/// A client may write between two reads of one place; not so often.
const TRIES: usize = 5;
/// Keys whose exports change nothing and run nothing when they are opened, and lead all clients to the bytes at the path.
const PLAIN: [&str; 13] = [
    "exportname",
    "readonly",
    "flush",
    "fua",
    "trim",
    "rotational",
    "sync",
    "authfile",
    "device_changes",
    "exclusive",
    "on_change",
    "identity",
    "timeout",
];

/// One export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// As clients ask for it.
    pub name: String,
    /// Bytes, where it was opened.
    pub size: Option<u64>,
    /// What became of a read.
    pub reading: Reading,
    /// What the server has open for it, where that can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
}

/// What a server serves, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// In the server's order.
    pub exports: Vec<Seen>,
    /// Where it answers.
    pub listens: Vec<Address>,
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "why")]
pub enum Reading {
    /// Bytes came, and are those of the disk that the configuration names, as far as that was compared.
    Good,
    /// Bytes came, and are others.
    Strange(String),
    /// None came.
    Failed(String),
    /// Nobody tried.
    Untried(String),
}

/// All of them, and how they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the server's order.
    pub exports: Vec<Seen>,
    /// What could not be seen.
    pub notes: Vec<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", name(&self.name))?;
        if let Some(bytes) = self.size {
            write!(f, " {bytes} bytes")?;
        }
        match &self.reading {
            Reading::Good => f.write_str(", read"),
            Reading::Strange(why) => write!(f, ", read, but {}", shown(why)),
            Reading::Failed(why) => write!(f, ", not to be read: {}", shown(why)),
            Reading::Untried(why) => write!(f, ", not read: {}", shown(why)),
        }
    }
}

/// Where to reach a server that listens like this, from this machine.
pub fn addresses(listening: &Listening) -> Vec<Address> {
    let port = listening.port.parse().unwrap_or(0);
    let hosts = |address: &String| match address.as_str() {
        // Without an IPv4 address beside it, this is for both families.
        "::" => vec!["::1".to_owned(), "127.0.0.1".to_owned()],
        "0.0.0.0" => vec!["127.0.0.1".to_owned()],
        other => vec![other.to_owned()],
    };
    let mut all: Vec<Address> = listening.unixsock.iter().map(|path| Address::Unix(path.into())).collect();
    let tcp = listening.addresses.iter().filter(|_| port != 0).flat_map(hosts);
    for address in tcp.flat_map(|host| Address::Tcp(host, port).each()) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

/// Those at which somebody answers, and why nobody does at the others.
pub fn answering(addresses: &[Address]) -> (Vec<Address>, Vec<String>) {
    let (mut answer, mut silent) = (Vec::new(), Vec::new());
    for address in addresses {
        match nbd::list(address) {
            Ok(_) => answer.push(address.clone()),
            Err(why) => silent.push(why),
        }
    }
    (answer, silent)
}

/// Asks for the names, and opens and reads each export that is not the worse for it.
///
/// # Errors
/// Nobody answers at any of the addresses.
pub fn see(addresses: &[Address], startup: Option<&Startup>, kind: Kind) -> Result<Listing, String> {
    see_disks(addresses, startup, kind, &Knows::Nobody)
}

/// The same, and which disks they lead to.
///
/// # Errors
/// Nobody answers at any of the addresses.
pub fn see_disks(
    addresses: &[Address],
    startup: Option<&Startup>,
    kind: Kind,
    knows: &Knows<'_>,
) -> Result<Listing, String> {
    let mut failures = Vec::new();
    for address in addresses {
        match nbd::list(address) {
            Ok(list) => return Ok(see_at(address, list, startup, kind, knows)),
            Err(why) => failures.push(why),
        }
    }
    Err(if failures.is_empty() { "nobody answers at any address".into() } else { failures.join("; ") })
}

fn see_at(
    address: &Address,
    list: List,
    startup: Option<&Startup>,
    kind: Kind,
    knows: &Knows<'_>,
) -> Listing {
    let configured: BTreeMap<&str, &StartupExport> = startup
        .into_iter()
        .flat_map(|startup| &startup.exports)
        .map(|export| (export.name.as_str(), export))
        .collect();
    let in_order =
        || startup.into_iter().flat_map(|startup| &startup.exports).map(|export| export.name.clone());
    let mut notes = vec![format!("seen at {address}")];
    let unopened = |why: &str| {
        let why = why.to_owned();
        move |name| Seen { name, size: None, reading: Reading::Untried(why.clone()), disk: None }
    };
    let names: Vec<String> = match list {
        List::Names(names) => names,
        List::Denied(why) => {
            notes.push(format!(
                "it does not list ({why}): each export of the configuration was asked for by name"
            ));
            in_order().collect()
        }
        List::WantsTls => {
            notes.push("it wants TLS, which is not spoken here: no export can be seen".into());
            return Listing { exports: in_order().map(unopened("it wants TLS")).collect(), notes };
        }
    };
    // Nobody is told of these in the clear.
    let is_hidden = |name: &String| {
        let export = configured.get(name.as_str());
        export.is_some_and(|export| wants_tls(export) && export.unavailable.is_none())
            && !names.contains(name)
    };
    let hidden: Vec<String> = in_order().filter(is_hidden).collect();
    let mut exports: Vec<Seen> =
        names.into_iter().map(|name| look_at(address, name, &configured, kind, knows)).collect();
    exports.extend(hidden.into_iter().map(unopened("it is not listed without TLS")));
    Listing { exports, notes }
}

/// It is for clients with TLS only.
fn wants_tls(export: &StartupExport) -> bool {
    export.force_tls || export.settings.contains_key("tls_allow")
}

fn look_at(
    address: &Address,
    name: String,
    configured: &BTreeMap<&str, &StartupExport>,
    kind: Kind,
    knows: &Knows<'_>,
) -> Seen {
    let export = configured.get(name.as_str()).copied();
    let unopened = |name, reading| Seen { name, size: None, reading, disk: None };
    if let Some(why) = export.and_then(|export| leave_alone(export, kind)) {
        return unopened(name, Reading::Untried(why));
    }
    let mut opened = match nbd::open(address, &name) {
        Ok(opened) => opened,
        Err(Closed::WantsTls) => return unopened(name, Reading::Untried("it wants TLS".into())),
        Err(Closed::Refused(why) | Closed::Broken(why)) => return unopened(name, Reading::Failed(why)),
    };
    let disk = knows.disk_of(&name, &opened.peer);
    let size = Some(opened.size);
    let path = export.filter(|export| is_plain(export)).map(|export| export.path.as_str());
    let reading =
        if opened.size == 0 { Reading::Untried("it is empty".into()) } else { read(&mut opened, path) };
    Seen { name, size, reading, disk }
}

/// Why an export is not opened just to see it.
fn leave_alone(export: &StartupExport, kind: Kind) -> Option<String> {
    let set = |key: &str| export.settings.contains_key(key);
    if export.placeholder {
        return Some("it is a placeholder".into());
    }
    if kind == Kind::Original && set("maxconnections") {
        return Some("with maxconnections, 3.24 counts every connection for ever".into());
    }
    if kind == Kind::Original && set("filesize") && export.unavailable.is_some() {
        return Some("with filesize, 3.24 makes a file that is not there".into());
    }
    // A command that only a client should set off, or a file that grows by it.
    let keys = [
        "prerun",
        "postrun",
        "transactionlog",
        "copyonwrite",
        "temporary",
        "waitfile",
        "treefiles",
        "overlay",
    ];
    keys.iter().find(|key| set(key)).map(|key| format!("it has {key}"))
}

fn is_plain(export: &StartupExport) -> bool {
    export.settings.keys().all(|key| is_of_its_path(key))
}

/// With it, all clients go on getting the bytes at the path.
pub fn is_of_its_path(key: &str) -> bool {
    PLAIN.contains(&key) || key == "maxconnections"
}

fn read(opened: &mut nbd::Opened, path: Option<&str>) -> Reading {
    let length = opened.size.min(PIECE);
    let mut places = vec![0, opened.size - length];
    places.dedup();
    for offset in places {
        let mut differs = None;
        for _ in 0..TRIES {
            // At most PIECE.
            let bytes = match opened.read(offset, u32::try_from(length).unwrap_or(u32::MAX)) {
                Ok(bytes) => bytes,
                Err(why) => return Reading::Failed(why),
            };
            differs = path.filter(|path| at_the_path(path, offset, &bytes) == Some(false));
            if differs.is_none() {
                break;
            }
        }
        if let Some(path) = differs {
            return Reading::Strange(format!("at {offset} there are other bytes than {path} has"));
        }
    }
    Reading::Good
}

/// Whether these are the bytes at the path; none where that cannot be read.
fn at_the_path(path: &str, offset: u64, bytes: &[u8]) -> Option<bool> {
    let mut there = vec![0; bytes.len()];
    File::open(path).and_then(|file| file.read_exact_at(&mut there, offset)).ok()?;
    Some(there == bytes)
}

/// What a server should serve of which nobody saw what was served before: all that its start announces.
pub fn promised(startup: &Startup, kind: Kind) -> Vec<Seen> {
    let served = startup.exports.iter().filter(|export| export.unavailable.is_none());
    served
        .map(|export| {
            let guarded = || wants_tls(export).then(|| "it wants TLS".to_owned());
            // It need not let in who looks from here.
            let listed = || export.settings.contains_key("authfile").then(|| "it has authfile".to_owned());
            let alone = leave_alone(export, kind).or_else(guarded).or_else(listed);
            let reading = alone.map_or(Reading::Good, Reading::Untried);
            Seen { name: export.name.clone(), size: export.size, reading, disk: None }
        })
        .collect()
}

/// What was announced before anything was touched: it is no failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Exports that are listed now and will not be, or cannot be read any more, and why.
    pub lost: BTreeMap<String, String>,
    /// Exports that get another size.
    pub resized: BTreeMap<String, u64>,
}

/// What is to be said where none is worse.
pub fn all_is_well(before: &[Seen], now: &[Seen], announced: &Announced) -> String {
    if now.iter().all(|seen| matches!(seen.reading, Reading::Untried(_))) {
        return "none was looked at".into();
    }
    let but = match announced.lost.len() + announced.resized.len() {
        0 => "",
        _ => ", but for what was announced",
    };
    format!("all {} are as they should be{but}", before.len())
}

/// What is worse than before; nothing where all is as it was, but for what was announced.
pub fn worse(before: &[Seen], now: &[Seen], announced: &Announced) -> Vec<String> {
    let now: BTreeMap<&str, &Seen> = now.iter().map(|seen| (seen.name.as_str(), seen)).collect();
    let worse = |was: &Seen| {
        if announced.lost.contains_key(&was.name) {
            return None;
        }
        let export = name(&was.name);
        let Some(is) = now.get(was.name.as_str()) else {
            return Some(format!("{export} is not listed any more"));
        };
        match (&was.reading, &is.reading) {
            (Reading::Good | Reading::Strange(_), Reading::Failed(why)) => {
                return Some(format!("{export} could be read and cannot any more: {}", shown(why)));
            }
            (was, Reading::Strange(why)) if !matches!(was, Reading::Strange(_)) => {
                return Some(format!("{export}: {}", shown(why)));
            }
            _ => {}
        }
        let wanted = announced.resized.get(&was.name).copied().or(was.size);
        match (wanted, is.size) {
            (Some(wanted), Some(is)) if wanted != is => {
                Some(format!("{export} has {is} bytes now, and should have {wanted}"))
            }
            _ => None,
        }
    };
    before.iter().filter_map(worse).collect()
}

#[cfg(test)]
#[path = "listing/tests.rs"]
mod tests;
