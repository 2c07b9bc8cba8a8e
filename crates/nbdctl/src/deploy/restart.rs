//! The restart, and the last look before it.

use super::clients;
use super::look::Scene;
use super::program::Kind;
use super::work::Work;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a connection of our own may still be counted after its end.
const LINGERS: Duration = Duration::from_secs(2);

/// Between the look and the restart a job may have begun, or the server may have ended without its children.
///
/// # Errors
/// Somebody came.
pub fn nobody_came(work: &Work<'_, '_>, scene: &Scene, may_cut: bool) -> Result<(), String> {
    let orphans = scene.orphans_now();
    if !orphans.is_empty() {
        return Err(orphans.iter().map(clients::of_orphan).collect::<Vec<_>>().join("; "));
    }
    if may_cut {
        return Ok(());
    }
    // The look itself was a client, which the server may not have let go of yet.
    let mut came = Vec::new();
    let nobody = || {
        came = scene.connected_now();
        came.is_empty().then_some(())
    };
    match work.poll(Instant::now() + LINGERS, nobody)? {
        Some(()) => Ok(()),
        None => Err(format!("somebody has connected meanwhile: {}", came.join("; "))),
    }
}

/// Restarts what is at the target; `note` is given the number of the process that does it.
///
/// # Errors
/// That failed.
pub fn restart(
    work: &mut Work<'_, '_>,
    scene: &Scene,
    coming: Kind,
    note: &mut dyn FnMut(u32) -> Result<(), String>,
) -> Result<(), String> {
    let socket = scene.unixsock().filter(|_| coming == Kind::Original);
    let Some(socket) = socket.filter(|path| is_socket(path)) else {
        return scene.manager.restart(work, note);
    };
    // 3.24 takes the file that a server leaves for one that listens, and does not start. It goes aside first: where the
    // restart fails, the server of before may listen there still.
    let aside = socket.with_added_extension("aside");
    let moved = fs::rename(&socket, &aside);
    let how = moved.map_or_else(|error| format!("cannot be moved: {error}"), |()| "is moved aside".into());
    work.say(format!("the socket {} is in the way of the original, and {how}", socket.display()));
    let done = scene.manager.restart(work, note);
    let serves_on = done.is_err() && scene.process.as_ref().is_some_and(|process| !process.has_ended());
    let cleared = if serves_on { fs::rename(&aside, &socket) } else { fs::remove_file(&aside) };
    match cleared {
        Ok(()) if serves_on => work.say(format!("the socket {} is back", socket.display())),
        Ok(()) => {}
        Err(error) => work.say(format!("{}: {error}", aside.display())),
    }
    done
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|what| what.file_type().is_socket())
}
