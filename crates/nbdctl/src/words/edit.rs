//! `add` and `remove`: an export's file in `includedir`, and the reload that follows it.

use crate::args::{self, Setting};
use crate::client::{Answer, Ask, Client, Failure, Path};
use crate::exit::Exit;
use crate::output::Output;
use crate::text::{name, shown};
use crate::words::reload;
use control::view::{Export, ExportSettings, Reload};

pub fn add(client: &Client, wanted: &args::Add, output: &mut Output) -> Result<Exit, Failure> {
    let settings = settings(&wanted.settings)?;
    if !wanted.replace && is_there(client, &wanted.export)? {
        output.complain(format!(
            "{}: it is there already; --replace puts these settings in the place of all that it has",
            name(&wanted.export)
        ));
        return Ok(Exit::Refused);
    }
    let body = serde_json::to_vec(&settings).map_err(|error| Failure::Here(error.to_string()))?;
    let path = path(client, &wanted.export, wanted.apply);
    let answer = client.ask(&Ask::put(path).with("application/json", body))?;
    follow(&answer, &wanted.export, "its file is written", wanted.json, output)
}

pub fn remove(client: &Client, wanted: &args::Remove, output: &mut Output) -> Result<Exit, Failure> {
    let answer = client.ask(&Ask::delete(path(client, &wanted.export, wanted.apply)))?;
    follow(&answer, &wanted.export, "its file is deleted", wanted.json, output)
}

/// A name that was mistyped must not cost somebody else's migration.
fn is_there(client: &Client, export: &str) -> Result<bool, Failure> {
    let exports: Vec<Export> = client.ask(&Ask::get(Path::v1("exports")))?.value()?;
    Ok(exports.iter().any(|one| one.configured && one.name == export))
}

fn path(client: &Client, export: &str, apply: args::Apply) -> Path {
    Path::v1("exports").down(export).with("apply", !apply.no_reload).within(client.timeout())
}

/// A path stands for `exportname` in the first place only: anywhere else it is a mistake.
fn settings(given: &[Setting]) -> Result<ExportSettings, Failure> {
    let mut settings = ExportSettings::new();
    for (at, setting) in given.iter().enumerate() {
        let key = match &setting.key {
            Some(key) => key.as_str(),
            None if at == 0 => "exportname",
            None => {
                let said = format!("{}: KEY= is missing before it", shown(&setting.value));
                return Err(Failure::Usage(said));
            }
        };
        if settings.insert(key.to_owned(), setting.value.clone()).is_some() {
            return Err(Failure::Usage(format!("{} is given twice", shown(key))));
        }
    }
    Ok(settings)
}

fn follow(
    answer: &Answer,
    export: &str,
    done: &str,
    json: args::Json,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let done = format!("{}: {done}", name(export));
    if answer.body.is_empty() {
        // With --json nothing is said, as the server says nothing.
        output.answer(json.json, answer, |output| output.say(format!("{done}; the next reload follows it")));
        return Ok(Exit::Done);
    }
    let reload: Reload = answer.value()?;
    output.answer(json.json, answer, |output| {
        output.say(done);
        reload::say(&reload, output);
    });
    Ok(Exit::of_change(&reload, export))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[(&str, &str)]) -> Result<ExportSettings, Failure> {
        let key = |key: &str| (!key.is_empty()).then(|| key.to_owned());
        let given: Vec<Setting> =
            texts.iter().map(|(name, value)| Setting { key: key(name), value: (*value).into() }).collect();
        settings(&given)
    }

    #[test]
    fn a_path_is_the_exportname_in_the_first_place_only() {
        let wanted =
            ExportSettings::from([("exportname".into(), "/a".into()), ("readonly".into(), "1".into())]);
        assert_eq!(given(&[("", "/a"), ("readonly", "1")]), Ok(wanted.clone()));
        assert_eq!(given(&[("readonly", "1"), ("exportname", "/a")]), Ok(wanted));
        assert!(given(&[("readonly", "1"), ("", "/a")]).is_err());
        assert!(given(&[("", "/a"), ("exportname", "/b")]).is_err());
    }
}
