//! What `--fix` does: it asks the server to write and delete files, and to follow them once.

use super::mend::{Change, Mending};
use crate::client::{Ask, Client, Failure, Path};
use control::view::{ExportSettings, Reload};

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    /// Exports whose files were written or deleted, and stay so.
    pub files: Vec<String>,
    /// Why it could not be done to the end: the server has gone, or nobody can tell.
    pub failure: Option<Failure>,
}

/// Writes and deletes files, and follows nothing. Exports whose file could not be changed are added to those that are left.
pub fn write_files(client: &Client, mending: &mut Mending) -> Done {
    let mut done = Done::default();
    for group in std::mem::take(&mut mending.groups) {
        match whole(client, &group) {
            Ok(()) => done.files.extend(group.into_iter().map(|change| change.export)),
            Err(broken) => {
                for change in &group {
                    mending.left.insert(change.export.clone(), broken.failure.to_string());
                }
                if !broken.clean {
                    // Nothing is to be followed that nobody can tell.
                    done.files.extend(broken.written);
                    done.failure = Some(broken.failure);
                    return done;
                }
            }
        }
    }
    done
}

/// One reload for all of them.
pub fn follow(client: &Client) -> Result<Reload, Failure> {
    client.ask(&Ask::post(Path::v1("reload").within(client.timeout())))?.value()
}

/// A group that is not done.
struct Broken {
    failure: Failure,
    /// It is certain that nothing of it is left.
    clean: bool,
    /// What may be left of it.
    written: Vec<String>,
}

/// All changes of a group, or none: those before the one that was refused are taken back.
fn whole(client: &Client, group: &[Change]) -> Result<(), Broken> {
    for (at, change) in group.iter().enumerate() {
        if let Err(failure) = write(client, &change.export, change.to.as_ref()) {
            let refused = matches!(failure, Failure::Refused { pending: false, .. });
            // Nobody was there: this one is not written, and those before it are.
            let doubtful = !refused && !matches!(failure, Failure::NoServer(_));
            let mut written: Vec<String> =
                group[..at + usize::from(doubtful)].iter().map(|one| one.export.clone()).collect();
            for one in group[..at].iter().rev() {
                if write(client, &one.export, one.back.as_ref()).is_ok() {
                    written.retain(|name| *name != one.export);
                }
            }
            return Err(Broken { failure, clean: refused && written.is_empty(), written });
        }
    }
    Ok(())
}

fn write(client: &Client, export: &str, settings: Option<&ExportSettings>) -> Result<(), Failure> {
    let path = Path::v1("exports").down(export).with("apply", false).within(client.timeout());
    let ask = match settings {
        None => Ask::delete(path),
        Some(settings) => {
            let body = serde_json::to_vec(settings).map_err(|error| Failure::Here(error.to_string()))?;
            Ask::put(path).with("application/json", body)
        }
    };
    client.ask(&ask).map(|_| ())
}
