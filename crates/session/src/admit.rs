//! The one judge of requests: range, flags, read-only, what was negotiated. Only `admit` makes an [`Operation`], so
//! nobody downstream checks again.

use crate::offer::Offer;
use crate::refusal::Refusal;
use store::{Durability, ZeroHow};
use wire::{Command, CommandFlags, Request};

/// What the session negotiated that changes how requests are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Structured replies.
    pub structured: bool,
    /// `base:allocation` was selected.
    pub allocation_context: bool,
    /// Changes are refused although the offer allowed them: a reload made the export read-only.
    pub read_only: bool,
}

/// A request that may be carried out. Ranges lie inside the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    kind: Kind,
}

/// What an [`Operation`] does. Offsets and lengths in bytes.
#[expect(missing_docs, reason = "the fields are named and meant alike in all variants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// READ; `whole`: in one chunk (DF).
    Read { offset: u64, len: u32, whole: bool },
    /// WRITE; the payload follows on the stream.
    Write { offset: u64, len: u32, durability: Durability },
    /// WRITE_ZEROES
    Zero { offset: u64, len: u64, how: ZeroHow, durability: Durability },
    /// TRIM
    Trim { offset: u64, len: u64, durability: Durability },
    /// FLUSH
    Flush,
    /// CACHE
    Cache { offset: u64, len: u64 },
    /// BLOCK_STATUS; `one`: a single extent (REQ_ONE).
    Map { offset: u64, len: u64, one: bool },
    /// DISC
    Disconnect,
}

