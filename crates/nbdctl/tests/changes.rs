//! Words that change something, and those that say what would change: output, and the exit code on which programs act.

mod common;

use common::Server;
use common::fake::{export, reload};
use control::Refusal;
use control::view::{
    Action, Change, Check, Cut, Hanging, KeptBack, Outcome, Plan, Problem, Setting, Step, Unavailable,
};

fn problem(file: &str, line: Option<u32>, key: Option<&str>, reason: &str) -> Problem {
    Problem { file: file.into(), line, key: key.map(Into::into), reason: reason.into() }
}

fn step(action: Action, export: &str, old: Option<&str>, new: Option<&str>) -> Step {
    Step {
        action,
        export: export.into(),
        old: old.map(Into::into),
        new: new.map(Into::into),
        size: None,
        changes: Vec::new(),
        reason: None,
        keeps_sessions: false,
        file: None,
        settings: Default::default(),
    }
}

fn change(key: &str, old: &str, new: &str) -> Change {
    Change { key: key.into(), old: old.into(), new: new.into() }
}

fn hanging(export: &str, peer: Option<&str>) -> Hanging {
    Hanging { export: export.into(), path: "/dev/vdc".into(), peer: peer.map(Into::into), age_ms: 42_000 }
}

fn kept() -> KeptBack {
    let problem = problem("/etc/conf.d/a.conf", Some(3), Some("readonly"), "it is half\nwritten");
    KeptBack { exports: vec!["vol-4".into(), "vol-5".into()], problem }
}

/// One of each.
fn plan() -> Plan {
    let mut added = step(Action::Add, "vol-9", None, Some("/dev/vdd"));
    added.size = Some(10 << 30);
    let mut retuned = step(Action::Retune, "vol-2", Some("/dev/vde"), Some("/dev/vde"));
    retuned.changes = vec![
        change("readonly", "false", "true"),
        change("size", "10737418240", "12884901888"),
        change("prerun", "", "a b"),
    ];
    let mut moved = step(Action::Replace, "vol-1", Some("/dev/vdc"), Some("/dev/vdb"));
    moved.changes = vec![change("exportname", "/dev/vdc", "/dev/vdb"), change("readonly", "true", "false")];
    moved.reason = Some("the export leads to another store".into());
    let mut swapped = step(Action::Replace, "vol-6", Some("/dev/vdf"), Some("/dev/vdf"));
    swapped.changes = vec![change("disk", "serial:1", "serial:2")];
    swapped.reason = Some("another disk is there".into());
    let mut kept_on = step(Action::Remove, "vol-7", Some("/dev/vdg"), None);
    kept_on.keeps_sessions = true;
    let mut blocked = step(Action::Block, "vol-8", Some("/dev/vdh"), None);
    blocked.reason = Some("vol-1 has the disk for itself".into());
    let setting = |key: &str, why: Option<&str>| Setting {
        key: key.into(),
        old: "false".into(),
        new: "true".into(),
        not_applied: why.map(Into::into),
    };
    Plan {
        steps: vec![
            added,
            retuned,
            moved,
            swapped,
            step(Action::Remove, "vol-3", Some("/dev/vdc"), None),
            kept_on,
            step(Action::ReplaceForSome, "homes", Some("/srv/%s"), Some("/srv/%s")),
            blocked,
        ],
        settings: vec![setting("allowlist", None), setting("duallisten", Some("it needs a restart"))],
        kept_back: vec![kept(), KeptBack { exports: Vec::new(), ..kept() }],
        unavailable: vec![Unavailable {
            export: "vol-0".into(),
            path: "/dev/vdx".into(),
            reason: "no such device".into(),
        }],
        refused: Vec::new(),
        warnings: vec!["vol-1 and vol-2 are writable on one disk".into()],
    }
}

