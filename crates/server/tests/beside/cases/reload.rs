//! SIGHUP. The original's layouts are those in which it survives.

use crate::case::{Case, noise, write};
use crate::facts::answered;
use crate::visit::Visit;
use rustix::process::Signal;
use std::fs;

pub fn cases() -> Vec<Case> {
    let named = |name: &str, count: usize| {
        let more = (1..count).map(|number| format!("e{number}"));
        let case = Case::one(name, "").without_script().without_tools();
        let case = more.fold(case, |case, name| case.group(&name, "exportname = {dir}/disk"));
        // Where the original's memory is damaged it may look well too: its clients crash, or it does, or nobody. Now and
        // then it refuses an export that it served before, or reads a path that is none: it is asked again.
        case.visits(4)
            .may_differ("D-03", "reload: go *", "closed", "* *")
            .may_differ("D-03", "reload: *", "no greeting", "*")
            .may_differ("D-03", "reload: reconfigured *", "false", "true")
            .may_differ("D-03", "end: pid file", "left", "removed")
            .may_differ("D-03", "log: reconfigured *", "-", "<30> *")
    };
    vec![
        named("reload: two are added", 1).probe(|visit| {
            append(visit, "[x]\nexportname = {dir}/disk\n[y]\nexportname = {dir}/disk\nreadonly = true\n");
            reload(visit, Some("reconfigured new server: y"), &["a", "x", "y"]);
        }),
        named("reload: one is added to two", 2).probe(|visit| {
            append(visit, "[x]\nexportname = {dir}/disk\n");
            reload(visit, Some("reconfigured new server: x"), &["a", "e1", "x"]);
        }),
        // The original's children crash in this layout.
        named("reload: one is added to one", 1).probe(|visit| {
            append(visit, "[x]\nexportname = {dir}/disk\n");
            reload(visit, Some("reconfigured new server: x"), &["a", "x"]);
        }),
        named("reload: a snippet is added", 1)
            .generic("includedir = {dir}/conf.d")
            .files(|dir| fs::create_dir(dir.join("conf.d")).expect("a directory"))
            .probe(|visit| {
                let text = "[j]\nexportname = {dir}/disk\n[k]\nexportname = {dir}/disk\n";
                write(&visit.place.dir.join("conf.d/j.conf"), visit.place.fill(text).as_bytes());
                reload(visit, Some("reconfigured new server: k"), &["a", "j", "k"]);
            }),
        named("reload: one is changed", 1)
            .differs("D-01", "reload: go a", "1048576 *", "4096 *")
            .differs("D-01", "log: connect from *, assigned file is {dir}/other", "-", "<30> *")
            .differs("D-01", "log: Size of exported file/device is 4096", "-", "<30> *")
            .probe(|visit| {
                write(&visit.place.dir.join("other"), &noise(4096));
                replace(visit, "{dir}/disk", "{dir}/other");
                reload(visit, None, &["a"]);
            }),
        named("reload: one is removed", 5)
            .may_differ("D-01", "reload: go e1", "*", "UNKNOWN *")
            .differs("D-01", "reload: list", "a|e1|e2|e3|e4", "a|e2|e3|e4")
            .probe(|visit| {
                replace(visit, "[e1]\nexportname = {dir}/disk\n", "");
                reload(visit, None, &["a", "e1", "e2"]);
            }),
        named("reload: a bad value", 1).probe(|visit| {
            append(visit, "[bad]\nexportname = {dir}/disk\nreadonly = yes\n");
            reload(visit, Some("failed to append new servers"), &["a", "bad"]);
        }),
        named("reload: no file", 1).probe(|visit| {
            append(visit, "[bad]\nreadonly = true\n");
            reload(visit, Some("failed to append new servers"), &["a", "bad"]);
        }),
        named("reload: a bad line", 1)
            .differs("D-08", "log: failed to append new servers", "-", "<27> *")
            .probe(|visit| {
                append(visit, "a bad line\n");
                reload(visit, None, &["a"]);
            }),
        named("reload: a relative configuration", 1)
            .differs("D-07", "reload: go x", "UNKNOWN *", "*")
            .differs("D-07", "reload: list", "a", "a|x|y")
            .differs("D-07", "log: reconfigured new server: *", "-", "<30> *")
            .args(&["-C", "config", "-p", "{dir}/pid"])
            .probe(|visit| {
                append(visit, "[x]\nexportname = {dir}/disk\n[y]\nexportname = {dir}/disk\n");
                reload(visit, None, &["a", "x"]);
            }),
        named("reload: listing is forbidden", 1)
            .differs("D-06", "reload: list", "a", "POLICY *")
            .differs("D-06", "log: Client tried disallowed list option", "-", "<27> *")
            .probe(|visit| {
                replace(visit, "allowlist = true", "allowlist = false");
                reload(visit, None, &["a"]);
            }),
        named("reload: an old style", 1)
            .differs("D-03", "reload: *", "no greeting", "*")
            .differs("D-03", "end: pid file", "left", "removed")
            .differs("D-03", "log: *", "-", "*")
            .probe(|visit| {
                replace(visit, "allowlist = true", "allowlist = true\noldstyle = true");
                reload(visit, None, &["a"]);
            }),
        named("reload: nothing is new, and a client stays", 1).probe(|visit| {
            let mut client = visit.place.connect().expect("a greeting");
            client.go("a").expect("served");
            reload(visit, None, &["a"]);
            visit.facts.put("the client that stayed", format!("{:?}", client.read(0, 4)));
            let _ = client.disc();
            client.is_closed();
        }),
        named("SIGUSR1", 1).probe(|visit| {
            let mark = visit.place.syslog.mark();
            visit.place.signal(Signal::USR1);
            visit.facts.put("usr1: said", visit.place.syslog.wait(mark, "Got SIGUSR1"));
            let end = visit.place.syslog.mark();
            visit.log_between(mark, end);
        }),
    ]
}

