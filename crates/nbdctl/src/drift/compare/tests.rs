//! Each pair, as a table: what was seen, and what is said of it.

use super::*;
use crate::drift::fixture::{changed, hanging, nodes, problem, step};
use control::view::{Action, Setting, State};

fn said(look: &Look) -> Vec<String> {
    compare(look, "", &nodes).iter().map(ToString::to_string).collect()
}

#[test]
fn who_agrees_is_not_named() {
    let look =
        Look::at(&[("a", "/dev/a"), ("b", "/by-id/b")]).row("a", "/dev/a").torn("b", "/dev/b", "/by-id/b");
    assert_eq!(said(&look), [""; 0]);
    let main = |export: &mut control::view::Export| export.file = Some(crate::drift::fixture::MAIN.into());
    let command_line = |export: &mut control::view::Export| export.file = None;
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b")]).change("a", main).change("b", command_line);
    assert_eq!(said(&look), [""; 0], "they are not the database's business");
    assert_eq!(
        said(&look.row("a", "/dev/c")),
        ["a: the database says /dev/c, the files say /dev/a"],
        "unless it says so"
    );
}

#[test]
fn the_files_are_what_a_reload_would_make_of_what_runs() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b")])
        .step(step(Action::Replace, "a", "/dev/a", "/dev/c"))
        .step(step(Action::Remove, "b", "/dev/b", ""))
        .step(step(Action::Add, "d", "", "/dev/d"))
        .row("a", "/dev/c")
        .row("d", "/dev/d");
    let mut lines = said(&look);
    lines.sort();
    assert_eq!(
        lines,
        [
            "a: the files say /dev/c, the server has /dev/a",
            "b: the files do not have it, the server has /dev/b",
            "d: the files say /dev/d, the server does not have it",
        ],
        "the database agrees with the files"
    );
}

#[test]
fn what_the_files_do_not_say_clearly_is_compared_with_what_runs() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b")])
        .row("a", "/dev/c")
        .row("b", "/dev/b")
        .row("x", "/dev/x");
    let kept = look.clone().kept(&["a", "x"], "two.conf");
    assert_eq!(
        said(&kept),
        [
            "a: the database says /dev/c, the server has /dev/a",
            "x: the database says /dev/x, the server does not have it",
            "a, x: the files cannot be followed here: two.conf:3: it is broken",
        ]
    );
    let mut refused = look;
    refused.plan.refused.push(problem("config"));
    assert_eq!(
        said(&refused),
        [
            "a: the database says /dev/c, the server has /dev/a",
            "x: the database says /dev/x, the server does not have it",
            "the files cannot be followed: config:3: it is broken",
        ]
    );
}

#[test]
fn text_and_disk_of_one_step_are_two_disagreements_and_each_is_said_once() {
    let both = changed(step(Action::Replace, "a", "/dev/a", "/dev/a"), "disk", "serial:1", "serial:2");
    let look = Look::at(&[("a", "/dev/a")]).row("a", "/dev/a");
    let look = look.change("a", |export| {
        (export.state, export.reason) = (State::Unavailable, Some("another disk".into()));
    });
    let disk = "a: another disk is at /dev/a: the server means serial:1, there is serial:2";
    assert_eq!(said(&look.clone().step(both.clone())), [disk]);
    let text = "a: the files say readonly = true, the server has readonly = false";
    assert_eq!(said(&look.step(changed(both, "readonly", "false", "true"))), [text, disk]);
    let grown = changed(step(Action::Retune, "a", "/dev/a", "/dev/a"), "size", "512", "1024");
    let look = Look::at(&[("a", "/dev/a")]).row("a", "/dev/a").step(grown);
    assert_eq!(said(&look), ["a: /dev/a has 1024 bytes, the server has it with 512"]);
    // No step is passed over.
    let mut other = step(Action::Replace, "a", "/dev/a", "/dev/a");
    other.reason = Some("the export leads to another store".into());
    let look = Look::at(&[("a", "/dev/a")]).row("a", "/dev/a");
    assert_eq!(
        said(&look.clone().step(other)),
        ["a: the files and the server differ: the export leads to another store"]
    );
    let some = step(Action::ReplaceForSome, "a", "/dev/a", "/dev/a");
    assert_eq!(said(&look.clone().step(some)), ["a: another disk is at /dev/a for some of its clients"]);
    let mut block = step(Action::Block, "a", "/dev/a", "/dev/a");
    block.reason = Some("b has it for itself".into());
    assert_eq!(
        said(&look.step(block)),
        ["a: the files do not let /dev/a be served any more: b has it for itself"]
    );
}

