//! `drift`: who disagrees with whom among the database, the files, the running server and the devices, and with `--fix`
//! the files made to follow the database.
//!
//! Follow one run: `look.rs` asks everybody once, `compare.rs` finds who disagrees, `mend.rs` decides what may be done
//! without guessing, `carry_out.rs` does it, and then it is looked and compared again.

mod carry_out;
mod claims;
mod compare;
mod database;
mod finding;
#[cfg(test)]
mod fixture;
mod look;
mod mend;
mod node;
mod say;

use crate::args;
use crate::client::{Client, Failure};
use crate::exit::Exit;
use crate::output::Output;
use carry_out::carry_out;
use compare::compare;
use database::Database;
use finding::Finding;
use look::Look;
use mend::{Wanted, mend, needs_reload};
use node::Node;
use say::Report;
use std::time::Duration;

pub use database::without_passwords;

/// How long a disagreement has to last before it is mended: longer than whoever attaches a volume is between the database
/// and the file.
const LASTS: Duration = Duration::from_secs(15);

/// Compares, and mends where that is asked for.
pub fn run(client: &Client, wanted: &args::Drift, output: &mut Output) -> Result<Exit, Failure> {
    let database = database(wanted, output)?;
    let first = look(client, database.as_ref())?;
    let mut found = compare(&first, &wanted.prefix, &Node::at);
    let mut look_now = first;
    let lasts = wanted.settle.unwrap_or(if wanted.fix { LASTS } else { Duration::ZERO });
    if !found.is_empty() && !lasts.is_zero() {
        // Not a wait for something: what is gone after this time was somebody at work.
        std::thread::sleep(lasts);
        look_now = look(client, database.as_ref())?;
        let again = compare(&look_now, &wanted.prefix, &Node::at);
        found.retain(|finding| again.contains(finding));
    }
    if found.is_empty() {
        agree(&look_now, wanted, output);
        return Ok(Exit::Done);
    }
    if !wanted.fix {
        Report::of(found, Vec::new(), &Default::default()).say(wanted.json.json, output);
        return Ok(Exit::Refused);
    }
    fix(client, database.as_ref(), wanted, &look_now, found, output)
}

fn database(wanted: &args::Drift, output: &mut Output) -> Result<Option<Database>, Failure> {
    let Some(url) = &wanted.database else { return Ok(None) };
    let database = Database::at(url, wanted.password_file.as_deref(), wanted.query.as_deref())?;
    let of_environment = std::env::var(args::DATABASE_VARIABLE).is_ok_and(|value| value == *url);
    if database.has_password_in_url() && !of_environment {
        output.complain("the password in the URL can be seen in the list of processes: use --password-file");
    }
    Ok(Some(database))
}

/// Whoever cannot be asked ends it, and nothing was changed.
fn look(client: &Client, database: Option<&Database>) -> Result<Look, Failure> {
    Look::take(client, database).map_err(|failure| match failure {
        // A plan that did not come in time is a server that cannot be asked.
        Failure::Refused { why, .. } => Failure::Here(why),
        failure => failure,
    })
}

fn fix(
    client: &Client,
    database: Option<&Database>,
    wanted: &args::Drift,
    look_now: &Look,
    found: Vec<Finding>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let lasting = |name: &str| {
        found.iter().any(|finding| finding.is_of_database() && finding.exports.iter().any(|one| one == name))
    };
    let asked = Wanted { prefix: &wanted.prefix, allow_empty: wanted.allow_empty, lasting: &lasting };
    let mut mending = mend(look_now, &asked, &Node::at);
    let follow = needs_reload(look_now);
    if mending.held.is_some() || (mending.groups.is_empty() && !follow) {
        let mut report = Report::of(found, Vec::new(), &mending.left);
        report.held = mending.held;
        report.say(wanted.json.json, output);
        return Ok(Exit::Refused);
    }
    let done = carry_out(client, &mut mending, follow);
    let again = match &done.failure {
        None => look(client, database),
        Some(failure) => Err(failure.clone()),
    };
    let now = match again {
        Ok(again) => compare(&again, &wanted.prefix, &Node::at),
        Err(failure) => {
            output.complain(&failure);
            output.complain("something was changed, and what all say now is not known");
            return Ok(Exit::Partly);
        }
    };
    let mended: Vec<Finding> = found.into_iter().filter(|finding| !now.contains(finding)).collect();
    let exit = match (now.is_empty(), done.files > 0 || !mended.is_empty()) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Partly,
        (false, false) => Exit::Refused,
    };
    let mut report = Report::of(now, mended, &mending.left);
    report.reload = done.reload.map(|reload| reload.outcome);
    report.say(wanted.json.json, output);
    Ok(exit)
}

fn agree(look: &Look, wanted: &args::Drift, output: &mut Output) {
    if wanted.json.json {
        Report { agree: true, ..Report::default() }.say(true, output);
    } else if wanted.verbose {
        let ours = |name: &str| name.starts_with(&wanted.prefix);
        let served = look.exports.iter().filter(|export| ours(&export.name)).count();
        let known = look.rows.as_ref().map(|rows| rows.iter().filter(|row| ours(&row.name)).count());
        let known = known.map_or_else(String::new, |known| format!(", {known} of them in the database"));
        output.say(format!("all agree: {served} exports{known}"));
    }
}
