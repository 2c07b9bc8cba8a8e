//! `explain`: what a key of the configuration means, from the table that the server reads with.

use crate::args;
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::table::{Align, Table};
use config::{Key, Kind, Place, Status};

pub fn run(wanted: &args::Explain, output: &mut Output) -> Exit {
    match &wanted.key {
        None => all(output),
        Some(name) => {
            let found: Vec<&Key> = config::keys().iter().filter(|key| key.name == name).collect();
            for (at, key) in found.iter().enumerate() {
                if at > 0 {
                    output.say("");
                }
                one(key, output);
            }
        }
    }
    Exit::Done
}

fn all(output: &mut Output) {
    let mut table = Table::new(&[("KEY", Align::Left), ("IN", Align::Left), ("", Align::Left)]);
    for key in config::keys().iter().filter(|key| key.status == Status::Working) {
        table.push(vec![key.name.into(), place(key.place).into(), key.about.into()], None);
    }
    output.say_table(&table.lines());
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Generic => "[generic]",
        Place::Export => "export",
    }
}

fn one(key: &Key, output: &mut Output) {
    output.say_in(
        Tone::Heading,
        format!(
            "{}, in {}",
            key.name,
            match key.place {
                Place::Generic => "[generic] of the main file",
                Place::Export => "the group of an export",
            }
        ),
    );
    output.say(key.about);
    if let Status::Dead(why) = key.status {
        output.say_in(Tone::Bad, format!("It does nothing: {why}"));
    }
    let value = match key.kind {
        Kind::Text => "text",
        Kind::Flag => "true or false",
        Kind::Number => "a number",
        Kind::Bytes => "bytes",
    };
    output.say(format!("value       {value}"));
    output.say(format!("without it  {}", if key.default.is_empty() { "nothing" } else { key.default }));
    let since = if key.since.starts_with("3.") { "nbd-server" } else { "this server" };
    output.say(format!("since       {since} {}", key.since));
    let at_reload = if key.live { "applies" } else { "needs a restart" };
    output.say(format!("at reload   {at_reload}"));
}
