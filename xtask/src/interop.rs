//! `interop`: foreign clients against ours, each result checked. The original beside ours is a test of its own:
//! `crates/server/tests/beside.rs`.

use crate::rivals::{Profile, Rival, build, noise, scratch};
use crate::run::{Failed, Run, all, tool};
use std::path::Path;

const MIB: usize = 1 << 20;

/// Everything; a client that is not installed is said aloud.
pub fn interop(_: &[String]) -> Result<(), Failed> {
    build(Profile::Dev)?;
    let dir = scratch("interop")?;
    let (disk, copy) = (dir.join("disk"), dir.join("copy"));
    let content = [noise(4 * MIB), vec![0; 8 * MIB], noise(4 * MIB)].concat();
    std::fs::write(&disk, &content).map_err(|error| Failed(error.to_string()))?;
    let ours = Rival::start("ours", Profile::Dev, &disk)?
        .ok_or_else(|| Failed("our own binary is not there".into()))?;
    let uri = ours.uri("disk");
    let port = ours.port.to_string();
    let copied = |what: &str| match std::fs::read(&copy) {
        Ok(bytes) if bytes == content => Ok(()),
        _ => Err(Failed(format!("{what}: the copy differs"))),
    };
    let pull = |what: &str, program: &str, args: &[&str]| {
        let _ = std::fs::remove_file(&copy);
        client(what, program, args).and_then(|there| if there { copied(what) } else { Ok(()) })
    };
    let copy_text = copy.display().to_string();
    all([
        listing("nbdinfo", &["--list", &uri]),
        listing("nbd-client", &["-l", "127.0.0.1", &port]),
        pull("nbdcopy reads", "nbdcopy", &[&uri, &copy_text]),
        pull("qemu-img reads", "qemu-img", &["convert", "-f", "raw", "-O", "raw", &uri, &copy_text]),
        client("qemu-io writes", "qemu-io", &["-f", "raw", "-c", "write -P 7 4M 64k", "-c", "flush", &uri])
            .map(drop),
        client(
            "qemu-io zeroes",
            "qemu-io",
            &["-f", "raw", "-c", "write -z -u 1M 1M", "-c", "read -P 0 1M 1M", &uri],
        )
        .map(drop),
        client("nbdcopy writes", "nbdcopy", &["--flush", &copy_text, &uri])
            .and_then(|there| if there { same(&disk, &content) } else { Ok(()) }),
    ])
}

/// Runs a client; false where it is not installed.
fn client(what: &str, program: &str, args: &[&str]) -> Result<bool, Failed> {
    let Some(path) = tool(program) else {
        println!("SKIPPED: {what}: {program} is not installed");
        return Ok(false);
    };
    Run::new(path).args(args).go(what).map(|()| true)
}

fn listing(program: &str, args: &[&str]) -> Result<(), Failed> {
    let Some(path) = tool(program) else {
        println!("SKIPPED: {program} is not installed");
        return Ok(());
    };
    println!("== {program} lists");
    let text = Run::new(path).args(args).text()?;
    let missing: Vec<&str> =
        ["disk", "locked", "cut", "plain"].into_iter().filter(|name| !text.contains(name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Failed(format!("{program} does not see {missing:?}"))) }
}

fn same(disk: &Path, content: &[u8]) -> Result<(), Failed> {
    let bytes = std::fs::read(disk).map_err(|error| Failed(error.to_string()))?;
    if bytes == content { Ok(()) } else { Err(Failed("what was written is not on the disk".into())) }
}
