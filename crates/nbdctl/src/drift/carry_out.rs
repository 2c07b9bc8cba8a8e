//! What `--fix` does: it asks the server to write and delete files, and to follow them once.

use super::mend::{Change, Mending};
use crate::client::{Ask, Client, Failure, Path};
use control::view::{ExportSettings, Reload};

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    /// Files that were written or deleted, and stay so.
    pub files: usize,
    /// The reload, where one was asked for.
    pub reload: Option<Reload>,
    /// Why it could not be done to the end: the server has gone, or nobody can tell.
    pub failure: Option<Failure>,
}

/// Does it. Exports whose file could not be changed are added to those that are left.
pub fn carry_out(client: &Client, mending: &mut Mending, reload: bool) -> Done {
    let mut done = Done::default();
    for group in std::mem::take(&mut mending.groups) {
        match whole(client, &group) {
            Ok(()) => done.files += group.len(),
            Err((failure, certain)) => {
                for change in &group {
                    mending.left.insert(change.export.clone(), failure.to_string());
                }
                if !certain {
                    // Nothing is to be followed that nobody can tell.
                    done.failure = Some(failure);
                    return done;
                }
            }
        }
    }
    if reload || done.files > 0 {
        match follow(client) {
            Ok(reload) => done.reload = Some(reload),
            Err(failure) => done.failure = Some(failure),
        }
    }
    done
}

/// All changes of a group, or none: those before the one that was refused are taken back. `false` where it is not certain
/// that nothing of it is left.
fn whole(client: &Client, group: &[Change]) -> Result<(), (Failure, bool)> {
    for (at, change) in group.iter().enumerate() {
        if let Err(failure) = write(client, &change.export, change.to.as_ref()) {
            let refused = matches!(failure, Failure::Refused { pending: false, .. });
            let back = group[..at].iter().rev().map(|one| write(client, &one.export, one.back.as_ref()));
            let clean = back.fold(refused, |clean, taken_back| clean && taken_back.is_ok());
            return Err((failure, clean));
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

fn follow(client: &Client) -> Result<Reload, Failure> {
    client.ask(&Ask::post(Path::v1("reload").within(client.timeout())))?.value()
}
