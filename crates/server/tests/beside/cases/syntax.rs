//! How a configuration is written, and every way in which it is refused.

use crate::case::Case;
use std::fs;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::one("a loose hand", "").main(
            "# comment\r\n\r\n  [generic]\r\n\tport = {port}\r\n listenaddr=127.0.0.1\r\nallowlist=1  \r\n# more\r\n[a]\r\n  exportname = {dir}/disk\r\nreadonly = true ",
        ),
        Case::one("a second generic group", "").group("generic", "allowlist = false"),
        Case::one("numbers of every form", "maxconnections = +5 people\nfilesize = 0004096"),
        // A value that is too large is the largest one.
        Case::one("a size beyond 64 bits", "filesize = 99999999999999999999999").kept_out("a"),
    ];
    cases.extend(refused());
    cases.extend(included());
    cases
}

/// Whole files that end the start with status 1.
fn refused() -> Vec<Case> {
    let file = |name: &str, text: &str| Case::one(name, "").main(&format!("{text}\n")).fails();
    let lines = |name: &str, lines: &str| Case::one(name, lines).fails();
    let generic = |name: &str, lines: &str| Case::one(name, "").generic(lines).fails();
    let export = "[generic]\nport = {port}\n[a]\nexportname = {dir}/disk\n";
    let after = |name: &str, more: &str| file(name, &format!("{export}{more}"));
    vec![
        after("a semicolon", "; comment"),
        after("a bare word", "word"),
        after("a colon for a key", "key: value"),
        after("a value without a key", "= value"),
        after("text behind a group", "[b] # text"),
        after("a group without a name", "[]"),
        file("a key before any group", &format!("port = 1\n{export}")),
        file("a mark of UTF-8", &format!("\u{feff}{export}")),
        file("a configuration of nothing", ""),
        file("only generic", "[generic]\nport = {port}"),
        file("no generic group", "[a]\nexportname = {dir}/disk"),
        file("generic in capitals", &export.replace("generic", "Generic")),
        file("generic with blanks", &export.replace("generic", " generic ")),
        file("an export without a file", "[generic]\nport = {port}\n[a]\nreadonly = true"),
        lines("a bad flag", "readonly = yes"),
        lines("a flag in capitals", "readonly = TRUE"),
        lines("a flag without a value", "readonly ="),
        lines("a flag with a comment", "readonly = true # yes"),
        lines("a bad number", "maxconnections = 0x5"),
        lines("a number with a unit", "maxconnections = 5k"),
        lines("a number without a value", "maxconnections ="),
        lines("a number beyond 32 bits", "maxconnections = 2147483648"),
        lines("a bad size", "filesize = 10M"),
        lines("a size without a value", "filesize ="),
        lines("a bad escape", "authfile = /a\\q"),
        lines("a lonely backslash", "authfile = /a\\"),
        lines("a bad virtstyle", "virtstyle = bogus"),
        lines("a cidrhash without a length", "virtstyle = cidrhash"),
        lines("a cidrhash too short", "virtstyle = cidrhash8"),
        lines("a copy with splice", "copyonwrite = true\nsplice = true"),
        lines("a copy that waits", "copyonwrite = true\nwaitfile = true"),
        lines("a data log with splice", "datalog = true\nsplice = true"),
        lines("a path for waitfile", "waitfile = /a/file"),
        lines("sdp", "sdp = true"),
        generic("a bad flag of generic", "duallisten = on"),
        generic("a bad number of generic", "max_threads = many"),
        generic("a bad text of generic", "tlsprio = \\q"),
        generic("a directory that is missing", "includedir = {dir}/conf.d"),
        generic("a directory that is a file", "includedir = {dir}/disk"),
        generic("a directory without a value", "includedir ="),
    ]
}

fn included() -> Vec<Case> {
    let dir = |name: &str| Case::one(name, "").generic("includedir = {dir}/conf.d");
    let export = "exportname = {dir}/disk\n";
    vec![
        dir("a directory with one file").snippet("b.conf", &format!("[b]\n{export}readonly = true\n")).visit("b"),
        // C-060
        dir("a directory with other files")
            .snippet("b.txt", &format!("[b]\n{export}"))
            .snippet("c.conf~", &format!("[c]\n{export}"))
            .snippet("D.CONF", &format!("[d]\n{export}"))
            .snippet("sub.conf/e.conf", &format!("[e]\n{export}"))
            .snippet(".f.conf", &format!("[f]\n{export}")),
        dir("a directory with empty files").snippet("b.conf", "").snippet("c.conf", "# nothing\n"),
        dir("an empty directory").files(|dir| fs::create_dir(dir.join("conf.d")).expect("a directory")),
        dir("a directory and no exports").only_ours_starts("D-12", "*does not specify any exports*")
            .main("[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nallowlist = true\nincludedir = {dir}/conf.d\n")
            .files(|dir| fs::create_dir(dir.join("conf.d")).expect("a directory"))
            .visit("a"),
        dir("a directory with a broken file").only_ours_starts("D-11", "No configured exports; quitting.").snippet("b.conf", "[b\n").snippet("c.conf", &format!("[c]\n{export}")).visit("c"),
        dir("a directory with a bad value").only_ours_starts("D-11", "*Could not parse readonly in group b*").snippet("b.conf", &format!("[b]\n{export}readonly = yes\n")),
        dir("a directory with generic in it").snippet("b.conf", &format!("[generic]\n{export}allowlist = false\n")).visit("generic"),
        dir("a name in two files").differs("D-36", "a: *", "*", "*").differs("D-36", "list", "a|a", "a").differs("D-36", "nbd-client -l", "*a\na", "*a").differs("D-36", "*nbdinfo* is_read_only", "true", "false").may_differ("D-36", "file: disk", "*", "*").snippet("b.conf", &format!("[a]\n{export}readonly = true\n")),
        dir("a directory with a link").differs("D-37", "list", "a|b", "a|b|c").differs("D-37", "nbd-client -l", "*", "*\nc").differs("D-37", "nbdinfo --list c *", "-", "*")
            .text("elsewhere", "")
            .snippet("b.conf", &format!("[b]\n{export}"))
            .files(|dir| {
                let text = format!("[c]\nexportname = {}\n", dir.join("disk").display());
                fs::write(dir.join("elsewhere"), text).expect("written");
                std::os::unix::fs::symlink("../elsewhere", dir.join("conf.d/c.conf")).expect("a link");
            }),
        in_its_order(dir("a directory in its order")),
    ]
}

/// The original lists files as the file system has them, which for eight names in this order is not by name.
fn in_its_order(case: Case) -> Case {
    let names = ["n", "c", "x", "f", "z", "b", "k", "g"];
    let case = names.iter().fold(case, |case, name| {
        case.snippet(&format!("{name}.conf"), &format!("[{name}]\nexportname = {{dir}}/disk\n"))
    });
    case.differs("D-38", "list", "a|*", "a|b|c|f|g|k|n|x|z").differs(
        "D-38",
        "nbd-client -l",
        "*",
        "*a\nb\nc\nf\ng\nk\nn\nx\nz",
    )
}