#[test]
fn a_plan_reads_like_a_diff() {
    let server = Server::start();
    {
        let mut says = server.fake.says();
        says.plan = plan();
        for (name, sessions) in [("vol-3", 2), ("vol-1", 1), ("vol-7", 1), ("homes", 5), ("vol-2", 8)] {
            let mut export = export(name, "/dev/vdb");
            export.sessions = sessions;
            says.exports.push(export);
        }
    }
    let ran = server.ctl(&["plan", "--timeout", "1.5"]);
    assert_eq!(
        ran.lines(),
        [
            "# vol-1 and vol-2 are writable on one disk",
            "~ [generic] allowlist: false → true",
            "! [generic] duallisten: false → true does not apply: it needs a restart",
            "+ vol-9 /dev/vdd 10 GiB",
            "~ vol-2 readonly: false → true",
            "~ vol-2 size: 10 GiB → 12 GiB",
            "~ vol-2 prerun: \"\" → \"a b\"",
            "~ vol-1 /dev/vdc → /dev/vdb (1 session will be fenced)",
            "~ vol-1 readonly: true → false",
            "~ vol-6 disk: serial:1 → serial:2 (another disk is there)",
            "- vol-3 /dev/vdc (2 sessions will be fenced)",
            "- vol-7 /dev/vdg (1 session stays on the old disk)",
            "~ homes for some of its clients (some of 5 sessions will be fenced)",
            "! vol-8 /dev/vdh will not be served (vol-1 has the disk for itself)",
            "= vol-4 kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "= vol-5 kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "= kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "! vol-0 /dev/vdx unavailable: no such device",
        ]
    );
    assert_eq!((ran.code, ran.err.as_str()), (2, ""), "its reload would be incomplete");
    assert_eq!(server.fake.calls(), ["plan within 1.5s"]);
    let ran = server.ctl(&["plan", "--json"]);
    assert_eq!((ran.code, ran.out), (2, format!("{}\n", server.body("/v1/plan"))));
}

#[test]
fn a_plan_ends_with_the_code_of_its_reload_and_on_wish_with_2_where_it_is_not_empty() {
    let server = Server::start();
    let ends = |plan: Plan| {
        server.fake.says().plan = plan;
        let (plain, diff) = (server.ctl(&["plan"]), server.ctl(&["plan", "--exit-code"]));
        assert_eq!(plain.out, diff.out);
        (plain.code, diff.code, plain.out.contains("nothing to do"))
    };
    assert_eq!(ends(Plan::default()), (0, 0, true));
    let steps = vec![step(Action::Add, "vol-9", None, Some("/dev/vdd"))];
    assert_eq!(ends(Plan { steps, ..Plan::default() }), (0, 2, false));
    let settings = plan().settings;
    assert_eq!(ends(Plan { settings: settings.clone(), ..Plan::default() }), (0, 2, false));
    let settings = settings[1..].to_vec();
    assert_eq!(ends(Plan { settings, ..Plan::default() }), (0, 0, true), "a restart is waited for");
    let unavailable = plan().unavailable;
    assert_eq!(ends(Plan { unavailable, ..Plan::default() }), (0, 0, true), "as it was before");
    assert_eq!(ends(Plan { kept_back: vec![kept()], ..Plan::default() }), (2, 2, true));
    let refused = vec![problem("/etc/config", Some(1), None, "it is broken")];
    assert_eq!(ends(Plan { refused, ..plan() }), (1, 1, false));
    server.fake.says().refusal = Some(Refusal::Late("a reload is under way".into()));
    let ran = server.ctl(&["plan"]);
    assert_eq!((ran.code, ran.err.as_str()), (3, "nbdctl: a reload is under way\n"));
}

