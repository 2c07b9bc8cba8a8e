//! The driver of the handshake: reads whole options within the deadline, and lets [`Haggling`] answer them.

use crate::buffer::{Buffer, Input};
use crate::channel::Interest;
use crate::ending::Ending;
use crate::export::Sitter;
use crate::haggling::{Agreed, Farewell, Haggling, Next};
use crate::host::{Host, Note};
use crate::limits::Limits;
use crate::transmission::transmit;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use wire::{ClientFlags, Greeting, HandshakeFlags, OptionHeader, OptionKind};

/// What we offer in the greeting. Spec: "Newstyle negotiation".
const OFFERED: HandshakeFlags =
    HandshakeFlags(HandshakeFlags::FIXED_NEWSTYLE.0 | HandshakeFlags::NO_ZEROES.0);
/// What a client may answer to it.
const UNDERSTOOD: u32 = ClientFlags::FIXED_NEWSTYLE.0 | ClientFlags::NO_ZEROES.0;

/// Serves one client from the greeting to the end. `accepted` is when its connection was accepted: the handshake's
/// deadline counts from there. `settled` is called once, when an export was chosen.
pub fn serve(host: &dyn Host, sitter: &Arc<Sitter>, accepted: Instant, settled: impl FnOnce()) -> Ending {
    let mut handshake = Handshake::new(host.limits(), sitter, accepted);
    match handshake.run(host, sitter, settled) {
        Ok(agreed) => {
            host.note(Note::Entered { export: &agreed.entered.export });
            transmit(host, sitter, agreed, handshake.input)
        }
        Err(ending) => ending,
    }
}

struct Handshake<'a> {
    limits: &'a Limits,
    sitter: &'a Sitter,
    deadline: Instant,
    input: Input,
}

impl<'a> Handshake<'a> {
    fn new(limits: &'a Limits, sitter: &'a Sitter, accepted: Instant) -> Self {
        Self { limits, sitter, deadline: accepted + limits.handshake_deadline, input: Input::new() }
    }

    fn run(
        &mut self,
        host: &dyn Host,
        sitter: &Arc<Sitter>,
        settled: impl FnOnce(),
    ) -> Result<Agreed, Ending> {
        self.send(&Greeting { flags: OFFERED }.encode())?;
        let flags = u32::from_be_bytes(self.take()?);
        if flags & !UNDERSTOOD != 0 {
            return Err(Ending::UnknownClientFlags(flags));
        }
        let no_zeroes = flags & ClientFlags::NO_ZEROES.0 != 0;
        let mut haggling = Haggling::new(host, sitter, no_zeroes);
        let mut out = Vec::new();
        loop {
            let header = OptionHeader::decode(&self.take()?).map_err(Ending::Malformed)?;
            let next = self.answer(&mut haggling, header, &mut out)?;
            match next {
                Next::Stay => self.send(&out)?,
                Next::Secure => {
                    self.secure(host, sitter, &out)?;
                    haggling = haggling.secured();
                }
                Next::Transmit(agreed) => {
                    // Before the client knows: who has been told that it is in must not give way as a handshake.
                    settled();
                    return self.send(&out).map(|()| agreed);
                }
                Next::Close(farewell) => {
                    let _ = self.send(&out);
                    return Err(Ending::Farewell(farewell));
                }
            }
            out.clear();
        }
    }

    /// What was received behind STARTTLS was sent by whoever may write in the clear; inside TLS it would be taken for
    /// the client's own words. An honest client waits for the answer.
    fn secure(&self, host: &dyn Host, sitter: &Arc<Sitter>, acknowledgement: &[u8]) -> Result<(), Ending> {
        if !self.input.held().is_empty() {
            return Err(Ending::Injected);
        }
        self.send(acknowledgement)?;
        host.secure(sitter, self.deadline).map_err(Ending::NoTls)
    }

    fn answer(
        &mut self,
        haggling: &mut Haggling<'_>,
        header: OptionHeader,
        out: &mut Vec<u8>,
    ) -> Result<Next, Ending> {
        // An export name is at most 4096 bytes, and without an error reply to stay in step for, nothing longer is
        // worth reading.
        let export_name = header.kind == OptionKind::EXPORT_NAME;
        if header.length <= self.limits.option_len_max {
            let mut payload = Buffer::default();
            self.take_into(payload.tail(header.length as usize))?;
            return Ok(haggling.answer(header.kind, payload.as_slice(), out));
        }
        let next = haggling.answer_too_long(header.kind, out);
        if header.length > self.limits.option_swallow_max && !export_name {
            self.send(out)?;
            return Err(Ending::Farewell(Farewell::EndlessOption(header.length)));
        }
        if matches!(next, Next::Stay) {
            self.skip(header.length as usize)?;
        }
        Ok(next)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Ending> {
        let mut bytes = [0; N];
        self.take_into(&mut bytes)?;
        Ok(bytes)
    }

    fn take_into(&mut self, into: &mut [u8]) -> Result<(), Ending> {
        let mut at = 0;
        while at < into.len() {
            let ready = self.ready()?.min(into.len() - at);
            into[at..at + ready].copy_from_slice(&self.input.held()[..ready]);
            self.input.consume(ready);
            at += ready;
        }
        Ok(())
    }

    fn skip(&mut self, len: usize) -> Result<(), Ending> {
        let mut left = len;
        while left > 0 {
            let ready = self.ready()?.min(left);
            self.input.consume(ready);
            left -= ready;
        }
        Ok(())
    }

    /// How many bytes are at hand, at least one.
    fn ready(&mut self) -> Result<usize, Ending> {
        if self.input.held().is_empty() {
            let channel = &*self.sitter.channel;
            while !self.wait(Interest { receive: true, send: false })? {}
            match channel.receive(self.input.room()).map_err(Ending::Cut)? {
                0 => return Err(Ending::LeftHaggling),
                count => self.input.received(count),
            }
        }
        Ok(self.input.held().len())
    }

    /// Sends within the deadline: a client that asks and never reads must not stay either.
    fn send(&self, bytes: &[u8]) -> Result<(), Ending> {
        let mut at = 0;
        while at < bytes.len() {
            match self.sitter.channel.try_send(&bytes[at..]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Interest { receive: false, send: true })?;
                }
                Err(error) => return Err(Ending::Cut(error)),
            }
        }
        Ok(())
    }

    /// `false`: nothing yet, but there is time.
    fn wait(&self, interest: Interest) -> Result<bool, Ending> {
        let ready = self.sitter.channel.wait(interest, Some(self.deadline)).map_err(Ending::Cut)?;
        if ready.late {
            return Err(Ending::Late);
        }
        Ok(ready.receive || ready.send)
    }
}
