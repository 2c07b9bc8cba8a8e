//! `plan`: what a reload would do now, like a diff.
//!
//! `+` comes, `-` goes, `~` is another than before, `=` stays against what the files say, `!` will not be as the files
//! say, `#` is worth a word.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::text::{counted, name, quoted, shown};
use crate::units::size;
use crate::words;
use control::view::{Action, Change, Export, KeptBack, Plan, Step};
use std::collections::BTreeMap;

/// Sessions on each export.
pub type Sessions = BTreeMap<String, u64>;

pub fn run(client: &Client, wanted: &args::Plan, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::get(Path::v1("plan").within(client.timeout())))?;
    let plan: Plan = answer.value()?;
    if wanted.json.json {
        output.raw(&answer.body);
    } else {
        let fences = plan.steps.iter().any(|step| step.action >= Action::Replace);
        let sessions = if fences { Some(sessions(client)?) } else { None };
        say(&plan, sessions.as_ref(), output);
    }
    let exit = Exit::of_plan(&plan);
    let differs = wanted.exit_code && !is_empty(&plan) && exit == Exit::Done;
    Ok(if differs { Exit::Partly } else { exit })
}

fn sessions(client: &Client) -> Result<Sessions, Failure> {
    let exports: Vec<Export> = client.ask(&Ask::get(Path::v1("exports")))?.value()?;
    Ok(exports.into_iter().map(|export| (export.name, export.sessions)).collect())
}

pub fn say(plan: &Plan, sessions: Option<&Sessions>, output: &mut Output) {
    warnings(plan, output);
    for refused in &plan.refused {
        output.say_in(Tone::Bad, format!("! {}", words::problem(refused)));
    }
    steps(plan, sessions, output);
    for line in plan.kept_back.iter().flat_map(kept_back) {
        output.say_in(Tone::Change, line);
    }
    unavailable(plan, output);
    if !plan.refused.is_empty() {
        output.say("a reload would be refused, and nothing would change");
    } else if is_empty(plan) {
        output.say("nothing to do");
    }
}

/// What is worth a word.
pub fn warnings(plan: &Plan, output: &mut Output) {
    for warning in &plan.warnings {
        output.say(format!("# {}", shown(warning)));
    }
}

/// Nothing would be another than before. What is kept back or waits for a restart stays so.
fn is_empty(plan: &Plan) -> bool {
    let applies = plan.settings.iter().any(|setting| setting.not_applied.is_none());
    plan.steps.is_empty() && !applies && plan.refused.is_empty()
}

/// What is done to exports and settings.
pub fn steps(plan: &Plan, sessions: Option<&Sessions>, output: &mut Output) {
    for setting in &plan.settings {
        let change = format!("[generic] {}", change(&setting.key, &setting.old, &setting.new));
        match &setting.not_applied {
            None => output.say_in(Tone::Change, format!("~ {change}")),
            Some(why) => output.say_in(Tone::Bad, format!("! {change} does not apply: {}", shown(why))),
        }
    }
    for step in &plan.steps {
        let fenced = sessions.and_then(|sessions| sessions.get(&step.export)).copied().unwrap_or(0);
        for line in step_lines(step, fenced) {
            output.say_in(tone(step.action), line);
        }
    }
}

fn tone(action: Action) -> Tone {
    match action {
        Action::Add => Tone::Good,
        Action::Retune | Action::Replace | Action::ReplaceForSome => Tone::Change,
        Action::Block | Action::Remove => Tone::Bad,
    }
}

/// A line for what happens to the export, and one for each setting beside that.
fn step_lines(step: &Step, sessions: u64) -> Vec<String> {
    let export = name(&step.export);
    let path = |path: &Option<String>| path.as_deref().map(shown).unwrap_or_default().into_owned();
    let (old, new) = (path(&step.old), path(&step.new));
    let moved = !old.is_empty() && !new.is_empty() && old != new;
    let first = match step.action {
        Action::Add => Some(format!(
            "+ {export} {new}{}",
            step.size.map_or_else(String::new, |bytes| format!(" {}", size(bytes)))
        )),
        Action::Remove => Some(format!("- {export} {old}")),
        Action::Block => Some(format!("! {export} {old} will not be served")),
        Action::ReplaceForSome => Some(format!("~ {export} for some of its clients")),
        Action::Replace | Action::Retune => moved.then(|| format!("~ {export} {old} → {new}")),
    };
    // The path stands in the first line already.
    let changes = step
        .changes
        .iter()
        .filter(|change| !(moved && change.new == *step.new.as_deref().unwrap_or_default()));
    let changes = changes.map(|one: &Change| format!("~ {export} {}", change(&one.key, &one.old, &one.new)));
    let mut lines: Vec<String> = first.into_iter().chain(changes).collect();
    if lines.is_empty() {
        lines.push(format!("~ {export} {new}"));
    }
    // Of a path that is another one in the text nobody asks why.
    let reason = step.reason.as_deref().filter(|_| !moved);
    lines[0] += &aside(step, reason, sessions);
    lines
}

/// In brackets: why, and what becomes of its sessions.
fn aside(step: &Step, reason: Option<&str>, sessions: u64) -> String {
    let many = counted(sessions, "session", "sessions");
    let stays = if step.keeps_sessions { "stays" } else { "will be fenced" };
    let stay = if step.keeps_sessions { "stay" } else { "will be fenced" };
    let of_sessions = match step.action {
        Action::Replace | Action::Remove | Action::Block if sessions > 0 => {
            let verb = if sessions == 1 { stays } else { stay };
            let on = if step.keeps_sessions { " on the old disk" } else { "" };
            Some(format!("{many} {verb}{on}"))
        }
        Action::ReplaceForSome if sessions > 0 => Some(format!("some of {many} will be fenced")),
        _ => None,
    };
    let said: Vec<String> =
        reason.iter().map(|reason| shown(reason).into_owned()).chain(of_sessions).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
}

/// `KEY: OLD → NEW`, sizes as people read them where that shows a difference.
fn change(key: &str, old: &str, new: &str) -> String {
    let sizes = match (key, old.parse(), new.parse()) {
        ("size", Ok(old), Ok(new)) => Some((size(old), size(new))).filter(|(old, new)| old != new),
        _ => None,
    };
    let (old, new) = sizes.unwrap_or_else(|| (quoted(old), quoted(new)));
    format!("{}: {old} → {new}", shown(key))
}

/// A line for each export that stays as it is; one for a file that holds none.
pub fn kept_back(kept: &KeptBack) -> Vec<String> {
    let problem = words::problem(&kept.problem);
    if kept.exports.is_empty() {
        return vec![format!("= kept back: {problem}")];
    }
    kept.exports.iter().map(|export| format!("= {} kept back: {problem}", name(export))).collect()
}

/// Exports that are configured and cannot be served.
pub fn unavailable(plan: &Plan, output: &mut Output) {
    for one in &plan.unavailable {
        let line =
            format!("! {} {} unavailable: {}", name(&one.export), shown(&one.path), shown(&one.reason));
        output.say_in(Tone::Bad, line);
    }
}
