//! The workers: a bounded pool shared by all sessions, with a fair share for each export (P7).
//!
//! An export whose disk hangs can occupy its own share and no more, so the others go on.

use session::Workers;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

/// Threads of the pool, at most, however many exports there are. More than a hundred disks have to hang before the
/// others wait.
pub const WORKERS_MAX: usize = 512;
/// The share of an export that has no limit of its own.
pub const SHARE_MAX: usize = 64;
/// A worker needs little: its buffers are on the heap.
const STACK: usize = 256 << 10;
/// A worker without work goes away after this.
const IDLE: Duration = Duration::from_secs(10);

/// The pool. Threads start when there is work and leave when there is none.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    /// Operations of one export at a time (`max_threads`).
    share: usize,
    queues: HashMap<usize, Queue>,
    /// Exports with work and free places in their share, each once, in turn.
    turn: VecDeque<usize>,
    workers: usize,
    idle: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
    /// Stands in `turn`.
    listed: bool,
}

impl Pool {
    /// A pool that does `share` operations of one export at a time.
    #[must_use]
    pub fn new(share: usize) -> Self {
        let state =
            State { share: share.max(1), queues: HashMap::new(), turn: VecDeque::new(), workers: 0, idle: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), work: Condvar::new() }) }
    }

    /// Changes how many operations of one export are done at a time; those under way go on.
    pub fn set_share(&self, share: usize) {
        let mut state = self.shared.lock();
        state.share = share.max(1);
        let keys: Vec<usize> = state.queues.keys().copied().collect();
        for key in keys {
            state.list(key);
        }
        drop(state);
        self.shared.work.notify_all();
    }

    fn push(&self, key: usize, job: Job) {
        let mut state = self.shared.lock();
        state.queues.entry(key).or_default().jobs.push_back(job);
        state.list(key);
        self.shared.staff(state);
    }
}

impl Workers for Pool {
    fn submit(&self, share: usize, job: Job) {
        self.push(share, job);
    }

    fn in_order(&self) -> bool {
        self.shared.lock().share == 1
    }
}

impl Shared {
    /// Sees to it that somebody comes for what stands in `turn`: an idle worker, or a new one.
    fn staff(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.turn.is_empty() {
            return;
        }
        if state.idle >= state.turn.len() || state.workers >= WORKERS_MAX {
            drop(state);
            self.work.notify_one();
            return;
        }
        state.workers += 1;
        // Counted as idle from here on, so that a burst does not start a thread for each operation.
        state.idle += 1;
        drop(state);
        let shared = self.clone();
        let run = move || shared.run();
        if thread::Builder::new().name("worker".into()).stack_size(STACK).spawn(run).is_err() {
            self.without_a_new_thread();
        }
    }

    /// The system gives no more threads. With at least one worker the operation waits for it; without any, this thread
    /// does the work itself: slow, but nothing is lost.
    fn without_a_new_thread(&self) {
        let mut state = self.lock();
        state.workers -= 1;
        state.idle -= 1;
        while state.workers == 0
            && let Some((key, job)) = state.next()
        {
            drop(state);
            job();
            state = self.lock();
            state.done(key);
        }
    }

    fn run(self: &Arc<Self>) {
        let mut state = self.lock();
        state.idle -= 1;
        loop {
            if let Some((key, job)) = state.next() {
                // What was taken may have made room for more of the same export.
                self.staff(state);
                // A panic in an operation ends this worker; the counts must be right all the same.
                let done = Done { shared: self, key };
                job();
                drop(done);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (woken, timeout) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.turn.is_empty() {
                state.workers -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the place in the share back, also when the job panicked.
struct Done<'a> {
    shared: &'a Arc<Shared>,
    key: usize,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.done(self.key);
        if thread::panicking() {
            state.workers -= 1;
            self.shared.staff(state);
        }
    }
}

impl State {
    fn list(&mut self, key: usize) {
        let share = self.share;
        let Some(queue) = self.queues.get_mut(&key) else { return };
        if !queue.listed && !queue.jobs.is_empty() && queue.running < share {
            queue.listed = true;
            self.turn.push_back(key);
        }
    }

    fn next(&mut self) -> Option<(usize, Job)> {
        let key = self.turn.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        queue.listed = false;
        let job = queue.jobs.pop_front()?;
        queue.running += 1;
        self.list(key);
        Some((key, job))
    }

    fn done(&mut self, key: usize) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.running -= 1;
        if queue.running == 0 && queue.jobs.is_empty() {
            self.queues.remove(&key);
        } else {
            self.list(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_export_that_hangs_keeps_only_its_own_share() {
        let pool = Pool::new(2);
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..100 {
            let hang = hang.clone();
            pool.submit(1, Box::new(move || drop(hang.lock().map(|hang| hang.recv()))));
        }
        let (done, finished) = mpsc::channel();
        pool.submit(2, Box::new(move || done.send(()).expect("the test waits")));
        finished.recv_timeout(Duration::from_secs(10)).expect("the other export is served");
        assert!(pool.shared.lock().workers <= 4);
        drop(release);
    }

    #[test]
    fn with_a_share_of_one_jobs_of_an_export_run_in_order() {
        let pool = Pool::new(1);
        assert!(pool.in_order());
        let (done, finished) = mpsc::channel();
        for number in 0..1000 {
            let done = done.clone();
            pool.submit(7, Box::new(move || done.send(number).expect("the test waits")));
        }
        let order: Vec<i32> = finished.iter().take(1000).collect();
        assert!(order.is_sorted());
    }

    #[test]
    fn a_panicking_job_gives_its_place_back() {
        let pool = Pool::new(1);
        pool.submit(1, Box::new(|| panic!("as a test")));
        let (done, finished) = mpsc::channel();
        pool.submit(1, Box::new(move || done.send(()).expect("the test waits")));
        finished.recv_timeout(Duration::from_secs(10)).expect("the next job runs");
    }
}
