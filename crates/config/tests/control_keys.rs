//! Keys about how the server is asked and watched, by the value that each becomes.
#![allow(missing_docs)]

mod common;

use common::{generic, refused};
use config::{Control, ControlSocket};

fn control(lines: &str) -> Control {
    let (generic, warnings) = generic(lines);
    assert!(warnings.is_empty(), "{lines}: {warnings:?}");
    generic.control
}

/// Saying nothing, saying nowhere and saying where are three things.
#[test]
fn the_control_socket_is_where_it_is_said_or_nowhere_or_where_it_can_be() {
    assert_eq!(control("").socket, ControlSocket::Default);
    assert_eq!(control("controlsock =").socket, ControlSocket::Nowhere);
    assert_eq!(control("controlsock = /x/c.sock").socket, ControlSocket::At("/x/c.sock".into()));
    assert_eq!(control("controlsock = c.sock").socket, ControlSocket::At("c.sock".into()));
    assert_eq!(control("controlsock = /run/a\\sb").socket, ControlSocket::At("/run/a b".into()));
    let plain = control("");
    assert_eq!((plain.mode, plain.owner, plain.metrics), (0o660, None, None));
}

#[test]
fn the_control_sockets_mode_and_owner_are_as_chmod_and_chown_take_them() {
    let given = control("controlsock = /c\ncontrolsock_mode = 0600\ncontrolsock_owner = root:adm");
    assert_eq!((given.mode, given.owner.as_deref()), (0o600, Some("root:adm")));
    for wrong in ["controlsock_mode = rw", "controlsock_mode = 0999", "controlsock_owner = :"] {
        let said = refused(&format!("[generic]\n{wrong}\n[a]\nexportname=/a\n"));
        let key = wrong.split(' ').next().expect("a key");
        assert!(said.contains("/c:2: ") && said.contains(key), "{wrong}: {said}");
    }
}

/// A port alone is of this machine: whoever wants others to read metrics writes it out.
#[test]
fn metrics_are_of_this_machine_unless_an_address_is_written_out() {
    for (text, address) in [
        ("127.0.0.1:9809", "127.0.0.1:9809"),
        ("[::1]:9809", "[::1]:9809"),
        ("9809", "127.0.0.1:9809"),
        (":9809", "127.0.0.1:9809"),
        ("0.0.0.0:9809", "0.0.0.0:9809"),
        ("10.1.2.3:1", "10.1.2.3:1"),
    ] {
        let metrics = control(&format!("metrics_listen = {text}")).metrics;
        assert_eq!(metrics, Some(address.parse().expect("an address")), "{text}");
    }
    assert_eq!(control("metrics_listen =").metrics, None);
    for wrong in ["localhost:9809", "::1:9809", "127.0.0.1", "0", ":0", "127.0.0.1:0", "65536", "-1", ":"] {
        let said = refused(&format!("[generic]\nmetrics_listen = {wrong}\n[a]\nexportname=/a\n"));
        assert!(said.contains("metrics_listen") && said.contains("ADDRESS:PORT"), "{wrong}: {said}");
    }
}

#[test]
fn what_a_socket_that_is_not_there_should_be_like_is_told_to_have_no_effect() {
    let (_, warnings) = generic("controlsock =\ncontrolsock_mode = 0600\ncontrolsock_owner = root");
    let wanted = ["controlsock_mode", "controlsock_owner"]
        .map(|key| format!("{key} has no effect with an empty controlsock"));
    assert_eq!(warnings, wanted);
}
