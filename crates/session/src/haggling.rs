//! Haggling: one option in, replies as bytes and what comes next out. No I/O in here, so it is tested as a table.
//!
//! ```text
//! Greeting ──client flags──▶ Haggling ──GO, EXPORT_NAME──▶ Transmission
//!                              │  ▲                             ▲
//!                              ├──┘ every other option          │
//!                              └─STARTTLS─▶ a new Haggling ─────┘
//! ```
//!
//! Nothing that was agreed in the clear is known inside TLS: it may have been somebody else's.

use crate::export::Sitter;
use crate::host::{Entered, Host, Note};
use crate::name::ExportName;
use crate::offer::Offer;
use crate::refusal::OptionRefusal;
use std::sync::Arc;
use wire::{ContextId, Info, InfoRequest, InfoType, Malformed, MetaQuery, OptionKind, OptionReplyKind};

/// The one metadata context we have. Spec: "base:allocation metadata context".
const BASE_ALLOCATION: &[u8] = wire::BASE_ALLOCATION.as_bytes();
/// Its number in this server's sessions.
pub const ALLOCATION_ID: ContextId = ContextId(1);

/// What has been agreed so far with one client.
pub struct Haggling<'a> {
    host: &'a dyn Host,
    sitter: &'a Arc<Sitter>,
    no_zeroes: bool,
    /// Inside TLS.
    secure: bool,
    structured: bool,
    /// The export for which `base:allocation` was selected; another SET forgets it. Spec: "NBD_OPT_SET_META_CONTEXT".
    selected: Option<ExportName>,
    options: u32,
}

/// What follows an option.
#[derive(Debug)]
pub enum Next {
    /// The next option.
    Stay,
    /// TLS, if nothing has been received behind the option; then [`Haggling::secured`].
    Secure,
    /// Transmission on this export.
    Transmit(Agreed),
    /// The connection ends, after the replies.
    Close(Farewell),
}

/// Why haggling ends without transmission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// ABORT.
    Aborted,
    /// EXPORT_NAME that cannot be granted: there is no error reply for it.
    Refused(OptionRefusal),
    /// More options than the limit.
    TooManyOptions,
    /// An option so long that not even throwing it away is worth the time: this many bytes.
    EndlessOption(u32),
}

/// What transmission starts with.
#[derive(Debug)]
pub struct Agreed {
    /// The export, and a seat at it.
    pub entered: Entered,
    /// Structured replies were negotiated.
    pub structured: bool,
    /// `base:allocation` was selected for this export.
    pub allocation_context: bool,
}

impl<'a> Haggling<'a> {
    /// Nothing agreed yet.
    #[must_use]
    pub fn new(host: &'a dyn Host, sitter: &'a Arc<Sitter>, no_zeroes: bool) -> Self {
        Self { host, sitter, no_zeroes, secure: false, structured: false, selected: None, options: 0 }
    }

    /// Begins anew inside TLS. Only what costs the server something goes on: the number of options.
    #[must_use]
    pub fn secured(self) -> Self {
        let Self { host, sitter, no_zeroes, options, .. } = self;
        Self { secure: true, options, ..Self::new(host, sitter, no_zeroes) }
    }

    /// Answers one option; replies are appended to `out`.
    pub fn answer(&mut self, option: OptionKind, payload: &[u8], out: &mut Vec<u8>) -> Next {
        if let Some(close) = self.count(option, out) {
            return close;
        }
        if let Some(refused) = self.demand_tls(option, payload, out) {
            return refused;
        }
        let answered = match option {
            OptionKind::EXPORT_NAME => return self.export_name(payload, out),
            OptionKind::ABORT => {
                wire::append_option_reply(out, option, OptionReplyKind::ACK, &[]);
                return Next::Close(Farewell::Aborted);
            }
            OptionKind::LIST => self.list(payload, out),
            OptionKind::INFO => self.info(payload, out),
            OptionKind::GO => match self.go(payload, out) {
                Ok(agreed) => return Next::Transmit(agreed),
                Err(refusal) => Err(refusal),
            },
            OptionKind::STRUCTURED_REPLY => self.structured_reply(payload, out),
            OptionKind::LIST_META_CONTEXT | OptionKind::SET_META_CONTEXT => self.meta(option, payload, out),
            OptionKind::STARTTLS => match self.start_tls(payload) {
                Ok(()) => {
                    wire::append_option_reply(out, option, OptionReplyKind::ACK, &[]);
                    return Next::Secure;
                }
                Err(refusal) => Err(refusal),
            },
            _ => Err(OptionRefusal::Unsupported("The given option is unknown to this server")),
        };
        if let Err(refusal) = answered {
            self.refuse(option, export_named_in(option, payload), &refusal, out);
        }
        Next::Stay
    }