fn append(visit: &Visit<'_>, text: &str) {
    let path = visit.place.dir.join("config");
    let old = fs::read_to_string(&path).expect("the configuration");
    fs::write(&path, old + &visit.place.fill(text)).expect("written");
}

fn replace(visit: &Visit<'_>, from: &str, to: &str) {
    let path = visit.place.dir.join("config");
    let old = fs::read_to_string(&path).expect("the configuration");
    let new = old.replacen(&visit.place.fill(from), &visit.place.fill(to), 1);
    assert_ne!(old, new, "there is something to replace");
    fs::write(&path, new).expect("written");
}

/// Sends SIGHUP, waits until it was dealt with, and asks for these exports.
fn reload(visit: &mut Visit<'_>, announced: Option<&str>, names: &[&str]) {
    let mark = visit.place.syslog.mark();
    visit.place.signal(Signal::HUP);
    let heard = visit.place.syslog.wait(mark, "reconfiguration request received");
    visit.facts.put("reload: heard", heard);
    if let Some(text) = announced {
        visit.facts.put(format!("reload: {text}"), visit.place.syslog.wait(mark, text));
    }
    visit.settle(mark);
    let told = match visit.place.connect() {
        Ok(mut client) => answered(client.list(), |names| names.join("|")),
        Err(_) => "no greeting".into(),
    };
    visit.facts.put("reload: list", told);
    for name in names {
        let told = visit.place.connect().map_or_else(
            |_| "no greeting".into(),
            |mut client| {
                let told = answered(client.go(name), |info| {
                    format!("{} {}", info.size, crate::facts::flags(info.flags))
                });
                let _ = client.disc();
                client.is_closed();
                told
            },
        );
        visit.facts.put(format!("reload: go {name}"), told);
    }
    let end = visit.place.syslog.mark();
    visit.log_between(mark, end);
}
