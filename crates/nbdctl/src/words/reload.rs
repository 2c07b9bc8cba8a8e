//! `reload`: follow the configuration, and say what was done. `ExecReload=` calls it, so what is not as it should be is
//! said line by line on standard error: each request that hangs, each file that was kept back.

use crate::args;
use crate::client::{Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::Output;
use crate::text::shown;
use crate::units::age_ms;
use crate::words::{self, plan};
use control::view::{Outcome, Reload};

pub fn run(client: &Client, json: args::Json, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::post(Path::v1("reload").within(client.timeout())))?;
    let reload: Reload = answer.value()?;
    output.answer(json.json, &answer, |output| say(&reload, output));
    Ok(Exit::of_reload(&reload))
}

/// What was done, and then how it ended.
pub fn say(reload: &Reload, output: &mut Output) {
    plan::warnings(&reload.plan, output);
    plan::steps(&reload.plan, None, output);
    plan::unavailable(&reload.plan, output);
    let closing = closing(reload);
    if reload.outcome == Outcome::Complete {
        output.say(closing);
        return;
    }
    output.complain(closing);
    for refused in &reload.plan.refused {
        output.complain(words::problem(refused));
    }
    for kept in &reload.plan.kept_back {
        plan::kept_back(kept).iter().for_each(|line| output.complain(line));
    }
    words::hanging(&reload.hanging).iter().for_each(|line| output.complain(line));
}

fn closing(reload: &Reload) -> String {
    let why = match &reload.reason {
        Some(reason) if reload.outcome != Outcome::Complete => format!(": {}", shown(reason)),
        _ => String::new(),
    };
    let facts = match reload.outcome {
        Outcome::Refused => "nothing was changed".into(),
        _ => format!(
            "added {}, changed {}, removed {}, kept back {}, sessions fenced {}",
            reload.added, reload.changed, reload.removed, reload.kept, reload.fenced
        ),
    };
    format!(
        "reload {}{why} (generation {}, {facts}, in {})",
        reload.outcome,
        reload.generation,
        age_ms(reload.took_ms)
    )
}
