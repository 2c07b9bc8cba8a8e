//! What is done and what is left, as tables.

use super::*;
use crate::drift::fixture::{MAIN, changed, hanging, nodes, problem, step};
use control::view::{Action, Setting, State};

fn decided(look: &Look) -> Mending {
    mend(look, &Wanted { prefix: "", allow_empty: false, lasting: &|_| true }, &nodes)
}

/// `a=/dev/b` is written, `-a` is removed; groups in brackets.
fn changes(mending: &Mending) -> Vec<String> {
    let told = |change: &Change| match &change.to {
        Some(to) => format!("{}={}", change.export, to["exportname"]),
        None => format!("-{}", change.export),
    };
    let mut groups: Vec<String> =
        mending.groups.iter().map(|group| group.iter().map(told).collect::<Vec<_>>().join(" ")).collect();
    groups.sort();
    groups
}

fn left(mending: &Mending) -> Vec<String> {
    mending.left.iter().map(|(name, why)| format!("{name}: {why}")).collect()
}

#[test]
fn files_follow_the_database_and_keep_their_other_keys() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b"), ("c", "/dev/c")])
        .change("a", |export| {
            export.settings.insert("readonly".into(), "true".into());
        })
        .row("a", "/dev/x%y")
        .row("c", "/by-id/c")
        .row("n", "/dev/n");
    let mending = decided(&look);
    assert_eq!(changes(&mending), ["-b", "a=/dev/x%%y", "n=/dev/n"], "a path in a file is a template");
    let find = |name: &str| {
        mending.groups.iter().flatten().find(|change| change.export == name).expect("it is there")
    };
    let pairs = |pairs: [(&str, &str); 4]| -> Option<ExportSettings> {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    let plain = |path| {
        pairs([("exportname", path), ("readonly", "false"), ("multifile", "false"), ("copyonwrite", "false")])
    };
    assert_eq!((find("n").to.clone(), find("n").back.clone()), (plain("/dev/n"), None));
    assert_eq!((find("b").to.clone(), find("b").back.clone()), (None, plain("/dev/b")));
    let kept = pairs([
        ("exportname", "/dev/x%%y"),
        ("readonly", "true"),
        ("multifile", "false"),
        ("copyonwrite", "false"),
    ]);
    assert_eq!(find("a").to, kept);
    assert!(mending.left.is_empty() && mending.held.is_none());
}

#[test]
fn keys_are_those_of_the_files_and_not_of_what_runs() {
    let mut add = step(Action::Add, "a", "", "/dev/a");
    add.settings.insert("readonly".into(), "true".into());
    let mending = decided(&Look::at(&[]).step(add).row("a", "/dev/b"));
    assert_eq!(mending.groups[0][0].to.as_ref().expect("it is written")["readonly"], "true");
}

#[test]
fn nobody_is_given_a_disk_that_another_keeps_and_who_is_left_keeps_his() {
    // main has /dev/m; a wants it and keeps /dev/a; b wants that, and c wants b's.
    let look = Look::at(&[("main", "/dev/m"), ("a", "/dev/a"), ("b", "/dev/b")])
        .change("main", |export| export.file = Some(MAIN.into()))
        .row("a", "/dev/m")
        .row("b", "/dev/a")
        .row("c", "/by-id/b")
        .row("d", "/dev/d");
    let mending = decided(&look);
    assert_eq!(changes(&mending), ["d=/dev/d"]);
    assert_eq!(
        left(&mending),
        ["a: not written: main has /dev/m", "b: not written: a has /dev/a", "c: not written: b has /by-id/b",]
    );
    // Nor one to which a request does not come back.
    let look = Look::at(&[("old", "/dev/o")]).row("new", "/dev/o").change("old", |export| {
        export.configured = false;
        export.hanging = vec![hanging("old", "/dev/o")];
    });
    assert_eq!(left(&decided(&look)), ["new: not written: a request of old to /dev/o does not come back"]);
}

