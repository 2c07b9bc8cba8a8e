//! Keys of an export that change what is told of it or how a request ends.

use crate::case::{Case, noise, write};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::one("plain", ""),
        Case::one("readonly", "readonly = true"),
        Case::one("flush fua trim rotational", "flush = true\nfua = true\ntrim = true\nrotational = true"),
        Case::one("flush alone", "flush = true\nfua = false\ntrim = 0"),
        Case::one("rotational", "rotational = 1"),
        Case::one(
            "readonly with all flags",
            "readonly = true\nflush = true\nfua = true\ntrim = true\nrotational = true",
        )
        .differs("D-46", "a: go flags", "* TRIM *", "*")
        .differs("D-46", "a: info flags", "* TRIM *", "*")
        .differs("D-46", "a: old way", "* TRIM *", "*")
        .differs("D-46", "*nbdinfo* can_trim", "true", "false"),
        Case::one("sync", "sync = true"),
        Case::one("splice", "splice = true"),
        // What the original documents and never did, and what it reads and never uses.
        Case::one("keys without effect", "listenaddr = 10.0.0.1\nport = 99\ntimeout = 7\nsdp = false"),
        Case::one("keys of nobody", "colour = red\nFlush = true\nexportname[de] = /nowhere")
            .generic("splice = true"),
        // Keys of our own do not disturb the original.
        Case::one("keys of ours", "device_changes = follow\nexclusive = true\non_change = keep")
            .generic("strict = true"),
        Case::one("an identity that is another disk's", "identity = serial:none")
            .without_script()
            .refused("D-42", "a"),
        Case::one("more keys of ours", "").generic("unixsock_mode = 0600\nunixsock_owner = root\npskfile ="),
        Case::one("keys of the control socket", "").generic(
            "controlsock = {dir}/control\ncontrolsock_mode = 0600\ncontrolsock_owner = root\n\
             metrics_listen = 127.0.0.2:{port}",
        ),
        Case::one("an overlay", "overlay = {dir}/changes").differs("D-112", "file: disk", "*", "*").differs(
            "D-112",
            "file: changes",
            "-",
            "*",
        ),
        Case::one("duplicate groups", "readonly = false").group("a", "readonly = true\nrotational = true"),
        Case::new("names with signs")
            .disk("disk", 4096)
            .export("a b", "exportname = {dir}/disk")
            .export("/:@!", "exportname = {dir}/disk")
            .export(" padded ", "exportname = {dir}/disk")
            .export("größe", "exportname = {dir}/disk")
            .visit("A B")
            .visit("")
            .visit("nobody"),
        Case::new("spaces in values")
            .files(|dir| write(&dir.join("a disk\\with"), &noise(4096)))
            .export("a", "exportname   =   {dir}/a\\sdisk\\\\with")
            .export("b", "exportname = \"{dir}/a\"")
            .kept_out("b"),
        Case::one("a linked disk", "")
            .files(|dir| {
                std::os::unix::fs::symlink("disk", dir.join("link")).expect("a link");
            })
            .export("b", "exportname = {dir}/link"),
    ];
    cases.extend(virtstyles());
    cases
}

fn virtstyles() -> Vec<Case> {
    let with = |style: &str, file: &'static str| {
        Case::new(&format!("virtstyle {style}"))
            .files(move |dir| write(&dir.join(file), &noise(8192)))
            .export("a", &format!("exportname = {{dir}}/%s\nvirtstyle = {style}"))
    };
    vec![
        with("none", "%s"),
        with("ipliteral", "127.0.0.1"),
        with("iphash", "127/0/0/1")
            .differs("D-113", "log: connect from 127/0/0/1, *", "<30> *", "-")
            .differs("D-113", "log: connect from 127.0.0.1, *", "-", "<30> *"),
        with("cidrhash 8", "127.0.0.0/127.0.0.1").let_in("D-40", "a"),
        with("cidrhash 24", "127.0.0.0/127.0.0.1").let_in("D-40", "a"),
        with("cidrhash 32", "127.0.0.1/127.0.0.1"),
        Case::one("a format for a path", "")
            .group("b", "exportname = {dir}/%s-%d")
            .not_started("D-39", "*%*"),
        Case::new("percent signs")
            .files(|dir| write(&dir.join("100%"), &noise(4096)))
            .export("a", "exportname = {dir}/100%%"),
    ]
}