#[test]
fn a_reload_that_is_complete_says_what_was_done() {
    let server = Server::start();
    {
        let mut says = server.fake.says();
        says.reload.plan.steps = vec![step(Action::Remove, "vol-3", Some("/dev/vdc"), None)];
        (says.reload.removed, says.reload.fenced) = (1, 2);
    }
    let ran = server.ctl(&["reload"]);
    assert_eq!(
        ran.lines(),
        [
            "- vol-3 /dev/vdc",
            "reload complete (generation 8, added 0, changed 0, removed 1, kept back 0, sessions fenced 2, in \
             60ms)",
        ]
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(server.fake.calls(), ["reload within 30s"]);
}

/// What `ExecReload=` leaves in the journal must be enough to act on.
#[test]
fn a_reload_in_part_names_what_hangs_and_what_was_kept_back() {
    let server = Server::start();
    {
        let mut reload = reload(Outcome::Incomplete);
        reload.reason = Some("1 changed or removed exports have requests that hang".into());
        reload.kept = 2;
        reload.plan.kept_back = vec![kept()];
        reload.hanging = vec![hanging("vol-1", Some("127.0.0.1:4000")), hanging("vol-2", None)];
        server.fake.says().reload = reload;
    }
    let ran = server.ctl(&["reload"]);
    let said: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        said,
        [
            "nbdctl: reload incomplete: 1 changed or removed exports have requests that hang (generation 8, added \
             0, changed 0, removed 0, kept back 2, sessions fenced 0, in 60ms)",
            "nbdctl: = vol-4 kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "nbdctl: = vol-5 kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "nbdctl: hangs: vol-1 /dev/vdc: a request of 127.0.0.1:4000, for 42s; this disk is not free",
            "nbdctl: hangs: vol-2 /dev/vdc: opening or looking at the disk, for 42s; this disk is not free",
        ]
    );
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let ran = server.ctl(&["reload", "--json"]);
    let told: control::view::Reload = serde_json::from_str(&ran.out).expect("the reload");
    assert_eq!((ran.code, &told), (2, &server.fake.says().reload));
}

#[test]
fn a_reload_that_is_refused_changes_nothing_and_says_why() {
    let server = Server::start();
    {
        let mut reload = reload(Outcome::Refused);
        reload.plan.refused = vec![problem("/etc/config", None, None, "it is empty")];
        server.fake.says().reload = reload;
    }
    let ran = server.ctl(&["reload"]);
    assert_eq!(
        ran.err,
        "nbdctl: reload refused (generation 8, nothing was changed, in 60ms)\nnbdctl: /etc/config: it is empty\n"
    );
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    // Not that it was refused, but that nobody knows.
    server.fake.says().refusal = Some(Refusal::Late("an earlier reload has not ended".into()));
    let ran = server.ctl(&["reload"]);
    assert_eq!(ran.err, "nbdctl: an earlier reload has not ended; it may still happen\n");
    assert_eq!(ran.code, 2);
}

#[test]
fn a_configuration_is_checked_from_a_file_standard_input_or_where_the_server_has_it() {
    let server = Server::start();
    let file = server.socket().with_file_name("main conf");
    std::fs::write(&file, "[generic]\n").expect("a file");
    let file = file.to_str().expect("it is UTF-8");
    assert_eq!(server.ctl(&["check"]).out, "ok: 0 exports\n");
    assert_eq!(server.fake.calls(), ["check None"]);
    assert_eq!(server.ctl(&["check", file]).code, 0);
    assert_eq!(server.fake.calls(), ["check Some(\"[generic]\\n\")"]);
    // An empty text is not the file on the server's disk.
    assert_eq!(server.ctl(&["check", "-"]).code, 0);
    assert_eq!(server.fake.calls(), ["check Some(\"\\n\")"]);
    // No server starts with a file that is not there; the words made sense.
    for unreadable in ["/nonexistent/conf", "/"] {
        let ran = server.ctl(&["check", unreadable]);
        let said = ran.err.starts_with(&format!("nbdctl: {unreadable}: "));
        assert_eq!((ran.code, said, ran.out.as_str()), (1, true, ""), "{}", ran.err);
    }
    assert!(server.fake.calls().is_empty(), "nobody was asked for anything");

    let exports = std::collections::BTreeMap::from([("vol-1".into(), "/dev/vdb".into())]);
    let warnings = vec![problem("/etc/config", Some(2), None, "unknown key")];
    let (refused, kept_back) = (Vec::new(), vec![kept()]);
    server.fake.says().check = Check { ok: false, exports, refused, kept_back, warnings };
    let ran = server.ctl(&["check"]);
    assert_eq!(
        ran.lines(),
        [
            "# /etc/config:2: unknown key",
            "= vol-4 kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "= vol-5 kept back: /etc/conf.d/a.conf:3: readonly: it is half\\nwritten",
            "EXPORT  PATH",
            "vol-1   /dev/vdb",
            "in part: 1 export, without what is kept back",
        ]
    );
    assert_eq!(ran.code, 2);
    server.fake.says().check.refused = vec![problem("/etc/nbd-server/config", Some(9), None, "no group")];
    for (args, said) in [
        (&["check"][..], "! /etc/nbd-server/config:9: no group".to_owned()),
        (&["check", "-"], "! standard input:9: no group".to_owned()),
        (&["check", file], format!("! {file}:9: no group")),
    ] {
        let ran = server.ctl(args);
        assert_eq!(ran.code, 1);
        assert!(
            ran.lines().contains(&said.as_str()) && ran.lines().contains(&"# /etc/config:2: unknown key")
        );
    }
    let ran = server.ctl(&["check", "--json"]);
    let told: Check = serde_json::from_str(&ran.out).expect("the check");
    assert_eq!((ran.code, told), (1, server.fake.says().check.clone()));
}

