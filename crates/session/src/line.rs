//! The sending side of one session, shared by its own thread and the workers that finish its operations.
//!
//! Whoever has a reply puts it in the queue; one at a time sends. A worker never waits for a client: when there is no
//! room it leaves the rest to the session's thread and goes on to other work.

use crate::buffer::Buffer;
use crate::channel::Channel;
use crate::export::{Sitter, uptime_ms_at};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) struct Line {
    pub(crate) sitter: Arc<Sitter>,
    outbox: Mutex<Outbox>,
    /// Operations that a worker has or will have.
    outstanding: AtomicUsize,
    /// Operations with a worker, and replies that have not left yet.
    pending: AtomicUsize,
    /// Bytes of payloads and replies held for this connection.
    held: AtomicUsize,
    /// When each operation that a worker has began, for a fence that must say how old the oldest is.
    began: Mutex<BTreeSet<(u64, u64)>>,
    /// The session's thread is in (or about to enter) `wait`, and wants to know of progress.
    waiting: AtomicBool,
    spare: Mutex<Vec<Buffer>>,
    /// Sending failed for good; nothing will leave any more. Raised with the outbox in hand.
    broken: AtomicBool,
    /// Something was written, zeroed or trimmed that no FLUSH of this session covers yet (P6).
    pub(crate) unflushed: AtomicBool,
}

#[derive(Default)]
struct Outbox {
    queue: VecDeque<Piece>,
    /// Somebody is sending; others only queue.
    sending: bool,
}

struct Piece {
    buffer: Buffer,
    sent: usize,
    held: usize,
}

/// One operation of a worker: when it began, and a number, since several may begin in one millisecond.
pub(crate) struct Began(u64, u64);

/// Buffers kept for the next operations of a connection.
const SPARE_MAX: usize = 4;
/// A larger buffer goes back to the system: what one huge read needed must not stay with an idle connection.
const SPARE_LEN_MAX: usize = 2 << 20;

impl Line {
    pub(crate) fn new(sitter: Arc<Sitter>) -> Arc<Self> {
        Arc::new(Self {
            sitter,
            outbox: Mutex::default(),
            outstanding: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            began: Mutex::default(),
            held: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            spare: Mutex::default(),
            broken: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
        })
    }

