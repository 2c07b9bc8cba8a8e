//! Transmission: requests in, replies out, in any order.
//!
//! The session's thread receives, understands every complete request, does inline what does not block and hands the
//! rest to the workers; the replies of one batch leave in one send. While nothing is with the workers it sleeps in
//! `receive`, otherwise in `wait`.

use crate::admit::{Kind, Terms, admit};
use crate::buffer::{Buffer, Input};
use crate::ending::Ending;
use crate::execute::{Patience, Style, perform};
use crate::export::{Export, Sitter, uptime_ms};
use crate::haggling::Agreed;
use crate::host::{Host, Workers};
use crate::journal::{Recorder, tell_reply};
use crate::limits::Limits;
use crate::line::Line;
use crate::meter::Class;
use crate::refusal::Refusal;
use crate::tally::Tally;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::StoreError;
use wire::{Command, Cookie, ErrorNumber, Request};

/// A batch is sent when its replies reach this many bytes, even if more requests are at hand.
const BATCH_LEN: usize = 256 << 10;

pub(crate) struct Transmission<'a> {
    pub(crate) limits: &'a Limits,
    workers: Arc<dyn Workers>,
    in_order: bool,
    pub(crate) export: Arc<Export>,
    terms: Terms,
    pub(crate) style: Style,
    pub(crate) line: Arc<Line>,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) input: Input,
    /// Replies of the batch at hand.
    pub(crate) out: Buffer,
    /// Between `enter` and `leave` of the turnstile, once for a batch.
    inside: bool,
    /// The guard was asked before this connection's first write (P4).
    pub(crate) guarded: bool,
    /// What the guard said when it did not let this connection write; the session ends with it.
    pub(crate) wrong_disk: Option<String>,
    pub(crate) tally: Tally,
    /// When the requests at hand arrived.
    pub(crate) arrived: Instant,
}

/// What an operation takes along to a worker.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Counted when it is done.
    pub(crate) bytes: u64,
    /// Of memory, for payload and reply.
    pub(crate) held: usize,
    /// It changes the disk.
    pub(crate) changes: bool,
}

/// Serves one client on one export until it leaves. `input` holds what it sent ahead.
pub(crate) fn transmit(host: &dyn Host, sitter: &Arc<Sitter>, agreed: Agreed, input: Input) -> Ending {
    // Dropped in reverse order: whatever holds the store goes before the seat, see `Entered`.
    let hold = agreed.entered.hold;
    let seat = agreed.entered.seat;
    let limits = host.limits();
    let record = |journal| Recorder::new(journal, limits.payload_len_max);
    let workers = host.workers();
    let mut transmission = Transmission {
        limits,
        in_order: workers.in_order(),
        workers,
        export: agreed.entered.export,
        terms: Terms {
            structured: agreed.structured,
            allocation_context: agreed.allocation_context,
            read_only: false,
        },
        style: Style { structured: agreed.structured, extents_max: limits.extents_max },
        line: Line::new(sitter.clone()),
        recorder: agreed.entered.journal.map(record),
        idle_timeout: agreed.entered.idle_timeout,
        input,
        out: Buffer::default(),
        inside: false,
        guarded: false,
        wrong_disk: None,
        tally: Tally::default(),
        arrived: Instant::now(),
    };
    // Even after a panic: the seat is left only when the workers hold nothing of this session any more.
    let ending = match catch_unwind(AssertUnwindSafe(|| transmission.serve())) {
        Ok(Ok(never)) => match never {},
        Ok(Err(ending)) => ending,
        Err(_) => {
            transmission.out.clear();
            Ending::Panicked
        }
    };
    let ending = transmission.finish(ending);
    drop(transmission);
    drop(seat);
    // Whoever leaves by himself sees the end when the host has done what it does after each session, and can come again to
    // a place that is ready, as with the original. Whoever is cut off is not to wait for that.
    if matches!(ending, Ending::Fenced | Ending::WrongDisk(_)) {
        sitter.channel.close();
    }
    drop(hold);
    ending
}

enum Never {}

