//! `fence`, `end`, `clear`: what is done to one export or session.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::Output;
use crate::text::{counted, name};
use crate::units::age_ms;
use crate::words;
use control::view::{Cleared, Cut};

pub fn fence(client: &Client, wanted: &args::OneExport, output: &mut Output) -> Result<Exit, Failure> {
    let path = Path::v1("exports").down(&wanted.export).step("fence").within(client.timeout());
    let answer = client.ask(&Ask::post(path))?;
    let cut: Cut = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| {
        // Each of these is a session that was told to go and is still there; without a peer it is none.
        let hang = cut.hanging.iter().filter(|hanging| hanging.peer.is_some()).count() as u64;
        let ended = counted(cut.sessions.saturating_sub(hang), "session", "sessions");
        let (export, took) = (name(&wanted.export), age_ms(cut.took_ms));
        if cut.hanging.is_empty() {
            output.say(format!("{export}: {ended} ended, in {took}; the disk is closed"));
        } else if hang == 0 {
            say_hanging(&format!("{export}: {ended} ended, in {took}"), &cut, output);
        } else {
            let hang = counted(hang, "hangs", "hang");
            say_hanging(&format!("{export}: {ended} ended, {hang}, in {took}"), &cut, output);
        }
    });
    Ok(Exit::of_cut(&cut))
}

pub fn end(client: &Client, wanted: &args::End, output: &mut Output) -> Result<Exit, Failure> {
    let path = Path::v1("sessions").down(&wanted.session.to_string()).within(client.timeout());
    let answer = client.ask(&Ask::delete(path))?;
    let cut: Cut = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| {
        let told = format!("session {}", wanted.session);
        if cut.hanging.is_empty() {
            output.say(format!("{told} ended, in {}", age_ms(cut.took_ms)));
        } else {
            say_hanging(&format!("{told} was told to go"), &cut, output);
        }
    });
    Ok(Exit::of_cut(&cut))
}

fn say_hanging(done: &str, cut: &Cut, output: &mut Output) {
    output.say(done);
    words::hanging(&cut.hanging).iter().for_each(|line| output.complain(line));
}

pub fn clear(client: &Client, wanted: &args::OneExport, output: &mut Output) -> Result<Exit, Failure> {
    let path = Path::v1("exports").down(&wanted.export).step("clear");
    let answer = client.ask(&Ask::post(path))?;
    let cleared: Cleared = answer.value()?;
    output.answer(wanted.json.json, &answer, |output| {
        let said = if cleared.cleared {
            "the failed sync is forgotten; what it did not write may be lost"
        } else {
            "no sync had failed"
        };
        output.say(format!("{}: {said}", name(&wanted.export)));
    });
    Ok(Exit::Done)
}
