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
        twice: Vec::new(),
        listening: None,
    }
}

fn broken() -> Problem {
    Problem { file: "/c.d/a.conf".into(), line: Some(3), key: None, reason: "it is broken".into() }
}

fn seen(name: &str, size: u64, reading: Reading) -> Seen {
    Seen { name: name.into(), size: Some(size), reading, disk: None }
}

fn facts<'a>(startup: &'a Startup, now: &'a [Seen]) -> Facts<'a> {
    Facts {
        coming: Kind::Enhanced,
        running: Some(Kind::Original),
        startup: Some(startup),
        twice: Vec::new(),
        leads: Some(now.iter().map(|seen| (seen.name.clone(), Lead::Same)).collect()),
        swapped: BTreeMap::new(),
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
    let verdict = decide(&facts(&startup, &now));
    assert_eq!(verdict, Verdict::default());
    assert_eq!(verdict.about_exports(), ["no export will be another than now"]);
}

#[test]
fn that_nothing_changes_is_said_of_what_was_seen_only() {
    let (startup, now) = (startup(vec![export("a", None)]), [seen("a", 4096, Reading::Good)]);
    let leads = || Some(BTreeMap::from([("a".to_owned(), Lead::Unknown)]));
    let of_a = "? it cannot be seen which disk is served now as a";
    let said = decide(&Facts { leads: leads(), ..facts(&startup, &now) }).about_exports();
    assert_eq!(said, ["no export is seen to become another than now", of_a]);
    let unseen = decide(&Facts { now: None, ..facts(&startup, &[]) });
    assert_eq!(unseen.about_exports()[1], of_a, "it runs, and nobody could look");
    let nobody = decide(&Facts { now: None, running: None, ..facts(&startup, &[]) });
    assert_eq!(nobody.about_exports(), ["+ a /dev/a 4096 bytes"]);
}

#[test]
fn another_disk_under_the_same_name_is_asked_about() {
    let (startup, now) = (startup(vec![export("a", None)]), [seen("a", 4096, Reading::Good)]);
    let leads = Some(BTreeMap::from([("a".to_owned(), Lead::Other("/dev/old".into(), "/dev/a".into()))]));
    let verdict = decide(&Facts { leads, ..facts(&startup, &now) });
    let said = "a leads to /dev/old now, and will lead to /dev/a";
    assert_eq!((verdict.about_exports(), verdict.asks), (vec![format!("~ {said}")], vec![said.to_owned()]));
}

fn twice(one_disk: bool) -> Twice {
    Twice {
        name: "a".into(),
        files: vec!["/c.d/a.conf".into(), "/c.d/b.conf".into()],
        ours: "/dev/a".into(),
        by_go: Some("/dev/b".into()),
        by_export_name: Some("/dev/a".into()),
        one_disk,
    }
}

#[test]
fn of_a_name_that_is_described_twice_it_is_said_where_it_leads_in_both_directions() {
    let (startup, now) = (startup(vec![export("a", None)]), [seen("a", 4096, Reading::Good)]);
    let of = |coming, running| {
        decide(&Facts { coming, running, twice: vec![twice(false)], ..facts(&startup, &now) }).asks.join("\n")
    };
    let about = "a is described in /c.d/a.conf and in /c.d/b.conf: ";
    let both = "/dev/b, and who asks by EXPORT_NAME to /dev/a";
    let end = "; remove or rename one of them";
    assert_eq!(
        of(Kind::Enhanced, Some(Kind::Original)),
        format!("{about}it leads to {both} now, and will lead to /dev/a{end}")
    );
    assert_eq!(
        of(Kind::Original, Some(Kind::Enhanced)),
        format!("{about}it leads to /dev/a now, and will lead to {both}{end}")
    );
    assert_eq!(of(Kind::Enhanced, None), format!("{about}will lead to /dev/a{end}"));
    let one = decide(&Facts { twice: vec![twice(true)], ..facts(&startup, &now) });
    assert_eq!((one.asks.len(), one.changes.len()), (0, 1), "two names of one disk");
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
    let verdict = decide(&Facts { leads: None, ..facts(&startup, &now) });
    assert_eq!(
        verdict.asks,
        [
            "a size: 512 → 4096",
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
fn a_stale_disk_that_is_served_today_is_named_and_asked_about() {
    let startup = startup(vec![export("a", None)]);
    let now = [seen("a", 4096, Reading::Strange("at 0 there are other bytes".into()))];
    let leads = Some(BTreeMap::from([("a".to_owned(), Lead::Unknown)]));
    let verdict = decide(&Facts { leads, ..facts(&startup, &now) });
    assert!(
        verdict.changes[0].starts_with("~ a will be what its path leads to now"),
        "{:?}",
        verdict.changes
    );
    assert!(verdict.asks[0].starts_with("a will be what its path leads to now"), "{:?}", verdict.asks);
    assert_eq!(decide(&facts(&startup, &now)).asks.len(), 0, "of the same disk");
}

#[test]
fn what_was_seen_long_ago_need_not_be_as_it_was_then() {
    let startup = startup(vec![export("a", None)]);
    let before = [seen("a", 512, Reading::Good), seen("gone", 4096, Reading::Good)];
    let since = since(Some(&startup), &before);
    assert_eq!(since.lost.keys().collect::<Vec<_>>(), ["gone"]);
    assert_eq!(since.resized, BTreeMap::from([("a".into(), 4096)]));
}

#[test]
fn a_disk_that_only_ours_guards_is_asked_about_where_the_original_comes_back() {
    let settings = BTreeMap::from([("overlay".to_owned(), "/over".to_owned())]);
    let (startup, now) = (startup(vec![StartupExport { settings, ..export("a", None) }]), []);
    let asks = |coming, running| decide(&Facts { coming, running, ..facts(&startup, &now) }).asks;
    let said = "a has overlay, which 3.24 passes over: /dev/a would be written to itself";
    assert_eq!(asks(Kind::Original, Some(Kind::Enhanced)), [said]);
    assert_eq!(asks(Kind::Original, None), [said]);
    assert_eq!(asks(Kind::Original, Some(Kind::Original)).len(), 0, "it is so already");
    assert_eq!(asks(Kind::Enhanced, Some(Kind::Original)).len(), 0);
}
