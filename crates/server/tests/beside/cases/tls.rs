//! TLS: who must use it, and what is said in the clear.

use crate::case::Case;
use crate::facts::{answered, until_closed};
use crate::probe::leave;
use crate::tools;
use crate::visit::Visit;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use testkit::{TempDir, spec};

const FILES: &str =
    "certfile = {dir}/server-cert.pem\nkeyfile = {dir}/server-key.pem\ncacertfile = {dir}/ca-cert.pem";

pub fn cases() -> Vec<Case> {
    let with = |name: &str, generic: &str, export: &str| {
        Case::one(name, export)
            .generic(generic)
            .files(certificates)
            .probe(clear)
            .probe(inside)
            .without_script()
            .without_tools()
    };
    vec![
        with("tls", FILES, "")
            .probe(with_a_payload)
            .patience(Duration::from_secs(4))
            .differs("D-91", "starttls with a payload*", "*", "*")
            .group("b", "exportname = {dir}/disk\nforce_tls = true")
            .visit("b"),
        with("tls for all", &format!("{FILES}\nforce_tls = true"), ""),
        with("tls for one", FILES, "force_tls = true\ntls_allow = CN=localhost"),
        with(
            "tls of one version",
            &format!("{FILES}\ntlsprio = NORMAL:-VERS-TLS-ALL:+VERS-TLS1.2:%SERVER_PRECEDENCE"),
            "",
        ),
        Case::one("tls forced and not set up", "").generic("force_tls = true").probe(clear).without_script(),
        Case::one("tls without a key", "")
            .generic("certfile = {dir}/server-cert.pem")
            .files(certificates)
            .probe(clear),
        with(
            "tls without authorities",
            "certfile = {dir}/server-cert.pem\nkeyfile = {dir}/server-key.pem",
            "",
        )
        .differs("D-94", "tls * size", "refused", "1048576")
        .differs("D-94", "tls *: nbdinfo --list*", "*", "*"),
        with("tls of one file", "keyfile = {dir}/both.pem\ncacertfile = {dir}/ca-cert.pem", "")
            .differs("D-95", "tls right: size", "refused", "1048576")
            .differs("D-95", "tls right: nbdinfo --list*", "*", "*"),
        Case::one("tlsonly", "tlsonly = true")
            .without_script()
            .without_tools()
            .differs("D-31", "a: go", "granted", "TLS_REQD *")
            .differs("D-31", "a: *", "*", "*")
            .differs("D-31", "list", "a", "")
            .may_differ("D-31", "log: *", "<30> *", "-"),
        Case::one("timeout", "timeout = 1")
            .without_script()
            .without_tools()
            .patience(Duration::from_secs(4))
            .probe(silent)
            .differs("D-31", "a silent client", "open", "closed"),
    ]
}

/// A client that has nothing more to say.
fn silent(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    client.go("a").expect("served");
    visit.facts.put("a silent client", until_closed(client));
}

/// The answers in the clear.
fn clear(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    visit.facts.put("clear: list", answered(client.list(), |names| names.join("|")));
    visit.facts.put("clear: info", answered(client.describe(spec::OPT_INFO, "a", &[]), |_| "granted".into()));
    visit.facts.put("clear: unknown option", answered(client.ask(77, b""), |_| "acknowledged".into()));
    leave(client);
    let mut client = visit.place.connect().expect("a greeting");
    visit
        .facts
        .put("clear: starttls", answered(client.ask(spec::OPT_STARTTLS, b""), |_| "acknowledged".into()));
}

/// C-214
fn with_a_payload(visit: &mut Visit<'_>) {
    let mut client = visit.place.connect().expect("a greeting");
    visit.facts.put(
        "starttls with a payload",
        answered(client.ask(spec::OPT_STARTTLS, b"four"), |_| "acknowledged".into()),
    );
    visit.facts.put("starttls with a payload, then list", answered(client.list(), |names| names.join("|")));
}

/// What a foreign client with the right certificate finds, and one with the wrong one, and one with none.
fn inside(visit: &mut Visit<'_>) {
    for who in ["right", "wrong", "none"] {
        let certificates = visit.place.dir.join(who);
        let uri =
            format!("nbds://localhost:{}?tls-certificates={}", visit.place.port, certificates.display());
        let said = tools::run("nbdinfo", &["--list", "--json", &uri]);
        if said.starts_with('{') {
            tools::keep(visit, &format!("tls {who}: nbdinfo --list"), &said);
        } else {
            visit.facts.put(format!("tls {who}: nbdinfo --list"), "refused");
        }
        let uri =
            format!("nbds://localhost:{}/a?tls-certificates={}", visit.place.port, certificates.display());
        let size = tools::run("nbdinfo", &["--size", &uri]);
        visit.facts.put(
            format!("tls {who}: size"),
            if size.starts_with("status") { "refused".into() } else { size },
        );
    }
}

/// Made once, written for each server: the same certificates for both.
fn certificates(dir: &Path) {
    static MADE: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let made = MADE.get_or_init(make);
    for (from, to) in [
        ("ca-cert.pem", "ca-cert.pem"),
        ("server-cert.pem", "server-cert.pem"),
        ("server-key.pem", "server-key.pem"),
        ("both.pem", "both.pem"),
        ("ca-cert.pem", "right/ca-cert.pem"),
        ("client-cert.pem", "right/client-cert.pem"),
        ("client-key.pem", "right/client-key.pem"),
        ("ca-cert.pem", "wrong/ca-cert.pem"),
        ("other-cert.pem", "wrong/client-cert.pem"),
        ("other-key.pem", "wrong/client-key.pem"),
        ("ca-cert.pem", "none/ca-cert.pem"),
    ] {
        crate::case::write(&dir.join(to), &made[from]);
    }
}

/// Two authorities, a server and two clients, by the names of their files.
fn make() -> BTreeMap<String, Vec<u8>> {
    let dir = TempDir::new("certificates");
    let openssl = |args: &str| {
        let status = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "openssl {args}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for (ca, subject) in [("ca", "/CN=ca"), ("otherca", "/CN=other")] {
        openssl(&format!(
            "req -x509 {key} -subj {subject} -days 3650 -keyout {ca}-key.pem -out {ca}-cert.pem"
        ));
    }
    std::fs::write(dir.join("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").expect("written");
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").expect("written");
    for (name, ca, ext) in
        [("server", "ca", "server"), ("client", "ca", "client"), ("other", "otherca", "client")]
    {
        openssl(&format!("req {key} -subj /CN=localhost -keyout {name}-key.pem -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}-cert.pem -CAkey {ca}-key.pem -CAcreateserial -days 3650 -extfile {ext}.ext -out {name}-cert.pem"
        ));
    }
    let read = |file: &str| std::fs::read(dir.join(file)).expect("just made");
    let names = ["ca", "server", "client", "other"]
        .map(|name| ["cert", "key"].map(|kind| format!("{name}-{kind}.pem")));
    let mut made: BTreeMap<_, _> =
        names.into_iter().flatten().map(|name| (name.clone(), read(&name))).collect();
    made.insert("both.pem".into(), [read("server-cert.pem"), read("server-key.pem")].concat());
    made
}
