//! TLS with a client of our own: who comes in, what is refused, and how it ends. Foreign clients are in `tls_clients.rs`,
//! reloads under load in `tls_reload.rs`.
#![allow(missing_docs)]

mod common;
#[path = "common/tls.rs"]
mod tls;

use common::server;
use openssl::ssl::{SslConnector, SslVersion};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};
use testkit::spec::*;
use testkit::{ServerProcess, Setup, pattern};
use tls::{For, Pair, Site, dialer, secure, secure_and_look};

const SIZE: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

fn disk(setup: &Setup) -> std::path::PathBuf {
    let path = setup.dir().join("disk.img");
    std::fs::File::create(&path).and_then(|file| file.set_len(SIZE)).expect("a disk");
    path
}

/// A server with certificates and one export `disk`; `generic` and `export` are further lines.
fn secure_server(generic: &str, export: &str) -> (ServerProcess, Site) {
    let setup = server();
    let site = Site::new(setup.dir());
    let (path, lines) = (disk(&setup), tls::lines(setup.dir()));
    (setup.generic(&lines).generic(generic).export("disk", &path, export).start(), site)
}

fn one_version(version: SslVersion, client: Option<&Pair>) -> SslConnector {
    dialer(client, |builder| {
        builder.set_min_proto_version(Some(version)).expect("set");
        builder.set_max_proto_version(Some(version)).expect("set");
        builder.set_cipher_list("ALL:@SECLEVEL=0").expect("set");
    })
}

/// Everything a client does: list, GO, write, read back, leave.
fn work(server: &ServerProcess, dialer: &SslConnector) -> io::Result<Vec<String>> {
    let mut client = secure(server.connect(), dialer)?;
    let refused = |(kind, text)| io::Error::other(format!("refused: {kind:#x} {text}"));
    let names = client.list().map_err(refused)?;
    client.go("disk").map_err(refused)?;
    let block = pattern::block(1, 7, 1, 4096);
    client.write(7 * 4096, &block).map_err(|error| io::Error::other(format!("write: {error}")))?;
    let read = client.read(7 * 4096, 4096).map_err(|error| io::Error::other(format!("read: {error}")))?;
    assert!(read == block, "the bytes that were written");
    client.disc()?;
    assert_eq!(client.recv_some(1)?, [0; 0], "TLS ends with a farewell, or it could have been cut");
    Ok(names)
}

#[track_caller]
fn wait_for(server: &ServerProcess, words: &str) -> String {
    let line = server.wait_for(|line| line.contains(words), PATIENCE);
    line.unwrap_or_else(|| panic!("no line with {words:?}"))
}

/// C-204, C-205, C-206: and a certificate that was made for servers is none of a client.
#[test]
fn who_has_no_good_certificate_gets_no_export() {
    let (server, site) = secure_server("", "");
    let stranger = tls::authority("test authority").issue("alice", For::Client);
    let table = [
        ("a good one", Some(site.client.clone()), true),
        ("of another authority of the same name", Some(stranger), false),
        ("self-signed", Some(Pair::self_signed("alice")), false),
        ("expired", Some(site.authority.issue("alice", For::ExpiredClient)), false),
        ("a server's", Some(site.authority.issue("alice", For::Server)), false),
        ("none", None, false),
    ];
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for (what, client, welcome) in &table {
            let result = work(&server, &one_version(version, client.as_ref()));
            assert_eq!(result.is_ok(), *welcome, "{what}: {result:?}");
        }
    }
    wait_for(&server, "client certificate verification successful: 127.0.0.1 is /C=DE/O=Example/CN=alice");
    wait_for(&server, "E: client certificate verification failed: 127.0.0.1: ");
    let entered = server.lines().iter().filter(|line| line.contains("connect from")).count();
    assert_eq!(entered, 2, "nobody else reached an export");
}

