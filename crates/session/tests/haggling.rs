//! Haggling as a table: an option goes in, replies and what comes next come out. No socket, no thread.
#![cfg(not(loom))]
#![allow(missing_docs)]

use session::haggling::Next;
use session::{
    Channel, Entered, Export, ExportName, Farewell, Guard, Haggling, Host, Interest, Limits, Note, Offer,
    OptionRefusal, Permits, Ready, Sitter, Workers,
};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use store::{Store, StoreError};
use testkit::client::counted;
use testkit::spec::*;
use testkit::{MemoryStore, OptionReply};

const SIZE: usize = 8192;

/// Two exports, one of them named with a byte that is no UTF-8; `shut` admits nobody.
struct Desk {
    limits: Limits,
    may_list: bool,
    tls_offered: bool,
    tls_required: bool,
    notes: Mutex<Vec<String>>,
}

impl Desk {
    fn new() -> Self {
        let (limits, notes) = (Limits::default(), Mutex::default());
        Self { limits, may_list: true, tls_offered: false, tls_required: false, notes }
    }

    fn export(&self, name: &[u8]) -> Result<Arc<Export>, OptionRefusal> {
        match name {
            b"disk" | b"" | b"\xff" => {}
            b"shut" => return Err(OptionRefusal::Policy("not for you".into())),
            _ => return Err(OptionRefusal::UnknownExport),
        }
        let store = Arc::new(MemoryStore::new(SIZE));
        let permits =
            Permits { read_only: false, flush: true, fua: true, trim: true, rotational: false, sync: false };
        let offer = Offer::new(store.geometry(), store.capabilities(), permits, &self.limits);
        Ok(Export::new(ExportName::from(name), offer, store, Arc::new(Trusting)))
    }
}

impl Host for Desk {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        if !self.may_list {
            return Err(OptionRefusal::Policy("no".into()));
        }
        Ok(vec!["disk".into(), ExportName::from(&b"\xff"[..])])
    }

    fn look(&self, name: &[u8]) -> Result<Offer, OptionRefusal> {
        self.export(name).map(|export| export.offer)
    }

    fn enter(&self, name: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        let export = self.export(name)?;
        let seat = export.seats.take(sitter).expect("a fresh export is not revoked");
        Ok(Entered::new(export, seat))
    }

    fn tls_offered(&self) -> bool {
        self.tls_offered
    }

    fn tls_required(&self) -> bool {
        self.tls_required
    }

    fn secure(&self, _: &Arc<Sitter>, _: Instant) -> Result<(), String> {
        unreachable!("haggling does no I/O")
    }

    fn workers(&self) -> Arc<dyn Workers> {
        unreachable!("haggling does no work")
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn note(&self, note: Note<'_>) {
        self.notes.lock().expect("no test panics in here").push(format!("{note:?}"));
    }
}

struct Trusting;

impl Guard for Trusting {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn wrong_disk(&self, _: &str, _: &[Arc<Sitter>]) {}

    fn store_failed(&self, _: &StoreError) {}
}

struct NoChannel;

impl Channel for NoChannel {
    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("haggling does no I/O")
    }
    fn send(&self, _: &[u8]) -> io::Result<usize> {
        unreachable!("haggling does no I/O")
    }
    fn try_send(&self, _: &[u8]) -> io::Result<usize> {
        unreachable!("haggling does no I/O")
    }
    fn sends_files(&self) -> bool {
        unreachable!("haggling does no I/O")
    }
    fn send_file(&self, _: &[u8], _: BorrowedFd<'_>, _: u64, _: usize) -> io::Result<usize> {
        unreachable!("haggling does no I/O")
    }
    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<Ready> {
        unreachable!("haggling does no I/O")
    }
    fn wake(&self) {}
    fn close_input(&self) {}
    fn close(&self) {}
}

/// What came next, without its values.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Secure,
    Transmit { structured: bool, context: bool },
    Close(Farewell),
}

fn then(next: Next) -> Then {
    match next {
        Next::Stay => Then::Stay,
        Next::Secure => Then::Secure,
        Next::Transmit(agreed) => {
            Then::Transmit { structured: agreed.structured, context: agreed.allocation_context }
        }
        Next::Close(farewell) => Then::Close(farewell),
    }
}

