//! Certificates and keys: replaced, broken, unreadable, pre-shared. Which ones a new connection meets, and what is said.
#![allow(missing_docs)]

mod common;
#[path = "common/tls.rs"]
mod tls;

use common::server;
use openssl::ssl::{SslConnector, SslVersion};
use std::fs;
use std::path::Path;
use std::time::Duration;
use testkit::spec::*;
use testkit::{Outcome, ServerProcess, Setup, is_root, skip_or_fail};
use tls::{For, Pair, Site, dialer, replace, secure, secure_and_look};

const PATIENCE: Duration = Duration::from_secs(20);

fn with_disk(setup: Setup, more: &str) -> Setup {
    let path = setup.dir().join("disk.img");
    fs::File::create(&path).and_then(|file| file.set_len(1 << 20)).expect("a disk");
    setup.export("disk", &path, more)
}

fn secure_setup() -> (Setup, Site) {
    let setup = server();
    let (site, lines) = (Site::new(setup.dir()), tls::lines(setup.dir()));
    (with_disk(setup.generic(&lines), ""), site)
}

/// The certificate that the next client is shown.
#[track_caller]
fn shown(server: &ServerProcess, client: &Pair) -> Vec<u8> {
    let (mut client, certificate, _) =
        secure_and_look(server.connect(), &dialer(Some(client), |_| ())).expect("secure");
    client.go("disk").expect("served");
    certificate.and_then(|certificate| certificate.to_der().ok()).expect("a certificate")
}

fn der(pair: &Pair) -> Vec<u8> {
    pair.certificate.to_der().expect("DER")
}

#[track_caller]
fn wait_for(server: &ServerProcess, words: &str) -> String {
    let line = server.wait_for(|line| line.contains(words), PATIENCE);
    line.unwrap_or_else(|| panic!("no line with {words:?}"))
}

fn count(server: &ServerProcess, words: &str) -> usize {
    server.lines().iter().filter(|line| line.contains(words)).count()
}

/// C-217: the next STARTTLS has the new ones, open sessions stay, and half a key changes nothing and is said once.
#[test]
fn files_replaced_in_place_are_what_the_next_client_meets() {
    let (setup, site) = secure_setup();
    let server = setup.start();
    let (cert, key) = (server.dir().join("cert.pem"), server.dir().join("key.pem"));
    assert_eq!(shown(&server, &site.client), der(&site.server));
    let mut open = secure(server.connect(), &dialer(Some(&site.client), |_| ())).expect("secure");
    open.go("disk").expect("served");

    let fresh = site.authority.issue("localhost", For::Server);
    replace(&key, &fresh.key_pem());
    replace(&cert, &fresh.certificate_pem());
    assert_eq!(shown(&server, &site.client), der(&fresh));
    wait_for(&server, "certificates and keys were read again");

    let next = site.authority.issue("localhost", For::Server);
    fs::write(&key, &next.key_pem()[..60]).expect("half a key");
    for _ in 0..3 {
        assert_eq!(shown(&server, &site.client), der(&fresh), "the old one is whole");
    }
    assert_eq!(
        count(&server, "certificates and keys stay what they were: keyfile: "),
        1,
        "once for each change"
    );
    fs::write(&key, next.key_pem()).expect("a key");
    assert_eq!(shown(&server, &site.client), der(&fresh), "it does not belong to the certificate");
    assert_eq!(count(&server, "does not belong to the key"), 1);
    fs::write(&cert, next.certificate_pem()).expect("a certificate");
    assert_eq!(shown(&server, &site.client), der(&next));

    // Another authority: who came with the old one does not come again, and who is in stays in.
    let other = tls::authority("another authority");
    replace(&server.dir().join("ca.pem"), &other.certificate_pem());
    let late = secure(server.connect(), &dialer(Some(&site.client), |_| ()));
    assert!(!late.is_ok_and(|mut client| client.go("disk").is_ok()), "not any more");
    assert_eq!(shown(&server, &other.issue("bob", For::Client)), der(&next));
    open.write(0, &[1; 512]).expect("undisturbed");
}