/// C-207, C-208: without authorities clients are not asked who they are, and the certificate may stand beside the key.
#[test]
fn authorities_and_the_file_of_certificates_may_be_left_out() {
    let setup = server();
    let site = Site::new(setup.dir());
    let both =
        [site.server.key_pem(), site.server.certificate_pem(), site.authority.certificate_pem()].concat();
    std::fs::write(setup.dir().join("both.pem"), both).expect("written");
    let (path, keyfile) = (disk(&setup), format!("keyfile = {}", setup.dir().join("both.pem").display()));
    let server = setup.generic(&keyfile).export("disk", &path, "").start();
    assert_eq!(work(&server, &dialer(None, |_| ())).expect("served"), ["disk"]);
    let (_, shown, _) = secure_and_look(server.connect(), &dialer(None, |_| ())).expect("served");
    assert_eq!(shown.expect("a certificate").to_der().ok(), site.server.certificate.to_der().ok());
}

/// C-209, C-210: by default 1.2 and 1.3, and with `tlsprio` what it says.
#[test]
fn versions_are_those_that_the_priority_allows() {
    let versions = [SslVersion::TLS1_1, SslVersion::TLS1_2, SslVersion::TLS1_3];
    let table = [
        ("", [false, true, true]),
        ("tlsprio = NORMAL:-VERS-TLS-ALL:+VERS-TLS1.2:%SERVER_PRECEDENCE", [false, true, false]),
        ("tlsprio = NORMAL:+VERS-TLS-ALL:-VERS-TLS1.0:-VERS-TLS1.1:%SERVER_PRECEDENCE", [false, true, true]),
        ("tlsprio = SECURE256:-VERS-ALL:+VERS-TLS1.3", [false, false, true]),
    ];
    for (line, spoken) in table {
        let (server, site) = secure_server(line, "");
        for (version, spoken) in versions.into_iter().zip(spoken) {
            let result = work(&server, &one_version(version, Some(&site.client)));
            assert_eq!(result.is_ok(), spoken, "{line}: {version:?}: {result:?}");
        }
        let best = spoken.iter().rposition(|spoken| *spoken).map(|at| versions[at]);
        let (_, _, version) =
            secure_and_look(server.connect(), &dialer(Some(&site.client), |_| ())).expect("in");
        assert_eq!(version, best, "{line}");
    }
}

/// C-203, C-213, C-214 over the real stream: what is refused leaves it in step, on both sides of the handshake.
#[test]
fn refused_starttls_leaves_the_stream_in_step() {
    let (server, site) = secure_server("", "");
    let mut client = server.connect();
    assert_eq!(client.ask(OPT_STARTTLS, &[1, 2, 3]).expect_err("with data").0, REP_ERR_INVALID);
    assert_eq!(client.list().expect("in step"), ["disk"]);
    let mut client = secure(client, &dialer(Some(&site.client), |_| ())).expect("secure");
    assert_eq!(client.ask(OPT_STARTTLS, &[]).expect_err("again").0, REP_ERR_INVALID);
    assert_eq!(client.ask(OPT_STARTTLS, &[1]).expect_err("again").0, REP_ERR_INVALID);
    client.go("disk").expect("in step");

    let setup = common::server();
    let path = disk(&setup);
    let plain = setup.export("disk", &path, "").start();
    let mut client = plain.connect();
    let (kind, text) = client.ask(OPT_STARTTLS, &[]).expect_err("no key");
    assert_eq!((kind, text.as_str()), (REP_ERR_POLICY, "TLS not allowed on this server"));
    client.go("disk").expect("a plain session goes on");
}

/// C-211: hidden in the clear, and in the open inside TLS.
#[test]
fn an_export_that_needs_tls_is_hidden_without_it() {
    let setup = server();
    let site = Site::new(setup.dir());
    let (path, lines) = (disk(&setup), tls::lines(setup.dir()));
    let setup = setup.generic(&lines).export("disk", &path, "force_tls = true").export("open", &path, "");
    let server = setup.start();
    let mut client = server.connect();
    assert_eq!(client.list().expect("listed"), ["open"]);
    let required = Err((REP_ERR_TLS_REQD, "TLS is required for that export".to_owned()));
    assert_eq!(client.info("disk").map(drop), required);
    assert_eq!(client.go("disk").map(drop), required);
    assert_eq!(client.list_meta("disk", &[]).map(drop), required);
    client.structured().expect("granted");
    assert_eq!(client.set_meta("disk", &["base:allocation"]).map(drop), required);
    assert!(server.connect().export_name("disk").is_err(), "closed");
    client.go("open").expect("the others are open");
    assert_eq!(work(&server, &dialer(Some(&site.client), |_| ())).expect("served"), ["disk", "open"]);
}