    /// Answers an option whose payload is longer than the limit, and was thrown away.
    pub fn answer_too_long(&mut self, option: OptionKind, out: &mut Vec<u8>) -> Next {
        if let Some(close) = self.count(option, out) {
            return close;
        }
        if let Some(refused) = self.demand_tls(option, &[], out) {
            return refused;
        }
        let refusal = OptionRefusal::TooBig("The option is longer than this server accepts (8192 bytes)");
        if option == OptionKind::EXPORT_NAME {
            return Next::Close(Farewell::Refused(refusal));
        }
        self.refuse(option, None, &refusal, out);
        Next::Stay
    }

    fn count(&mut self, option: OptionKind, out: &mut Vec<u8>) -> Option<Next> {
        self.options += 1;
        if self.options <= self.host.limits().options_max {
            return None;
        }
        if option != OptionKind::EXPORT_NAME {
            let refusal = OptionRefusal::TooBig("Too many options in one handshake");
            self.refuse(option, None, &refusal, out);
        }
        Some(Next::Close(Farewell::TooManyOptions))
    }

    fn refuse(&self, option: OptionKind, name: Option<&[u8]>, refusal: &OptionRefusal, out: &mut Vec<u8>) {
        self.host.note(Note::OptionRefused { option, name, refusal });
        wire::append_option_error(out, option, refusal.kind(), &refusal.to_string());
    }

    /// Spec: "NBD_OPT_STARTTLS", FORCEDTLS mode: in the clear nothing is answered that tells anything.
    fn demand_tls(&mut self, option: OptionKind, payload: &[u8], out: &mut Vec<u8>) -> Option<Next> {
        let allowed = matches!(option, OptionKind::STARTTLS | OptionKind::ABORT);
        if self.secure || allowed || !self.host.tls_required() {
            return None;
        }
        let refusal = OptionRefusal::TlsRequired("TLS is required on this server");
        if option == OptionKind::EXPORT_NAME {
            self.host.note(Note::OptionRefused { option, name: Some(payload), refusal: &refusal });
            return Some(Next::Close(Farewell::Refused(refusal)));
        }
        self.refuse(option, export_named_in(option, payload), &refusal, out);
        Some(Next::Stay)
    }

    /// Spec: "NBD_OPT_STARTTLS".
    fn start_tls(&self, payload: &[u8]) -> Result<(), OptionRefusal> {
        if !payload.is_empty() {
            return Err(OptionRefusal::Invalid("STARTTLS takes no data"));
        }
        if self.secure {
            let again = "Invalid STARTTLS request: TLS has already been negotiated!";
            return Err(OptionRefusal::Invalid(again));
        }
        if !self.host.tls_offered() {
            return Err(OptionRefusal::Policy("TLS not allowed on this server".into()));
        }
        Ok(())
    }

    /// Spec: "NBD_OPT_EXPORT_NAME".
    fn export_name(&mut self, name: &[u8], out: &mut Vec<u8>) -> Next {
        match self.enter(name) {
            Ok(agreed) => {
                let offer = &agreed.entered.export.offer;
                wire::append_export_name_reply(
                    out,
                    offer.size,
                    offer.transmission_flags(self.structured),
                    self.no_zeroes,
                );
                Next::Transmit(agreed)
            }
            Err(refusal) => {
                self.host.note(Note::OptionRefused {
                    option: OptionKind::EXPORT_NAME,
                    name: Some(name),
                    refusal: &refusal,
                });
                Next::Close(Farewell::Refused(refusal))
            }
        }
    }

    /// Spec: "NBD_OPT_LIST".
    fn list(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), OptionRefusal> {
        if !payload.is_empty() {
            return Err(OptionRefusal::Invalid("LIST takes no data"));
        }
        for name in self.host.list()? {
            wire::append_server_reply(out, name.as_bytes(), b"");
        }
        wire::append_option_reply(out, OptionKind::LIST, OptionReplyKind::ACK, &[]);
        Ok(())
    }

