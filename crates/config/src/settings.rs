//! A complete configuration: every default written in, equal configurations are equal values.

mod export;
mod generic;
mod storage;

pub use export::{DeviceChanges, Export, MaxConnections, OnChange, TlsIdentity};
pub use generic::{Control, ControlSocket, Generic, Tls};
pub use storage::{Changes, Layout, Storage, Virtstyle, WantedIdentity};

use crate::name::ExportName;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[generic]`.
    pub generic: Generic,
    /// All exports.
    pub exports: Exports,
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

/// Where something is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
}

/// A path as it is shown; nothing where there is none.
fn path(path: &Option<PathBuf>) -> String {
    path.as_deref().unwrap_or(Path::new("")).display().to_string()
}
