//! Where an export's bytes are.

use std::fmt;
use std::path::{Path, PathBuf};

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

impl Storage {
    /// Key and value of everything, as they are shown. A new field does not compile before it is named here.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let Self { path, client, filesize, identity, layout, changes } = self;
        let is = |wanted: bool| wanted.to_string();
        let cowdir = match changes {
            Changes::Private(dir) | Changes::UntilThere(dir) => dir.as_deref(),
            Changes::InPlace | Changes::Overlay(_) | Changes::Temporary => None,
        };
        let overlay = if let Changes::Overlay(file) = changes { Some(file.as_path()) } else { None };
        vec![
            ("exportname", path.clone()),
            ("virtstyle", client.map_or("none".into(), |style| style.to_string())),
            ("filesize", filesize.unwrap_or(0).to_string()),
            ("identity", identity.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("multifile", is(*layout == Layout::Files)),
            ("treefiles", is(*layout == Layout::Tree)),
            ("copyonwrite", is(matches!(changes, Changes::Private(_)))),
            ("temporary", is(matches!(changes, Changes::Temporary))),
            ("waitfile", is(matches!(changes, Changes::UntilThere(_)))),
            ("cowdir", shown(cowdir)),
            ("overlay", shown(overlay)),
        ]
    }
}

fn shown(path: Option<&Path>) -> String {
    path.unwrap_or(Path::new("")).display().to_string()
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

impl fmt::Display for Virtstyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipliteral => f.write_str("ipliteral"),
            Self::Iphash => f.write_str("iphash"),
            Self::Cidrhash(bits) => write!(f, "cidrhash {bits}"),
        }
    }
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

impl Changes {
    /// Whether what clients write changes the disk at the path.
    #[must_use]
    pub fn reach_the_path(&self) -> bool {
        matches!(self, Self::InPlace | Self::UntilThere(_))
    }
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

impl fmt::Display for WantedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Wwid(wwid) => write!(f, "wwid:{wwid}"),
            Self::Diskseq(number) => write!(f, "diskseq:{number}"),
        }
    }
}
