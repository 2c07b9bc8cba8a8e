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

#[test]
fn a_reload_is_held_where_it_would_give_a_disk_that_nobody_has_named() {
    let held = |look: &Look| decided(look).held.is_some();
    let moved = || changed(step(Action::Replace, "a", "/dev/a", "/dev/a"), "disk", "1", "2");
    let look = || Look::at(&[("a", "/dev/a")]);
    assert!(held(&look().without_database().step(moved())), "nobody was asked");
    assert!(!held(&look().row("a", "/dev/a").step(moved())), "the database names it");
    assert!(held(&look().row("a", "/dev/a").row("b", "/dev/a").step(moved())), "and gives it to another too");
    assert!(held(&look().torn("a", "/dev/a", "/dev/b").step(moved())), "and does not");
    assert!(!held(&look().row("x", "/dev/x").step(moved())), "its file is removed first");
    assert!(held(&look().step(moved())), "the database has nothing, and nothing is removed");
    assert!(held(&look().row("a", "/gone").step(moved())), "its file is not written");
    assert!(!held(&look().row("a", "/dev/b").step(moved())), "its file is written first");
    // Texts: of the files where they are the truth, of the database where that is.
    let to = |path| step(Action::Replace, "a", "/dev/a", path);
    assert!(!held(&look().without_database().step(to("/dev/b"))));
    assert!(held(&look().torn("a", "/dev/b", "/dev/a").step(to("/dev/b"))));
    assert!(!held(&look().row("a", "/by-id/b").step(to("/dev/b"))));
    assert!(held(&look().without_database().step(step(Action::ReplaceForSome, "a", "/dev/a", "/dev/a"))));
    for harmless in [Action::Remove, Action::Retune, Action::Block] {
        let new = if harmless == Action::Remove { "" } else { "/dev/a" };
        let step = step(harmless, "a", "/dev/a", new);
        assert!(!held(&look().without_database().step(step)), "{harmless:?}");
    }
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
