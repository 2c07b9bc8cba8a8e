//! The stream under a transmission: receiving while workers send, waiting for room, and the end.

use crate::buffer::Buffer;
use crate::channel::Interest;
use crate::ending::Ending;
use crate::export::uptime_ms;
use crate::meter::Class;
use crate::transmission::Transmission;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wire::{Command, Request};

/// How long the last replies may take to leave, when the client has said that it goes or was told to.
const FAREWELL: Duration = Duration::from_secs(5);

impl Transmission<'_> {
    /// Sends the replies of this batch. Nobody is inside the turnstile while waiting for the client.
    pub(crate) fn send_batch(&mut self) {
        self.leave();
        self.settle();
        self.line.send_batch(&mut self.out);
    }

    /// Receives at least one more byte.
    pub(crate) fn receive_more(&mut self) -> Result<(), Ending> {
        self.wait_for_input()?;
        let count = received(self.line.sitter.channel.receive(self.input.room()))?;
        if count == 0 {
            return Err(self.end_of_stream());
        }
        self.arrived = Instant::now();
        self.input.received(count);
        Ok(())
    }

    /// Fills `into` with what follows on the stream: first from what has been received, then from the channel.
    pub(crate) fn receive_payload(&mut self, payload: &mut Buffer, len: usize) -> Result<(), Ending> {
        let into = payload.tail(len);
        let ready = self.input.held().len().min(len);
        into[..ready].copy_from_slice(&self.input.held()[..ready]);
        self.input.consume(ready);
        let mut at = ready;
        if at < len {
            // The client may wait for these before it sends the rest.
            self.send_batch();
        }
        while at < len {
            self.wait_for_input()?;
            let count = received(self.line.channel().receive(&mut into[at..]))?;
            if count == 0 {
                return Err(self.end_of_stream());
            }
            at += count;
            // What the client takes to send it is not the server's time.
            self.arrived = Instant::now();
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.payload(into);
        }
        Ok(())
    }

    /// Throws away what follows on the stream: the payload of a refused WRITE. Spec: "Transmission".
    pub(crate) fn skip(&mut self, len: u64) -> Result<(), Ending> {
        let mut left = len;
        loop {
            let ready = u64::try_from(self.input.held().len()).unwrap_or(u64::MAX).min(left);
            let ready = usize::try_from(ready).unwrap_or(usize::MAX);
            if let Some(recorder) = &mut self.recorder {
                recorder.payload(&self.input.held()[..ready]);
            }
            self.input.consume(ready);
            left -= ready as u64;
            if left == 0 {
                return Ok(());
            }
            self.send_batch();
            self.receive_more()?;
        }
    }

    /// Waits until the request fits into what one connection may have in flight.
    pub(crate) fn make_room(&mut self, request: &Request) -> Result<(), Ending> {
        let cost = match request.command {
            Command::READ | Command::WRITE if request.length <= self.limits.payload_len_max => {
                request.length as usize
            }
            _ => 0,
        };
        let fits = |this: &Self| {
            let held = this.line.held();
            let bytes = held == 0 || held.saturating_add(cost) <= this.limits.in_flight_bytes_max;
            bytes && this.line.pending() < this.limits.in_flight_requests_max
        };
        if fits(self) {
            return Ok(());
        }
        self.send_batch();
        self.wait_for_workers(None, fits)
    }

    /// Waits until no worker has anything of this session and every reply has left.
    pub(crate) fn wait_until_quiet(&mut self) -> Result<(), Ending> {
        self.wait_for_workers(None, |this| this.line.quiet())
    }

    fn wait_for_workers(
        &mut self,
        deadline: Option<Instant>,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), Ending> {
        loop {
            self.line.set_waiting(true);
            if enough(self) {
                self.line.set_waiting(false);
                return Ok(());
            }
            let interest = Interest { receive: false, send: self.line.has_stuck_output() };
            let waited = self.line.channel().wait(interest, deadline);
            self.line.set_waiting(false);
            let ready = waited.map_err(Ending::Cut)?;
            if ready.late {
                return Err(Ending::Late);
            }
            if ready.send {
                self.line.pump();
            }
        }
    }

    /// Returns when `receive` has something to say, or may be waited in. While workers are busy this thread must also
    /// send what they could not, so it may not sleep in `receive`.
    fn wait_for_input(&mut self) -> Result<(), Ending> {
        while !self.line.quiet() {
            self.line.set_waiting(true);
            let interest = Interest { receive: true, send: self.line.has_stuck_output() };
            let waited = self.line.channel().wait(interest, None);
            self.line.set_waiting(false);
            let ready = waited.map_err(Ending::Cut)?;
            if ready.send {
                self.line.pump();
            }
            if ready.receive {
                return Ok(());
            }
        }
        self.idle_timeout.map_or(Ok(()), |timeout| self.wait_while_idle(timeout))
    }

    /// Nothing is under way, and the client is to say something within this time. Called anew after each byte of it. A
    /// request that has arrived in part only is none yet; a client that takes no replies is waited for elsewhere.
    fn wait_while_idle(&self, timeout: Duration) -> Result<(), Ending> {
        let deadline = Instant::now().checked_add(timeout);
        let interest = Interest { receive: true, send: false };
        loop {
            let ready = self.line.channel().wait(interest, deadline).map_err(Ending::Cut)?;
            if ready.receive {
                return Ok(());
            }
            if ready.late {
                return Err(Ending::Idle(timeout));
            }
        }
    }

    /// A client that takes no more answers is not worth working for.
    pub(crate) fn still_connected(&self) -> Result<(), Ending> {
        if !self.line.is_broken() {
            return Ok(());
        }
        Err(if self.export.seats.gate.is_revoked() {
            Ending::Fenced
        } else {
            Ending::Cut(io::ErrorKind::BrokenPipe.into())
        })
    }

    fn end_of_stream(&self) -> Ending {
        if self.export.seats.gate.is_revoked() {
            return Ending::Fenced;
        }
        if self.input.held().is_empty() {
            Ending::HungUp
        } else {
            Ending::Cut(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Every request that was taken is finished and answered, and what was written survives (P6), before the seat is
    /// left.
    pub(crate) fn finish(&mut self, ending: Ending) -> Ending {
        if let Some(recorder) = &mut self.recorder {
            recorder.finish();
        }
        self.send_batch();
        if self.wait_for_workers(Some(Instant::now() + FAREWELL), |this| this.line.quiet()).is_err() {
            // Replies can no longer be sent, or the client does not take them. The workers finish all the same.
            self.line.break_off();
            while self.wait_for_workers(None, |this| this.line.outstanding() == 0).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if self.line.unflushed.swap(false, Ordering::SeqCst) {
            let sitter = &self.line.sitter;
            sitter.busy_since_ms.store(uptime_ms(), Ordering::Relaxed);
            if let Err(error) = self.export.store.leave() {
                sitter.meter.failed(Class::Flush, 1);
                self.export.guard.store_failed(&error);
            }
            sitter.busy_since_ms.store(0, Ordering::Relaxed);
        }
        match (self.wrong_disk.take(), ending) {
            (Some(why), Ending::Fenced | Ending::HungUp) => Ending::WrongDisk(why),
            (_, ending) => ending,
        }
    }
}

fn received(result: io::Result<usize>) -> Result<usize, Ending> {
    result.map_err(Ending::Cut)
}