/// C-227: and what cannot be used is named, the reload is incomplete, and what was used stays in use.
#[test]
fn a_reload_follows_other_paths_and_keeps_what_works() {
    let (setup, site) = secure_setup();
    let server = setup.start();
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    let fresh = site.authority.issue("localhost", For::Server);
    fs::write(server.dir().join("cert2.pem"), fresh.certificate_pem()).expect("written");
    fs::write(server.dir().join("key2.pem"), fresh.key_pem()).expect("written");
    let second = text.replace("cert.pem", "cert2.pem").replace("/key.pem", "/key2.pem");
    fs::write(server.config_path(), &second).expect("written");
    server.reload().expect_complete();
    assert_eq!(shown(&server, &site.client), der(&fresh));

    let dir = server.dir().display().to_string();
    let broken = [
        ("keyfile", second.replace("key2.pem", "none.pem")),
        ("keyfile", second.replace("key2.pem", "cert2.pem")),
        ("keyfile", second.replace(&format!("{dir}/key2.pem"), &dir)),
        ("certfile", second.replace("cert2.pem", "cert.pem")),
        ("certfile", second.replace("cert2.pem", "key2.pem")),
        ("cacertfile", second.replace("ca.pem", "key2.pem")),
        ("pskfile", second.replacen("[generic]", &format!("[generic]\npskfile = {dir}/ca.pem"), 1)),
    ];
    for (key, text) in broken {
        fs::write(server.config_path(), &text).expect("written");
        let reloaded = server.reload();
        assert_eq!(reloaded.closing.outcome, Outcome::Incomplete, "{text}");
        let mut said = reloaded.events.iter().filter(|event| event.words == "setting not applied");
        let said = said.find(|event| event.value("key") == Some(key));
        let said = said.unwrap_or_else(|| panic!("{key}: {:#?}", reloaded.events));
        let applied = reloaded.events.iter().find(|event| event.words == "setting changed");
        assert_eq!(applied, None, "nothing that stands or falls with it is said to apply");
        assert!(said.value("reason").is_some_and(|reason| !reason.is_empty()));
        assert_eq!(shown(&server, &site.client), der(&fresh), "{key}");
    }
    fs::write(server.config_path(), &text).expect("written");
    server.reload().expect_complete();
    assert_eq!(shown(&server, &site.client), der(&site.server));

    let off: Vec<&str> = text.lines().filter(|line| !line.starts_with("keyfile")).collect();
    fs::write(server.config_path(), off.join("\n")).expect("written");
    server.reload().expect_complete();
    assert_eq!(server.connect().ask(OPT_STARTTLS, &[]).expect_err("off").0, REP_ERR_POLICY);
}

