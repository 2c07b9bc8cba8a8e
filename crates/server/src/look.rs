//! Looking at many paths without being held up by one: a disk or a file system that does not answer must not keep a
//! reload from being carried out for all others.

use crate::assemble::Assembly;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use store::{Cause, Probe, StoreError, Verb};

/// What a look may take. A disk that is well answers in microseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// After one that did not answer: many disks behind one dead path must not add up to minutes.
const LESS_PATIENCE: Duration = Duration::from_millis(100);
/// Paths that are being looked at, and since when. Where that has taken longer than the patience nobody else is sent.
static UNDER_WAY: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());

/// What is at a path, or why it cannot be told.
pub type Found = Result<Probe, StoreError>;

/// What is at each path, in order, or why it cannot be told.
#[must_use]
pub fn look(assemblies: Vec<Assembly>) -> Vec<Found> {
    look_with(assemblies, PATIENCE, Assembly::probe)
}

/// Nobody has seen what is there.
pub fn unseen(why: String) -> Found {
    Err(StoreError { verb: Verb::Open, offset: 0, len: 0, cause: Cause::Other(why) })
}

/// One thread walks along the paths. When it gets stuck, another one takes the next path.
fn look_with(
    assemblies: Vec<Assembly>,
    patience: Duration,
    probe: impl Fn(&Assembly) -> Found + Clone + Send + 'static,
) -> Vec<Found> {
    let assemblies: Arc<[Assembly]> = assemblies.into();
    let walker = Arc::new(AtomicUsize::new(0));
    let (found, finds) = channel();
    let mut all: Vec<Found> = Vec::with_capacity(assemblies.len());
    let mut wait = patience;
    walk(&assemblies, 0, patience, &walker, &found, probe.clone());
    while all.len() < assemblies.len() {
        match finds.recv_timeout(wait) {
            // One that was stuck and has come back tells of a path that was given up.
            Ok((at, _)) if at != all.len() => {}
            Ok((_, one)) => all.push(one),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                all.push(unseen(format!("it does not answer within {} s", wait.as_secs_f32())));
                wait = patience.min(LESS_PATIENCE);
                walk(&assemblies, all.len(), patience, &walker, &found, probe.clone());
            }
        }
    }
    all
}

fn walk(
    assemblies: &Arc<[Assembly]>,
    from: usize,
    patience: Duration,
    walker: &Arc<AtomicUsize>,
    found: &Sender<(usize, Found)>,
    probe: impl Fn(&Assembly) -> Found + Send + 'static,
) {
    let me = walker.fetch_add(1, Ordering::SeqCst) + 1;
    let (assemblies, walker, found) = (assemblies.clone(), walker.clone(), found.clone());
    let started = thread::Builder::new().name("look".into()).spawn(move || {
        for (at, assembly) in assemblies.iter().enumerate().skip(from) {
            let since = *under_way().entry(assembly.path.clone()).or_insert_with(Instant::now);
            let one = if since.elapsed() < patience {
                let one = probe(assembly);
                under_way().remove(&assembly.path);
                one
            } else {
                unseen("it has not answered to an earlier look yet".into())
            };
            if found.send((at, one)).is_err() || walker.load(Ordering::SeqCst) != me {
                return;
            }
        }
    });
    // Without a thread nobody looks, and each path is told as not answering, one patience after the other.
    drop(started);
}

fn under_way() -> MutexGuard<'static, BTreeMap<PathBuf, Instant>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Identity, Kind};

    fn assemblies(paths: &[&str]) -> Vec<Assembly> {
        let settings = |path: &str| config::Export::new("disk".into(), path.into());
        paths.iter().filter_map(|path| Assembly::for_all(&settings(path))).collect()
    }

    /// The name's length is what is found, so that each can be told from the others.
    fn found(spec: &Assembly) -> Found {
        let size = spec.path.as_os_str().len() as u64;
        Ok(Probe { identity: Identity::File { dev: 1, ino: 1 }, size, kind: Kind::File, device: None })
    }

    #[test]
    fn a_path_that_does_not_answer_costs_itself_alone() {
        let (release, stuck) = channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        let finds = look_with(
            assemblies(&["a", "bb", "stuck", "cccc", "stuck", "ddddd"]),
            Duration::from_millis(100),
            {
                move |assembly: &Assembly| {
                    if assembly.path.as_os_str() == "stuck" {
                        let _ = stuck.lock().map(|stuck| stuck.recv());
                    }
                    found(assembly)
                }
            },
        );
        let sizes: Vec<Option<u64>> =
            finds.iter().map(|one| one.as_ref().ok().map(|probe| probe.size)).collect();
        assert_eq!(sizes, [Some(1), Some(2), None, Some(4), None, Some(5)]);
        assert!(finds[2].as_ref().expect_err("stuck").cause.to_string().contains("does not answer"));
        assert!(
            finds[4].as_ref().expect_err("stuck").cause.to_string().contains("earlier look"),
            "nobody else is sent there"
        );
        drop(release);
    }

    /// A client's look and a reload's may meet at a path that is well.
    #[test]
    fn who_comes_to_a_path_that_another_is_just_looking_at_looks_too() {
        let path = "looked at by two";
        let (inside, came) = channel();
        let (release, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let first = thread::spawn(move || {
            look_with(assemblies(&[path]), Duration::from_secs(20), move |assembly: &Assembly| {
                let _ = inside.send(());
                let _ = held.lock().map(|held| held.recv());
                found(assembly)
            })
        });
        came.recv().expect("the first looks");
        assert!(look_with(assemblies(&[path]), Duration::from_secs(20), found)[0].is_ok());
        drop(release);
        assert!(first.join().expect("it ends")[0].is_ok());
    }

    #[test]
    fn nothing_to_look_at_is_no_reason_to_wait() {
        assert_eq!(look(Vec::new()).len(), 0);
        assert!(look(assemblies(&["/nonexistent/disk"]))[0].as_ref().is_err_and(StoreError::is_missing));
    }
}
