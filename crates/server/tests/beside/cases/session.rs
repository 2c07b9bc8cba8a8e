//! What a client may say before it has chosen, and how it may leave.

use crate::case::Case;
use crate::facts::{answered, flags, until_closed};
use crate::probe::leave;
use crate::visit::Visit;
use testkit::client::counted;
use testkit::{Client, spec};

pub fn cases() -> Vec<Case> {
    let quiet = |name: &str| Case::one(name, "").without_script().without_tools();
    vec![
        quiet("greetings").probe(greetings).differs("D-82", "flags 0x4: *", "*", "*").differs(
            "D-82",
            "flags 0xffffffff: old way",
            "*",
            "closed",
        ),
        quiet("options of every number")
            .probe(options)
            .differs("D-83", "abort", "closed", "reply 1")
            .differs("D-70", "option 8", "UNSUP *", "acknowledged, 0 before")
            .differs("D-70", "option 9", "UNSUP *", "acknowledged, 1 before"),
        quiet("options that are broken")
            .probe(broken)
            .differs("D-79", "broken: *", "*", "INVALID *")
            .differs("D-79", "broken: *, then list", "*", "reply 2")
            .patience(std::time::Duration::from_secs(2)),
        quiet("a refused GO")
            .probe(refused)
            .export("gone", "exportname = {dir}/gone")
            .kept_out("gone")
            .differs("D-78", "refused with items: gone, then a", "closed", "granted"),
        quiet("names that are almost right").probe(names).differs(
            "D-85",
            "name \"a\\0b\"",
            "granted",
            "UNKNOWN *",
        ),
        quiet("how a session ends").probe(endings),
    ]
}

fn open(visit: &Visit<'_>) -> Client {
    visit.place.connect().expect("a greeting")
}

fn raw(visit: &Visit<'_>) -> Client {
    let mut client = Client::raw_tcp(visit.place.port).expect("it accepts");
    client.recv_bytes(18).expect("a greeting");
    client
}

/// C-090, C-091, C-092: every combination of client flags.
fn greetings(visit: &mut Visit<'_>) {
    for bits in [0_u32, 1, 2, 3, 4, 0xffff_ffff] {
        let mut client = raw(visit);
        let _ = client.send_bytes(&bits.to_be_bytes());
        let _ = client.send_option(spec::OPT_EXPORT_NAME, b"a");
        let told = client
            .recv_bytes(10)
            .map_or_else(|_| "closed".to_owned(), |bytes| flags(u16::from_be_bytes([bytes[8], bytes[9]])));
        let zeroes = client.recv_bytes_for(124);
        visit.facts.put(format!("flags {bits:#x}: old way"), told);
        visit.facts.put(format!("flags {bits:#x}: zeroes"), zeroes);
        let _ = client.disc();
        until_closed(client);
    }
}

trait Counting {
    fn recv_bytes_for(&mut self, len: usize) -> usize;
}

impl Counting for Client {
    /// How many of these bytes come before the answer to the next request: a FLUSH.
    fn recv_bytes_for(&mut self, len: usize) -> usize {
        if self.send_bytes(&testkit::request_header(0, spec::CMD_FLUSH, 1, 0, 0)).is_err() {
            return 0;
        }
        let mut got = Vec::new();
        while got.len() < len + 16 {
            match self.recv_some(len + 16 - got.len()) {
                Ok(bytes) if !bytes.is_empty() => got.extend(bytes),
                _ => break,
            }
            if got.len() == 16 && got.starts_with(&spec::SIMPLE_REPLY_MAGIC.to_be_bytes()) {
                break;
            }
        }
        got.len().saturating_sub(16)
    }
}

/// C-108: what is not known is refused, payload and all, and the next option is heard.
fn options(visit: &mut Visit<'_>) {
    for option in [
        0,
        4,
        spec::OPT_STRUCTURED_REPLY,
        spec::OPT_LIST_META_CONTEXT,
        spec::OPT_EXTENDED_HEADERS,
        77,
        u32::MAX,
    ] {
        let mut client = open(visit);
        let payload: &[u8] = if option == spec::OPT_STRUCTURED_REPLY { b"" } else { b"\0\0\0\x01a\0\0\0\0" };
        let said = answered(client.ask(option, payload), |replies| {
            format!("acknowledged, {} before", replies.len())
        });
        visit.facts.put(format!("option {option}"), said);
        visit
            .facts
            .put(format!("option {option}: then list"), answered(client.list(), |names| names.join("|")));
        leave(client);
    }
    let mut client = open(visit);
    let _ = client.send_option(spec::OPT_ABORT, b"");
    let said =
        client.read_option_reply().map_or_else(|_| "closed".into(), |reply| format!("reply {}", reply.kind));
    visit.facts.put("abort", said);
    until_closed(client);
    visit
        .facts
        .put("starttls", answered(open(visit).ask(spec::OPT_STARTTLS, b""), |_| "acknowledged".into()));
}

