//! What the raw client is told: the list, each export three ways, and the answers to a row of requests.

use crate::facts::{NOTHING, answered, flags, until_closed};
use crate::script;
use crate::visit::Visit;
use testkit::{Client, ExportInfo, spec};

/// Looks at everything that every configuration is looked at for.
pub fn look(visit: &mut Visit<'_>) {
    list(visit);
    for name in visit.case.visited.clone() {
        info(visit, &name);
        go(visit, &name);
        old_way(visit, &name);
    }
}

fn connect(visit: &Visit<'_>) -> Option<Client> {
    visit.place.connect().ok()
}

/// ABORT, and the server's goodbye.
pub fn leave(mut client: Client) {
    let _ = client.send_option(spec::OPT_ABORT, &[]);
    until_closed(client);
}

fn list(visit: &mut Visit<'_>) {
    let Some(mut client) = connect(visit) else { return visit.facts.put("list", "no greeting") };
    let names = answered(client.list(), |names| names.join("|"));
    visit.facts.put("greeting", format!("{:#x}", client.server_flags));
    visit.facts.put("list", names);
    leave(client);
}

fn info(visit: &mut Visit<'_>, name: &str) {
    let Some(mut client) = connect(visit) else {
        return visit.facts.put(format!("{name}: info"), "no greeting");
    };
    let answer = client.info(name);
    tell(visit, &format!("{name}: info"), answer);
    leave(client);
}

fn go(visit: &mut Visit<'_>, name: &str) {
    let Some(mut client) = connect(visit) else {
        return visit.facts.put(format!("{name}: go"), "no greeting");
    };
    let answer = client.go(name);
    let size = answer.as_ref().ok().map(|info| info.size);
    tell(visit, &format!("{name}: go"), answer);
    match size {
        Some(size) if visit.case.script => {
            for (what, answer) in script::run(&mut client, size) {
                visit.facts.put(format!("{name}: {what}"), answer);
            }
            let _ = client.disc();
        }
        Some(_) => drop(client.disc()),
        None => {
            let _ = client.send_option(spec::OPT_ABORT, &[]);
        }
    }
    visit.facts.put(format!("{name}: left"), until_closed(client));
}

fn old_way(visit: &mut Visit<'_>, name: &str) {
    let fact = format!("{name}: old way");
    let told = connect(visit).map(|mut client| {
        let answer = client.export_name(name);
        let words =
            answer.map_or_else(|_| "closed".into(), |info| format!("{} {}", info.size, flags(info.flags)));
        let _ = client.disc();
        until_closed(client);
        words
    });
    visit.facts.put(fact, told.unwrap_or_else(|| "no greeting".into()));
}

/// What GO or INFO said.
pub fn tell(visit: &mut Visit<'_>, what: &str, answer: Result<ExportInfo, testkit::Refused>) {
    let (size, told) = match &answer {
        Ok(info) => (info.size.to_string(), flags(info.flags)),
        Err(_) => (NOTHING.into(), NOTHING.into()),
    };
    visit.facts.put(what, answered(answer, |_| "granted".into()));
    visit.facts.put(format!("{what} size"), size);
    visit.facts.put(format!("{what} flags"), told);
}
