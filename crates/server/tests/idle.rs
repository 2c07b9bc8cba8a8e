//! `timeout` over a real socket.
#![allow(missing_docs)]

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, end_of};
use session::Ending;
use std::sync::Arc;
use std::time::Duration;
use testkit::client::counted;
use testkit::spec::*;
use testkit::{MemoryStore, request_header};

/// A client that has asked and got its answers, and then says nothing: it is told to go, and what it wrote survives.
/// One that goes by itself before is not idle.
#[test]
fn an_idle_client_is_told_to_go_and_what_it_wrote_survives() {
    let memory = Arc::new(MemoryStore::new(1 << 20));
    let mut desk = Desk::new(memory.clone());
    desk.idle_timeout = Some(Duration::from_millis(50));
    let (mut client, ending) = desk.connect();
    client.greet().expect("a greeting");
    // The choice and the write in one piece: on a busy machine this client would be idle in between.
    let payload = [&counted("disk")[..], &[0, 0]].concat();
    let option =
        [OPTION_MAGIC.to_be_bytes().as_slice(), &OPT_GO.to_be_bytes(), &counted_len(&payload)].concat();
    let write = request_header(0, CMD_WRITE, 5, 0, 512);
    client.send_bytes(&[&option[..], &payload, &write, &[7; 512]].concat()).expect("sent");
    while client.read_option_reply().expect("a reply").kind != REP_ACK {}
    let reply = [&SIMPLE_REPLY_MAGIC.to_be_bytes()[..], &[0; 4], &5_u64.to_be_bytes()].concat();
    assert_eq!(client.recv_bytes(16).expect("an answer"), reply);
    client.expect_eof();
    assert!(matches!(end_of(&ending), Ending::Idle(_)));
    assert_eq!(memory.durable()[..512], [7; 512]);
    desk.idle_timeout = Some(Duration::from_secs(3600));
    let (mut client, ending) = desk.open(false);
    client.flush().expect("flushed");
    client.disc().expect("sent");
    assert!(matches!(end_of(&ending), Ending::Disconnected));
    let (client, ending) = desk.open(false);
    drop(client);
    assert!(matches!(end_of(&ending), Ending::HungUp));
}

fn counted_len(payload: &[u8]) -> [u8; 4] {
    (payload.len() as u32).to_be_bytes()
}