/// C-107, C-110, C-113: shapes that are wrong.
fn broken(visit: &mut Visit<'_>) {
    let name = counted("a");
    let shapes: [(&str, u32, Vec<u8>); 8] = [
        ("list with a payload", spec::OPT_LIST, b"four".to_vec()),
        ("go of nothing", spec::OPT_GO, Vec::new()),
        ("go of five bytes", spec::OPT_GO, vec![0; 5]),
        ("go with a long name length", spec::OPT_GO, [&4096_u32.to_be_bytes()[..], b"a\0\0"].concat()),
        ("go with a name too long", spec::OPT_GO, [counted(&"n".repeat(4097)), vec![0, 0]].concat()),
        ("go with junk", spec::OPT_GO, [&name[..], &[0, 0], b"junk"].concat()),
        ("info with junk", spec::OPT_INFO, [&name[..], &[0, 0], b"junk"].concat()),
        ("starttls with a payload", spec::OPT_STARTTLS, b"four".to_vec()),
    ];
    for (what, option, payload) in shapes {
        let mut client = open(visit);
        visit.facts.put(
            format!("broken: {what}"),
            answered(client.ask_plainly(option, &payload), |kind| format!("reply {kind}")),
        );
        visit.facts.put(
            format!("broken: {what}, then list"),
            answered(client.ask_plainly(spec::OPT_LIST, b""), |kind| format!("reply {kind}")),
        );
        drop(client);
    }
    let mut client = open(visit);
    let _ = client.send_bytes(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    visit.facts.put("broken: http", until_closed(client));
    let mut client = open(visit);
    let _ = client.send_option(spec::OPT_EXPORT_NAME, &[b'n'; 5000]);
    visit.facts.put("broken: a name of 5000 bytes", until_closed(client));
}

trait Plainly {
    fn ask_plainly(&mut self, option: u32, payload: &[u8]) -> Result<u32, testkit::Refused>;
}

impl Plainly for Client {
    /// The first reply's type, whichever option it belongs to: a server out of step answers anything.
    fn ask_plainly(&mut self, option: u32, payload: &[u8]) -> Result<u32, testkit::Refused> {
        let number = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                (testkit::TIMED_OUT, String::new())
            }
            _ => (testkit::CLOSED, String::new()),
        };
        self.send_option(option, payload).map_err(number)?;
        let reply = self.read_option_reply().map_err(number)?;
        let sentence = String::from_utf8_lossy(&reply.payload).into_owned();
        if reply.kind & spec::REP_ERR != 0 { Err((reply.kind, sentence)) } else { Ok(reply.kind) }
    }
}

/// C-097, C-099: after a refusal the client may try another.
fn refused(visit: &mut Visit<'_>) {
    for (what, items) in [("with items", &[spec::INFO_BLOCK_SIZE][..]), ("without items", &[])] {
        for name in ["nobody", "gone"] {
            let mut client = open(visit);
            let said = answered(client.describe(spec::OPT_GO, name, items), |_| "granted".into());
            visit.facts.put(format!("refused {what}: {name}"), said);
            let then = answered(client.describe(spec::OPT_GO, "a", &[]), |_| "granted".into());
            visit.facts.put(format!("refused {what}: {name}, then a"), then);
            let _ = client.disc();
            until_closed(client);
        }
    }
}

/// C-114, C-115.
fn names(visit: &mut Visit<'_>) {
    for name in ["A", "a ", "a\0b", "", "aa"] {
        let said = answered(open(visit).go(name), |_| "granted".into());
        visit.facts.put(format!("name {name:?}"), said);
    }
}

/// C-132, C-133, C-237: and what the log says of it.
fn endings(visit: &mut Visit<'_>) {
    let mark = visit.place.syslog.mark();
    let mut client = open(visit);
    client.go("a").expect("served");
    for cookie in 0..8 {
        client.send_request(0, spec::CMD_READ, 100 + cookie, cookie * 4096, 4096, &[]).expect("sent");
    }
    let _ = client.disc();
    let answers = (0..8).filter(|_| client.recv_answer().is_ok_and(|answer| answer.error == 0)).count();
    visit.facts.put("leaving with eight requests: answers", answers);
    visit.facts.put("leaving with eight requests", until_closed(client));
    let mut client = open(visit);
    client.go("a").expect("served");
    let _ = client.send_bytes(&[0x55; 28]);
    visit.facts.put("a wrong magic", until_closed(client));
    let mut client = open(visit);
    client.go("a").expect("served");
    client.finish_sending().expect("half closed");
    visit.facts.put("no goodbye", until_closed(client));
    // The client may learn of the end before the log does.
    for line in ["Protocol error: not enough magic.", "Connection dropped"] {
        visit.facts.put(format!("said: {line}"), visit.place.syslog.wait(mark, line));
    }
    let end = visit.place.syslog.mark();
    visit.log_between(mark, end);
}
