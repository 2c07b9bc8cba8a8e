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
use crate::text::{counted, name};
use carry_out::{follow, write_files};
use compare::compare;
use control::view::Action;
use database::Database;
use finding::Finding;
use look::Look;
use mend::{Mending, Wanted, held_back, mend, needs_reload};
use node::Node;
use say::Report;
use std::time::Duration;

pub use database::passwords_in;

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
    Fix { client, database: database.as_ref(), wanted, found }.run(&look_now, output)
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

/// A run that mends.
struct Fix<'a> {
    client: &'a Client,
    database: Option<&'a Database>,
    wanted: &'a args::Drift,
    /// What has been the same for long enough.
    found: Vec<Finding>,
}

impl Fix<'_> {
    fn run(self, look_now: &Look, output: &mut Output) -> Result<Exit, Failure> {
        let lasting = |name: &str| self.found.iter().any(|finding| finding.is_about(name));
        let mut mending = mend(look_now, &self.asked(&lasting), &Node::at);
        let follows = needs_reload(look_now);
        if mending.held.is_some() || (mending.groups.is_empty() && !follows) {
            let mut report = Report::of(self.found, Vec::new(), &mending.left);
            report.held = mending.held;
            report.say(self.wanted.json.json, output);
            return Ok(Exit::Refused);
        }
        warn_of_sessions(look_now, &mending, output);
        let mut done = write_files(self.client, &mut mending);
        let mut held = None;
        let mut reload = None;
        if done.failure.is_none() && (follows || !done.files.is_empty()) {
            // What is followed is everything that the files say at this moment.
            let known = |name: &str| lasting(name) || done.files.iter().any(|one| one == name);
            let followed = look(self.client, self.database).and_then(|again| {
                held = held_back(&again, &self.asked(&known), &Node::at);
                if held.is_none() { follow(self.client).map(Some) } else { Ok(None) }
            });
            match followed {
                Ok(followed) => reload = followed,
                Err(failure) => done.failure = Some(failure),
            }
        }
        let again = done.failure.take().map_or_else(|| look(self.client, self.database), Err);
        let now = match again {
            Ok(again) => compare(&again, &self.wanted.prefix, &Node::at),
            Err(failure) => {
                // Nobody was there for the first of them.
                if done.files.is_empty() && reload.is_none() && failure.exit() == Exit::NoServer {
                    return Err(failure);
                }
                let broken_off = Some(failure.to_string());
                Report { files: done.files, broken_off, ..Report::default() }
                    .say(self.wanted.json.json, output);
                return Ok(Exit::Partly);
            }
        };
        let mended: Vec<Finding> = self.found.into_iter().filter(|finding| !now.contains(finding)).collect();
        let exit = match (now.is_empty(), !done.files.is_empty() || !mended.is_empty()) {
            (true, _) => Exit::Done,
            (false, true) => Exit::Partly,
            (false, false) => Exit::Refused,
        };
        let mut report = Report::of(now, mended, &mending.left);
        (report.files, report.held) = (done.files, held);
        report.reload = reload.map(|reload| reload.outcome);
        report.say(self.wanted.json.json, output);
        Ok(exit)
    }

    fn asked<'b>(&'b self, lasting: &'b dyn Fn(&str) -> bool) -> Wanted<'b> {
        Wanted { prefix: &self.wanted.prefix, allow_empty: self.wanted.allow_empty, lasting }
    }
}

/// Who will be cut off, before it is done.
fn warn_of_sessions(look: &Look, mending: &Mending, output: &mut Output) {
    let changed = mending.groups.iter().flatten().map(|change| change.export.as_str());
    let steps = look.plan.steps.iter().filter(|step| step.action >= Action::Replace);
    let mut names: Vec<&str> = changed.chain(steps.map(|step| step.export.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    let cut = look.exports.iter().filter(|export| export.sessions > 0 && names.contains(&&*export.name));
    for export in cut {
        let sessions = counted(export.sessions, "session is", "sessions are");
        output.complain(format!("{}: {sessions} cut off", name(&export.name)));
    }
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
