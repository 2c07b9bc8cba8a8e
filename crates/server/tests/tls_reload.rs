//! P3 inside TLS: reloads, and certificates and keys that are replaced, disturb nobody who is in.
#![allow(missing_docs)]

mod common;
#[path = "common/tls.rs"]
mod tls;

use common::server;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Client, ServerProcess, pattern};
use tls::{For, Pair, Site, dialer, replace, secure, secure_and_look};

const RELOADS: u64 = 200;
const BLOCK: u64 = 4096;
/// The server waits for what belongs to a file that is younger than a quarter of a second.
const YOUNG: Duration = Duration::from_millis(250);
/// Blocks of each writer.
const SHARE: u64 = 64;

/// Writes and verifies its share of the disk, round after round, until told to stop. Returns how many rounds.
fn labour(mut client: Client, number: u64, stop: &AtomicBool, rounds: &AtomicU64) -> u64 {
    let mut round = 0;
    while !stop.load(Ordering::SeqCst) {
        round += 1;
        for block in 0..SHARE {
            let bytes = pattern::block(number, block, round, BLOCK as usize);
            client.write((number * SHARE + block) * BLOCK, &bytes).expect("written");
        }
        let all = client.read(number * SHARE * BLOCK, (SHARE * BLOCK) as u32).expect("read");
        for (block, bytes) in (0..).zip(all.chunks(BLOCK as usize)) {
            pattern::verify(number, block, round, bytes).expect("what was written");
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    client.disc().expect("left");
    client.expect_eof();
    round
}

fn enter(server: &ServerProcess, client: &Pair) -> (Client, Vec<u8>) {
    let (mut client, certificate, _) =
        secure_and_look(server.connect(), &dialer(Some(client), |_| ())).expect("secure");
    client.go("disk").expect("served");
    (client, certificate.and_then(|one| one.to_der().ok()).expect("a certificate"))
}

/// Each reload finds another certificate; every fourth comes between the key and its certificate. No writer sees an
/// error, and whoever comes after a reload is shown the new certificate.
#[test]
fn two_hundred_reloads_with_new_certificates_disturb_nobody() {
    let setup = server();
    let (site, lines) = (Site::new(setup.dir()), tls::lines(setup.dir()));
    let path = setup.dir().join("disk.img");
    fs::File::create(&path).and_then(|file| file.set_len(8 << 20)).expect("a disk");
    let server = setup.generic(&lines).export("disk", &path, "force_tls = true").start();
    let (cert, key) = (server.dir().join("cert.pem"), server.dir().join("key.pem"));
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let (client, _) = enter(&server, &site.client);
            let (stop, rounds) = (stop.clone(), rounds.clone());
            thread::spawn(move || labour(client, number, &stop, &rounds))
        })
        .collect();
    let mut in_time = 0;
    for reload in 0..RELOADS {
        let fresh = site.authority.issue("localhost", For::Server);
        let (mark, began) = (server.log().mark(), Instant::now());
        replace(&key, &fresh.key_pem());
        if reload % 4 == 0 {
            server.hup();
        }
        replace(&cert, &fresh.certificate_pem());
        // Where the machine held this thread up, the key was no young file any more, and nothing was waited for.
        let prompt = began.elapsed() < YOUNG;
        in_time += u64::from(prompt);
        if reload % 4 != 0 {
            let more = format!("readonly = true\nmaxconnections = {reload}");
            replace(&server.conf("other.conf"), testkit::setup::export("other", &path, &more).as_bytes());
            server.hup();
        }
        let reloaded = server.closing_from(mark);
        if prompt {
            reloaded.expect_complete()
        } else {
            server.reload().expect_complete()
        };
        if reload % 10 == 0 {
            let (mut newcomer, shown) = enter(&server, &site.client);
            assert!(fresh.certificate.to_der().is_ok_and(|der| der == shown), "reload {reload}");
            newcomer.disc().expect("left");
        }
    }
    assert!(in_time > RELOADS / 2, "{in_time}");
    // They worked all the while.
    let worked = rounds.load(Ordering::SeqCst);
    while rounds.load(Ordering::SeqCst) < worked + 4 {
        assert!(writers.iter().all(|writer| !writer.is_finished()), "a writer has ended");
        thread::yield_now();
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        assert!(writer.join().expect("no writer saw an error") > 0);
    }
    let disturbed = |line: &&String| line.contains("fenced peer") || line.contains("Connection dropped");
    assert_eq!(server.lines().iter().find(disturbed), None);
    // The last one holds for who comes without a reload too.
    let last = site.authority.issue("localhost", For::Server);
    replace(&key, &last.key_pem());
    replace(&cert, &last.certificate_pem());
    let (_, shown) = enter(&server, &site.client);
    assert!(last.certificate.to_der().is_ok_and(|der| der == shown));
    secure(server.connect(), &dialer(Some(&site.client), |_| ())).expect("and the next one");
}
