//! The thread ends when it is told to, whatever its clients do.
#![allow(missing_docs)]

mod common;

use common::{Connection, Setup};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Stops it, or says that it did not within a time in which nobody would still wait.
fn stopped(mut setup: Setup) -> Setup {
    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        setup.stop();
        let _ = tell.send(());
        setup
    });
    told.recv_timeout(Duration::from_secs(20)).expect("the control thread ends");
    thread.join().expect("it was only stopped")
}

#[test]
fn clients_that_do_anything_or_nothing_do_not_keep_it() {
    let setup = Setup::new();
    setup.fake.hold();
    let with = |bytes: &[u8]| {
        let mut connection = setup.connect();
        connection.raw(bytes);
        connection
    };
    let mut all: Vec<Connection> = (0..4)
        .flat_map(|_| {
            [
                with(b""),
                with(b"GET /v1/sta"),
                with(b"PUT /v1/log-level HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"),
                with(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n"),
                with(b"POST /v1/reload HTTP/1.1\r\nhost: x\r\n\r\n"),
            ]
        })
        .collect();
    setup.fake.wait_until_inside(4);
    let setup = stopped(setup);
    assert!(UnixStream::connect(&setup.socket).is_err(), "nobody listens any more");
    assert!(TcpStream::connect(setup.metrics).is_err(), "nobody listens any more");
    all.iter_mut().for_each(Connection::until_closed);
    setup.fake.release();
}

#[test]
fn what_is_being_answered_is_finished() {
    let setup = Setup::new();
    setup.fake.hold();
    let mut connection = setup.connect();
    connection.raw(b"POST /v1/reload HTTP/1.1\r\nhost: x\r\n\r\n");
    setup.fake.wait_until_inside(1);
    let (fake, socket) = (setup.fake.clone(), setup.socket.clone());
    let thread = thread::spawn(move || stopped(setup));
    // Once nobody is let in any more the end has begun, and only then the reload is over.
    while UnixStream::connect(&socket).is_ok() {}
    fake.release();
    let reply = connection.reply();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(connection.is_closed());
    drop(thread.join().expect("it ends"));
}

#[test]
fn a_thread_that_is_dropped_ends_too() {
    let setup = Setup::new();
    let socket = setup.socket.clone();
    assert_eq!(setup.ask("GET", "/v1/status").status, 200);
    drop(setup);
    assert!(UnixStream::connect(socket).is_err());
}
