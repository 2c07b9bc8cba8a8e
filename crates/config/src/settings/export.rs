//! One export, besides where its bytes are.

use super::{Origin, Storage, path};
use crate::name::ExportName;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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

    /// It leads to `/dev/null` and has no size: the original does not start without an export, so people have one that is
    /// none.
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        self.storage == Storage::plain("/dev/null".into())
    }

    /// Key and value of every setting besides the storage, as they are shown. Two values are equal when their texts are.
    /// A new field does not compile before it is named here.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let Self {
            name: _,
            storage: _,
            readonly,
            flush,
            fua,
            trim,
            rotational,
            sync,
            maxconnections,
            authfile,
            device_changes,
            exclusive,
            on_change,
            force_tls,
            tls_allow,
            prerun,
            postrun,
            transactionlog,
            datalog,
            timeout,
            origin: _,
        } = self;
        let advertised = |said: &Option<bool>| said.map_or("auto".into(), |said| said.to_string());
        vec![
            ("readonly", readonly.to_string()),
            ("flush", advertised(flush)),
            ("fua", advertised(fua)),
            ("trim", advertised(trim)),
            ("rotational", rotational.to_string()),
            ("sync", sync.to_string()),
            ("maxconnections", maxconnections.0.to_string()),
            ("authfile", path(authfile)),
            ("device_changes", format!("{device_changes:?}").to_lowercase()),
            ("exclusive", exclusive.to_string()),
            ("on_change", format!("{on_change:?}").to_lowercase()),
            ("force_tls", force_tls.to_string()),
            ("tls_allow", tls_allow.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            ("prerun", prerun.clone().unwrap_or_default()),
            ("postrun", postrun.clone().unwrap_or_default()),
            ("transactionlog", path(transactionlog)),
            ("datalog", datalog.to_string()),
            ("timeout", timeout.unwrap_or_default().as_secs().to_string()),
        ]
    }
}

impl PartialEq for Export {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.storage == other.storage && self.shown() == other.shown()
    }
}

impl Eq for Export {}

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

/// As it is written in a list, where a comma has a backslash before it.
impl fmt::Display for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::CommonName(name) => ("CN=", name),
            Self::Subject(name) => ("DN=", name),
            Self::Psk(name) => ("psk:", name),
        };
        write!(f, "{kind}{}", name.replace('\\', "\\\\").replace(',', "\\,"))
    }
}