    pub(crate) fn channel(&self) -> &dyn Channel {
        &*self.sitter.channel
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// Nothing can be sent any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Nothing with the workers and nothing to send: the session's thread may sleep in `receive`.
    pub(crate) fn quiet(&self) -> bool {
        self.outstanding() == 0 && !self.has_output()
    }

    pub(crate) fn has_output(&self) -> bool {
        let outbox = self.lock();
        outbox.sending || !outbox.queue.is_empty()
    }

    /// Output that nobody is sending, because there was no room.
    pub(crate) fn has_stuck_output(&self) -> bool {
        let outbox = self.lock();
        !outbox.sending && !outbox.queue.is_empty()
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    /// Counts an operation that goes to a worker.
    pub(crate) fn begin(&self, held: usize, now: Instant) -> Began {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let began = Began(uptime_ms_at(now), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut all = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((began.0, began.1));
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        self.pending.fetch_add(1, Ordering::SeqCst);
        self.held.fetch_add(held, Ordering::SeqCst);
        self.show_oldest(&all);
        began
    }

    /// The worker's last act for an operation: nothing of the export may be held any more.
    pub(crate) fn complete(&self, began: Began, reply: Buffer, held: usize) {
        self.enqueue(reply, held);
        let mut all = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(began.0, began.1));
        self.outstanding.fetch_sub(1, Ordering::SeqCst);
        self.show_oldest(&all);
        drop(all);
        let stuck = self.pump();
        if stuck || self.waiting.load(Ordering::SeqCst) {
            self.channel().wake();
        }
    }

    fn show_oldest(&self, began: &BTreeSet<(u64, u64)>) {
        let oldest = began.first().map_or(0, |(at, _)| *at);
        self.sitter.busy_since_ms.store(oldest, Ordering::Relaxed);
    }

    fn enqueue(&self, buffer: Buffer, held: usize) {
        let mut outbox = self.lock();
        if self.is_broken() {
            self.let_go(held);
            return;
        }
        // What is held is memory, not bytes of a reply: a short one has a long buffer.
        let memory = buffer.capacity().max(held);
        self.held.fetch_add(memory - held, Ordering::SeqCst);
        outbox.queue.push_back(Piece { buffer, sent: 0, held: memory });
    }

    /// A reply has left, or never will.
    fn let_go(&self, held: usize) {
        self.held.fetch_sub(held, Ordering::SeqCst);
        self.pending.fetch_sub(1, Ordering::SeqCst);
    }

    /// Sends what there is room for. `true`: something is left and nobody sends it.
    pub(crate) fn pump(&self) -> bool {
        let send = |channel: &dyn Channel, bytes: &[u8]| channel.try_send(bytes);
        let mut outbox = self.lock();
        if outbox.sending {
            return false;
        }
        outbox.sending = true;
        while let Some(mut piece) = outbox.queue.pop_front() {
            drop(outbox);
            let result = send_rest(self.channel(), piece.buffer.as_slice(), &mut piece.sent, &send);
            let full = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if full {
                outbox = self.lock();
                outbox.queue.push_front(piece);
                outbox.sending = false;
                return true;
            }
            self.let_go(piece.held);
            self.recycle(piece.buffer);
            if result.is_err() {
                self.break_off();
            }
            outbox = self.lock();
        }
        outbox.sending = false;
        false
    }

    /// Sends the replies of one batch, waiting for room, in turn with the workers. `batch` is empty afterwards.
    pub(crate) fn send_batch(&self, batch: &mut Buffer) {
        if batch.is_empty() {
            return;
        }
        if !self.claim() {
            self.queue_batch(batch);
            return;
        }
        let mut sent = 0;
        let result =
            send_rest(self.channel(), batch.as_slice(), &mut sent, &|channel, bytes| channel.send(bytes));
        batch.clear();
        self.release(result.is_err());
    }

    /// Behind what others are sending, or have left to be sent.
    fn queue_batch(&self, batch: &mut Buffer) {
        let mut outbox = self.lock();
        if self.is_broken() {
            batch.clear();
            return;
        }
        let held = batch.capacity();
        self.held.fetch_add(held, Ordering::SeqCst);
        self.pending.fetch_add(1, Ordering::SeqCst);
        outbox.queue.push_back(Piece { buffer: std::mem::take(batch), sent: 0, held });
        drop(outbox);
        *batch = self.spare(0);
        self.pump();
    }

    /// The right to send, if nobody has it and nothing waits. The holder must [`Line::release`] it.
    pub(crate) fn claim(&self) -> bool {
        let mut outbox = self.lock();
        if self.is_broken() || outbox.sending || !outbox.queue.is_empty() {
            return false;
        }
        outbox.sending = true;
        true
    }

    pub(crate) fn release(&self, failed: bool) {
        if failed {
            self.break_off();
        }
        self.lock().sending = false;
        // A worker may have queued meanwhile and, seeing somebody send, left it there.
        self.pump();
    }

    /// Nothing can be sent any more: drops what is queued and ends the session's thread's waiting.
    pub(crate) fn break_off(&self) {
        let mut outbox = self.lock();
        self.broken.store(true, Ordering::Relaxed);
        for piece in outbox.queue.drain(..) {
            self.let_go(piece.held);
        }
        drop(outbox);
        self.channel().close();
    }

    /// An empty buffer, a used one if there is one; of those that hold `len` bytes already, the smallest.
    pub(crate) fn spare(&self, len: usize) -> Buffer {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = (0..spare.len()).filter(|&at| spare[at].capacity() >= len);
        match fitting.min_by_key(|&at| spare[at].capacity()).or(spare.len().checked_sub(1)) {
            Some(at) => spare.swap_remove(at),
            None => Buffer::default(),
        }
    }

    pub(crate) fn recycle(&self, mut buffer: Buffer) {
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_LEN_MAX {
            spare.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn send_rest(
    channel: &dyn Channel,
    bytes: &[u8],
    sent: &mut usize,
    send: &impl Fn(&dyn Channel, &[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    while *sent < bytes.len() {
        match send(channel, &bytes[*sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
