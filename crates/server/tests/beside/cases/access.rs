//! Who may connect, and how many.

use crate::case::Case;
use crate::facts::{answered, until_closed};
use crate::visit::Visit;
use std::os::unix::fs::PermissionsExt;

pub fn cases() -> Vec<Case> {
    let with = |name: &str, list: &str| {
        Case::one(name, "authfile = {dir}/allow").text("allow", list).without_tools()
    };
    vec![
        Case::one("authfile missing", "authfile = {dir}/allow"),
        with("authfile empty", "").without_script().kept_out("a"),
        with("authfile of comments", "# 127.0.0.1\n   # all\n").without_script().kept_out("a"),
        with("authfile with the client", "10.0.0.1\n127.0.0.1\n"),
        with("authfile with others", "10.0.0.1\n127.0.0.2\n").without_script().kept_out("a"),
        with("authfile with a network", "127.0.0.0/8\n").without_script(),
        with("authfile with another network", "128.0.0.0/8\n").without_script().kept_out("a"),
        with(
            "authfile in every form",
            "\r\n  garbage here\nlocalhost\n\t 127.0.0.1 more words # the client\r\n",
        )
        .without_script(),
        with("authfile of host names", "localhost\n127.0.0\n1.2.3.4.5\n").without_script().kept_out("a"),
        with("authfile without a last newline", "127.0.0.1").without_script(),
        with("authfile with a length of letters", "10.0.0.1/abc\n").without_script().refused("D-52", "a"),
        with("authfile with a negative length", "10.0.0.1/-1\n").without_script().refused("D-52", "a"),
        with("authfile with a long length", "127.0.0.1/64\n").without_script().refused("D-52", "a"),
        Case::one("authfile that cannot be read", "authfile = {dir}/allow")
            .generic("user = nbd\ngroup = nbd")
            .text("allow", "10.0.0.1\n")
            .files(|dir| {
                std::fs::set_permissions(dir.join("allow"), std::fs::Permissions::from_mode(0o600))
                    .expect("our file")
            })
            .without_script()
            .without_tools()
            .refused("D-53", "a")
            .differs("D-53", "log: Can't open authorization file * (Permission denied).", "<30> *", "-")
            .differs("D-21", "end: pid file", "left", "emptied"),
        // The original lets any IPv4 client in on a socket for both families.
        with("authfile on a socket for both families", "10.0.0.1/32\n")
            .generic("listenaddr = ::")
            .without_script()
            .refused("D-54", "a"),
        Case::one("maxconnections", "maxconnections = 1").visit_later(two_clients).differs(
            "D-48",
            "two: the next",
            "POLICY *",
            "granted",
        ),
        Case::one("maxconnections none", "maxconnections = -1").may_differ(
            "D-106",
            "log: connect from *",
            "<30> *",
            "-",
        ),
        Case::one("maxconnections many", "maxconnections =  007 "),
    ]
}

impl Case {
    /// The original counts every client that ever came, so nothing but the probe may come.
    fn visit_later(mut self, probe: impl Fn(&mut Visit<'_>) + Send + Sync + 'static) -> Self {
        self.visited.clear();
        self.without_tools().probe(probe)
    }
}

/// One is in, one more is refused; when the first is gone the next is let in, or not.
fn two_clients(visit: &mut Visit<'_>) {
    let mark = visit.place.syslog.mark();
    let go = |what: &str, visit: &mut Visit<'_>| {
        let mut client = visit.place.connect().expect("a greeting");
        let answer = answered(client.go("a"), |_| "granted".into());
        visit.facts.put(format!("two: {what}"), answer);
        client
    };
    let mut first = go("the first", visit);
    let second = go("the second", visit);
    drop(second);
    let _ = first.disc();
    visit.facts.put("two: the first left", until_closed(first));
    let _ = go("the next", visit).disc();
    let end = visit.place.syslog.mark();
    visit.log_between(mark, end);
}
