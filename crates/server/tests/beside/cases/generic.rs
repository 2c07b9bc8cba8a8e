//! Keys of `[generic]`.

use crate::case::{Case, noise, write};
use crate::facts::answered;
use crate::visit::Visit;
use std::net::TcpStream;
use std::time::Duration;
use testkit::Client;

pub fn cases() -> Vec<Case> {
    vec![
        Case::one("allowlist false", "").generic("allowlist = false"),
        Case::one("listenaddr of two", "").generic("listenaddr = 127.0.0.1, ::1").probe(reached),
        Case::one("listenaddr with blanks", "")
            .generic("listenaddr = 127.0.0.1\t127.0.0.2 no.such.name.invalid")
            .without_tools()
            .probe(reached),
        Case::one("listenaddr unset", "")
            .main("[generic]\nport = {port}\nallowlist = true\n[a]\nexportname = {dir}/disk\n")
            .probe(reached),
        Case::one("a socket", "")
            .generic("unixsock = {dir}/socket")
            .unix()
            .differs("D-19", "file: socket", "755 special", "-")
            .probe(reached),
        Case::one("a socket and TCP", "")
            .generic("unixsock = {dir}/socket\nduallisten = true")
            .unix()
            .differs("D-19", "file: socket", "755 special", "-")
            .probe(reached),
        Case::new("a socket and %s")
            .files(|dir| write(&dir.join("unix"), &noise(4096)))
            .export("a", "exportname = {dir}/%s")
            .generic("unixsock = {dir}/socket")
            .unix()
            .differs("D-19", "file: socket", "755 special", "-")
            .without_tools(),
        Case::one("a socket and an empty list", "authfile = {dir}/allow")
            .text("allow", "")
            .generic("unixsock = {dir}/socket")
            .unix()
            .differs("D-19", "file: socket", "755 special", "-")
            .without_script()
            .without_tools()
            .kept_out("a"),
        Case::one("a socket and a list", "authfile = {dir}/allow")
            .text("allow", "127.0.0.1\n")
            .generic("unixsock = {dir}/socket")
            .unix()
            .differs("D-19", "file: socket", "755 special", "-")
            .without_script()
            .without_tools()
            .kept_out("a")
            .differs("D-55", "a: go", "closed", "POLICY *")
            .differs("D-55", "log: Client 'unix' is not authorized to access", "-", "<30> *"),
        Case::one("a stale socket", "")
            .generic("unixsock = {dir}/socket")
            .unix()
            .differs("D-19", "start: serves", "false", "true")
            .files(|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).expect("bound"))),
        Case::one("one thread", "").generic("max_threads = 1"),
        Case::one("threads without limit", "").generic("max_threads = -1"),
        Case::one("no threads", "")
            .generic("max_threads = 0")
            .patience(Duration::from_secs(1))
            .without_tools()
            .not_started("D-49", "Could not parse config file: *max_threads must be at least 1*"),
        Case::one("a user", "").generic("user = nbd\ngroup = nbd").files(given_away).probe(who).differs(
            "D-21",
            "end: pid file",
            "left",
            "emptied",
        ),
        Case::one("a user alone", "").generic("user = nbd").probe(who).read_only_by_user().differs(
            "D-50",
            "*nbdinfo* is_read_only",
            "false",
            "true",
        ),
        Case::one("an unknown user", "")
            .generic("user = nobody-of-that-name")
            .differs("D-10", "start: status", "0", "1")
            .differs("D-10", "start: stderr", "", "Invalid user name: *")
            .differs("D-21", "end: pid file", "left", "none"),
        Case::one("an unknown group", "")
            .generic("group = nobody-of-that-name")
            .differs("D-10", "start: status", "0", "1")
            .differs("D-10", "start: stderr", "", "Invalid group name: *")
            .differs("D-21", "end: pid file", "left", "none"),
        Case::one("a port of letters", "")
            .main("[generic]\nport = no-such-service\n[a]\nexportname = {dir}/disk\n")
            .differs("D-10", "start: status", "0", "1")
            .differs("D-10", "start: stderr", "", "failed to setup servers: *")
            .differs("D-21", "end: pid file", "left", "none"),
        Case::one("oldstyle false", "").generic("oldstyle = false"),
        Case::one("oldstyle true", "").generic("oldstyle = true").fails().differs(
            "D-14",
            "start: stderr",
            "Since 3.10*\nExiting.",
            "Could not parse config file: *Since 3.10*",
        ),
    ]
}

/// Everything belongs to the user that the server becomes.
fn given_away(dir: &std::path::Path) {
    let (uid, gid) = (user_number("-u"), user_number("-g"));
    std::os::unix::fs::chown(dir.join("disk"), uid, gid).expect("root may");
}

fn user_number(what: &str) -> Option<u32> {
    let output = std::process::Command::new("id").args([what, "nbd"]).output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Ids, groups and rights of the process in the pid file.
fn who(visit: &mut Visit<'_>) {
    let pid = visit.place.pid().expect("a pid file").as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for line in status.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if ["Uid", "Gid", "Groups", "CapEff", "CapPrm", "Umask"].contains(&key) {
            visit.facts.put(format!("process: {key}"), value.trim());
        }
    }
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs");
    visit.facts.put("process: cwd", cwd.display());
    for number in 0..3 {
        let to = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
        visit.facts.put(format!("process: fd {number}"), to.display());
    }
}

/// Which addresses accept, and what a client of each is told.
fn reached(visit: &mut Visit<'_>) {
    for address in ["127.0.0.1", "127.0.0.2", "::1"] {
        let told = TcpStream::connect((address, visit.place.port)).and_then(Client::from_tcp).and_then(
            |mut client| {
                client.greet()?;
                let told = answered(client.go("a"), |info| info.size.to_string());
                client.disc()?;
                client.is_closed();
                Ok(told)
            },
        );
        visit
            .facts
            .put(format!("reached at {address}"), told.unwrap_or_else(|error| format!("{:?}", error.kind())));
    }
}