#[test]
fn sessions_are_cut_off_and_what_hangs_is_named() {
    let server = Server::start();
    assert_eq!(server.ctl(&["fence", "vol-1"]).out, "vol-1: 2 sessions ended, in 12ms; the disk is closed\n");
    assert_eq!(server.ctl(&["end", "17"]).out, "session 17 ended, in 12ms\n");
    assert_eq!(server.fake.calls(), ["fence \"vol-1\" within 30s", "end 17 within 30s"]);
    server.fake.says().cut =
        Cut { sessions: 1, hanging: vec![hanging("vol-1", Some("unix:1"))], took_ms: 5000 };
    let hangs = "nbdctl: hangs: vol-1 /dev/vdc: a request of unix:1, for 42s; this disk is not free\n";
    for word in [&["fence", "vol-1"], &["end", "17"]] {
        let ran = server.ctl(word);
        assert_eq!((ran.code, ran.err.as_str()), (2, hangs), "{word:?}");
        assert!(!ran.out.contains("closed"), "{}", ran.out);
        let ran = server.ctl(&[word[0], word[1], "--json"]);
        let told: Cut = serde_json::from_str(&ran.out).expect("the cut");
        assert_eq!((ran.code, ran.err.as_str(), told), (2, "", server.fake.says().cut.clone()));
    }
    // How many have ended and how many have not; those of one client that hang as long are one line.
    let fenced = |sessions, hanging: &[Hanging]| {
        server.fake.says().cut = Cut { sessions, hanging: hanging.to_vec(), took_ms: 2000 };
        let ran = server.ctl(&["fence", "vol-1"]);
        assert_eq!(ran.code, 2);
        (ran.out, ran.err)
    };
    let one = hanging("vol-1", Some("10.0.0.1"));
    let later = Hanging { age_ms: 7000, ..one.clone() };
    let (said, complained) = fenced(2, std::slice::from_ref(&one));
    assert_eq!(said, "vol-1: 1 session ended, 1 hangs, in 2s\n");
    assert_eq!(complained, hangs.replace("unix:1", "10.0.0.1"));
    let (said, complained) = fenced(4, &[one.clone(), later, one]);
    assert_eq!(said, "vol-1: 1 session ended, 3 hang, in 2s\n");
    let told: Vec<&str> = complained.lines().collect();
    assert_eq!(
        told,
        [
            "nbdctl: hangs: vol-1 /dev/vdc: requests of 10.0.0.1 in 2 sessions, for 42s; this disk is not free",
            "nbdctl: hangs: vol-1 /dev/vdc: a request of 10.0.0.1, for 7s; this disk is not free",
        ]
    );
    let (said, complained) = fenced(2, &[hanging("vol-1", None)]);
    assert_eq!(said, "vol-1: 2 sessions ended, in 2s\n", "what hangs is no session");
    assert!(complained.contains("opening or looking at the disk"), "{complained}");
    server.fake.says().refusal = Some(Refusal::NotFound("there is no session 17".into()));
    let ran = server.ctl(&["end", "17"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "nbdctl: there is no session 17\n"));
}