/// Asks one option after the other; each answer as its replies and what came next.
fn haggle(desk: &Desk, options: &[(u32, Vec<u8>)]) -> Vec<(Vec<OptionReply>, Then)> {
    let sitter = Sitter::new("test".into(), Arc::new(NoChannel));
    let mut haggling = Haggling::new(desk, &sitter, true);
    let mut answers = Vec::new();
    for (option, payload) in options {
        let mut out = Vec::new();
        let next = haggling.answer(wire::OptionKind(*option), payload, &mut out);
        if matches!(next, Next::Secure) {
            haggling = haggling.secured();
        }
        // Its answer has a shape of its own.
        let replies = if *option == OPT_EXPORT_NAME && !out.is_empty() { vec![] } else { replies(&out) };
        answers.push((replies, then(next)));
    }
    answers
}

/// Reads option replies with nothing of `wire`.
fn replies(mut bytes: &[u8]) -> Vec<OptionReply> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let be32 = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        assert_eq!(bytes[..8], OPTION_REPLY_MAGIC.to_be_bytes());
        let (option, kind, len) = (be32(8), be32(12), be32(16) as usize);
        list.push(OptionReply { option, kind, payload: bytes[20..20 + len].to_vec() });
        bytes = &bytes[20 + len..];
    }
    list
}

fn kinds(answer: &(Vec<OptionReply>, Then)) -> Vec<u32> {
    answer.0.iter().map(|reply| reply.kind).collect()
}

fn info(name: &str, items: &[u16]) -> Vec<u8> {
    let mut bytes = counted(name);
    bytes.extend(u16::try_from(items.len()).expect("few items").to_be_bytes());
    items.iter().for_each(|item| bytes.extend(item.to_be_bytes()));
    bytes
}

fn meta(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut bytes = counted(name);
    bytes.extend(u32::try_from(queries.len()).expect("few queries").to_be_bytes());
    queries.iter().for_each(|query| bytes.extend(counted(query)));
    bytes
}

/// Everything that can be refused is refused with its own number and in step: the next option is answered as ever.
#[test]
fn each_refusal_has_its_number_and_the_next_option_is_answered() {
    let long = "n".repeat(4097);
    let table = [
        ("data behind LIST", OPT_LIST, vec![0], REP_ERR_INVALID),
        ("an unknown export", OPT_GO, info("none", &[]), REP_ERR_UNKNOWN),
        ("one that may not be entered", OPT_GO, info("shut", &[]), REP_ERR_POLICY),
        ("a name that is too long", OPT_INFO, info(&long, &[]), REP_ERR_INVALID),
        ("INFO of an unknown export", OPT_INFO, info("none", &[]), REP_ERR_UNKNOWN),
        ("GO without data", OPT_GO, vec![], REP_ERR_INVALID),
        ("GO with a name longer than the option", OPT_GO, vec![0, 0, 0, 9, b'd', 0, 0], REP_ERR_INVALID),
        (
            "GO with fewer items than it says",
            OPT_GO,
            [counted("disk"), vec![0, 2, 0, 0]].concat(),
            REP_ERR_INVALID,
        ),
        ("GO with bytes left over", OPT_GO, [info("disk", &[]), vec![0]].concat(), REP_ERR_INVALID),
        ("a length near 2^32", OPT_GO, vec![0xff, 0xff, 0xff, 0xff, 0, 0], REP_ERR_INVALID),
        ("data behind STRUCTURED_REPLY", OPT_STRUCTURED_REPLY, vec![1], REP_ERR_INVALID),
        (
            "contexts before STRUCTURED_REPLY",
            OPT_SET_META_CONTEXT,
            meta("disk", &["base:allocation"]),
            REP_ERR_INVALID,
        ),
        ("TLS", OPT_STARTTLS, vec![], REP_ERR_POLICY),
        ("TLS with data", OPT_STARTTLS, vec![1], REP_ERR_INVALID),
        ("extended headers", OPT_EXTENDED_HEADERS, vec![], REP_ERR_UNSUP),
        ("PEEK_EXPORT, withdrawn", 4, vec![], REP_ERR_UNSUP),
        ("an unknown option", 0x4242, vec![1, 2, 3], REP_ERR_UNSUP),
        ("option 0", 0, vec![], REP_ERR_UNSUP),
    ];
    for (what, option, payload, kind) in table {
        let answers = haggle(&Desk::new(), &[(option, payload), (OPT_LIST, vec![])]);
        assert_eq!((kinds(&answers[0]), &answers[0].1), (vec![kind], &Then::Stay), "{what}");
        assert_eq!(answers[0].0[0].option, option, "{what}");
        assert!(!answers[0].0[0].payload.is_empty(), "{what}: a sentence for people");
        assert_eq!(kinds(&answers[1]), [REP_SERVER, REP_SERVER, REP_ACK], "{what}: in step");
    }
}

