//! A complete configuration: every default written in, equal configurations are equal values.

use crate::name::ExportName;
use crate::tlsprio::TlsPriority;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[generic]`.
    pub generic: Generic,
    /// All exports.
    pub exports: Exports,
}

/// `[generic]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generic {
    /// User to become.
    pub user: Option<String>,
    /// Group to become.
    pub group: Option<String>,
    /// Addresses or names to listen on.
    pub listenaddr: Vec<String>,
    /// The key stands in the file, so it wins over the command line.
    pub listenaddr_given: bool,
    /// Number or service name.
    pub port: String,
    /// The key stands in the file, so it wins over the command line.
    pub port_given: bool,
    /// Unix socket to listen on.
    pub unixsock: Option<PathBuf>,
    /// Unix socket and TCP.
    pub duallisten: bool,
    /// LIST is answered.
    pub allowlist: bool,
    /// Directory of snippets.
    pub includedir: Option<PathBuf>,
    /// Operations of one export at a time; -1 for no limit of its own.
    pub max_threads: i32,
    /// All or nothing.
    pub strict: bool,
    /// Mode of the Unix socket's file; what the umask leaves where nothing is said.
    pub unixsock_mode: Option<u32>,
    /// Owner of the Unix socket's file: `USER`, `USER:GROUP` or `:GROUP`.
    pub unixsock_owner: Option<String>,
    /// Encryption.
    pub tls: Tls,
}

/// Encryption, for all exports alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Clients without TLS are refused, whatever they ask for.
    pub force: bool,
    /// The server's certificate and those that lead to its authority, PEM. Without it they are in `keyfile`.
    pub certfile: Option<PathBuf>,
    /// The server's private key, PEM.
    pub keyfile: Option<PathBuf>,
    /// Authorities of clients, PEM. With it clients must have a certificate.
    pub cacertfile: Option<PathBuf>,
    /// Pre-shared keys, `NAME:HEX` a line.
    pub pskfile: Option<PathBuf>,
    /// What may be negotiated; ours where nothing is said.
    pub tlsprio: Option<TlsPriority>,
}

impl Default for Generic {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            listenaddr: vec!["::".into(), "0.0.0.0".into()],
            listenaddr_given: false,
            port: "10809".into(),
            port_given: false,
            unixsock: None,
            duallisten: false,
            allowlist: false,
            includedir: None,
            max_threads: 4,
            strict: false,
            unixsock_mode: None,
            unixsock_owner: None,
            tls: Tls::default(),
        }
    }
}

/// Exports in the order of the texts: the main file, then its snippets sorted by name.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    list: Vec<Export>,
    index: HashMap<ExportName, usize>,
}

impl PartialEq for Exports {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Exports {}

impl Exports {
    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Export> {
        self.list.iter()
    }

    /// By name.
    #[must_use]
    pub fn get(&self, name: &ExportName) -> Option<&Export> {
        self.index.get(name).map(|&at| &self.list[at])
    }

