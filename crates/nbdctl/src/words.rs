//! What each word does: it asks, and says the answer.

mod check;
mod completions;
mod cut;
mod edit;
mod events;
mod explain;
mod exports;
pub mod plan;
mod reload;
mod sessions;
mod status;

use crate::args::{Cli, Word};
use crate::client::{Ask, Client, Failure, Path};
use crate::deploy;
use crate::drift;
use crate::exit::Exit;
use crate::output::Output;
use crate::text::{name, shown};
use crate::top;
use crate::units::age_ms;
use control::view::{Hanging, Problem};

/// Does what the command line asks for.
pub fn run(cli: &Cli, output: &mut Output) -> Exit {
    carry_out(cli, output).unwrap_or_else(|failure| output.fail(&failure, wants_json(&cli.word)))
}

fn carry_out(cli: &Cli, output: &mut Output) -> Result<Exit, Failure> {
    match &cli.word {
        // Those that ask nobody.
        Word::Explain(explain) => return Ok(explain::run(explain, output)),
        Word::Completions(completions) => return Ok(completions::run(completions, output)),
        Word::Deploy(wanted) => return Ok(deploy::deploy(wanted, output)),
        Word::Rollback(wanted) => return Ok(deploy::rollback(wanted, output)),
        _ => {}
    }
    let client = Client::new(&cli.server)?;
    match &cli.word {
        Word::Status(json) => status::run(&client, *json, output),
        Word::Exports(exports) => exports::run(&client, exports, output),
        Word::Sessions(sessions) => sessions::run(&client, sessions, output),
        Word::Reload(json) => reload::run(&client, *json, output),
        Word::Plan(plan) => plan::run(&client, plan, output),
        Word::Check(check) => check::run(&client, check, output),
        Word::Fence(export) => cut::fence(&client, export, output),
        Word::End(end) => cut::end(&client, end, output),
        Word::Clear(export) => cut::clear(&client, export, output),
        Word::Add(add) => edit::add(&client, add, output),
        Word::Remove(remove) => edit::remove(&client, remove, output),
        Word::Events(events) => events::run(&client, events, output),
        Word::LogLevel(level) => status::log_level(&client, level, output),
        Word::Drift(drift) => drift::run(&client, drift, output),
        Word::Metrics => as_it_came(&client, Path::at("/metrics"), output),
        Word::Openapi => as_it_came(&client, Path::v1("openapi.json"), output),
        Word::Top(top) => top::run(client, top, output),
        Word::Explain(_) | Word::Completions(_) | Word::Deploy(_) | Word::Rollback(_) => Ok(Exit::Done),
    }
}

fn wants_json(word: &Word) -> bool {
    match word {
        Word::Status(json) | Word::Reload(json) => json.json,
        Word::Exports(exports) => exports.json.json,
        Word::Sessions(sessions) => sessions.json.json,
        Word::Plan(plan) => plan.json.json,
        Word::Check(check) => check.json.json,
        Word::Fence(export) | Word::Clear(export) => export.json.json,
        Word::End(end) => end.json.json,
        Word::Add(add) => add.json.json,
        Word::Remove(remove) => remove.json.json,
        Word::Events(events) => events.json.json,
        Word::LogLevel(level) => level.json.json,
        Word::Drift(drift) => drift.json.json,
        Word::Metrics | Word::Openapi | Word::Top(_) | Word::Explain(_) | Word::Completions(_) => false,
        Word::Deploy(_) | Word::Rollback(_) => false,
    }
}

fn as_it_came(client: &Client, path: Path, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::get(path))?;
    output.raw(&answer.body);
    Ok(Exit::Done)
}

/// `FILE:LINE: KEY: REASON`, as compilers say it.
pub fn problem(problem: &Problem) -> String {
    let mut said = String::new();
    if !problem.file.is_empty() {
        said += &format!("{}:", shown(&problem.file));
        said += &problem.line.map_or_else(|| " ".into(), |line| format!("{line}: "));
    }
    if let Some(key) = &problem.key {
        said += &format!("{}: ", shown(key));
    }
    said + &shown(&problem.reason)
}

/// Requests that do not come back, and what follows from it: a line for each, or for several of one client that hang as long.
fn hanging(hanging: &[Hanging]) -> Vec<String> {
    let mut groups: Vec<(&Hanging, String, u64)> = Vec::new();
    for one in hanging {
        let age = age_ms(one.age_ms);
        let same = |(of, as_long, _): &&mut (&Hanging, String, u64)| {
            (&of.export, &of.path, &of.peer, as_long) == (&one.export, &one.path, &one.peer, &age)
        };
        match groups.iter_mut().find(same) {
            Some((_, _, count)) => *count += 1,
            None => groups.push((one, age, 1)),
        }
    }
    groups.iter().map(|(of, age, count)| hanging_as_long(of, age, *count)).collect()
}

fn hanging_as_long(of: &Hanging, age: &str, sessions: u64) -> String {
    let who = match &of.peer {
        Some(peer) if sessions > 1 => format!("requests of {} in {sessions} sessions", shown(peer)),
        Some(peer) => format!("a request of {}", shown(peer)),
        None => "opening or looking at the disk".into(),
    };
    format!("hangs: {} {}: {who}, for {age}; this disk is not free", name(&of.export), shown(&of.path))
}
