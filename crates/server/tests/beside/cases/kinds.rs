//! Exports that are more than one file: several files, trees, copies, temporary ones, ones that are waited for.

use crate::case::{Case, noise, write};
use crate::facts::digest;
use crate::visit::Visit;
use rustix::process::Signal;
use testkit::spec;

pub fn cases() -> Vec<Case> {
    let mut cases = files_and_trees();
    cases.extend(copies());
    cases.push(
        Case::new("temporary")
            .export("a", "exportname = {dir}/new\ntemporary = true\nfilesize = 65536")
            .export("b", "exportname = {dir}/other\ntemporary = true"),
    );
    cases.push(waiting());
    cases.extend(["", "datalog = true"].map(|more| {
        let case =
            Case::one(&format!("transaction log {more}"), &format!("transactionlog = {{dir}}/log\n{more}"));
        Case { visited: Vec::new(), ..case.generic("max_threads = 1").without_tools().probe(recorded) }
    }));
    cases.push(
        Case::one("transaction log of two sessions", "transactionlog = {dir}/log")
            .generic("max_threads = 1")
            .without_script()
            .without_tools()
            .differs("D-63", "file: log", "*", "*"),
    );
    cases.push(Case::one("transaction log nowhere", "transactionlog = {dir}/none/log"));
    cases
}

/// C-199: one session, one worker, and the same bytes in the log.
fn recorded(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    client.go("a").expect("served");
    let answers = [
        client.write(0, &noise(1000)),
        client.write_with(spec::CMD_FLAG_FUA, 5000, &[7; 10]),
        client.read(0, 100).map(drop),
        client.trim(8192, 4096),
        client.zero(0, 16_384, 100),
        client.flush(),
        client.read(1 << 40, 1).map(drop),
        client.write(1 << 40, &[1]),
    ];
    visit.facts.put("recorded", format!("{answers:?}"));
    let _ = client.disc();
    client.is_closed();
}

fn files_and_trees() -> Vec<Case> {
    let pieces = |case: Case| {
        case.disk("disk.0", 10_000).disk("disk.1", 5_000).disk("disk.2", 50_001).disk("disk.4", 4096)
    };
    vec![
        pieces(Case::new("multifile")).export("a", "exportname = {dir}/disk\nmultifile = true"),
        pieces(Case::new("multifile cut"))
            .export("a", "exportname = {dir}/disk\nmultifile = true\nfilesize = 40000"),
        pieces(Case::new("multifile too large"))
            .export("a", "exportname = {dir}/disk\nmultifile = true\nfilesize = 400000"),
        Case::new("multifile without files")
            .export("a", "exportname = {dir}/disk\nmultifile = true")
            .export("b", "exportname = {dir}/disk\nmultifile = true\nfilesize = 4096"),
        pieces(Case::new("multifile readonly"))
            .export("a", "exportname = {dir}/disk\nmultifile = true\nreadonly = true"),
        Case::new("treefiles").export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 65536"),
        Case::new("treefiles with a level")
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 4194304")
            .without_script()
            .probe(|visit| tree(visit, 8190)),
        Case::new("treefiles with two levels")
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 1099511627776")
            .without_script()
            .probe(|visit| tree(visit, (1 << 39) + 5 * 4096)),
        Case::new("treefiles readonly")
            .files(|dir| write(&dir.join("tree/FILE0001"), &noise(4096)))
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 65536\nreadonly = true"),
        Case::new("treefiles without a size").export("a", "exportname = {dir}/tree\ntreefiles = true"),
    ]
}

/// Writes across an edge of a page: C-190, C-191.
fn tree(visit: &mut Visit<'_>, offset: u64) {
    let mut client = visit.place.connect().expect("a greeting");
    let answer = client.go("a").map(|_| client.write(offset, &[9; 10]));
    visit.facts.put("tree: write", format!("{answer:?}"));
    let _ = client.disc();
    client.is_closed();
}