/// At start only those who ask for TLS are the worse for it, and those who must have it do not get in without: closed,
/// not open. A FIFO, a directory and a huge file in place of a key hold up nobody.
#[test]
fn broken_material_at_start_fails_closed_and_nothing_hangs() {
    let whole =
        |dir: &Path, site: &Site| fs::write(dir.join("key.pem"), site.server.key_pem()).expect("written");
    type Break = (&'static str, fn(&Path));
    let breaks: [Break; 6] = [
        ("half a key", |path| fs::write(path, "-----BEGIN PRIVATE KEY-----\nMIG").expect("written")),
        ("no file", |path| fs::remove_file(path).expect("removed")),
        ("a directory", |path| {
            fs::remove_file(path).and_then(|()| fs::create_dir(path)).expect("a directory");
        }),
        ("a FIFO", |path| {
            fs::remove_file(path).expect("removed");
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO");
        }),
        ("a huge file", |path| {
            let file = fs::File::create(path).expect("a file");
            file.set_len(64 << 30).expect("sparse");
        }),
        ("a locked key", |path| {
            let locked = tls::new_key()
                .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret")
                .expect("PEM");
            fs::write(path, locked).expect("written");
        }),
    ];
    for (what, break_it) in breaks {
        let (setup, site) = secure_setup();
        let path = setup.dir().join("disk.img");
        break_it(&setup.dir().join("key.pem"));
        let server = setup.export("closed", &path, "force_tls = true").start();
        wait_for(&server, "TLS is not available, clients that ask for it are refused: keyfile: ");
        let mut client = server.connect();
        assert_eq!(client.ask(OPT_STARTTLS, &[]).expect_err(what).0, REP_ERR_POLICY, "{what}");
        assert_eq!(client.go("closed").expect_err(what).0, REP_ERR_TLS_REQD, "{what}");
        client.go("disk").expect("plain exports are served");
        // Made whole in place, it is used.
        let key = server.dir().join("key.pem");
        let _ = fs::remove_file(&key).or_else(|_| fs::remove_dir(&key));
        whole(server.dir(), &site);
        assert_eq!(shown(&server, &site.client), der(&site.server), "{what}");
    }
    let (setup, _) = secure_setup();
    fs::write(setup.dir().join("key.pem"), "nothing").expect("written");
    let server = setup.generic("force_tls = true").start();
    let mut client = server.connect();
    assert_eq!(client.ask(OPT_STARTTLS, &[]).expect_err("broken").0, REP_ERR_POLICY);
    assert_eq!(client.go("disk").expect_err("required").0, REP_ERR_TLS_REQD);

    let (setup, _) = secure_setup();
    fs::write(setup.dir().join("key.pem"), "nothing").expect("written");
    let log = setup.generic("strict = true").try_start().expect_err("all or nothing");
    assert!(log.contains("Could not use keyfile: "), "{log}");
}

/// C-218: read before the server becomes somebody who may not; and a reload that finds it unchanged is content.
#[test]
fn a_key_for_root_alone_serves_a_server_that_is_not_root_any_more() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !is_root() {
        return skip_or_fail("a_key_for_root_alone_serves_a_server_that_is_not_root_any_more", "root");
    }
    let (setup, site) = secure_setup();
    let private = setup.dir().join("private");
    fs::create_dir(&private).expect("a directory");
    fs::rename(setup.dir().join("key.pem"), private.join("key.pem")).expect("moved");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("set");
    chown(setup.dir().join("disk.img"), Some(65_534), None).expect("the disk is nobody's");
    let text =
        setup.text().replace("/key.pem", "/private/key.pem").replace("[generic]", "[generic]\nuser = nobody");
    let server = setup.main(&text).start();
    assert_eq!(shown(&server, &site.client), der(&site.server));
    server.reload().expect_complete();
    assert_eq!(shown(&server, &site.client), der(&site.server));
    assert_eq!(count(&server, "stay what they were"), 0);

    // In a directory that can be looked into, it is seen that the key is another one, and cannot be had.
    fs::set_permissions(&private, fs::Permissions::from_mode(0o711)).expect("set");
    fs::set_permissions(private.join("key.pem"), fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(server.reload().closing.outcome, Outcome::Incomplete);
    assert_eq!(shown(&server, &site.client), der(&site.server), "what was read before is used");
}

const ALICE: [u8; 32] = [0xa1; 32];

fn psk_server(generic: &str, allow: &str) -> ServerProcess {
    let setup = server();
    let hex: String = ALICE.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(setup.dir().join("keys"), format!("alice:{hex}\n#626f62:00112233445566778899aabbccddeeff\n"))
        .expect("written");
    Site::new(setup.dir());
    let line = format!("pskfile = {}", setup.dir().join("keys").display());
    let certificates = generic.replace("{certificates}", &tls::lines(setup.dir()));
    with_disk(setup.generic(&line).generic(&certificates), allow).start()
}

fn come(server: &ServerProcess, dial: &SslConnector) -> Result<(), String> {
    let mut client = secure(server.connect(), dial).map_err(|error| error.to_string())?;
    client.go("disk").map_err(|(kind, text)| format!("{kind:#x} {text}"))?;
    client.write(0, &[1; 4096]).map_err(|error| error.to_string())
}

/// By a key alone, with and without certificates beside it. A wrong key and an unknown name fail alike: nobody can find
/// out which names there are.
#[test]
fn a_pre_shared_key_opens_and_an_unknown_name_looks_like_a_wrong_key() {
    for generic in
        ["", "{certificates}", "tlsprio = NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK:%SERVER_PRECEDENCE"]
    {
        let server = psk_server(generic, "");
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let dial = |name: &str, key: &[u8]| tls::psk_dialer(name, key, version);
            assert_eq!(come(&server, &dial("alice", &ALICE)), Ok(()), "{generic} {version:?}");
            let bob = [
                0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
                0xff,
            ];
            assert_eq!(come(&server, &dial("bob", &bob)), Ok(()), "{generic} {version:?}");
            let wrong = come(&server, &dial("alice", &[0; 32])).expect_err("a wrong key");
            let unknown = come(&server, &dial("mallory", &ALICE)).expect_err("an unknown name");
            assert_eq!(wrong, unknown, "{generic} {version:?}");
        }
        wait_for(&server, "pre-shared key verification successful: 127.0.0.1 is psk:alice");
        wait_for(
            &server,
            "E: pre-shared key verification failed: 127.0.0.1: there is no key of the name mallory",
        );
        assert!(come(&server, &dialer(None, |_| ())).is_err(), "no key and no certificate");
    }
}