#[test]
fn what_the_plan_has_just_seen_counts_more_than_what_was_last_tried() {
    let state = |state: State| {
        Look::at(&[("a", "/dev/a")]).row("a", "/dev/a").change("a", |export| {
            (export.state, export.reason) = (state, Some("it was gone".into()));
        })
    };
    let tried = "a: /dev/a could not be served when it was last tried: it was gone";
    assert_eq!(said(&state(State::Unavailable)), [tried]);
    let looked = "a: /dev/a cannot be served: no such device";
    assert_eq!(said(&state(State::Unavailable).unavailable("a", "/dev/a")), [looked]);
    assert_eq!(said(&state(State::Serving).unavailable("a", "/dev/a")), [looked]);
    assert_eq!(said(&state(State::Fencing)), ["a: /dev/a is not served: it was gone"]);
    for fine in [State::Serving, State::KeptBack, State::Poisoned, State::Placeholder] {
        assert_eq!(said(&state(fine)), [""; 0], "{fine}");
    }
    // What is not there is what the files say, and not what runs.
    let moved =
        state(State::Serving).step(step(Action::Replace, "a", "/dev/a", "/gone")).unavailable("a", "/gone");
    assert_eq!(
        said(&moved),
        ["a: the database says /dev/a, the files say /gone", "a: the files say /gone, the server has /dev/a"]
    );
}

#[test]
fn what_the_database_doubts_itself_is_said_once() {
    let look = Look::at(&[("a", "/dev/a"), ("b", "/dev/b")])
        .doubt("a", "/dev/c", "its path is mapped to another volume")
        .doubt("b", "/dev/c", "failed")
        .doubt("c", "/dev/c", "failed");
    assert_eq!(
        said(&look),
        [
            "a: the database disagrees with itself: its path is mapped to another volume",
            "b: the files say /dev/b, the database has it as failed",
        ],
        "what has failed and is nowhere is no disagreement"
    );
}

#[test]
fn what_is_gone_and_hangs_is_still_held() {
    let look = Look::at(&[("a", "/dev/a")]).change("a", |export| {
        export.configured = false;
        export.file = None;
        export.hanging = vec![hanging("a", "/dev/a")];
        export.reason = Some("a request hangs".into());
    });
    assert_eq!(said(&look), ["a: the files do not have it, the server still holds /dev/a: a request hangs"]);
}

#[test]
fn what_is_about_everything_is_said_whatever_the_prefix_is() {
    let mut look =
        Look::at(&[("a-1", "/dev/a"), ("b-1", "/dev/b")]).kept(&["b-2"], "b-2.conf").kept(&[], "new.conf");
    let setting = |key: &str, why: Option<&str>| Setting {
        key: key.into(),
        old: "1".into(),
        new: String::new(),
        not_applied: why.map(Into::into),
    };
    look.plan.settings = vec![setting("allowlist", None), setting("port", Some("it needs a restart"))];
    let lines: Vec<String> = compare(&look, "a-", &nodes).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "a-1: the files say /dev/a, the database does not have it",
            "the files cannot be followed here: new.conf:3: it is broken",
            "[generic] allowlist: the files say nothing, the server has 1",
            "[generic] port: the files say nothing, the server has 1 (it needs a restart)",
        ]
    );
}

#[test]
fn a_disagreement_is_data_too() {
    let look = Look::at(&[("a", "/dev/a")]).row("a", "/dev/b");
    let json = serde_json::to_value(compare(&look, "", &nodes)).expect("data");
    let wanted = serde_json::json!([{
        "exports": ["a"],
        "between": ["database", "files"],
        "paths": {"database": "/dev/b", "files": "/dev/a"},
        "what": "the database says /dev/b, the files say /dev/a",
    }]);
    assert_eq!(json, wanted);
}
