//! `check`: what a start with a configuration would come to.

use crate::args;
use crate::client::{Ask, Client, Failure, Path as Route};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::table::{Align, Table};
use crate::text::{counted, name, shown};
use crate::words::{self, plan};
use control::view::{Check, Status};
use std::io::Read;
use std::path::Path;

pub fn run(client: &Client, wanted: &args::Check, output: &mut Output) -> Result<Exit, Failure> {
    let ask = Ask::post(Route::v1("check"));
    let ask = match wanted.file.as_deref().map(text).transpose() {
        Ok(None) => ask,
        // To the server nothing means the file that it has itself.
        Ok(Some(text)) if text.is_empty() => ask.with("text/plain", "\n"),
        Ok(Some(text)) => ask.with("text/plain", text),
        // The words made sense; a server has no configuration in what is not there.
        Err(why) => {
            output.complain(why);
            return Ok(Exit::Refused);
        }
    };
    let answer = client.ask(&ask)?;
    let mut check: Check = answer.value()?;
    if let Some(file) = wanted.file.as_deref().filter(|_| !wanted.json.json) {
        call_by_its_name(client, &mut check, file)?;
    }
    output.answer(wanted.json.json, &answer, |output| say(&check, output));
    Ok(Exit::of_check(&check))
}

/// What is to be checked; where it cannot be read, a sentence.
fn text(file: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| format!("{}: {error}", shown(&file.to_string_lossy())))
}

/// The server takes the text for that of its own main file, and says so: people look for a line where they wrote it.
fn call_by_its_name(client: &Client, check: &mut Check, file: &Path) -> Result<(), Failure> {
    let status: Status = client.ask(&Ask::get(Route::v1("status")))?.value()?;
    let given = if file.as_os_str() == "-" { "standard input".into() } else { file.to_string_lossy() };
    let kept_back = check.kept_back.iter_mut().map(|kept| &mut kept.problem);
    let problems = check.refused.iter_mut().chain(&mut check.warnings).chain(kept_back);
    for problem in problems.filter(|problem| problem.file == status.configuration) {
        problem.file = given.clone().into_owned();
    }
    Ok(())
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
