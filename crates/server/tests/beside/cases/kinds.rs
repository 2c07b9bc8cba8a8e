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
            .export("b", "exportname = {dir}/other\ntemporary = true")
            .differ_in("D-110", &["*: go flags", "*: info flags", "*: old way", "*nbdinfo* can_multi_conn"]),
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
        pieces(Case::new("multifile"))
            .export("a", "exportname = {dir}/disk\nmultifile = true")
            .differ_in("D-60", &["a: 21 *", "a: 23 *", "a: 28 *", "a: 41 *", "file: disk.0", "file: disk.1"]),
        pieces(Case::new("multifile cut"))
            .export("a", "exportname = {dir}/disk\nmultifile = true\nfilesize = 40000")
            .differ_in("D-60", &["a: 21 *", "a: 23 *", "a: 28 *", "a: 41 *", "file: disk.0", "file: disk.1"]),
        pieces(Case::new("multifile too large"))
            .export("a", "exportname = {dir}/disk\nmultifile = true\nfilesize = 400000")
            .kept_out("a"),
        Case::new("multifile without files")
            .export("a", "exportname = {dir}/disk\nmultifile = true")
            .export("b", "exportname = {dir}/disk\nmultifile = true\nfilesize = 4096")
            .kept_out("a")
            .kept_out("b")
            .differs("D-106", "log: Could not open exported file {dir}/disk.0: ", "<27> *", "-")
            .differs("D-106", "log: Could not open exported file {dir}/disk: ", "-", "<27> *"),
        pieces(Case::new("multifile readonly"))
            .export("a", "exportname = {dir}/disk\nmultifile = true\nreadonly = true"),
        tree_there("treefiles")
            .differs("D-61", "file: tree/FILE*", "600 4096 zeros", "-")
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 65536"),
        tree_there("treefiles with a level")
            .may_differ("D-61", "file: tree/*", "600 4096 zeros", "-")
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 4194304")
            .without_script()
            .probe(|visit| tree(visit, 8190)),
        tree_there("treefiles with two levels")
            .may_differ("D-61", "file: tree/*", "600 4096 zeros", "-")
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 1099511627776")
            .without_script()
            .probe(|visit| tree(visit, (1 << 39) + 5 * 4096)),
        Case::new("treefiles readonly")
            .files(|dir| write(&dir.join("tree/FILE0001"), &noise(4096)))
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 65536\nreadonly = true"),
        Case::new("treefiles without a directory")
            .export("a", "exportname = {dir}/tree\ntreefiles = true\nfilesize = 65536")
            .without_script()
            .refused("D-90", "a")
            .may_differ("D-90", "file: tree/*", "*", "-")
            .may_differ("D-90", "log: Could not open exported file *", "-", "<27> *"),
        tree_there("treefiles without a size").export("a", "exportname = {dir}/tree\ntreefiles = true"),
    ]
}

/// The directory is there, and empty.
fn tree_there(name: &str) -> Case {
    Case::new(name).files(|dir| std::fs::create_dir(dir.join("tree")).expect("a directory"))
}

/// Writes across an edge of a page: C-190, C-191.
fn tree(visit: &mut Visit<'_>, offset: u64) {
    let mut client = visit.place.connect().expect("a greeting");
    let answer = client.go("a").map(|_| client.write(offset, &[9; 10]));
    visit.facts.put("tree: write", format!("{answer:?}"));
    let _ = client.disc();
    client.is_closed();
}

impl Case {
    /// What differs in every copy that can be written.
    pub fn copied(self) -> Self {
        let case = self.may_differ("D-65", "during: disk-*.diff", "-", "there");
        let case = case.may_differ("D-65", "during: {dirname}-*.diff", "there", "-");
        let case = case.may_differ("D-86", "*: 16 write nothing", "error 22", "done");
        ["*: 21 *", "*: 23 *", "*: 28 *", "*: 41 *"]
            .iter()
            .fold(case, |case, fact| case.may_differ("D-111", fact, "*", "*"))
    }
}

fn copies() -> Vec<Case> {
    vec![
        Case::one("copy on write", "copyonwrite = true").probe(during).copied(),
        Case::one("copy on write in a directory", "copyonwrite = true\ncowdir = {dir}/cow")
            .files(|dir| std::fs::create_dir(dir.join("cow")).expect("a directory"))
            .probe(during)
            .copied(),
        Case { visited: Vec::new(), ..Case::one("copy on write and a wrong magic", "copyonwrite = true") }
            .without_tools()
            .probe(wrong_magic)
            .differs("D-66", "file: *.diff", "600 *", "-"),
        Case::one("copy on write nowhere", "copyonwrite = true\ncowdir = {dir}/none")
            .kept_out("a")
            .differs("D-84", "a: go", "closed", "POLICY *")
            .differs("D-84", "a: qemu-img info", "*", "*")
            .differs("D-106", "log: Size of exported file/device is *", "<30> *", "-"),
        Case::one("copy on write, sparse", "copyonwrite = true\nsparse_cow = true")
            .probe(during)
            .copied()
            .differ_in("D-68", &["a: 13 *", "a: 25 *", "during: read"]),
        Case::one("copy on write, read-only", "copyonwrite = true\nreadonly = true")
            .differ_in("D-92", &["a: go flags", "a: info flags", "a: old way", "*nbdinfo* can_multi_conn"]),
        Case::one(
            "copy on write with all flags",
            "copyonwrite = true\nreadonly = true\nflush = true\nfua = true\ntrim = true\nrotational = true",
        )
        .differ_in("D-92", &["a: go flags", "a: info flags", "a: old way", "*nbdinfo* can_multi_conn"])
        .differs("D-46", "*nbdinfo* can_trim", "true", "false"),
        Case::new("copy on write, odd")
            .disk("disk", 10_000)
            .export("a", "exportname = {dir}/disk\ncopyonwrite = true")
            .probe(odd)
            .copied()
            .differ_in("D-67", &["a: 02 *", "odd: the tail"]),
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

/// Bytes that are no request end the session, not its duties.
fn wrong_magic(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    client.go("a").expect("served");
    visit.facts.put("wrong magic: write", format!("{:?}", client.write(0, &[9; 4096])));
    let _ = client.send_bytes(&[0x55; 28]);
    client.is_closed();
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
    let case = Case::new("waitfile")
        .export("a", "exportname = {dir}/late\nwaitfile = true\nfilesize = 65536")
        .differ_in("D-110", &["a: go flags", "a: info flags", "a: old way"])
        .differs("D-62", "file: *.diff", "600 *", "-")
        .differs("D-77", "waiting: read other", "error 22", "error 5");
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
