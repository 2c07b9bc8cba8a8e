//! What is opened, how large it is said to be, and what cannot be opened.

use crate::case::{Case, noise, write};
use crate::facts::digest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use testkit::spec;

pub fn cases() -> Vec<Case> {
    let long = format!("exportname = {{dir}}/{}", "long".repeat(35));
    vec![
        Case::new("odd sizes")
            .disk("one", 1)
            .disk("odd", 1_000_001)
            .disk("page", 4096)
            .export("one", "exportname = {dir}/one")
            .export("odd", "exportname = {dir}/odd")
            .export("page", "exportname = {dir}/page")
            .differs("D-73", "one: qemu-img info*", "*", "*"),
        Case::new("an empty file").disk("disk", 0).export("a", "exportname = {dir}/disk"),
        Case::new("a missing file")
            .export("a", "exportname = {dir}/disk")
            .disk("other", 4096)
            .export("b", "exportname = {dir}/other")
            .kept_out("a"),
        Case::new("a file that comes later")
            .export("a", "exportname = {dir}/disk")
            .without_tools()
            .kept_out("a")
            .probe(|visit| {
                write(&visit.place.dir.join("disk"), &noise(4096));
                let mut client = visit.place.connect().expect("a greeting");
                let answer = client.go("a");
                crate::probe::tell(visit, "later: go", answer);
            }),
        Case::new("a long missing path")
            .export("a", &long)
            .kept_out("a")
            .differs("D-44", "a: go", "closed", "POLICY *")
            .differs("D-44", "log: Could not open exported file *", "-", "<27> *")
            .differs("D-44", "*qemu-img*", "*", "*"),
        Case::one("filesize cuts", "filesize = 4096"),
        Case::one("filesize zero", "filesize = 0"),
        Case::one("filesize too large", "filesize = 2097152").kept_out("a"),
        Case::one("filesize negative", "filesize = -1")
            .not_started("D-43", "Could not parse config file: *filesize*"),
        Case::new("filesize makes a file").export("a", "exportname = {dir}/new\nfilesize = 65536"),
        Case::new("filesize fills an empty file")
            .disk("disk", 0)
            .export("a", "exportname = {dir}/disk\nfilesize = 65536"),
        Case::new("filesize and readonly make nothing")
            .export("a", "exportname = {dir}/new\nfilesize = 65536\nreadonly = true")
            .kept_out("a"),
        Case::new("dev null").export("a", "exportname = /dev/null").without_tools().refused("D-41", "a"),
        Case::new("dev null with a size")
            .export("a", "exportname = /dev/null\nfilesize = 65536")
            .without_script()
            .differs("D-77", "a: qemu-img info", "* Invalid argument", "* Input/output error"),
        Case::new("a directory")
            .files(|dir| fs::create_dir(dir.join("sub")).expect("a directory"))
            .export("a", "exportname = {dir}/sub")
            .without_script()
            .refused("D-41", "a"),
        Case::new("a relative path")
            .export("a", "exportname = dev/null\nfilesize = 4096")
            .without_script()
            .differs("D-77", "a: qemu-img info", "* Invalid argument", "* Input/output error"),
        Case::new("a file of somebody else")
            .generic("user = nbd\ngroup = nbd")
            .disk("disk", 1 << 20)
            .export("a", "exportname = {dir}/disk")
            .export("b", "exportname = {dir}/disk\nfilesize = 4096")
            .files(|dir| {
                write(&dir.join("secret"), &noise(4096));
                fs::set_permissions(dir.join("secret"), fs::Permissions::from_mode(0o600)).expect("our file");
            })
            .export("c", "exportname = {dir}/secret")
            .kept_out("c")
            .differs("D-21", "end: pid file", "left", "emptied")
            .differs(
                "D-50",
                "*: info flags",
                "HAS_FLAGS WRITE_ZEROES MULTI_CONN",
                "HAS_FLAGS READ_ONLY WRITE_ZEROES MULTI_CONN",
            )
            .differs("D-47", "b: go", "POLICY *", "granted")
            .differs("D-47", "b: old way", "closed", "*")
            .differs("D-47", "b: *", "-", "*")
            .differs("D-47", "b: qemu-img*", "*", "*")
            .differs("D-47", "log: Could not open exported file {dir}/disk: ", "<27> *", "-")
            .differs("D-47", "log: Size of exported file/device is 4096", "-", "<30> *"),
        shrinking(),
        huge_zeroes(),
        Case::one("large reads and writes", "").without_script().probe(large).disk("disk", 5 << 20),
    ]
}

/// C-140: what is behind the end of a file that shrank is lost.
fn shrinking() -> Case {
    Case::one("a file that shrinks", "")
        .differs("D-77", "shrunk: behind", "error 22", "error 5")
        .without_script()
        .without_tools()
        .probe(|visit| {
            let mut client = visit.place.connect().expect("a greeting");
            client.go("a").expect("served");
            let disk =
                fs::OpenOptions::new().write(true).open(visit.place.dir.join("disk")).expect("the disk");
            disk.set_len(4096).expect("cut");
            let said = |answer: Result<Vec<u8>, u32>| {
                answer.map_or_else(|error| format!("error {error}"), |data| digest(&data))
            };
            visit.facts.put("shrunk: inside", said(client.read(0, 4096)));
            visit.facts.put("shrunk: behind", said(client.read(8192, 4096)));
            visit.facts.put("shrunk: again", said(client.read(0, 512)));
            let _ = client.disc();
            client.is_closed();
        })
}

/// C-129: the original says that it is done and zeroes the first 64 MiB over and over.
fn huge_zeroes() -> Case {
    let len = 65 << 20;
    let case = Case::new("zeroes of more than 64 MiB")
        .differs("D-74", "zeroes: the last bytes", "*", "512 zeros")
        .export("a", "exportname = {dir}/disk")
        .without_script()
        .without_tools();
    case.files(move |dir| write(&dir.join("disk"), &vec![7; len])).probe(move |visit| {
        let mut client = visit.place.connect().expect("a greeting");
        client.go("a").expect("served");
        let done = client.zero(spec::CMD_FLAG_NO_HOLE, 0, len as u32);
        visit.facts.put("zeroes: answer", format!("{done:?}"));
        visit.facts.put(
            "zeroes: the last bytes",
            client.read(len as u64 - 512, 512).map_or_else(|error| error.to_string(), |data| digest(&data)),
        );
        let _ = client.disc();
        client.is_closed();
    })
}

/// C-134: lengths that no power of two divides, and more than a buffer.
fn large(visit: &mut crate::visit::Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    client.go("a").expect("served");
    for (offset, len) in [(3, (1 << 20) + 14), (5, (2 << 20) + 28), (0, 5 << 20)] {
        let read =
            client.read(offset, len).map_or_else(|error| format!("error {error}"), |data| digest(&data));
        visit.facts.put(format!("large: read {len}"), read);
        let wrote = client.write(offset, &noise(len as usize)[..]);
        visit.facts.put(format!("large: write {len}"), format!("{wrote:?}"));
    }
    let _ = client.disc();
    client.is_closed();
}