/// C-212, C-228: a reload that demands TLS demands it of the next option, also of a client that is haggling.
#[test]
fn a_reload_that_demands_tls_is_followed_at_once() {
    let (server, site) = secure_server("", "");
    let mut early = server.connect();
    assert_eq!(early.list().expect("listed"), ["disk"]);
    let text = std::fs::read_to_string(server.config_path()).expect("the configuration");
    let forced = text.replacen("[generic]", "[generic]\nforce_tls = true", 1);
    std::fs::write(server.config_path(), &forced).expect("written");
    server.reload().expect_complete();
    for client in [&mut early, &mut server.connect()] {
        let (kind, text) = client.go("disk").expect_err("TLS is required");
        assert_eq!((kind, text.as_str()), (REP_ERR_TLS_REQD, "TLS is required on this server"));
        assert_eq!(client.list().expect_err("TLS is required").0, REP_ERR_TLS_REQD);
    }
    assert!(server.connect().export_name("disk").is_err(), "closed");
    assert_eq!(work(&server, &dialer(Some(&site.client), |_| ())).expect("served"), ["disk"]);
    std::fs::write(server.config_path(), text).expect("written");
    server.reload().expect_complete();
    server.connect().go("disk").expect("open again");
}

/// Nobody learns from us that an export exists which is not for him: byte for byte what an unknown name gets.
#[test]
fn a_stranger_inside_tls_sees_nothing_of_an_export_that_is_not_for_him() {
    let allow = r"tls_allow = CN=bob, DN=/C=DE/O=Example/CN=carol, psk:alice";
    let setup = server();
    let site = Site::new(setup.dir());
    let (path, lines) = (disk(&setup), tls::lines(setup.dir()));
    let server = setup.generic(&lines).export("disk", &path, allow).export("open", &path, "").start();
    let come = |name: &str| {
        let pair = site.authority.issue(name, For::Client);
        secure(server.connect(), &dialer(Some(&pair), |_| ())).expect("secure")
    };
    for welcome in ["bob", "carol"] {
        let mut client = come(welcome);
        assert_eq!(client.list().expect("listed"), ["disk", "open"]);
        client.go("disk").expect("served");
    }
    let mut alice = come("alice");
    assert_eq!(alice.list().expect("listed"), ["open"]);
    let mut said = |name: &str, option: u32| {
        let mut payload = testkit::client::counted(name);
        payload.extend(if option == OPT_LIST_META_CONTEXT { vec![0; 4] } else { vec![0; 2] });
        alice.send_option(option, &payload).expect("sent");
        alice.read_option_reply().expect("an answer")
    };
    for option in [OPT_INFO, OPT_GO, OPT_LIST_META_CONTEXT] {
        let (hidden, unknown) = (said("disk", option), said("none", option));
        assert_eq!(hidden, unknown, "{option}");
        assert_eq!(hidden.kind, REP_ERR_UNKNOWN);
    }
    alice.go("open").expect("the others are open");
    let mut plain = server.connect();
    assert_eq!(plain.list().expect("listed"), ["open"]);
    assert_eq!(plain.go("disk").expect_err("in the clear").0, REP_ERR_TLS_REQD);
    wait_for(&server, "export disk is hidden from 127.0.0.1 (/C=DE/O=Example/CN=alice): not in tls_allow");
}

#[test]
fn the_operator_is_told_who_tls_says_a_client_is() {
    let (server, site) = secure_server("", "");
    let pair = site.authority.issue("bob", For::Client);
    let mut client = secure(server.connect(), &dialer(Some(&pair), |_| ())).expect("secure");
    client.go("disk").expect("served");
    let mut plain = server.connect();
    plain.go("disk").expect("served");
    let sessions = server.control().get("/v1/sessions");
    let sessions: Vec<serde_json::Value> = serde_json::from_str(&sessions).expect("JSON");
    let mut told: Vec<Option<&str>> = sessions.iter().map(|session| session["tls"].as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, [None, Some("/C=DE/O=Example/CN=bob")]);
    assert!(server.control().get("/metrics").contains("\nnbd_server_tls_sessions 1\n"));
}