impl Transmission<'_> {
    fn serve(&mut self) -> Result<Never, Ending> {
        loop {
            while let Some(header) = self.input.peek::<{ Request::SIZE }>() {
                let request = Request::decode(header).map_err(Ending::Malformed)?;
                self.still_connected()?;
                self.make_room(&request)?;
                self.input.consume(Request::SIZE);
                self.answer(&request)?;
                if self.out.len() >= BATCH_LEN {
                    self.send_batch();
                }
            }
            self.send_batch();
            self.receive_more()?;
        }
    }

    fn answer(&mut self, request: &Request) -> Result<(), Ending> {
        self.tally.begin(Class::of(request.command));
        let acted = self.act(request);
        self.tally.answered();
        acted
    }

    fn act(&mut self, request: &Request) -> Result<(), Ending> {
        if let Some(recorder) = &mut self.recorder {
            recorder.request(request);
        }
        self.terms.read_only = self.export.seats.read_only_now.load(Ordering::Relaxed);
        let cookie = request.cookie;
        match admit(request, &self.export.offer, self.terms).map(|operation| operation.kind()) {
            Ok(Kind::Disconnect) => Err(Ending::Disconnected),
            Ok(Kind::Write { offset, len, durability }) => self.write(cookie, offset, len, durability),
            Ok(Kind::Read { offset, len, .. }) if len > self.limits.payload_len_max => {
                self.read_in_pieces(cookie, offset, len)
            }
            Ok(kind) => {
                if !self.enter() {
                    self.refuse(cookie, &Refusal::Fenced);
                } else if !self.at_hand(kind, cookie)? {
                    self.submit(kind, cookie);
                }
                Ok(())
            }
            Err(refusal) => {
                if request.command == Command::WRITE {
                    self.skip(request.length.into())?;
                }
                self.refuse(cookie, &refusal);
                Ok(())
            }
        }
    }

    /// Does a read inline if it does not block.
    fn at_hand(&mut self, kind: Kind, cookie: Cookie) -> Result<bool, Ending> {
        let Kind::Read { offset, len, whole } = kind else { return Ok(false) };
        if !self.may_overtake() {
            return Ok(false);
        }
        if self.send_directly(offset, len, whole, cookie)? {
            return Ok(true);
        }
        if len as usize > self.limits.piece_len {
            return Ok(false);
        }
        let result = perform(&self.export, kind, cookie, self.style, Patience::None, &mut self.out);
        let Some(result) = result else { return Ok(false) };
        self.record_reply(cookie, outcome(result.as_ref().err()));
        match result {
            Ok(()) => self.tally.bytes(len.into()),
            Err(error) => self.failed(&error),
        }
        Ok(true)
    }

    pub(crate) fn may_overtake(&self) -> bool {
        !self.in_order || self.line.outstanding() == 0
    }

    /// Hands an operation to the workers.
    fn submit(&mut self, kind: Kind, cookie: Cookie) {
        let (bytes, held) = match kind {
            Kind::Read { len, .. } => (u64::from(len), len as usize),
            Kind::Zero { len, .. } | Kind::Trim { len, .. } => (len, 0),
            _ => (0, 0),
        };
        let changes = matches!(kind, Kind::Zero { .. } | Kind::Trim { .. });
        if changes && !self.ask_guard() {
            self.refuse(cookie, &Refusal::Fenced);
            return;
        }
        let style = self.style;
        self.hand_over(cookie, Load { bytes, held, changes }, move |export, line| {
            let mut reply = line.spare(held);
            let flushes = kind == Kind::Flush && line.unflushed.swap(false, Ordering::SeqCst);
            let result = perform(export, kind, cookie, style, Patience::Any, &mut reply);
            let failed = result.and_then(Result::err);
            if failed.is_none() && changes || failed.is_some() && flushes {
                line.unflushed.store(true, Ordering::SeqCst);
            }
            (reply, failed)
        });
    }

    /// The frame around every operation of a worker: gate, counters, and nothing of the export held at the end.
    pub(crate) fn hand_over(
        &mut self,
        cookie: Cookie,
        Load { bytes, held, changes }: Load,
        work: impl FnOnce(&Export, &Line) -> (Buffer, Option<StoreError>) + Send + 'static,
    ) {
        if !self.line.sitter.turnstile.enter(&self.export.seats.gate) {
            self.refuse(cookie, &Refusal::Fenced);
            return;
        }
        let arrived = Instant::now();
        let class = self.tally.handed_over(&self.line.sitter, arrived);
        let began = self.line.begin(held, arrived);
        let (line, export, style) = (self.line.clone(), self.export.clone(), self.style);
        let journal = self.recorder.as_ref().map(Recorder::journal);
        let share = Arc::as_ptr(&export.seats).addr();
        self.workers.submit(
            share,
            Box::new(move || {
                let refused = |refusal: Refusal| {
                    let mut reply = line.spare(0);
                    style.refused(cookie, &refusal, &mut reply);
                    (reply, refusal.number(), None)
                };
                // Looked at again: it may have waited for its turn for long.
                let (reply, number, failed) = if export.seats.gate.is_revoked() {
                    refused(Refusal::Fenced)
                } else if changes && export.seats.read_only_now.load(Ordering::SeqCst) {
                    refused(Refusal::ReadOnly)
                } else {
                    // A panic in here must leave the turnstile and the counts right, and the client answered.
                    let worked = catch_unwind(AssertUnwindSafe(|| work(&export, &line)));
                    match worked {
                        Ok((reply, failed)) => (reply, outcome(failed.as_ref()), failed),
                        Err(_) => refused(Refusal::Internal),
                    }
                };
                let meter = &line.sitter.meter;
                if number == ErrorNumber::OK {
                    meter.moved(class, bytes);
                } else {
                    meter.failed(class, 1);
                }
                if let Some(error) = failed {
                    export.guard.store_failed(&error);
                }
                line.sitter.turnstile.leave();
                drop(export);
                if let Some(journal) = journal {
                    tell_reply(&*journal, cookie, number);
                }
                line.sitter.meter.took(class, 1, arrived.elapsed());
                line.complete(began, reply, held);
            }),
        );
    }

    pub(crate) fn failed(&mut self, error: &StoreError) {
        self.tally.error();
        self.export.guard.store_failed(error);
    }

    pub(crate) fn refuse(&mut self, cookie: Cookie, refusal: &Refusal) {
        self.tally.error();
        self.record_reply(cookie, refusal.number());
        self.style.refused(cookie, refusal, &mut self.out);
    }

    /// For the journal: the answer to a request is settled, and about to leave.
    pub(crate) fn record_reply(&mut self, cookie: Cookie, error: ErrorNumber) {
        if let Some(recorder) = &mut self.recorder {
            recorder.reply(cookie, error);
        }
    }

    /// Counts this thread in at the turnstile, once for a batch. `false`: the export is fenced.
    pub(crate) fn enter(&mut self) -> bool {
        if self.inside {
            return !self.export.seats.gate.is_revoked();
        }
        self.inside = self.line.sitter.turnstile.enter(&self.export.seats.gate);
        if self.inside && self.line.outstanding() == 0 {
            self.line.sitter.busy_since_ms.store(uptime_ms(), Ordering::Relaxed);
        }
        self.inside
    }

    /// Counts in for a change. Whether changes are still allowed is looked at after that, as the gate is, so that once a
    /// reload has seen nobody inside no change follows.
    pub(crate) fn enter_to_change(&mut self) -> Result<(), Refusal> {
        if !self.enter() {
            return Err(Refusal::Fenced);
        }
        if self.export.seats.read_only_now.load(Ordering::SeqCst) {
            return Err(Refusal::ReadOnly);
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        if !self.inside {
            return;
        }
        self.inside = false;
        self.line.sitter.turnstile.leave();
        if self.line.outstanding() == 0 {
            self.line.sitter.busy_since_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Adds what this batch did to the counters that others read.
    pub(crate) fn settle(&mut self) {
        self.tally.settle(&self.line.sitter, self.arrived);
    }
}

/// What a client is told of an operation that was carried out.
pub(crate) fn outcome(failed: Option<&StoreError>) -> ErrorNumber {
    failed.map_or(ErrorNumber::OK, |error| Refusal::number_of(&error.cause))
}
