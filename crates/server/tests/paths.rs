//! Paths that depend on the client, and disks of several files, as clients of the real server see them.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use testkit::spec::*;
use testkit::{Client, LoopDevice, is_root, skip_or_fail};

/// The first byte of what a client gets, who comes over TCP from 127.0.0.1, or over the Unix socket.
fn first_byte(mut client: Client, export: &str) -> Result<u8, String> {
    client.go(export).map_err(|(_, why)| why)?;
    client.read(0, 1).map(|bytes| bytes[0]).map_err(|error| error.to_string())
}

fn write(path: &Path, fill: u8) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, vec![fill; BLOCK]).expect("a disk");
}

/// C-159 to C-163: each style, for a client with an address and for one without; and `%%` is a percent sign.
#[test]
fn a_path_names_the_client_in_the_style_that_is_wanted() {
    let setup = server().unix();
    let dir = setup.dir().to_path_buf();
    let of_tcp =
        ["literal-127.0.0.1", "hash/127/0/0/1", "cidr/127.0.0.0/127.0.0.1", "twice-127.0.0.1-127.0.0.1"];
    let of_unix = ["literal-unix", "hash/unix", "cidr/unix", "twice-unix-unix"];
    for (number, name) in (1..).zip(of_tcp.iter().chain(&of_unix)) {
        write(&dir.join(name), number);
    }
    write(&dir.join("none-%s"), 20);
    write(&dir.join("100%"), 21);
    let server = setup
        .export("literal", &dir.join("literal-%s"), "")
        .export("hash", &dir.join("hash/%s"), "virtstyle = iphash")
        .export("cidr", &dir.join("cidr/%s"), "virtstyle = cidrhash 8")
        .export("twice", &dir.join("twice-%s-%s"), "virtstyle = ipliteral")
        .export("none", &dir.join("none-%s"), "virtstyle = none")
        .export("percent", &dir.join("100%%"), "")
        .start();
    let tcp = |export: &str| first_byte(server.connect(), export);
    let unix = |export: &str| first_byte(Client::connect_unix(&server.socket()).expect("it accepts"), export);
    for (number, export) in (1..).zip(["literal", "hash", "cidr", "twice"]) {
        assert_eq!((tcp(export), unix(export)), (Ok(number), Ok(number + 4)), "{export}");
    }
    assert_eq!((tcp("none"), tcp("percent")), (Ok(20), Ok(21)));
    let line = format!("assigned file is {}", dir.join("hash/127/0/0/1").display());
    let patience = std::time::Duration::from_secs(20);
    assert!(server.wait_for(|said| said.ends_with(&line), patience).is_some(), "the log names the file");
}

/// P3, P4: where each client has its own file, another file under the path of one is no business of the others.
#[test]
fn a_file_that_was_replaced_concerns_its_own_client_alone() {
    let setup = server().unix();
    let dir = setup.dir().to_path_buf();
    write(&dir.join("disk-unix"), 1);
    write(&dir.join("disk-127.0.0.1"), 2);
    let server = setup.export("disk", &dir.join("disk-%s"), "").start();
    let mut tcp = server.open("disk");
    let mut unix = Client::connect_unix(&server.socket()).expect("it accepts");
    unix.go("disk").expect("served");
    server.reload().expect_complete();
    assert_eq!((tcp.read(0, 1), unix.read(0, 1)), (Ok(vec![2]), Ok(vec![1])));
    write(&dir.join("new"), 3);
    fs::rename(dir.join("new"), dir.join("disk-unix")).expect("it takes its place");
    let reloaded = server.reload().expect_complete();
    assert_eq!((reloaded.closing.changed, reloaded.closing.fenced), (1, 1), "{:#?}", reloaded.events);
    assert!(unix.is_closed());
    tcp.write(0, &[9]).expect("undisturbed");
    assert_eq!(first_byte(Client::connect_unix(&server.socket()).expect("it accepts"), "disk"), Ok(3));
    // And with the export goes everybody.
    fs::write(
        server.config_path(),
        fs::read_to_string(server.config_path()).expect("it is there").replace("disk-%s", "else-%s"),
    )
    .expect("written");
    server.reload().expect_complete();
    assert!(tcp.is_closed());
}

