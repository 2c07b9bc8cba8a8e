use super::*;
use control::view::{KeptBack, Problem};

fn export(name: &str, unavailable: Option<&str>) -> StartupExport {
    StartupExport {
        name: name.into(),
        path: format!("/dev/{name}"),
        size: unavailable.is_none().then_some(4096),
        unavailable: unavailable.map(Into::into),
        placeholder: false,
        read_only: false,
        force_tls: false,
        file: None,
        settings: BTreeMap::new(),
    }
}

fn startup(exports: Vec<StartupExport>) -> Startup {
    Startup {
        program: "nbd-server-enhanced".into(),
        version: "1".into(),
        configuration: "/c".into(),
        starts: true,
        complete: true,
        refused: Vec::new(),
        kept_back: Vec::new(),
        warnings: Vec::new(),
        exports,
        listening: None,
    }
}

fn broken() -> Problem {
    Problem { file: "/c.d/a.conf".into(), line: Some(3), key: None, reason: "it is broken".into() }
}

fn seen(name: &str, size: u64, reading: Reading) -> Seen {
    Seen { name: name.into(), size: Some(size), reading }
}

fn facts<'a>(startup: &'a Startup, now: &'a [Seen]) -> Facts<'a> {
    Facts {
        coming: Kind::Enhanced,
        startup: Some(startup),
        now: Some(now),
        clients: &[],
        room_for_backup: (10, 10),
        room_for_target: (10, 10),
        obstacles: Vec::new(),
    }
}

#[test]
fn where_all_is_as_before_nobody_is_asked() {
    let (startup, now) = (startup(vec![export("a", None)]), [seen("a", 4096, Reading::Good)]);
    assert_eq!(decide(&facts(&startup, &now)), Verdict::default());
}

#[test]
fn a_server_that_would_not_start_is_refused_whatever_is_said() {
    let mut startup = startup(Vec::new());
    (startup.starts, startup.refused) = (false, vec![broken()]);
    let verdict = decide(&facts(&startup, &[]));
    assert_eq!(verdict.refused, ["it would not start with this configuration: /c.d/a.conf:3: it is broken"]);
    startup.refused.clear();
    assert_eq!(decide(&facts(&startup, &[])).refused.len(), 1, "also where it does not say why");
}

#[test]
fn an_export_that_can_be_read_and_would_be_lost_is_asked_about() {
    let startup = startup(vec![export("a", None), export("b", Some("no such file")), export("new", None)]);
    let now = [
        seen("a", 512, Reading::Good),
        seen("b", 4096, Reading::Good),
        seen("gone", 4096, Reading::Good),
        seen("dead", 4096, Reading::Failed("Access denied".into())),
    ];
    let verdict = decide(&facts(&startup, &now));
    assert_eq!(
        verdict.asks,
        [
            "b can be read now and would not be served: no such file",
            "gone can be read now and would not be served: the configuration has it no more",
        ],
        "what cannot be read today is no loss"
    );
    assert_eq!(
        verdict.changes,
        [
            "~ a size: 512 → 4096",
            "! b will not be served: no such file",
            "- gone will not be served: the configuration has it no more",
            "- dead will not be served: the configuration has it no more",
            "+ new /dev/new 4096 bytes",
        ]
    );
    assert_eq!(verdict.announced.lost.keys().collect::<Vec<_>>(), ["b", "dead", "gone"]);
    assert_eq!(verdict.announced.resized, BTreeMap::from([("a".into(), 4096)]));
}

#[test]
fn open_connections_are_asked_about() {
    let (startup, clients) = (startup(Vec::new()), ["127.0.0.1:9 has /dev/a open".to_owned()]);
    let facts = Facts { clients: &clients, ..facts(&startup, &[]) };
    let verdict = decide(&facts);
    let said = "1 connection is open and ends with the restart: 127.0.0.1:9 has /dev/a open";
    assert_eq!((verdict.asks, verdict.refused.len()), (vec![said.into()], 0));
}

#[test]
fn without_room_or_rights_it_is_refused() {
    let startup = startup(Vec::new());
    let facts =
        Facts { room_for_backup: (9, 10), obstacles: vec!["read-only".into()], ..facts(&startup, &[]) };
    let refused = decide(&facts).refused;
    assert_eq!(refused, ["read-only", "there is no room for the backup: 9 bytes are free, 10 are needed"]);
    let facts = Facts { room_for_target: (9, 10), room_for_backup: (10, 10), obstacles: Vec::new(), ..facts };
    assert!(decide(&facts).refused[0].contains("the target"));
}

#[test]
fn the_original_is_not_put_over_a_broken_file_without_a_word() {
    let mut startup = startup(Vec::new());
    startup.kept_back = vec![KeptBack { exports: vec!["a".into()], problem: broken() }];
    assert_eq!(decide(&facts(&startup, &[])).asks.len(), 0, "ours starts without it");
    let facts = Facts { coming: Kind::Original, ..facts(&startup, &[]) };
    let verdict = decide(&facts);
    assert!(verdict.asks[0].contains("does not start with a file that is broken"), "{:?}", verdict.asks);
    assert!(verdict.changes[0].starts_with("= kept back: "), "{:?}", verdict.changes);
}

#[test]
fn a_stale_disk_that_is_served_today_is_named() {
    let startup = startup(vec![export("a", None)]);
    let now = [seen("a", 4096, Reading::Strange("at 0 there are other bytes".into()))];
    let verdict = decide(&facts(&startup, &now));
    assert!(
        verdict.changes[0].starts_with("~ a will be what its path leads to now"),
        "{:?}",
        verdict.changes
    );
    assert_eq!(verdict.asks.len(), 0);
}