/// A client may name a key and then not prove that it has it: its name is worth nothing then.
#[test]
fn who_is_let_in_by_name_has_proved_the_name() {
    let server = psk_server("", "tls_allow = psk:bob");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let refused = come(&server, &tls::psk_dialer("alice", &ALICE, version)).expect_err("for bob alone");
        assert!(refused.contains("Export unknown"), "{refused}");
        let bob =
            [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(come(&server, &tls::psk_dialer("bob", &bob, version)), Ok(()));
    }
    // Claims to be bob in TLS 1.3, and takes a suite that the key cannot be used with: the certificate decides.
    let setup = common::server();
    let site = Site::new(setup.dir());
    fs::write(setup.dir().join("keys"), "bob:00112233445566778899aabbccddeeff\n").expect("written");
    let (cert, key) = (setup.dir().join("cert.pem"), setup.dir().join("key.pem"));
    let lines = format!(
        "pskfile = {}\ncertfile = {}\nkeyfile = {}\ntlsprio = NORMAL:+DHE-PSK:-CIPHER-ALL:+AES-256-GCM",
        setup.dir().join("keys").display(),
        cert.display(),
        key.display()
    );
    let server = with_disk(setup.generic(&lines), "tls_allow = psk:bob").start();
    let sly = dialer(None, |builder| {
        builder.set_min_proto_version(Some(SslVersion::TLS1_3)).expect("set");
        builder.set_ciphersuites("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256").expect("set");
        builder.set_psk_client_callback(|_, _, identity, secret| {
            identity[..4].copy_from_slice(b"bob\0");
            secret[..4].copy_from_slice(b"fake");
            Ok(4)
        });
    });
    let (mut client, certificate, _) = secure_and_look(server.connect(), &sly).expect("anybody may have TLS");
    assert_eq!(certificate.and_then(|one| one.to_der().ok()), Some(der(&site.server)));
    assert_eq!(client.go("disk").expect_err("not bob").0, REP_ERR_UNKNOWN);
    assert_eq!(count(&server, "psk:bob"), 0);
}

/// `reliability`: a pskfile that nothing can use is a mistake of the operator, not a server without keys.
#[test]
fn keys_that_the_priority_does_not_allow_are_told() {
    let server = psk_server("tlsprio = NORMAL", "");
    wait_for(
        &server,
        "TLS is not available, clients that ask for it are refused: tlsprio: it allows no exchange",
    );
    assert_eq!(server.connect().ask(OPT_STARTTLS, &[]).expect_err("none").0, REP_ERR_POLICY);
}