/// C-161: what is no client and no percent sign is a mistake, and is told with its line; the export is left out.
#[test]
fn other_percent_signs_are_mistakes_in_the_configuration() {
    let server = server().start();
    for (number, path) in ["/x/%d", "/x/%", "/x/%s%n"].iter().enumerate() {
        server.write_export(&format!("wrong{number}"), Path::new(path), "");
    }
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.added, reloaded.closing.kept), (0, 3), "{:#?}", reloaded.events);
    assert!(reloaded.events.iter().any(|event| event.value("key") == Some("exportname")));
}

/// C-023, C-194, C-195: files one behind the other up to the first gap; requests go across the seams.
#[test]
fn files_one_behind_the_other_are_one_disk() {
    let setup = server();
    let path = setup.dir().join("part");
    let part = |number: u32| setup.dir().join(format!("part.{number}"));
    for (number, len) in [(0, 1000), (1, 5000), (2, 100), (4, 7)] {
        fs::write(part(number), vec![number as u8; len]).expect("a part");
    }
    let parts: Vec<_> = (0..5).map(part).collect();
    let missing = setup.dir().join("missing");
    let server = setup
        .export("parts", &path, "multifile = true")
        .export("cut", &path, "multifile = true\nfilesize = 1001\nreadonly = true")
        .export("large", &path, "multifile = true\nfilesize = 100000")
        .export("none", &missing, "multifile = true\nfilesize = 4096")
        .start();
    let mut client = server.connect();
    assert_eq!(client.go("parts").expect("served").size, 6100);
    client.write(990, &[9; 5020]).expect("across both seams");
    assert_eq!(client.read(990, 5020), Ok(vec![9; 5020]));
    client.trim(5000, 1100).expect("in the last one too");
    client.flush().expect("all of them");
    assert_eq!(fs::read(&parts[0]).expect("a part")[990..], [9; 10]);
    assert_eq!(fs::read(&parts[2]).expect("a part"), [0; 100]);
    assert_eq!(fs::read(&parts[4]).expect("a part"), [4; 7], "behind the gap");
    let mut cut = server.connect();
    assert_eq!(cut.go("cut").expect("served").size, 1001);
    assert_eq!(cut.read(1000, 1), Ok(vec![9]));
    let why = |export: &str| server.connect().go(export).expect_err("refused").1;
    assert!(why("large").contains("Size of exported file is too big"), "{}", why("large"));
    assert!(why("none").contains("No such file or directory"), "{}", why("none"));
    assert!(!parts[3].exists());
    // One of them replaced is another disk.
    fs::rename(&parts[4], &parts[1]).expect("it takes its place");
    let reloaded = server.reload();
    assert!(reloaded.about("session fenced", "parts").is_some(), "{:#?}", reloaded.events);
    assert!(client.is_closed());
    assert_eq!(server.connect().go("parts").expect("served").size, 1107);
}

/// C-190, C-192, C-193: a file for each page, made when it is written, gone when it is trimmed; nothing is made by reading.
#[test]
fn a_tree_has_a_file_for_each_page() {
    let setup = server();
    let tree = setup.dir().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let server = setup
        .export("tree", &tree, "treefiles = true\nfilesize = 4194304")
        .export("read", &tree, "treefiles = true\nfilesize = 4194304\nreadonly = true")
        .start();
    let mut client = server.connect();
    assert_eq!(client.go("tree").expect("served").size, 4 << 20);
    assert_eq!(client.read(0, 100_000), Ok(vec![0; 100_000]));
    assert_eq!(fs::read_dir(&tree).expect("a directory").count(), 0);
    client.write(8190, &[1; 4]).expect("written");
    let page = |number: u32| tree.join(format!("TREE0000/FILE{number:04X}"));
    for number in [1, 2] {
        let found = fs::metadata(page(number)).expect("a page");
        assert_eq!((found.len(), found.permissions().mode() & 0o777), (4096, 0o600));
    }
    let mut read = server.connect();
    assert!(read.go("read").expect("served").has(FLAG_READ_ONLY));
    assert_eq!(read.read(8188, 8), Ok(vec![0, 0, 1, 1, 1, 1, 0, 0]));
    assert_eq!(read.write(0, &[1]), Err(EPERM));
    client.trim(4096, 5000).expect("the first page whole, the second in part");
    assert!(!page(1).exists() && page(2).exists());
    assert_eq!(client.read(8190, 4), Ok(vec![0, 0, 1, 1]));
    client.flush().expect("flushed");
    server.reload().expect_complete();
    assert_eq!(client.read(8190, 4), Ok(vec![0, 0, 1, 1]), "a reload does not disturb it");
}