    /// Spec: "NBD_OPT_INFO".
    fn info(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), OptionRefusal> {
        let wish = InfoRequest::decode(payload).map_err(invalid)?;
        let offer = self.host.look(name_of(wish.name)?)?;
        self.append_infos(OptionKind::INFO, &wish, &offer, out);
        Ok(())
    }

    /// Spec: "NBD_OPT_GO".
    fn go(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<Agreed, OptionRefusal> {
        let wish = InfoRequest::decode(payload).map_err(invalid)?;
        let agreed = self.enter(name_of(wish.name)?)?;
        self.append_infos(OptionKind::GO, &wish, &agreed.entered.export.offer, out);
        Ok(agreed)
    }

    fn enter(&self, name: &[u8]) -> Result<Agreed, OptionRefusal> {
        let entered = self.host.enter(name_of(name)?, self.sitter)?;
        let selected = self.selected.as_ref().is_some_and(|selected| selected.as_bytes() == name);
        Ok(Agreed { entered, structured: self.structured, allocation_context: self.structured && selected })
    }

    fn append_infos(&self, option: OptionKind, wish: &InfoRequest<'_>, offer: &Offer, out: &mut Vec<u8>) {
        let mut info = |info: Info<'_>| wire::append_info_reply(out, option, &info);
        info(Info::Export { size: offer.size, flags: offer.transmission_flags(self.structured) });
        if wish.wanted.contains(&InfoType::NAME) {
            info(Info::Name(wish.name));
        }
        if wish.wanted.contains(&InfoType::BLOCK_SIZE) {
            info(Info::BlockSize {
                min: offer.block_min,
                preferred: offer.block_preferred,
                max: offer.payload_len_max,
            });
        }
        wire::append_option_reply(out, option, OptionReplyKind::ACK, &[]);
    }

    /// Spec: "NBD_OPT_STRUCTURED_REPLY".
    fn structured_reply(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), OptionRefusal> {
        if !payload.is_empty() {
            return Err(OptionRefusal::Invalid("STRUCTURED_REPLY takes no data"));
        }
        if self.structured {
            return Err(OptionRefusal::Invalid("Structured replies have been negotiated already"));
        }
        self.structured = true;
        wire::append_option_reply(out, OptionKind::STRUCTURED_REPLY, OptionReplyKind::ACK, &[]);
        Ok(())
    }

    /// Spec: "NBD_OPT_LIST_META_CONTEXT", "NBD_OPT_SET_META_CONTEXT".
    fn meta(&mut self, option: OptionKind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), OptionRefusal> {
        let set = option == OptionKind::SET_META_CONTEXT;
        if set {
            self.selected = None;
        }
        if set && !self.structured {
            return Err(OptionRefusal::Invalid("Structured replies must be negotiated first"));
        }
        let wish = MetaQuery::decode(payload).map_err(invalid)?;
        let name = name_of(wish.name)?;
        if wish.queries.len() > self.host.limits().meta_queries_max {
            return Err(OptionRefusal::TooBig("Too many metadata queries in one option"));
        }
        self.host.look(name)?;
        let exact = wish.queries.contains(&BASE_ALLOCATION);
        let listed = wish.queries.is_empty() || wish.queries.contains(&wire::BASE_NAMESPACE.as_bytes());
        if exact || (!set && listed) {
            let id = if set { ALLOCATION_ID } else { ContextId(0) };
            wire::append_meta_context_reply(out, option, id, BASE_ALLOCATION);
        }
        if set && exact {
            self.selected = Some(ExportName::from(name));
        }
        wire::append_option_reply(out, option, OptionReplyKind::ACK, &[]);
        Ok(())
    }
}

fn name_of(name: &[u8]) -> Result<&[u8], OptionRefusal> {
    if name.len() > wire::NAME_LEN_MAX {
        return Err(OptionRefusal::Invalid("The export name is longer than 4096 bytes"));
    }
    Ok(name)
}

fn invalid(_: Malformed) -> OptionRefusal {
    OptionRefusal::Invalid("The lengths inside the option do not add up")
}

/// For the log only.
fn export_named_in(option: OptionKind, payload: &[u8]) -> Option<&[u8]> {
    match option {
        OptionKind::INFO | OptionKind::GO => InfoRequest::decode(payload).ok().map(|wish| wish.name),
        OptionKind::LIST_META_CONTEXT | OptionKind::SET_META_CONTEXT => {
            MetaQuery::decode(payload).ok().map(|wish| wish.name)
        }
        _ => None,
    }
}