impl Operation {
    /// What to do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// Judges a request by what was offered and negotiated.
///
/// FUA and NO_HOLE are accepted on every command, and FLUSH and TRIM also where they are not advertised, as the
/// original does; clients depend on it (C-123, C-125, C-126).
///
/// # Errors
/// Each [`Refusal`] but `Fenced` and `Store`. For WRITE the payload is still on the stream.
pub fn admit(request: &Request, offer: &Offer, terms: Terms) -> Result<Operation, Refusal> {
    let Request { flags, command, offset, length, .. } = *request;
    flags_belong(command, flags, offer, terms)?;
    let len = u64::from(length);
    let durable = flags.contains(CommandFlags::FUA) || offer.sync;
    let durability = if durable { Durability::Durable } else { Durability::Cached };
    let read_only = offer.read_only() || terms.read_only;
    let inside = |refusal| if fits(offset, len, offer.size) { Ok(()) } else { Err(refusal) };
    let may_change = || if read_only { Err(Refusal::ReadOnly) } else { Ok(()) };
    let kind = match command {
        Command::READ => {
            inside(Refusal::OutOfRange)?;
            let whole = flags.contains(CommandFlags::DF);
            if whole && length > offer.payload_len_max {
                return Err(Refusal::TooLargeForOneChunk);
            }
            Kind::Read { offset, len: length, whole }
        }
        Command::WRITE => {
            may_change()?;
            inside(Refusal::PastEnd)?;
            Kind::Write { offset, len: length, durability }
        }
        Command::WRITE_ZEROES => {
            may_change()?;
            inside(Refusal::PastEnd)?;
            let how = ZeroHow {
                may_punch: !flags.contains(CommandFlags::NO_HOLE),
                fast_only: flags.contains(CommandFlags::FAST_ZERO),
            };
            Kind::Zero { offset, len, how, durability }
        }
        Command::TRIM => {
            may_change()?;
            inside(Refusal::OutOfRange)?;
            Kind::Trim { offset, len, durability }
        }
        Command::FLUSH => Kind::Flush,
        Command::CACHE => {
            inside(Refusal::OutOfRange)?;
            Kind::Cache { offset, len }
        }
        Command::BLOCK_STATUS => {
            if !terms.allocation_context || length == 0 {
                return Err(Refusal::NoContext);
            }
            inside(Refusal::OutOfRange)?;
            Kind::Map { offset, len, one: flags.contains(CommandFlags::REQ_ONE) }
        }
        Command::DISC => Kind::Disconnect,
        _ => return Err(Refusal::UnknownCommand),
    };
    Ok(Operation { kind })
}

/// Spec: "Command flags".
fn flags_belong(command: Command, flags: CommandFlags, offer: &Offer, terms: Terms) -> Result<(), Refusal> {
    let mut known = CommandFlags::FUA | CommandFlags::NO_HOLE;
    match command {
        Command::READ if terms.structured => known |= CommandFlags::DF,
        Command::BLOCK_STATUS => known |= CommandFlags::REQ_ONE,
        Command::WRITE_ZEROES if offer.fast_zero => known |= CommandFlags::FAST_ZERO,
        // The original answers a DISC with flags instead of leaving; nobody means it, so neither do we.
        Command::DISC => known = CommandFlags(0),
        _ => {}
    }
    if flags.without(known).is_empty() { Ok(()) } else { Err(Refusal::BadFlags) }
}

fn fits(offset: u64, len: u64, size: u64) -> bool {
    offset.checked_add(len).is_some_and(|end| end <= size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::offer::Permits;
    use store::{Capabilities, Geometry};
    use wire::{Cookie, TransmissionFlags};

    const SIZE: u64 = 1 << 20;

    fn offer(read_only: bool) -> Offer {
        let geometry = Geometry { size: SIZE, block_min: 1, block_preferred: 4096 };
        let all = Capabilities {
            write: true,
            flush: true,
            trim: true,
            fast_zero: true,
            map: true,
            multi_conn: true,
        };
        let permits =
            Permits { read_only, flush: true, fua: true, trim: true, rotational: false, sync: false };
        Offer::new(geometry, all, permits, &Limits::default())
    }

    fn judge(command: Command, flags: CommandFlags, offset: u64, length: u32) -> Result<Kind, Refusal> {
        judge_at(&offer(false), command, flags, offset, length)
    }

    fn judge_at(
        offer: &Offer,
        command: Command,
        flags: CommandFlags,
        offset: u64,
        length: u32,
    ) -> Result<Kind, Refusal> {
        let request = Request { flags, command, cookie: Cookie(1), offset, length };
        let terms = Terms { structured: true, allocation_context: true, read_only: false };
        admit(&request, offer, terms).map(|operation| operation.kind())
    }

    const NONE: CommandFlags = CommandFlags(0);
    const RANGED: [(Command, Refusal); 6] = [
        (Command::READ, Refusal::OutOfRange),
        (Command::WRITE, Refusal::PastEnd),
        (Command::WRITE_ZEROES, Refusal::PastEnd),
        (Command::TRIM, Refusal::OutOfRange),
        (Command::CACHE, Refusal::OutOfRange),
        (Command::BLOCK_STATUS, Refusal::OutOfRange),
    ];

    /// C-120, C-121, C-127; and no sum of offset and length may wrap.
    #[test]
    fn a_range_must_lie_inside_the_export() {
        for (command, refusal) in RANGED {
            assert!(judge(command, NONE, SIZE - 512, 512).is_ok(), "{command:?}");
            for (offset, length) in [
                (SIZE - 511, 512),
                (SIZE, 1),
                (1 << 63, 1),
                (u64::MAX, 1),
                (u64::MAX, u32::MAX),
                (0, u32::MAX),
            ] {
                let answer = judge(command, NONE, offset, length);
                assert_eq!(answer, Err(refusal.clone()), "{command:?} {offset} {length}");
            }
        }
    }

    /// C-136: nothing at the very end is inside, nothing behind the end is not.
    #[test]
    fn a_request_for_nothing_is_judged_by_its_offset() {
        for command in [Command::READ, Command::WRITE, Command::WRITE_ZEROES, Command::TRIM] {
            assert!(judge(command, NONE, SIZE, 0).is_ok());
            assert!(judge(command, NONE, SIZE + 1, 0).is_err());
        }
    }

    /// C-122: read-only comes before the range.
    #[test]
    fn a_read_only_export_refuses_every_change() {
        let offer = offer(true);
        for command in [Command::WRITE, Command::WRITE_ZEROES, Command::TRIM] {
            for offset in [0, SIZE * 2] {
                assert_eq!(judge_at(&offer, command, NONE, offset, 1), Err(Refusal::ReadOnly));
            }
        }
        assert!(judge_at(&offer, Command::FLUSH, NONE, 0, 0).is_ok());
    }

    /// C-125: FUA and NO_HOLE anywhere, every other bit only where it belongs.
    #[test]
    fn each_flag_is_accepted_where_it_belongs_and_nowhere_else() {
        let commands = [
            Command::READ,
            Command::WRITE,
            Command::FLUSH,
            Command::TRIM,
            Command::CACHE,
            Command::WRITE_ZEROES,
            Command::BLOCK_STATUS,
        ];
        for command in commands {
            for bit in 0..16 {
                let flag = CommandFlags(1 << bit);
                let belongs = flag == CommandFlags::FUA
                    || flag == CommandFlags::NO_HOLE
                    || (flag == CommandFlags::DF && command == Command::READ)
                    || (flag == CommandFlags::REQ_ONE && command == Command::BLOCK_STATUS)
                    || (flag == CommandFlags::FAST_ZERO && command == Command::WRITE_ZEROES);
                let answer = judge(command, flag, 0, 1);
                assert_eq!(answer.is_ok(), belongs, "{command:?} {flag:?}");
                assert!(belongs || answer == Err(Refusal::BadFlags));
            }
        }
    }

    #[test]
    fn what_was_not_negotiated_is_refused() {
        let request = |command, flags| Request { flags, command, cookie: Cookie(1), offset: 0, length: 1 };
        let plain = Terms::default();
        let df = admit(&request(Command::READ, CommandFlags::DF), &offer(false), plain);
        let status = admit(&request(Command::BLOCK_STATUS, NONE), &offer(false), plain);
        assert_eq!(df, Err(Refusal::BadFlags));
        assert_eq!(status, Err(Refusal::NoContext));
        assert_eq!(judge(Command::BLOCK_STATUS, NONE, 0, 0), Err(Refusal::NoContext));
    }

    /// Spec, "NBD_CMD_FLAG_DF": one chunk, or EOVERFLOW.
    #[test]
    fn a_read_in_one_chunk_has_a_largest_size() {
        let mut offer = offer(false);
        offer.payload_len_max = 65_536;
        for (len, answer) in [(65_536, None), (65_537, Some(Refusal::TooLargeForOneChunk))] {
            assert_eq!(judge_at(&offer, Command::READ, CommandFlags::DF, 0, len).err(), answer);
            assert!(judge_at(&offer, Command::READ, NONE, 0, len).is_ok());
        }
    }

    #[test]
    fn unknown_commands_are_refused() {
        for number in [8, 9, 0xffff] {
            assert_eq!(judge(Command(number), NONE, 0, 0), Err(Refusal::UnknownCommand));
        }
    }

    /// What is advertised and what is admitted come from one value: every transmission flag through both.
    #[test]
    fn each_advertised_flag_has_its_command_admitted() {
        let flags = offer(false).transmission_flags(true);
        let ok = |command, flag| judge(command, flag, 0, 1).is_ok();
        assert_eq!(flags.contains(TransmissionFlags::SEND_FLUSH), ok(Command::FLUSH, NONE));
        assert_eq!(flags.contains(TransmissionFlags::SEND_FUA), ok(Command::WRITE, CommandFlags::FUA));
        assert_eq!(flags.contains(TransmissionFlags::SEND_TRIM), ok(Command::TRIM, NONE));
        assert_eq!(flags.contains(TransmissionFlags::SEND_WRITE_ZEROES), ok(Command::WRITE_ZEROES, NONE));
        assert_eq!(flags.contains(TransmissionFlags::SEND_DF), ok(Command::READ, CommandFlags::DF));
        assert_eq!(flags.contains(TransmissionFlags::SEND_CACHE), ok(Command::CACHE, NONE));
        assert_eq!(flags.contains(TransmissionFlags::SEND_RESIZE), ok(Command::RESIZE, NONE));
        assert_eq!(
            flags.contains(TransmissionFlags::SEND_FAST_ZERO),
            ok(Command::WRITE_ZEROES, CommandFlags::FAST_ZERO)
        );
        assert_eq!(
            flags.contains(TransmissionFlags::BLOCK_STATUS_PAYLOAD),
            ok(Command::BLOCK_STATUS, CommandFlags::PAYLOAD_LEN)
        );
        let read_only = offer(true);
        let write = judge_at(&read_only, Command::WRITE, NONE, 0, 1);
        assert_eq!(
            read_only.transmission_flags(true).contains(TransmissionFlags::READ_ONLY),
            write == Err(Refusal::ReadOnly)
        );
    }

    #[test]
    fn sync_makes_every_write_durable() {
        let mut offer = offer(false);
        offer.sync = true;
        let Ok(Kind::Write { durability, .. }) = judge_at(&offer, Command::WRITE, NONE, 0, 1) else {
            panic!("admitted");
        };
        assert_eq!(durability, Durability::Durable);
    }
}