/// Copy on write, and an overlay, lie over several files and over trees as they do over one.
#[test]
fn layers_lie_over_disks_of_every_kind() {
    let setup = server();
    let (path, tree) = (setup.dir().join("part"), setup.dir().join("tree"));
    fs::write(setup.dir().join("part.0"), [1; 5000]).expect("a part");
    fs::write(setup.dir().join("part.1"), [2; 5000]).expect("a part");
    fs::create_dir(&tree).expect("a directory");
    let overlay = format!("overlay = {}", setup.dir().join("o").display());
    let server = setup
        .export("cow", &path, "multifile = true\ncopyonwrite = true")
        .export("over", &path, &format!("multifile = true\n{overlay}"))
        .export("tree", &tree, "treefiles = true\nfilesize = 10000\ncopyonwrite = true")
        .start();
    for export in ["cow", "over", "tree"] {
        let mut client = server.connect();
        assert_eq!(client.go(export).expect("served").size, 10_000, "{export}");
        client.write(4990, &[9; 20]).expect("written");
        assert_eq!(client.read(4990, 20), Ok(vec![9; 20]), "{export}");
    }
    let parts = [fs::read(server.dir().join("part.0")), fs::read(server.dir().join("part.1"))];
    assert_eq!(parts.map(|part| part.expect("a part")), [vec![1; 5000], vec![2; 5000]]);
    assert_eq!(fs::read_dir(&tree).expect("a directory").count(), 0);
}

/// P3, P4: between reloads too, a device that was replaced under the path of one client ends the session of that one; and
/// who is on the new file already is not disturbed by the reload that learns of it.
#[test]
fn only_the_client_whose_disk_moved_has_to_go() {
    let setup = server().unix();
    let dir = setup.dir().to_path_buf();
    let images = ["a.img", "b.img", "c.img"].map(|name| dir.join(name));
    images.iter().for_each(|image| fs::write(image, [0; 1 << 20]).expect("an image"));
    let devices = images.each_ref().map(|image| LoopDevice::attach(image).filter(|_| is_root()));
    let [Some(a), Some(b), Some(c)] = &devices else {
        return skip_or_fail("only_the_client", "root and three free loop devices");
    };
    let (of_tcp, of_unix) = (dir.join("disk-127.0.0.1"), dir.join("disk-unix"));
    common::point(&of_tcp, a.path());
    common::point(&of_unix, b.path());
    let server = setup.export("disk", &dir.join("disk-%s"), "").start();
    let mut tcp = server.open("disk");
    let mut unix = Client::connect_unix(&server.socket()).expect("it accepts");
    unix.go("disk").expect("served");
    common::point(&of_unix, c.path());
    assert!(unix.is_closed());
    tcp.write(0, &[9]).expect("undisturbed");
    tcp.flush().expect("flushed");
    assert!(fs::read(&images[2]).expect("the image").iter().all(|&byte| byte == 0));
}

/// P3: a client that came after its file was replaced is on the new one, and the next reload knows.
#[test]
fn a_client_that_is_on_its_new_file_already_stays() {
    let setup = server();
    let dir = setup.dir().to_path_buf();
    write(&dir.join("disk-127.0.0.1"), 1);
    let server = setup.export("disk", &dir.join("disk-%s"), "").start();
    let mut old = server.open("disk");
    write(&dir.join("new"), 2);
    fs::rename(dir.join("new"), dir.join("disk-127.0.0.1")).expect("it takes its place");
    let mut new = server.open("disk");
    let reloaded = server.reload().expect_complete();
    assert_eq!(reloaded.closing.fenced, 1, "{:#?}", reloaded.events);
    assert!(old.is_closed());
    assert_eq!(new.read(0, 1), Ok(vec![2]));
    new.write(0, &[3]).expect("undisturbed");
}
