//! What the reload thread is asked for: by a signal, which hears nothing, or by somebody who waits for the answer.
//!
//! One thread does all of it in turn, so that reloads never overlap and nobody writes a file between a look and a reload.

use crate::reconcile::Reconciler;
use control::Refusal;
use control::view::Reload;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The way to the reload thread. Cheap to clone.
#[derive(Clone)]
pub struct Requests {
    to: Sender<Request>,
    /// Questions in the queue.
    asked: Arc<AtomicUsize>,
}

/// Questions that may wait in the queue, those included whose asker has gone.
const ASKED_MAX: usize = 32;

/// One of those who are counted somewhere, until it is dropped.
pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// One more; none where there are so many already.
    pub fn among(all: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let before = all.fetch_add(1, Ordering::SeqCst);
        // It is counted: where there is no place, dropping it puts that right.
        let this = Self(all.clone());
        (before < max).then_some(this)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum Request {
    Reload(Option<Asked>),
    Ask { until: Instant, question: Box<dyn FnOnce(&mut Reconciler) + Send>, _place: Counted },
}

/// Somebody waits for the end of the reload, until then.
struct Asked {
    until: Instant,
    answer: Sender<Reload>,
}

impl Requests {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(reconciler: Reconciler) -> io::Result<Self> {
        let (to, from) = channel();
        thread::Builder::new().name("reload".into()).spawn(move || follow(reconciler, &from))?;
        Ok(Self { to, asked: Arc::default() })
    }

    /// A reload, as SIGHUP asks for one.
    pub fn hangup(&self) {
        let _ = self.to.send(Request::Reload(None));
    }

    /// A reload, and how it ended.
    ///
    /// # Errors
    /// Not within `timeout`, because an earlier request takes so long.
    pub fn reload(&self, timeout: Duration) -> Result<Reload, Refusal> {
        let (answer, answered) = channel();
        let until = Instant::now() + timeout;
        let _ = self.to.send(Request::Reload(Some(Asked { until, answer })));
        wait(&answered, until)
    }

    /// Asks the reconciler something between two reloads.
    ///
    /// # Errors
    /// Not within `timeout`. If it has not begun by then it is never done.
    pub fn ask<T: Send + 'static>(
        &self,
        timeout: Duration,
        question: impl FnOnce(&mut Reconciler) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Counted::among(&self.asked, ASKED_MAX)
            .ok_or_else(|| Refusal::Late(format!("{ASKED_MAX} questions wait for an earlier reload")))?;
        let (answer, answered) = channel();
        let until = Instant::now() + timeout;
        let question = move |reconciler: &mut Reconciler| {
            let _ = answer.send(question(reconciler));
        };
        let _ = self.to.send(Request::Ask { until, question: Box::new(question), _place: place });
        wait(&answered, until)
    }
}

fn wait<T>(answered: &Receiver<T>, until: Instant) -> Result<T, Refusal> {
    answered.recv_timeout(until.saturating_duration_since(Instant::now())).map_err(|error| match error {
        RecvTimeoutError::Timeout => {
            Refusal::Late("it has not ended in time; an earlier reload may be waiting for a fence".into())
        }
        RecvTimeoutError::Disconnected => {
            Refusal::Late("the server is stopping, or has made a mistake that its log tells".into())
        }
    })
}

/// Requests that came while a reload was running are one request: the last state wins (P7), and all are answered.
fn follow(mut reconciler: Reconciler, requests: &Receiver<Request>) {
    let mut queue = VecDeque::new();
    loop {
        if queue.is_empty() {
            let Ok(request) = requests.recv() else { return };
            queue.push_back(request);
        }
        queue.extend(requests.try_iter());
        // A mistake of ours in one request must not be the end of all later ones. Whoever waits for it hears that.
        let done = match queue.pop_front() {
            Some(Request::Ask { until, question, .. }) if Instant::now() < until => {
                catch_unwind(AssertUnwindSafe(|| question(&mut reconciler)))
            }
            Some(Request::Reload(first)) => {
                catch_unwind(AssertUnwindSafe(|| reload(&mut reconciler, first, &mut queue)))
            }
            _ => Ok(()),
        };
        if done.is_err() {
            reconciler.broke_off();
        }
    }
}

fn reload(reconciler: &mut Reconciler, first: Option<Asked>, queue: &mut VecDeque<Request>) {
    let mut asked = vec![first];
    while let Some(Request::Reload(_)) = queue.front() {
        let Some(Request::Reload(one)) = queue.pop_front() else { break };
        asked.push(one);
    }
    // Whoever has most patience sets it for all: a fence that is cut short would be told as one that hangs. A signal has
    // all the patience there is, and who has given up waiting is no reason to hurry.
    let until = asked.iter().map(|asked| asked.as_ref().map(|asked| asked.until));
    let until = until.collect::<Option<Vec<Instant>>>().and_then(|until| until.into_iter().max());
    let reload = reconciler.reload(until.filter(|until| *until > Instant::now()));
    for asked in asked.into_iter().flatten() {
        let _ = asked.answer.send(reload.clone());
    }
}
