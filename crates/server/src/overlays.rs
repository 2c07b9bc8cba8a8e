//! What an operator does with an overlay that stays: its pages are written into the disk beneath, or they are forgotten.
//! Both are done by a run of the program of its own, while nobody uses the overlay.

use crate::assemble::Assembly;
use crate::exit::Exit;
use config::{Changes, Config, Export, ExportName};
use std::io;
use std::path::{Path, PathBuf};
use store::StoreError;

/// `--commit-overlay`: does it, and says what was done.
///
/// # Errors
/// There is no such export, or it has no overlay; somebody uses the overlay; what the disk says. A commit that failed can
/// be repeated: the overlay is there until all of it is on the disk.
pub fn commit(name: &ExportName, config: &Config) -> Result<String, Exit> {
    let (export, overlay) = find(name, config)?;
    write_down(export, &overlay).map_err(|error| failed(name, &error))
}

/// `--drop-overlay`: does it, and says what was done.
///
/// # Errors
/// As [`commit`].
pub fn discard(name: &ExportName, config: &Config) -> Result<String, Exit> {
    let (_, overlay) = find(name, config)?;
    forget(&overlay).map_err(|error| failed(name, &error))
}

fn failed(name: &ExportName, error: &StoreError) -> Exit {
    Exit::Overlay(format!("export {name}: {}", error.cause))
}

fn find<'c>(name: &ExportName, config: &'c Config) -> Result<(&'c Export, PathBuf), Exit> {
    let export = config
        .exports
        .get(name)
        .ok_or_else(|| Exit::Overlay(format!("the configuration has no export {name}")))?;
    match &export.storage.changes {
        // The server counts relative ones from where it is, and nobody knows here where that was.
        Changes::Overlay(path) if path.is_relative() || !export.storage.path.starts_with('/') => {
            let what =
                "only absolute paths can be committed or dropped; write them so in exportname and overlay";
            Err(Exit::Overlay(format!("export {name}: {what}")))
        }
        Changes::Overlay(path) => Ok((export, path.clone())),
        _ => Err(Exit::Overlay(format!("export {name} has no overlay; the key is overlay = PATH"))),
    }
}

fn write_down(export: &Export, overlay: &Path) -> Result<String, StoreError> {
    // One that cannot be seen may hold something all the same.
    if std::fs::symlink_metadata(overlay).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(nothing(overlay));
    }
    // One path for all: an overlay of many bases would be none.
    let assembly = Assembly::at(export, Path::new(&export.storage.path));
    let store = assembly.open_to_commit(overlay)?;
    let pages = store.commit()?;
    // Still locked: nobody comes between what was carried over and its end.
    store::forget_overlay(overlay)?;
    Ok(format!("{pages} pages of 4096 bytes of {} are in {} now", overlay.display(), assembly.path.display()))
}

fn forget(overlay: &Path) -> Result<String, StoreError> {
    if store::remove_overlay(overlay)? {
        return Ok(format!("{} and what was written to it are gone", overlay.display()));
    }
    Ok(nothing(overlay))
}

fn nothing(overlay: &Path) -> String {
    format!("nothing was written to {}", overlay.display())
}
