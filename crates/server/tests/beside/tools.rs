//! What foreign clients make of it.

use crate::case::Serves;
use crate::visit::Visit;
use std::process::Command;
use testkit::tool;

/// Lists with two clients, and looks at each visited export with two.
pub fn look(visit: &mut Visit<'_>) {
    if visit.case.serves == Serves::Tcp {
        let port = visit.place.port.to_string();
        let said = run("nbd-client", &["-l", "127.0.0.1", &port]);
        visit.facts.put("nbd-client -l", said);
    }
    let listing = run("nbdinfo", &["--list", "--json", &uri(visit, "")]);
    keep(visit, "nbdinfo --list", &listing);
    for name in visit.case.visited.clone().into_iter().filter(|name| plain(name)) {
        let uri = uri(visit, &name);
        keep(visit, &format!("{name}: nbdinfo"), &run("nbdinfo", &["--json", &uri]));
        keep(visit, &format!("{name}: qemu-img info"), &run("qemu-img", &["info", "--output=json", &uri]));
    }
}

/// Names that stand in a URI as they are.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn uri(visit: &Visit<'_>, name: &str) -> String {
    match visit.case.serves {
        Serves::Unix => format!("nbd+unix:///{name}?socket={}", visit.place.dir.join("socket").display()),
        _ => format!("nbd://127.0.0.1:{}/{name}", visit.place.port),
    }
}

/// Standard output, or the status and the words of standard error.
pub fn run(program: &str, args: &[&str]) -> String {
    // qemu-img asks again for ever where an export is smaller than a sector.
    let output = Command::new("timeout")
        .arg("4")
        .arg(tool(program).unwrap_or_else(|| program.into()))
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() {
        return text;
    }
    let words = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    format!("status {} {words}{text}", output.status.code().unwrap_or(-1))
}

/// Keeps each `"key": value` of a JSON text as a fact of its own; lists of exports by the name of each.
pub fn keep(visit: &mut Visit<'_>, what: &str, text: &str) {
    if !text.starts_with('{') {
        return visit.facts.put(what, text);
    }
    let mut export = String::new();
    for line in text.lines() {
        let line = line.trim().trim_end_matches(',');
        let Some((key, value)) = line.split_once(": ") else {
            if line.starts_with('"') {
                visit.facts.put(format!("{what}{export} has {line}"), "yes");
            }
            continue;
        };
        let (key, value) = (key.trim_matches('"'), value.trim_matches('"'));
        if key == "export-name" && what.ends_with("list") {
            export = format!(" {value}");
        }
        visit.facts.put(format!("{what}{export} {key}"), value);
    }
}