#[test]
fn changes_that_need_each_other_go_together_and_what_lets_go_goes_first() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b"), ("z", "/dev/z"), ("x", "/dev/x")])
        .row("a", "/dev/b")
        .row("b", "/dev/a")
        .row("c", "/dev/z")
        .row("x", "/dev/y");
    assert_eq!(changes(&decided(&look)), ["-z c=/dev/z", "a=/dev/b b=/dev/a", "x=/dev/y"]);
    let look = Look::at(&[("g", "/dev/g"), ("x", "/dev/x")]).row("h", "/dev/g").row("x", "/dev/x");
    assert_eq!(changes(&decided(&look)), ["-g h=/dev/g"], "in whatever order they are seen");
    // A chain is one group, whatever its names.
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b"), ("c", "/dev/c")])
        .row("a", "/dev/b")
        .row("b", "/dev/c")
        .row("c", "/dev/d");
    assert_eq!(decided(&look).groups.len(), 1);
}

#[test]
fn what_has_only_just_changed_is_left_and_keeps_its_disk() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b")]).row("a", "/dev/c").row("b", "/dev/a");
    let wanted = Wanted { prefix: "", allow_empty: false, lasting: &|name| name == "b" };
    let mending = mend(&look, &wanted, &nodes);
    assert_eq!(changes(&mending), [""; 0]);
    assert_eq!(left(&mending), ["a: not written: it has only just changed", "b: not written: a has /dev/a"]);
}

fn held(look: &Look) -> bool {
    decided(look).held.is_some()
}

#[test]
fn another_disk_at_the_path_is_never_followed_unless_its_name_is_a_lasting_one() {
    let moved = |path: &str| changed(step(Action::Replace, "a", path, path), "disk", "1", "2");
    let look = || Look::at(&[("a", "/dev/a")]);
    assert!(held(&look().without_database().step(moved("/dev/a"))), "nobody was asked");
    assert!(held(&look().row("a", "/dev/a").step(moved("/dev/a"))), "the row is as old as the path");
    assert!(!held(&look().row("x", "/dev/x").step(moved("/dev/a"))), "its file is removed first");
    assert!(held(&look().step(moved("/dev/a"))), "the database has nothing, and nothing is removed");
    assert!(held(&look().row("a", "/gone").step(moved("/dev/a"))), "its file is not written");
    assert!(!held(&look().row("a", "/dev/b").step(moved("/dev/a"))), "its file is repointed first");
    for lasting in ["/dev/disk/by-id/virtio-a", "/dev/mapper/vola"] {
        let look = || Look::at(&[("a", lasting)]).step(moved(lasting));
        assert!(!held(&look().row("a", lasting)) && !held(&look().without_database()));
        assert!(held(&look().torn("a", lasting, "/dev/b")), "of which the database is not certain");
    }
    assert!(held(&look().without_database().step(step(Action::ReplaceForSome, "a", "/dev/a", "/dev/a"))));
}

#[test]
fn a_reload_is_held_where_it_would_give_a_disk_that_nobody_has_named() {
    let look = || Look::at(&[("a", "/dev/a")]);
    let to = |path| step(Action::Replace, "a", "/dev/a", path);
    assert!(!held(&look().without_database().step(to("/dev/b"))), "the files are the truth");
    assert!(held(&look().torn("a", "/dev/b", "/dev/a").step(to("/dev/b"))));
    assert!(held(&look().row("a", "/dev/b").row("b", "/dev/b").step(to("/dev/b"))));
    assert!(!held(&look().row("a", "/by-id/b").step(to("/dev/b"))));
    assert!(held(&look().doubt("a", "/dev/b", "failed").step(to("/dev/b"))));
    // Those of the main file are not the database's business.
    let mut main = step(Action::Replace, "a", "/dev/a", "/dev/b");
    main.file = Some(MAIN.into());
    assert!(!held(&look().row("x", "/dev/x").step(main)));
    let mut main = step(Action::Add, "m", "", "/dev/b");
    main.file = Some(MAIN.into());
    assert!(held(&Look::at(&[]).torn("m", "/dev/b", "/dev/a").step(main)), "unless it has two words on them");
    let mut refused = look().row("a", "/dev/b");
    refused.plan.refused.push(problem("config"));
    assert!(held(&refused), "nothing would be followed");
}