#[test]
fn a_failed_sync_is_forgotten_on_demand() {
    let server = Server::start();
    let ran = server.ctl(&["clear", "vol-1"]);
    let lost = "vol-1: the failed sync is forgotten; what it did not write may be lost\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, lost));
    server.fake.says().cleared = false;
    let ran = server.ctl(&["clear", "vol-1"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "vol-1: no sync had failed\n"));
    assert_eq!(server.ctl(&["clear", "vol-1", "--json"]).out, "{\"cleared\":false}\n");
}

#[test]
fn an_export_is_added_and_removed_with_or_without_its_reload() {
    let server = Server::start();
    let ran = server.ctl(&["add", "vol-9", "/dev/disk/by-id/a=b", "readonly=false", "prerun=test 1 = 1"]);
    assert_eq!((ran.code, ran.lines()[0]), (0, "vol-9: its file is written"));
    assert!(ran.lines()[1].starts_with("reload complete (generation 8"), "{}", ran.out);
    let settings = r#"{"exportname": "/dev/disk/by-id/a=b", "prerun": "test 1 = 1", "readonly": "false"}"#;
    assert_eq!(server.fake.calls(), [format!("put \"vol-9\" {settings} apply true")]);
    let ran = server.ctl(&["add", "vol-9", "exportname=/dev/vdc", "--no-reload"]);
    let waits = "vol-9: its file is written; the next reload follows it\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, waits));
    assert_eq!(server.fake.calls(), ["put \"vol-9\" {\"exportname\": \"/dev/vdc\"} apply false"]);
    let ran = server.ctl(&["remove", "vol-9", "--no-reload", "--json"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    let ran = server.ctl(&["remove", "vol-9"]);
    assert_eq!((ran.code, ran.lines()[0]), (0, "vol-9: its file is deleted"));
    assert_eq!(server.fake.calls(), ["remove \"vol-9\" apply false", "remove \"vol-9\" apply true"]);

    // A name that was mistyped costs nobody his migration.
    server.fake.says().exports = vec![common::fake::export("vol-1", "/dev/vdb")];
    let ran = server.ctl(&["add", "vol-1", "/dev/vdc"]);
    assert!(ran.code == 1 && ran.err.contains("--replace"), "{}", ran.err);
    assert_eq!(server.fake.calls(), [""; 0]);
    assert_eq!(server.ctl(&["add", "--replace", "vol-1", "/dev/vdc"]).code, 0);
    assert_eq!(server.fake.calls(), ["put \"vol-1\" {\"exportname\": \"/dev/vdc\"} apply true"]);
    server.fake.says().reload.plan.unavailable = plan().unavailable;
    assert_eq!(server.ctl(&["add", &plan().unavailable[0].export, "/nowhere", "--replace"]).code, 2);
    server.fake.says().reload.plan.unavailable = Vec::new();
    server.fake.calls();

    let refusals = [
        (Refusal::Conflict("b.conf describes vol-9".into()), "nbdctl: b.conf describes vol-9\n"),
        (Refusal::Forbidden("conf.d cannot be written".into()), "nbdctl: conf.d cannot be written\n"),
        (
            Refusal::Invalid(vec![problem("", None, Some("readonly"), "not true or false")]),
            "nbdctl: readonly: not true or false\n",
        ),
    ];
    for (refusal, said) in refusals {
        server.fake.says().refusal = Some(refusal);
        let ran = server.ctl(&["add", "vol-9", "/dev/vdc"]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (1, "", said));
    }
    server.fake.says().refusal = None;
    server.fake.says().reload.outcome = Outcome::Incomplete;
    server.fake.says().reload.plan.kept_back = vec![kept()];
    let ran = server.ctl(&["remove", "vol-9"]);
    assert_eq!(ran.code, 0, "it is gone, whatever else is broken");
    assert!(ran.err.contains("= vol-4 kept back"), "and that is said: {}", ran.err);
    assert_eq!(server.ctl(&["add", "vol-4", "/dev/vdc"]).code, 2);
    server.fake.says().reload.hanging = vec![hanging("vol-1", None)];
    assert_eq!(server.ctl(&["remove", "vol-9"]).code, 2);
    server.fake.says().reload.outcome = Outcome::Refused;
    assert_eq!(server.ctl(&["remove", "vol-9"]).code, 2, "its file is gone");
}