/// Bytes that somebody in between puts behind STARTTLS must not be answered inside TLS as the client's own: one segment,
/// or cut anywhere.
#[test]
fn bytes_in_the_clear_behind_starttls_are_never_answered() {
    let (server, site) = secure_server("", "");
    let go = [testkit::client::counted("disk"), vec![0, 0]].concat();
    let injected = [
        tls::option(OPT_LIST, &[]),
        tls::option(OPT_STRUCTURED_REPLY, &[]),
        tls::starttls(),
        tls::option(OPT_GO, &go),
        tls::option(OPT_EXPORT_NAME, b"disk"),
        vec![0x16],
    ];
    for injected in injected {
        let bytes = [tls::starttls(), injected].concat();
        for cut in 1..=bytes.len() {
            let mut tcp = std::net::TcpStream::connect(("127.0.0.1", server.port())).expect("connected");
            tcp.set_nodelay(true).expect("set");
            tcp.set_read_timeout(Some(PATIENCE)).expect("set");
            tcp.read_exact(&mut [0; 18]).expect("a greeting");
            tcp.write_all(&3_u32.to_be_bytes()).expect("flags");
            tcp.write_all(&bytes[..cut]).expect("sent");
            let _ = tcp.write_all(&bytes[cut..]);
            let _ = tcp.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer);
            let rest = if answer.len() >= 20 { &answer[20..] } else { &answer[..] };
            // Nothing, or an acknowledged STARTTLS and at most an alert of TLS.
            assert!(answer.is_empty() || answer[8..16] == [0, 0, 0, 5, 0, 0, 0, 1], "{cut}: {answer:02x?}");
            assert!(rest.is_empty() || rest[0] == 0x15, "{cut}: {answer:02x?}");
            assert!(
                !answer
                    .iter()
                    .skip(1)
                    .copied()
                    .collect::<Vec<_>>()
                    .windows(8)
                    .any(|eight| eight == OPTION_REPLY_MAGIC.to_be_bytes()),
                "{cut}"
            );
        }
    }
    wait_for(&server, "bytes in the clear behind NBD_OPT_STARTTLS");
    // And the client whose STARTTLS it was gets no TLS, in which it would read an answer that it did not ask for.
    let mut tcp = std::net::TcpStream::connect(("127.0.0.1", server.port())).expect("connected");
    tcp.set_read_timeout(Some(PATIENCE)).expect("set");
    tcp.read_exact(&mut [0; 18]).expect("a greeting");
    let bytes = [&3_u32.to_be_bytes()[..], &tls::starttls(), &tls::option(OPT_LIST, &[])].concat();
    tcp.write_all(&bytes).expect("sent");
    let acknowledged = tcp.read_exact(&mut [0; 20]).is_ok();
    let secure = acknowledged && tls::shake_hands(tcp, &dialer(Some(&site.client), |_| ())).is_ok();
    assert!(!secure, "no TLS behind injected bytes");
}

/// The manual's own example, for the client that it names and for others.
#[test]
fn the_example_of_tls_in_the_manual_does_what_it_says() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manual = std::fs::read_to_string(root.join("docs/man/nbd-server.5.md")).expect("the manual");
    let example = manual.split("```ini (tls)\n").nth(1).and_then(|rest| rest.split("```").next());
    let setup = server();
    let site = Site::new(setup.dir());
    disk(&setup);
    let listen = "[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nallowlist = true\n";
    let text = example.expect("an example").replacen("[generic]\n", listen, 1);
    let text = text.replace("/etc/nbd-server/tls", "{dir}").replace("/dev/vdb", "{dir}/disk.img");
    let server = setup.main(&text).start();
    assert_eq!(server.connect().list().expect_err("in the clear").0, REP_ERR_TLS_REQD);
    for (name, seen) in [("replicator", &["database"][..]), ("alice", &[])] {
        let pair = site.authority.issue(name, For::Client);
        let mut client = secure(server.connect(), &dialer(Some(&pair), |_| ())).expect("secure");
        assert_eq!(client.list().expect("listed"), seen, "{name}");
        assert_eq!(client.go("database").is_ok(), !seen.is_empty(), "{name}");
    }
}

