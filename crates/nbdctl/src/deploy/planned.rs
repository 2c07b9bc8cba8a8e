//! What a server of ours says that a reload would do at this moment.

use crate::client::{Ask, Client, Path as Route};
use crate::output::Output;
use crate::text::{name, shown};
use crate::words::plan;
use control::view::{Plan, Step};
use std::collections::BTreeMap;

/// Its plan, where it answers.
pub fn ask(client: &Client) -> Option<Plan> {
    client.ask(&Ask::get(Route::v1("plan").within(client.timeout()))).ok()?.value().ok()
}

/// As `nbdctl plan` shows it.
pub fn told(plan: &Plan) -> Vec<String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    plan::say(plan, None, &mut Output::new(&mut out, &mut err, false));
    String::from_utf8_lossy(&out).lines().map(Into::into).collect()
}

/// The disks that a reload would take for those that are meant.
pub fn swapped(plan: &Plan) -> BTreeMap<String, String> {
    let disk = |step: &Step| {
        let change = step.changes.iter().find(|change| change.key == "disk")?;
        let (named, path) = (name(&step.export), step.new.as_deref().unwrap_or_default());
        let disks = format!("it was {}, it is {}", change.old, change.new);
        let line =
            format!("{named} would be served from another disk that is at {} now: {disks}", shown(path));
        Some((step.export.clone(), line))
    };
    plan.steps.iter().filter_map(disk).collect()
}

/// A reload would find everything as it is.
pub fn changes_nothing(plan: &Plan) -> bool {
    plan.steps.is_empty() && plan.settings.is_empty() && plan.refused.is_empty()
}
