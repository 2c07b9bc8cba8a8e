//! `status` and `log-level`: the server as a whole.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::text::{counted, shown};
use crate::units::{age_ms, since};
use control::view::{LogLevel, Outcome, Status};

pub fn run(client: &Client, json: args::Json, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::get(Path::v1("status")))?;
    let status: Status = answer.value()?;
    output.answer(json.json, &answer, |output| say(&status, output));
    Ok(Exit::Done)
}

fn say(status: &Status, output: &mut Output) {
    let up = since(&status.since).map(|age| format!(" ({age})")).unwrap_or_default();
    output.say_in(
        Tone::Heading,
        format!(
            "nbd-server {}, pid {}, since {}{up}",
            shown(&status.version),
            status.pid,
            shown(&status.since)
        ),
    );
    output.say(format!("configuration  {}", shown(&status.configuration)));
    output.say(format!("generation     {}{}", status.generation, last_reload(status)));
    let listening: Vec<_> = status.listening.iter().map(|address| shown(address)).collect();
    output.say(format!("listening      {}", listening.join(", ")));
    let (tone, not_serving) = match status.exports_not_serving {
        0 => (Tone::Plain, String::new()),
        some => (Tone::Bad, format!(", {some} of them not serving")),
    };
    output.say_in(tone, format!("exports        {}{not_serving}", status.exports));
    let handshakes = match status.handshakes {
        0 => String::new(),
        some => format!(", and {}", counted(some, "handshake", "handshakes")),
    };
    output.say(format!("sessions       {}{handshakes}", status.sessions));
    output.say(format!("log level      {}", status.log_level));
    if let Some(last) = &status.last_reload
        && last.outcome != Outcome::Complete
    {
        let why = last.reason.as_deref().unwrap_or("see the log");
        output.say_in(Tone::Bad, format!("reload {}: {}", last.outcome, shown(why)));
    }
}

fn last_reload(status: &Status) -> String {
    if status.reloading {
        return ", a reload is under way".into();
    }
    status.last_reload.as_ref().map_or_else(String::new, |last| {
        let ago = since(&last.at).map(|age| format!(" {age} ago")).unwrap_or_default();
        format!(", last reload {}{ago}, in {}", last.outcome, age_ms(last.took_ms))
    })
}

pub fn log_level(client: &Client, wanted: &args::LogLevel, output: &mut Output) -> Result<Exit, Failure> {
    let path = Path::v1("log-level");
    let ask = match wanted.level {
        None => Ask::get(path),
        Some(level) => Ask::put(path).with("application/json", format!("{{\"level\":\"{level}\"}}")),
    };
    let answer = client.ask(&ask)?;
    let now: LogLevel = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| output.say(now.level));
    Ok(Exit::Done)
}