fn copies() -> Vec<Case> {
    vec![
        Case::one("copy on write", "copyonwrite = true").probe(during),
        Case::one("copy on write in a directory", "copyonwrite = true\ncowdir = {dir}/cow")
            .files(|dir| std::fs::create_dir(dir.join("cow")).expect("a directory"))
            .probe(during),
        Case::one("copy on write nowhere", "copyonwrite = true\ncowdir = {dir}/none"),
        Case::one("copy on write, sparse", "copyonwrite = true\nsparse_cow = true").probe(during),
        Case::one("copy on write, read-only", "copyonwrite = true\nreadonly = true"),
        Case::one(
            "copy on write with all flags",
            "copyonwrite = true\nreadonly = true\nflush = true\nfua = true\ntrim = true\nrotational = true",
        ),
        Case::new("copy on write, odd")
            .disk("disk", 10_000)
            .export("a", "exportname = {dir}/disk\ncopyonwrite = true")
            .probe(odd),
    ]
}

/// What stands in the directories while a client is served, and that the next one sees nothing of it.
fn during(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    if client.go("a").is_err() {
        return;
    }
    visit.facts.put("during: write", format!("{:?}", client.write(5000, &[9; 10])));
    visit.facts.put(
        "during: read",
        client.read(4990, 40).map_or_else(|error| error.to_string(), |data| digest(&data)),
    );
    for dir in [visit.place.dir.path().to_path_buf(), visit.place.dir.join("cow")] {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().display().to_string();
            if name.ends_with(".diff") {
                let place = name.replace(
                    &visit.place.dir.path().file_name().unwrap_or_default().display().to_string(),
                    "{dirname}",
                );
                visit.facts.put(format!("during: {}", crate::words::without_numbers(&place)), "there");
            }
        }
    }
    let mut other = visit.place.connect().expect("a greeting");
    other.go("a").expect("served");
    visit.facts.put(
        "during: another reads",
        other.read(4990, 40).map_or_else(|error| error.to_string(), |data| digest(&data)),
    );
    for mut client in [client, other] {
        let _ = client.disc();
        client.is_closed();
    }
}

/// C-186: the last page is none of the others.
fn odd(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    if client.go("a").is_err() {
        return;
    }
    let wrote = (client.write(9_000, &[1; 500]), client.write(0, &[2; 4096]));
    visit.facts.put("odd: write", format!("{wrote:?}"));
    visit.facts.put(
        "odd: the tail",
        client.read(9_000, 500).map_or_else(|error| error.to_string(), |data| digest(&data)),
    );
    let _ = client.disc();
    client.is_closed();
}

/// C-196, C-197. A partial page would keep the original busy for ever, so only whole ones are written.
fn waiting() -> Case {
    let case =
        Case::new("waitfile").export("a", "exportname = {dir}/late\nwaitfile = true\nfilesize = 65536");
    case.without_script().without_tools().probe(|visit| {
        let mut client = visit.place.connect().expect("a greeting");
        if client.go("a").is_err() {
            return;
        }
        let said = |answer: Result<Vec<u8>, u32>| {
            answer.map_or_else(|error| format!("error {error}"), |data| digest(&data))
        };
        visit.facts.put("waiting: write", format!("{:?}", client.write(4096, &[3; 4096])));
        visit.facts.put("waiting: read own", said(client.read(4096, 4096)));
        visit.facts.put("waiting: read other", said(client.read(0, 4096)));
        visit.facts.put("waiting: part of a page", "left out");
        write(&visit.place.dir.join("late"), &noise(65_536));
        let mark = visit.place.syslog.mark();
        // The original's child is the one to tell.
        for pid in visit.place.processes().into_iter().filter(|pid| Some(*pid) != visit.place.pid()) {
            let _ = rustix::process::kill_process(pid, Signal::USR1);
        }
        visit.place.signal(Signal::USR1);
        let merged = visit.place.syslog.wait(mark, "Waiting for file ended");
        visit.facts.put("waiting: the log says when it ended", merged);
        visit.facts.put("waited: read own", said(client.read(4096, 4096)));
        visit.facts.put("waited: read other", said(client.read(0, 4096)));
        visit
            .facts
            .put("waited: write", format!("{:?}", client.write_with(spec::CMD_FLAG_FUA, 100, &[4; 10])));
        let end = visit.place.syslog.mark();
        visit.log_between(mark, end);
        let _ = client.disc();
        client.is_closed();
    })
}