    /// Behind all others; one of the same name is replaced where it stands.
    pub fn push(&mut self, export: Export) {
        match self.index.get(&export.name) {
            Some(&at) => self.list[at] = export,
            None => {
                self.index.insert(export.name.clone(), self.list.len());
                self.list.push(export);
            }
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// One export.
#[derive(Clone, Debug)]
pub struct Export {
    /// As clients ask for it.
    pub name: ExportName,
    /// Where its bytes are.
    pub storage: Storage,
    /// Refuse changes.
    pub readonly: bool,
    /// Advertise FLUSH; `None` where nothing is said.
    pub flush: Option<bool>,
    /// Advertise FUA.
    pub fua: Option<bool>,
    /// Advertise TRIM.
    pub trim: Option<bool>,
    /// Tell clients that the disk rotates.
    pub rotational: bool,
    /// Make every write durable.
    pub sync: bool,
    /// Sessions at a time.
    pub maxconnections: MaxConnections,
    /// Addresses that may connect.
    pub authfile: Option<PathBuf>,
    /// Another disk under a device path.
    pub device_changes: DeviceChanges,
    /// No other writable export on the same disk.
    pub exclusive: bool,
    /// Sessions of a removed or repointed export.
    pub on_change: OnChange,
    /// Clients without TLS do not see it (`force_tls`, `tlsonly`).
    pub force_tls: bool,
    /// Who may come, by what TLS knows of them; anybody where the list is empty.
    pub tls_allow: Vec<TlsIdentity>,
    /// Command before a session; `%s` stands for the file.
    pub prerun: Option<String>,
    /// Command after it.
    pub postrun: Option<String>,
    /// File that records every request.
    pub transactionlog: Option<PathBuf>,
    /// With the data that is written.
    pub datalog: bool,
    /// A session without a request for so long is ended.
    pub timeout: Option<Duration>,
    /// Where it is described. An export that moves to another file is the same.
    pub origin: Origin,
}

impl Export {
    /// All defaults.
    #[must_use]
    pub fn new(name: ExportName, path: String) -> Self {
        Self {
            name,
            storage: Storage::plain(path),
            readonly: false,
            flush: None,
            fua: None,
            trim: None,
            rotational: false,
            sync: false,
            maxconnections: MaxConnections(0),
            authfile: None,
            device_changes: DeviceChanges::Refuse,
            exclusive: false,
            on_change: OnChange::Fence,
            force_tls: false,
            tls_allow: Vec::new(),
            prerun: None,
            postrun: None,
            transactionlog: None,
            datalog: false,
            timeout: None,
            origin: Origin { file: PathBuf::from("(command line)"), line: 0 },
        }
    }

    /// Key and value of every setting besides the storage, as they are shown.
    pub(crate) fn shown(&self) -> [(&'static str, String); 13] {
        let flag = |value: Option<bool>| value.map_or("auto".into(), |value| value.to_string());
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        [
            ("readonly", self.readonly.to_string()),
            ("flush", flag(self.flush)),
            ("fua", flag(self.fua)),
            ("trim", flag(self.trim)),
            ("rotational", self.rotational.to_string()),
            ("sync", self.sync.to_string()),
            ("maxconnections", self.maxconnections.0.to_string()),
            ("authfile", path(&self.authfile)),
            ("device_changes", format!("{:?}", self.device_changes).to_lowercase()),
            ("exclusive", self.exclusive.to_string()),
            ("on_change", format!("{:?}", self.on_change).to_lowercase()),
            ("force_tls", self.force_tls.to_string()),
            ("tls_allow", format!("{:?}", self.tls_allow)),
        ]
    }
}

impl PartialEq for Export {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.storage == other.storage && self.shown() == other.shown()
    }
}

impl Eq for Export {}

/// Where an export's bytes are. Two exports with equal storage have the same store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// File or device; with `client`, a template in which `%s` stands for the client and `%%` for a percent sign.
    pub path: String,
    /// How the template names the client; none where the path is the same for everybody.
    pub client: Option<Virtstyle>,
    /// Bytes; all where nothing is said.
    pub filesize: Option<u64>,
    /// Which disk it must be.
    pub identity: Option<WantedIdentity>,
    /// How the bytes are laid out at the path.
    pub layout: Layout,
    /// Where changes go.
    pub changes: Changes,
}

impl Storage {
    /// One file or device, changed in place.
    #[must_use]
    pub fn plain(path: String) -> Self {
        Self {
            path,
            client: None,
            filesize: None,
            identity: None,
            layout: Layout::One,
            changes: Changes::InPlace,
        }
    }
}

/// How a path names the client (`virtstyle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virtstyle {
    /// Its address as text.
    Ipliteral,
    /// Its address with `/` for each dot.
    Iphash,
    /// Its network of so many bits, `/`, its address.
    Cidrhash(u8),
}

/// How the bytes of an export are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One file or device.
    One,
    /// `PATH.0`, `PATH.1`, … one behind the other (`multifile`).
    Files,
    /// A directory of one file a page (`treefiles`).
    Tree,
}

/// Where what clients write goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Into the file or device itself.
    InPlace,
    /// Into a file of the session's own that goes with it (`copyonwrite`), in this directory or beside the export.
    Private(Option<PathBuf>),
    /// Into a file that stays (`overlay`).
    Overlay(PathBuf),
    /// There is nothing below: each session has a new empty disk that goes with it (`temporary`).
    Temporary,
    /// Into a file of the session's own, as long as what is to be served is not there (`waitfile`); in this directory or
    /// beside the export.
    UntilThere(Option<PathBuf>),
}

/// What TLS knows of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsIdentity {
    /// `CN=…`: the common name in the subject of its certificate.
    CommonName(String),
    /// `DN=/…/…`: the whole subject of its certificate, each part behind a slash.
    Subject(String),
    /// `psk:…`: the name of its pre-shared key.
    Psk(String),
}

/// Which disk an export must be on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedIdentity {
    /// `serial:…`
    Serial(String),
    /// `wwid:…`
    Wwid(String),
    /// `diskseq:…`, until the next boot.
    Diskseq(u64),
}

/// Sessions at a time: 0 for any number, negative for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxConnections(pub i64);

impl MaxConnections {
    /// Whether one more may come to these.
    #[must_use]
    pub fn admits(self, sessions: usize) -> bool {
        self.0 == 0 || usize::try_from(self.0).is_ok_and(|max| sessions < max)
    }
}

/// Another disk under a device path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChanges {
    /// Not served before the next reload.
    Refuse,
    /// Served as it comes.
    Follow,
}

/// Sessions of a removed or repointed export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// Ended before the reload is acknowledged.
    Fence,
    /// Left on the old disk.
    Keep,
}

/// Where something is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
}