#[test]
fn listing_may_be_denied_and_names_are_bytes() {
    let answers = haggle(&Desk::new(), &[(OPT_LIST, vec![])]);
    assert_eq!(answers[0].0[1].payload, [0, 0, 0, 1, 0xff]);
    let desk = Desk { may_list: false, ..Desk::new() };
    assert_eq!(kinds(&haggle(&desk, &[(OPT_LIST, vec![])])[0]), [REP_ERR_POLICY]);
}

/// NBD_INFO_EXPORT comes always, the others when they are asked for, and unknown wishes are passed over. Spec:
/// "NBD_OPT_GO".
#[test]
fn only_wanted_items_are_told_and_the_export_always() {
    let item = |reply: &OptionReply| u16::from_be_bytes([reply.payload[0], reply.payload[1]]);
    for (wanted, told) in [
        (&[][..], &[INFO_EXPORT][..]),
        (&[INFO_NAME, 77, INFO_DESCRIPTION], &[INFO_EXPORT, INFO_NAME]),
        (&[INFO_BLOCK_SIZE, INFO_EXPORT], &[INFO_EXPORT, INFO_BLOCK_SIZE]),
    ] {
        for option in [OPT_INFO, OPT_GO] {
            let answers = haggle(&Desk::new(), &[(option, info("disk", wanted))]);
            let (last, items) = answers[0].0.split_last().expect("replies");
            assert_eq!(last.kind, REP_ACK);
            assert_eq!(items.iter().map(item).collect::<Vec<_>>(), told, "{wanted:?}");
            assert_eq!(items[0].payload[2..10], (SIZE as u64).to_be_bytes());
        }
    }
    let answers = haggle(&Desk::new(), &[(OPT_GO, info("disk", &[INFO_BLOCK_SIZE]))]);
    let sizes = [1_u32.to_be_bytes(), 4096_u32.to_be_bytes(), (32_u32 << 20).to_be_bytes()].concat();
    assert_eq!(answers[0].0[1].payload[2..], sizes);
}

#[test]
fn transmission_begins_with_what_was_agreed() {
    let structured = (OPT_STRUCTURED_REPLY, vec![]);
    let set = |name: &str, queries: &[&str]| (OPT_SET_META_CONTEXT, meta(name, queries));
    let go = |name: &str| (OPT_GO, info(name, &[]));
    let allocation = &["base:allocation"][..];
    let table = [
        (vec![go("disk")], false, false),
        (vec![structured.clone(), go("disk")], true, false),
        (vec![structured.clone(), set("disk", allocation), go("disk")], true, true),
        (vec![structured.clone(), set("", allocation), go("disk")], true, false),
        (vec![structured.clone(), set("disk", allocation), set("disk", &["x:y"]), go("disk")], true, false),
        (vec![structured.clone(), set("disk", allocation), set("none", allocation), go("disk")], true, false),
        (vec![structured.clone(), set("disk", allocation), go("none"), go("disk")], true, true),
        (vec![structured.clone(), set("disk", allocation), (OPT_EXPORT_NAME, b"disk".to_vec())], true, true),
    ];
    for (number, (options, structured, context)) in table.into_iter().enumerate() {
        let answers = haggle(&Desk::new(), &options);
        let last = answers.last().expect("answers");
        assert_eq!(last.1, Then::Transmit { structured, context }, "row {number}");
    }
}

/// Queries, not patterns: only what is asked for exactly is set; LIST also tells what a bare namespace has.
#[test]
fn contexts_are_listed_and_set_by_their_rules() {
    let table = [
        (OPT_LIST_META_CONTEXT, &[][..], true),
        (OPT_LIST_META_CONTEXT, &["base:"], true),
        (OPT_LIST_META_CONTEXT, &["base:allocation", "x:"], true),
        (OPT_LIST_META_CONTEXT, &["qemu:dirty-bitmap:b"], false),
        (OPT_SET_META_CONTEXT, &[], false),
        (OPT_SET_META_CONTEXT, &["base:"], false),
        (OPT_SET_META_CONTEXT, &["base:alloc"], false),
        (OPT_SET_META_CONTEXT, &["base:allocation", "base:allocation"], true),
    ];
    for (option, queries, told) in table {
        let answers =
            haggle(&Desk::new(), &[(OPT_STRUCTURED_REPLY, vec![]), (option, meta("disk", queries))]);
        let expected = if told { vec![REP_META_CONTEXT, REP_ACK] } else { vec![REP_ACK] };
        assert_eq!(kinds(&answers[1]), expected, "{option} {queries:?}");
        if told {
            assert_eq!(&answers[1].0[0].payload[4..], b"base:allocation");
        }
    }
    let many = vec!["x:y"; 129];
    let answers = haggle(&Desk::new(), &[(OPT_LIST_META_CONTEXT, meta("disk", &many))]);
    assert_eq!(kinds(&answers[0]), [REP_ERR_TOO_BIG]);
}

