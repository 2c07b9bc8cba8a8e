//! `sessions`: who is connected.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::table::{Align, Table};
use crate::text::{name, shown};
use crate::units::{since, size};
use crate::words::exports::{oldest, operations};
use control::view::Session;

pub fn run(client: &Client, wanted: &args::Sessions, output: &mut Output) -> Result<Exit, Failure> {
    let path = Path::v1("sessions");
    if let Some(id) = wanted.id {
        let answer = client.ask(&Ask::get(path.down(&id.to_string())))?;
        let session: Session = answer.value()?;
        output.answer(wanted.json.json, &answer, |output| say(&session, output));
        return Ok(Exit::Done);
    }
    let answer = client.ask(&Ask::get(path))?;
    let sessions: Vec<Session> = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| {
        if wanted.ids {
            sessions.iter().for_each(|session| output.say(session.id));
        } else if sessions.is_empty() {
            output.say("no sessions");
        } else {
            output.say_table(&table(&sessions).lines());
        }
    });
    Ok(Exit::Done)
}

pub fn table(sessions: &[Session]) -> Table {
    let columns = [
        ("ID", Align::Right),
        ("AGE", Align::Right),
        ("READ", Align::Right),
        ("WRITTEN", Align::Right),
        ("ERRORS", Align::Right),
        ("FLIGHT", Align::Right),
        ("IDLE", Align::Right),
        ("PEER", Align::Left),
        ("EXPORT", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for session in sessions {
        let cells = vec![
            session.id.to_string(),
            since(&session.since).unwrap_or_else(|| "-".into()),
            size(session.operations.bytes_read),
            size(session.operations.bytes_written),
            session.operations.errors.to_string(),
            session.in_flight.to_string(),
            oldest(session.idle_ms),
            session.peer.clone(),
            name(&session.export).into_owned(),
        ];
        table.push(cells, None);
    }
    table
}

fn say(session: &Session, output: &mut Output) {
    output.say_in(Tone::Heading, format!("session {}", session.id));
    output.say(format!("peer        {}", shown(&session.peer)));
    output.say(format!("TLS         {}", session.tls.as_deref().map_or("no".into(), shown)));
    output.say(format!("export      {}", name(&session.export)));
    output.say(format!("path        {}", shown(&session.path)));
    output.say(format!("mode        {}", if session.read_only { "read-only" } else { "read and write" }));
    output.say(format!("generation  {}", session.generation));
    let age = since(&session.since).map(|age| format!(" ({age})")).unwrap_or_default();
    output.say(format!("since       {}{age}", shown(&session.since)));
    output.say(format!("done        {}", operations(&session.operations)));
    output.say(format!("in flight   {}, the oldest for {}", session.in_flight, oldest(session.oldest_ms)));
    output.say(format!("idle        {}", oldest(session.idle_ms)));
}