/// C-215
#[test]
fn garbage_instead_of_a_hello_ends_that_connection_alone() {
    let (server, site) = secure_server("", "");
    let mut seed = 7;
    for len in [1, 5, 6, 100, 5000] {
        let mut garbage: Vec<u8> = (0..len)
            .map(|_| {
                seed = pattern::mix(seed);
                (seed >> 56) as u8
            })
            .collect();
        for first in [0x00, 0x16, 0x80, b'G'] {
            garbage[0] = first;
            let mut tcp = tls::at_the_door(server.port());
            let _ = tcp.write_all(&garbage);
            let _ = tcp.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer);
            assert!(answer.is_empty() || answer[0] == 0x15, "{answer:02x?}");
        }
    }
    work(&server, &dialer(Some(&site.client), |_| ())).expect("the server is fine");
}

/// Where a client is when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AtTheDoor,
    InHello,
    Haggling,
    InOption,
    Serving,
    InRequest,
    InPayload,
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Farewell,
    Fin,
    Reset,
}

/// C-216: the original turned in a circle for ever. A thread that is gone uses no processor.
#[test]
fn however_and_whenever_a_client_goes_its_session_ends() {
    let (server, site) = secure_server("", "");
    let dial = dialer(Some(&site.client), |_| ());
    work(&server, &dial).expect("served");
    let idle = || server.threads();
    let quiet = Instant::now() + PATIENCE;
    while server.lines().iter().filter(|line| line.contains("disconnected")).count() == 0 {
        assert!(Instant::now() < quiet, "the first session does not end");
        std::thread::yield_now();
    }
    use Phase::{AtTheDoor, Haggling, InHello, InOption, InPayload, InRequest, Serving};
    for phase in [AtTheDoor, InHello, Haggling, InOption, Serving, InRequest, InPayload] {
        for way in [Way::Farewell, Way::Fin, Way::Reset] {
            let before = settled(&idle);
            go_away(&server, &dial, phase, way);
            let until = Instant::now() + PATIENCE;
            while server.threads() > before {
                assert!(Instant::now() < until, "{phase:?} {way:?}: the session is still there");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    work(&server, &dial).expect("the server is fine");
}

/// How many threads there are when nobody is connected.
fn settled(threads: &impl Fn() -> usize) -> usize {
    let mut least = threads();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(1));
        least = least.min(threads());
    }
    least
}

fn go_away(server: &ServerProcess, dial: &SslConnector, phase: Phase, way: Way) {
    let mut tcp = tls::at_the_door(server.port());
    if matches!(phase, Phase::AtTheDoor | Phase::InHello) {
        if phase == Phase::InHello {
            tcp.write_all(&[0x16, 3, 1, 0x02, 0x00, 1]).expect("the beginning of a hello");
        }
        return leave(&tcp, way);
    }
    let mut stream = tls::shake_hands(tcp, dial).expect("a handshake");
    let go = [testkit::client::counted("disk"), vec![0, 0]].concat();
    let write = testkit::request_header(0, CMD_WRITE, 1, 0, 4096);
    let bytes = match phase {
        Phase::InOption => tls::option(OPT_GO, &go)[..20].to_vec(),
        Phase::Serving => tls::option(OPT_GO, &go),
        Phase::InRequest => [&tls::option(OPT_GO, &go)[..], &write[..9]].concat(),
        Phase::InPayload => [&tls::option(OPT_GO, &go)[..], &write[..], &[7; 100][..]].concat(),
        _ => tls::option(OPT_LIST, &[]),
    };
    stream.write_all(&bytes).expect("sent");
    if phase != Phase::InOption {
        stream.read_exact(&mut [0; 20]).expect("an answer");
    }
    if way == Way::Farewell {
        let _ = stream.shutdown();
        // Not a FIN behind it: the words alone must do.
        let mut rest = Vec::new();
        stream.get_mut().read_to_end(&mut rest).expect("the server ends the connection");
    }
    leave(stream.get_ref(), way);
}

fn leave(tcp: &std::net::TcpStream, way: Way) {
    if way == Way::Reset {
        let _ = rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO));
    }
}

