use super::*;

fn seen(name: &str, size: u64, reading: Reading) -> Seen {
    Seen { name: name.into(), size: Some(size), reading, disk: None }
}

fn failed() -> Reading {
    Reading::Failed("no".into())
}

fn strange() -> Reading {
    Reading::Strange("other bytes".into())
}

/// What is said of one export that was like this and is like that.
fn said(was: Reading, is: Reading) -> Option<String> {
    worse(&[seen("a", 1, was)], &[seen("a", 1, is)], &Announced::default()).pop()
}

#[test]
fn what_could_be_read_must_be_read_again_and_what_could_not_need_not() {
    let untried = || Reading::Untried("it has prerun".into());
    assert_eq!(said(Reading::Good, Reading::Good), None);
    assert_eq!(said(Reading::Good, untried()), None);
    assert_eq!(said(failed(), failed()), None);
    assert_eq!(said(failed(), Reading::Good), None);
    assert_eq!(said(strange(), Reading::Good), None, "a stale disk that is not served any more");
    assert_eq!(said(strange(), strange()), None, "it was like that before");
    assert!(said(Reading::Good, failed()).is_some_and(|said| said.contains("cannot any more")));
    assert!(said(strange(), failed()).is_some());
    assert!(said(Reading::Good, strange()).is_some_and(|said| said.contains("other bytes")));
    assert!(said(failed(), strange()).is_some(), "a wrong disk is worse than none");
    assert!(said(untried(), strange()).is_some());
}

#[test]
fn what_is_gone_or_has_another_size_is_worse_unless_it_was_announced() {
    let before = [seen("a", 1, Reading::Good), seen("b", 2, Reading::Good)];
    let now = [seen("b", 3, Reading::Good), seen("c", 1, failed())];
    let said = worse(&before, &now, &Announced::default());
    assert_eq!(said, ["a is not listed any more", "b has 3 bytes now, and should have 2"]);
    let announced = Announced {
        lost: BTreeMap::from([("a".into(), "its disk is not there".into())]),
        resized: BTreeMap::from([("b".into(), 3)]),
    };
    assert_eq!(worse(&before, &now, &announced), Vec::<String>::new());
    assert_eq!(worse(&before[1..], &before[1..], &announced), ["b has 2 bytes now, and should have 3"]);
}

fn export(keys: &[&str]) -> StartupExport {
    StartupExport {
        name: "a".into(),
        path: "/a".into(),
        size: Some(1),
        unavailable: None,
        placeholder: false,
        read_only: false,
        force_tls: false,
        file: None,
        settings: keys.iter().map(|key| ((*key).to_owned(), "1".to_owned())).collect(),
    }
}

#[test]
fn an_export_is_not_opened_where_that_leaves_something_behind() {
    let left = |keys: &[&str], kind| leave_alone(&export(keys), kind).is_some();
    assert!(!left(&["exportname", "readonly"], Kind::Original));
    assert!(left(&["exportname", "maxconnections"], Kind::Original), "3.24 never forgets a connection");
    assert!(!left(&["exportname", "maxconnections"], Kind::Enhanced));
    let missing = StartupExport { unavailable: Some("no such file".into()), ..export(&["filesize"]) };
    assert!(
        leave_alone(&missing, Kind::Original).is_some() && leave_alone(&missing, Kind::Enhanced).is_none()
    );
    for key in [
        "prerun",
        "postrun",
        "transactionlog",
        "copyonwrite",
        "temporary",
        "waitfile",
        "treefiles",
        "overlay",
    ] {
        assert!(
            left(&["exportname", key], Kind::Original) && left(&["exportname", key], Kind::Enhanced),
            "{key}"
        );
    }
    assert!(leave_alone(&StartupExport { placeholder: true, ..export(&[]) }, Kind::Enhanced).is_some());
}

fn startup(exports: Vec<StartupExport>) -> Startup {
    Startup {
        program: String::new(),
        version: String::new(),
        configuration: "/c".into(),
        starts: true,
        complete: false,
        refused: Vec::new(),
        kept_back: Vec::new(),
        warnings: Vec::new(),
        exports,
        twice: Vec::new(),
        listening: None,
    }
}

#[test]
fn where_no_server_ran_what_is_announced_must_be_served() {
    let startup = startup(vec![
        export(&["exportname"]),
        StartupExport { name: "b".into(), ..export(&["prerun"]) },
        StartupExport { name: "c".into(), unavailable: Some("no such file".into()), ..export(&[]) },
    ]);
    let promised = promised(&startup, Kind::Enhanced);
    let said: Vec<String> = promised.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["a 1 bytes, read", "b 1 bytes, not read: it has prerun"]);
    assert_eq!(worse(&promised, &[seen("a", 1, failed())], &Announced::default()).len(), 2);
}

#[test]
fn what_may_not_be_looked_at_from_here_is_not_promised_to_be_read() {
    let mut startup = startup(vec![export(&["authfile"]), export(&["tls_allow"])]);
    startup.exports.push(StartupExport { force_tls: true, ..export(&[]) });
    let said: Vec<String> = promised(&startup, Kind::Enhanced).iter().map(ToString::to_string).collect();
    let wants = "a 1 bytes, not read: it wants TLS";
    assert_eq!(said, ["a 1 bytes, not read: it has authfile", wants, wants]);
}

#[test]
fn that_all_is_well_is_said_of_what_was_looked_at() {
    let (good, untried) = (seen("a", 1, Reading::Good), seen("b", 1, Reading::Untried("no".into())));
    let well = |now: &[Seen]| all_is_well(now, now, &Announced::default());
    assert_eq!(well(&[good, untried.clone()]), "all 2 are as they should be");
    assert!(
        well(&[untried]).starts_with("none was looked at") && well(&[]).starts_with("none was looked at")
    );
}

#[test]
fn bytes_are_compared_with_the_path_where_all_clients_get_those() {
    assert!(is_plain(&export(&["exportname", "readonly", "maxconnections"])));
    for key in ["multifile", "virtstyle", "filesize", "cowdir"] {
        assert!(!is_plain(&export(&["exportname", key])), "{key}");
    }
}

#[test]
fn a_server_on_all_addresses_is_reached_on_this_machine() {
    let listening = |addresses: &[&str], port: &str, unixsock: Option<&str>| Listening {
        addresses: addresses.iter().map(|one| (*one).to_owned()).collect(),
        port: port.into(),
        unixsock: unixsock.map(Into::into),
        allowlist: true,
        force_tls: false,
        controlsock: None,
        user: None,
        group: None,
    };
    let reached =
        |listening| addresses(&listening).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(reached(listening(&["::", "0.0.0.0"], "10809", None)), "[::1]:10809 127.0.0.1:10809");
    assert_eq!(reached(listening(&["10.0.0.1"], "20000", Some("/s"))), "unix:/s 10.0.0.1:20000");
    assert_eq!(reached(listening(&[], "20000", Some("/s"))), "unix:/s");
    assert_eq!(reached(listening(&["::"], "20000", None)), "[::1]:20000 127.0.0.1:20000", "both families");
    assert_eq!(reached(listening(&["::"], "0", None)), "");
}
