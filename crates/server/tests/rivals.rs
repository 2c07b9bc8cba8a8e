//! P5 between reloads: paths come to lead to one disk, and one of the exports has it for itself.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, filled, point, server};
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

/// P5: paths may come to lead to one disk with no reload in between; who comes second is refused as by a reload.
#[test]
fn an_exclusive_disk_has_one_writer_between_reloads_too() {
    let setup = server();
    let [one, two, kept] = &[1, 2, 3].map(|n| filled(setup.dir(), &format!("{n}.img"), n));
    let [link, later, third, last] = ["link", "later", "third", "last"].map(|name| setup.dir().join(name));
    point(&link, two);
    let server = setup.start();
    server.write_export("claims", one, "exclusive = true");
    server.write_export("moves", &link, "");
    server.write_export("appears", &later, "");
    server.write_export("old", &third, "on_change = keep");
    let refused = |name: &str| {
        let (_, why) = server.connect().go(name).expect_err("refused");
        assert!(
            why.contains(&format!("export {name} (")) && why.contains("one of them is exclusive"),
            "{why}"
        );
        why
    };
    assert_eq!(server.reload().closing.kept, 0);
    // The claim stands whether or not somebody is there.
    point(&link, one);
    point(&later, one);
    assert!(refused("moves").contains("export claims ("));
    let mut claims = server.open("claims");
    assert!(refused("appears").contains("export claims ("));
    claims.write(0, &[5; BLOCK]).expect("undisturbed");
    // Whoever does not write is nobody's rival, and a disk of one's own is free.
    server.write_export("moves", &link, "readonly = true");
    server.reload();
    assert_eq!(server.open("moves").read(0, 1), Ok(vec![5]));
    point(&later, two);
    server.reload().expect_complete();
    server.open("appears").write(0, &[6; BLOCK]).expect("its own");
    // The other way round: the one that is exclusive comes second, or to a session that was kept.
    point(&third, kept);
    let mut old = server.open("old");
    old.write(0, &[7; BLOCK]).expect("written");
    fs::remove_file(server.conf("old.conf")).expect("removed");
    server.write_export("last", &last, "exclusive = true");
    server.reload();
    point(&last, two);
    assert!(refused("last").contains("export appears ("));
    point(&last, kept);
    assert!(refused("last").contains("a session of old that was kept"));
    old.write(0, &[8; BLOCK]).expect("undisturbed");
}

/// P5: what a session wrote while it waited for its file goes into no disk that another export has for itself.
#[test]
fn a_file_that_was_waited_for_is_not_taken_in_where_it_is_anothers_disk() {
    let setup = server();
    let (one, awaited) = (filled(setup.dir(), "one.img", 1), setup.dir().join("awaited"));
    let server = setup.start();
    server.write_export("claims", &one, "exclusive = true");
    server.write_export("waits", &awaited, &format!("waitfile = true\nfilesize = {BLOCK}"));
    server.reload().expect_complete();
    let mut waits = server.open("waits");
    waits.write(0, &[5; BLOCK]).expect("into its own file");
    point(&awaited, &one);
    server.signal(Signal::USR1).expect("it runs");
    let line = server.wait_for(|line| line.contains("still waiting for"), Duration::from_secs(10));
    assert!(line.is_some_and(|line| line.contains("one of them is exclusive")), "{:?}", server.lines());
    assert_eq!(server.open("claims").read(0, 1), Ok(vec![1]));
}

/// P5: what a reload could not see it has not judged, whatever was seen before.
#[test]
fn an_export_whose_disk_was_away_at_the_reload_gives_way_to_the_one_that_got_it() {
    let setup = server();
    let one = filled(setup.dir(), "one.img", 1);
    let link = setup.dir().join("link");
    point(&link, &one);
    let server = setup.start();
    server.write_export("a-away", &link, "");
    server.reload().expect_complete();
    drop(server.open("a-away"));
    fs::remove_file(&link).expect("it is away");
    server.write_export("claims", &one, "exclusive = true");
    server.reload();
    point(&link, &one);
    // With nobody there, and with somebody there.
    let refused = || server.connect().go("a-away").is_err();
    assert!(refused(), "the disk is another's");
    let mut claims = server.open("claims");
    assert!(refused(), "the disk is another's");
    // And at the next reload, though its name stands first.
    let closing = server.reload().closing;
    assert_eq!((closing.kept, closing.fenced), (1, 0), "{closing:?}");
    claims.write(0, &[5; BLOCK]).expect("undisturbed");
    assert!(refused(), "the disk is another's");
}

/// P5: a reload would judge by where paths lead now.
#[test]
fn a_disk_that_an_exclusive_export_had_once_is_free() {
    let setup = server();
    let [one, two] = [1, 2].map(|n| filled(setup.dir(), &format!("{n}.img"), n));
    let [link, later, gone] = ["link", "later", "gone"].map(|name| setup.dir().join(name));
    point(&link, &one);
    point(&gone, &two);
    let server = setup.start();
    server.write_export("moved", &link, "exclusive = true");
    server.write_export("gone", &gone, "exclusive = true");
    server.write_export("later", &later, "");
    server.reload();
    point(&link, &two);
    fs::remove_file(&gone).expect("removed");
    point(&later, &one);
    server.open("later").write(0, &[5; BLOCK]).expect("nobody else's");
    server.open("moved").write(0, &[6; BLOCK]).expect("nobody else's");
}

/// P5: the one that is served goes on, also where its path leads nowhere at the moment of a reload.
#[test]
fn sessions_count_while_their_path_leads_nowhere() {
    let setup = server();
    let one = filled(setup.dir(), "one.img", 1);
    let link = setup.dir().join("link");
    point(&link, &one);
    let server = setup.start();
    server.write_export("served", &link, "");
    server.reload().expect_complete();
    let mut served = server.open("served");
    served.write(0, &[3; BLOCK]).expect("written");
    fs::remove_file(&link).expect("it is away");
    server.write_export("claims", &one, "exclusive = true");
    assert_eq!(server.reload().closing.kept, 1, "its disk is not free");
    served.write(0, &[4; BLOCK]).expect("undisturbed");
    point(&link, &one);
    served.disc().expect("left");
    server.open("served").write(0, &[5; BLOCK]).expect("it comes again");
    assert!(server.connect().go("claims").is_err());
}
