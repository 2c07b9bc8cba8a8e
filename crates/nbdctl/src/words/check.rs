//! `check`: what a start with a configuration would come to.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::table::{Align, Table};
use crate::text::{counted, name, shown};
use crate::words::{self, plan};
use control::view::Check;
use std::io::Read;

pub fn run(client: &Client, wanted: &args::Check, output: &mut Output) -> Result<Exit, Failure> {
    let ask = Ask::post(Path::v1("check"));
    let ask = match &wanted.file {
        None => ask,
        Some(file) => {
            let text = text(file)?;
            if text.is_empty() {
                // To the server nothing means the file that it has itself.
                ask.with("text/plain", "\n")
            } else {
                ask.with("text/plain", text)
            }
        }
    };
    let answer = client.ask(&ask)?;
    let check: Check = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| say(&check, output));
    Ok(Exit::of_check(&check))
}

fn text(file: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| Failure::Usage(format!("{}: {error}", shown(&file.to_string_lossy()))))
}

fn say(check: &Check, output: &mut Output) {
    for warning in &check.warnings {
        output.say(format!("# {}", words::problem(warning)));
    }
    for refused in &check.refused {
        output.say_in(Tone::Bad, format!("! {}", words::problem(refused)));
    }
    for line in check.kept_back.iter().flat_map(plan::kept_back) {
        output.say_in(Tone::Change, line);
    }
    let served = counted(check.exports.len() as u64, "export", "exports");
    if !check.exports.is_empty() {
        let mut table = Table::new(&[("EXPORT", Align::Left), ("PATH", Align::Left)]);
        for (export, path) in &check.exports {
            table.push(vec![name(export).into_owned(), path.clone()], None);
        }
        output.say_table(&table.lines());
    }
    match Exit::of_check(check) {
        Exit::Done => output.say_in(Tone::Good, format!("ok: {served}")),
        Exit::Refused => output.say_in(Tone::Bad, "refused: a server would not start with it"),
        _ => output.say_in(Tone::Bad, format!("in part: {served}, without what is kept back")),
    }
}