#[test]
fn a_reload_is_held_where_it_would_end_what_nobody_has_given_up_for_certain() {
    let look = || Look::at(&[("a-1", "/dev/a"), ("b-1", "/dev/b")]);
    for (action, new) in [(Action::Remove, ""), (Action::Block, "/dev/a"), (Action::Replace, "/dev/c")] {
        let look = || look().without_database().step(step(action, "a-1", "/dev/a", new));
        let held = |prefix: &str, lasts: bool| {
            mend(&look(), &Wanted { prefix, allow_empty: false, lasting: &|_| lasts }, &nodes).held.is_some()
        };
        assert!(!held("", true) && !held("a-", true), "{action:?}");
        assert!(held("b-", true), "{action:?}: it was not asked for");
        assert!(held("", false), "{action:?}: it has only just changed");
    }
    let gone = || step(Action::Remove, "a-1", "/dev/a", "");
    assert!(
        !held(&look().row("a-1", "/dev/a").row("b-1", "/dev/b").step(gone())),
        "its file is written again first"
    );
    assert!(
        held(&look().row("a-1", "/gone").row("b-1", "/dev/b").step(gone())),
        "it is not, and the database has it"
    );
    assert!(held(&look().doubt("a-1", "/dev/a", "failed").row("b-1", "/dev/b").step(gone())));
    assert!(!held(&look().row("b-1", "/dev/b").step(gone())), "nobody has it");
    let tuned = changed(step(Action::Retune, "a-1", "/dev/a", "/dev/a"), "readonly", "false", "true");
    let wanted = Wanted { prefix: "b-", allow_empty: false, lasting: &|_| false };
    assert!(
        mend(&look().without_database().step(tuned), &wanted, &nodes).held.is_none(),
        "nobody is cut off"
    );
}

#[test]
fn what_is_doubtful_is_left() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b"), ("half", "")])
        .doubt("a", "/dev/c", "its volume has no mapping")
        .doubt("b", "/dev/b", "failed")
        .doubt("c", "/dev/d", "failed")
        .row("half", "/dev/h")
        .row("n", "/dev/c");
    let mending = decided(&look);
    assert_eq!(changes(&mending), [""; 0]);
    assert_eq!(
        left(&mending),
        [
            "a: left: mend the database first",
            "b: left: it has failed, see to it",
            "half: left: mend its file first",
            "n: not written: the database gives /dev/c to a too",
        ]
    );
}

#[test]
fn a_reload_is_asked_for_where_it_comes_to_something() {
    let look = || Look::at(&[("a", "/dev/a")]);
    assert!(!needs_reload(&look()));
    assert!(needs_reload(&look().step(step(Action::Remove, "a", "/dev/a", ""))));
    let unavailable = || look().change("a", |export| export.state = State::Unavailable);
    assert!(needs_reload(&unavailable()), "it is well again");
    assert!(!needs_reload(&unavailable().unavailable("a", "/dev/a")), "it is not");
    assert!(!needs_reload(&look().kept(&["a"], "a.conf")));
    let setting = |not_applied: Option<&str>| {
        let mut look = look();
        let not_applied = not_applied.map(Into::into);
        look.plan.settings.push(Setting {
            key: "port".into(),
            old: "1".into(),
            new: "2".into(),
            not_applied,
        });
        needs_reload(&look)
    };
    assert!(setting(None) && !setting(Some("it needs a restart")));
}