#[test]
fn structured_replies_are_agreed_once() {
    let twice = (OPT_STRUCTURED_REPLY, vec![]);
    let answers = haggle(&Desk::new(), &[twice.clone(), twice]);
    assert_eq!((kinds(&answers[0]), kinds(&answers[1])), (vec![REP_ACK], vec![REP_ERR_INVALID]));
}

/// EXPORT_NAME has no error reply: what cannot be granted ends the connection, without a byte.
#[test]
fn the_old_way_in_has_no_way_to_say_no() {
    let answers = haggle(&Desk::new(), &[(OPT_EXPORT_NAME, b"none".to_vec())]);
    assert_eq!(answers[0].0, [], "not a byte");
    assert_eq!(answers[0].1, Then::Close(Farewell::Refused(OptionRefusal::UnknownExport)));
    let answers = haggle(&Desk::new(), &[(OPT_ABORT, vec![])]);
    assert_eq!((kinds(&answers[0]), &answers[0].1), (vec![REP_ACK], &Then::Close(Farewell::Aborted)));
}

#[test]
fn options_are_counted() {
    let options: Vec<_> = (0..33).map(|_| (OPT_LIST, vec![])).collect();
    let answers = haggle(&Desk::new(), &options);
    assert!(answers[..32].iter().all(|answer| answer.1 == Then::Stay));
    assert_eq!(answers[32].1, Then::Close(Farewell::TooManyOptions));
    assert_eq!(kinds(&answers[32]), [REP_ERR_TOO_BIG]);
}

/// The operator learns which export was asked for, also when the option was refused.
#[test]
fn a_refusal_is_noted_with_the_name_that_was_asked_for() {
    let desk = Desk::new();
    haggle(&desk, &[(OPT_GO, info("none", &[])), (OPT_EXPORT_NAME, b"none".to_vec())]);
    let notes = desk.notes.lock().expect("alive");
    assert_eq!(notes.len(), 2);
    assert!(notes.iter().all(|note| note.contains("UnknownExport") && note.contains("110, 111, 110, 101")));
}

const TLS: (u32, Vec<u8>) = (OPT_STARTTLS, Vec::new());

fn with_tls() -> Desk {
    Desk { tls_offered: true, ..Desk::new() }
}

/// C-203, C-213, C-214
#[test]
fn tls_begins_once_and_only_where_it_is_offered() {
    let list = (OPT_LIST, vec![]);
    let answers = haggle(&Desk::new(), &[TLS, list.clone()]);
    assert_eq!((kinds(&answers[0]), &answers[0].1), (vec![REP_ERR_POLICY], &Then::Stay));
    assert_eq!(answers[0].0[0].payload, b"TLS not allowed on this server");
    assert_eq!(kinds(&answers[1]), [REP_SERVER, REP_SERVER, REP_ACK], "a plain session goes on");

    let answers = haggle(&with_tls(), &[(OPT_STARTTLS, vec![0]), TLS, TLS, list]);
    assert_eq!((kinds(&answers[0]), &answers[0].1), (vec![REP_ERR_INVALID], &Then::Stay));
    assert_eq!((kinds(&answers[1]), &answers[1].1), (vec![REP_ACK], &Then::Secure));
    assert_eq!((kinds(&answers[2]), &answers[2].1), (vec![REP_ERR_INVALID], &Then::Stay));
    assert_eq!(kinds(&answers[3]), [REP_SERVER, REP_SERVER, REP_ACK], "the session goes on");
}