/// Bytes through TLS in every size, also when many answers wait for a client that does not read. C-202: `splice = true` too.
#[test]
fn bytes_go_through_unchanged_in_every_size_and_under_pressure() {
    let (server, site) = secure_server("", "splice = true");
    let open = || {
        let mut client = secure(server.connect(), &dialer(Some(&site.client), |_| ())).expect("secure");
        client.structured().expect("granted");
        client.go("disk").expect("served");
        client
    };
    let mut client = open();
    let image: Vec<u8> = (0..SIZE / 4096).flat_map(|block| pattern::block(3, block, 1, 4096)).collect();
    let sizes = [1, 511, 4096, 16_383, 16_384, 16_385, 65_536, 131_072, 131_073, 1 << 20, 3 << 20];
    let mut at = 0;
    for len in sizes.into_iter().cycle() {
        let len = len.min(image.len() - at);
        client.write(at as u64, &image[at..at + len]).expect("written");
        at += len;
        if at == image.len() {
            break;
        }
    }
    for (offset, len) in [(0, 1), (1, 16_384), (4095, 131_073), (0, 1 << 20), (77, 4 << 20), (0, 8 << 20)] {
        let read = client.read(offset, len as u32).expect("read");
        assert!(read == image[offset as usize..offset as usize + len], "{offset} {len}");
    }
    // Many answers of workers (2 MiB) and of the session's own thread (64 KiB), for a client that reads none of them
    // until it has asked for all.
    let mut client = open();
    let mut asked = std::collections::HashMap::new();
    for number in 0..96_u64 {
        let (offset, len) = if number % 3 == 0 { (number << 12, 2 << 20) } else { (number << 16, 64 << 10) };
        let offset = offset.min(SIZE - len);
        let cookie = client.next_cookie();
        asked.insert(cookie, (offset, len));
        client.send_request(0, CMD_READ, cookie, offset, len as u32, &[]).expect("sent");
    }
    for _ in 0..96 {
        let answer = client.recv_answer().expect("an answer");
        let (offset, len) = asked.remove(&answer.cookie).expect("asked for, once");
        assert!(answer.data == image[offset as usize..(offset + len) as usize], "{offset} {len}");
    }
    client.disc().expect("left");
    client.expect_eof();
}

/// Keeps what is written, once it is told to.
struct Holding {
    tcp: std::net::TcpStream,
    held: Option<Vec<u8>>,
}

impl Read for Holding {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(into)
    }
}

impl Write for Holding {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.held {
            Some(held) => held.extend_from_slice(bytes),
            None => self.tcp.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Part of a record is no request. Who waited for the rest of it would not send the answers that wait meanwhile, and the
/// client, who waits for them, would not send the rest.
#[test]
fn half_a_record_keeps_no_answer_back() {
    let (server, site) = secure_server("", "");
    let tcp = tls::at_the_door(server.port());
    let holding = Holding { tcp, held: None };
    let mut stream = tls::shake_hands(holding, &dialer(Some(&site.client), |_| ())).expect("a handshake");
    stream.write_all(&tls::option(OPT_EXPORT_NAME, b"disk")).expect("sent");
    stream.read_exact(&mut [0; 10]).expect("an answer");
    let whole = u32::try_from(SIZE).expect("small");
    for cut in [1, 5, 6, 30] {
        stream.write_all(&testkit::request_header(0, CMD_READ, 1, 0, whole)).expect("sent");
        stream.get_mut().held = Some(Vec::new());
        stream.write_all(&testkit::request_header(0, CMD_READ, 2, 0, 512)).expect("held");
        let record = stream.get_mut().held.take().expect("it was held");
        stream.get_mut().tcp.write_all(&record[..cut]).expect("the first bytes");
        let mut answer = vec![0; 16 + SIZE as usize];
        stream.read_exact(&mut answer).expect("the answer, while the rest is not there");
        assert_eq!(answer[..4], SIMPLE_REPLY_MAGIC.to_be_bytes());
        stream.get_mut().tcp.write_all(&record[cut..]).expect("the rest");
        stream.read_exact(&mut answer[..528]).expect("the answer to the rest");
        assert_eq!(answer[15], 2, "its cookie");
    }
}
