//! `exports`: what is served, from which disk, and how it is.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::table::{Align, Table};
use crate::text::{name, quoted, shown};
use crate::units::{age_ms, since, size};
use crate::words;
use control::view::{Export, Operations, Session};

pub fn run(client: &Client, wanted: &args::Exports, output: &mut Output) -> Result<Exit, Failure> {
    match &wanted.name {
        Some(name) => one(client, name, wanted.json, output),
        None => all(client, wanted, output),
    }
}

fn all(client: &Client, wanted: &args::Exports, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::get(Path::v1("exports")))?;
    let exports: Vec<Export> = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| {
        if wanted.names {
            exports.iter().for_each(|export| output.say(shown(&export.name)));
        } else if exports.is_empty() {
            output.say("no exports");
        } else {
            output.say_table(&table(&exports).lines());
        }
    });
    Ok(Exit::Done)
}

fn table(exports: &[Export]) -> Table {
    let columns = [
        ("EXPORT", Align::Left),
        ("STATE", Align::Left),
        ("MODE", Align::Left),
        ("SIZE", Align::Right),
        ("SESSIONS", Align::Right),
        ("PATH", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for export in exports {
        let cells = vec![
            name(&export.name).into_owned(),
            export.state.to_string(),
            mode(export.read_only).into(),
            export.size.map_or_else(|| "-".into(), size),
            export.sessions.to_string(),
            path(export),
        ];
        table.push(cells, note(export));
    }
    table
}

/// What it is not well for.
fn note(export: &Export) -> Option<String> {
    let since = export.since.as_deref().and_then(since).map(|age| format!("since {age}"));
    let hanging = words::hanging(&export.hanging);
    let said: Vec<String> = export.reason.iter().cloned().chain(since).chain(hanging).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn mode(read_only: bool) -> &'static str {
    if read_only { "ro" } else { "rw" }
}

/// The path as it is configured, and where it leads where that is elsewhere.
fn path(export: &Export) -> String {
    match &export.device {
        Some(device) if *device != export.path => format!("{} → {device}", export.path),
        _ => export.path.clone(),
    }
}

fn one(client: &Client, name: &str, json: args::Json, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::get(Path::v1("exports").down(name)))?;
    let export: Export = answer.value()?;
    if json.json {
        output.raw(&answer.body);
        return Ok(Exit::Done);
    }
    let sessions: Vec<Session> = client.ask(&Ask::get(Path::v1("sessions")))?.value()?;
    say(&export, output);
    let own: Vec<Session> = sessions.into_iter().filter(|session| session.export == export.name).collect();
    if !own.is_empty() {
        output.say("");
        output.say_table(&words::sessions::table(&own).lines());
    }
    Ok(Exit::Done)
}

fn say(export: &Export, output: &mut Output) {
    output.say_in(Tone::Heading, name(&export.name));
    let (tone, why) = match &export.reason {
        Some(reason) => (Tone::Bad, format!(": {}", shown(reason))),
        None if export.state.is_well() => (Tone::Plain, String::new()),
        None => (Tone::Bad, String::new()),
    };
    output.say_in(tone, format!("state       {}{why}", export.state));
    if let Some(since) = &export.since {
        output.say(format!("since       {}", shown(since)));
    }
    output.say(format!("path        {}", shown(&export.path)));
    output.say(format!("device      {}", or_none(export.device.as_deref(), "nothing is there")));
    output.say(format!("identity    {}", or_none(export.identity.as_deref(), "never seen")));
    let bytes = |bytes| format!("{} ({bytes} bytes)", size(bytes));
    output.say(format!("size        {}", export.size.map_or_else(|| "not known".into(), bytes)));
    output.say(format!("mode        {}", if export.read_only { "read-only" } else { "read and write" }));
    output.say(format!("open        {}", if export.open { "yes" } else { "no" }));
    output.say(format!("sessions    {}", export.sessions));
    output.say(format!("generation  {}", export.generation));
    let line = export.line.map(|line| format!(":{line}")).unwrap_or_default();
    let file = export.file.as_ref().map(|file| format!("{}{line}", shown(file)));
    let nowhere = if export.configured { "the command line" } else { "none any more" };
    output.say(format!("file        {}", file.as_deref().unwrap_or(nowhere)));
    output.say(format!("flags       {}", or_none(Some(&export.flags.join(" ")), "never opened")));
    output.say(format!("done        {}", operations(&export.operations)));
    for (key, value) in &export.settings {
        output.say(format!("setting     {}={}", shown(key), quoted(value)));
    }
    for line in words::hanging(&export.hanging) {
        output.say_in(Tone::Bad, line);
    }
}

fn or_none<'a>(value: Option<&'a str>, none: &'a str) -> std::borrow::Cow<'a, str> {
    value.filter(|value| !value.is_empty()).map_or(none.into(), shown)
}

/// What was done, in one line.
pub fn operations(done: &Operations) -> String {
    format!(
        "{} reads ({}), {} writes ({}), {} zeroes, {} trims, {} flushes, {} others, {} errors",
        done.reads,
        size(done.bytes_read),
        done.writes,
        size(done.bytes_written),
        done.zeroes,
        done.trims,
        done.flushes,
        done.others,
        done.errors
    )
}

/// How long a request has been under way.
pub fn oldest(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".into(), age_ms)
}