/// Whoever may write in the clear must not decide what is spoken inside TLS. That was CVE-2021-3716: structured
/// replies agreed before, and the client inside did not know of them.
#[test]
fn nothing_agreed_in_the_clear_is_known_inside_tls() {
    let structured = (OPT_STRUCTURED_REPLY, vec![]);
    let set = (OPT_SET_META_CONTEXT, meta("disk", &["base:allocation"]));
    let go = (OPT_GO, info("disk", &[]));
    let before = [
        vec![],
        vec![(OPT_LIST, vec![])],
        vec![(OPT_INFO, info("disk", &[INFO_NAME]))],
        vec![structured.clone()],
        vec![structured.clone(), set.clone()],
        vec![structured.clone(), (OPT_LIST_META_CONTEXT, meta("disk", &[]))],
        vec![(OPT_GO, info("none", &[]))],
        vec![(OPT_EXTENDED_HEADERS, vec![])],
        vec![(0x4242, vec![1])],
        vec![structured.clone(), structured.clone()],
    ];
    for (number, before) in before.into_iter().enumerate() {
        let ways = [
            (vec![go.clone()], false, false),
            (vec![(OPT_EXPORT_NAME, b"disk".to_vec())], false, false),
            (vec![structured.clone(), go.clone()], true, false),
            (vec![structured.clone(), set.clone(), go.clone()], true, true),
        ];
        for (after, structured, context) in ways {
            let options = [before.clone(), vec![TLS], after].concat();
            let answers = haggle(&with_tls(), &options);
            let last = answers.last().expect("answers");
            assert_eq!(last.1, Then::Transmit { structured, context }, "row {number}");
            if structured {
                let asked = &answers[before.len() + 1];
                assert_eq!(kinds(asked), [REP_ACK], "row {number}: not \"already negotiated\"");
            }
        }
    }
}

/// A handshake in two parts is one handshake for its limit.
#[test]
fn options_are_counted_through_tls() {
    let mut options: Vec<_> = (0..20).map(|_| (OPT_LIST, vec![])).collect();
    options.insert(10, TLS);
    options.extend((0..11).map(|_| (OPT_LIST, vec![])));
    options.push((OPT_LIST, vec![]));
    let answers = haggle(&with_tls(), &options);
    assert!(answers[..32].iter().all(|answer| matches!(answer.1, Then::Stay | Then::Secure)));
    assert_eq!(answers[32].1, Then::Close(Farewell::TooManyOptions));
}

/// C-212: and STARTTLS works behind each of them, so the refused option's data was taken off the stream.
#[test]
fn where_tls_is_required_nothing_else_is_answered_before_it() {
    let options = [
        (OPT_LIST, vec![]),
        (OPT_LIST, vec![1]),
        (OPT_INFO, info("disk", &[])),
        (OPT_GO, info("disk", &[])),
        (OPT_GO, info("none", &[])),
        (OPT_GO, vec![7]),
        (OPT_STRUCTURED_REPLY, vec![]),
        (OPT_LIST_META_CONTEXT, meta("disk", &[])),
        (OPT_SET_META_CONTEXT, meta("disk", &["base:allocation"])),
        (OPT_EXTENDED_HEADERS, vec![]),
        (4, vec![]),
        (0x4242, vec![]),
    ];
    for (option, payload) in options {
        let desk = Desk { tls_required: true, ..with_tls() };
        let go = (OPT_GO, info("disk", &[]));
        let answers = haggle(&desk, &[(option, payload.clone()), TLS, go]);
        assert_eq!((kinds(&answers[0]), &answers[0].1), (vec![REP_ERR_TLS_REQD], &Then::Stay), "{option}");
        assert_eq!(answers[0].0[0].payload, b"TLS is required on this server", "{option} {payload:?}");
        assert_eq!(answers[1].1, Then::Secure, "{option}");
        assert_eq!(answers[2].1, Then::Transmit { structured: false, context: false }, "{option}");
    }
    let required = OptionRefusal::TlsRequired("TLS is required on this server");
    for name in ["disk", "none"] {
        let desk = Desk { tls_required: true, ..with_tls() };
        let answers = haggle(&desk, &[(OPT_EXPORT_NAME, name.into())]);
        assert_eq!(answers[0], (vec![], Then::Close(Farewell::Refused(required.clone()))));
    }
    let desk = Desk { tls_required: true, ..with_tls() };
    assert_eq!(haggle(&desk, &[(OPT_ABORT, vec![])])[0].1, Then::Close(Farewell::Aborted));
    // Required and not to be had, because its key is broken: the server fails closed.
    let desk = Desk { tls_required: true, ..Desk::new() };
    let answers = haggle(&desk, &[TLS, (OPT_GO, info("disk", &[]))]);
    assert_eq!((kinds(&answers[0]), kinds(&answers[1])), (vec![REP_ERR_POLICY], vec![REP_ERR_TLS_REQD]));
}
