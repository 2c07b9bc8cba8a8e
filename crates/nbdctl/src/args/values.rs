//! Values of the command line: what they may be, and what is said where they are not.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use config::{Place, Status};
use control::view::Level;
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What the server takes: a millisecond to ten minutes.
const PATIENCE: RangeInclusive<f64> = 0.001..=600.0;
/// More often only costs.
const INTERVAL: RangeInclusive<f64> = 0.1..=3600.0;

/// Longer is a job for a timer.
const SETTLE: RangeInclusive<f64> = 0.0..=600.0;

/// `key=value`, or a path that stands for `exportname=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Left of `=`; none before a bare path.
    pub key: Option<String>,
    /// Right of it.
    pub value: String,
}

pub fn setting(text: &str) -> Result<Setting, String> {
    // A path may have = in it, a key never begins with a slash.
    if text.starts_with('/') {
        return Ok(Setting { key: None, value: text.into() });
    }
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(Setting { key: Some(key.trim().into()), value: value.trim_start().into() })
        }
        _ => Err("neither KEY=VALUE nor an absolute path".into()),
    }
}

pub fn patience(text: &str) -> Result<Duration, String> {
    seconds(text, &PATIENCE)
}

pub fn interval(text: &str) -> Result<Duration, String> {
    seconds(text, &INTERVAL)
}

pub fn settle(text: &str) -> Result<Duration, String> {
    seconds(text, &SETTLE)
}

fn seconds(text: &str, allowed: &RangeInclusive<f64>) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if allowed.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("not a number of seconds from {} to {}", allowed.start(), allowed.end())),
    }
}

const LEVELS: [Level; 5] = [Level::Error, Level::Warning, Level::Notice, Level::Info, Level::Debug];

pub fn levels() -> impl TypedValueParser<Value = Level> {
    let names = LEVELS.map(|level| PossibleValue::new(level_name(level)));
    PossibleValuesParser::new(names)
        .map(|name| *LEVELS.iter().find(|level| level_name(**level) == name).unwrap_or(&Level::Info))
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

/// A key of the configuration. Shells are given all of them; an error gives the one that may have been meant.
#[derive(Clone, Debug)]
pub struct KeyName;

impl TypedValueParser for KeyName {
    type Value = String;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        let name = value.to_string_lossy();
        if [Place::Generic, Place::Export].iter().any(|place| config::find(*place, name.as_bytes()).is_some())
        {
            return Ok(name.into_owned());
        }
        let hint = config::suggestion(Place::Export, &name);
        let hint =
            if hint.starts_with("it is ignored") { config::suggestion(Place::Generic, &name) } else { hint };
        let said = format!("{} is no key of the configuration: {hint}\n", name.escape_debug());
        Err(Error::raw(ErrorKind::InvalidValue, said).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let mut names: Vec<&str> =
            config::keys().iter().filter(|key| key.status == Status::Working).map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        Some(Box::new(names.into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_pair_or_a_path() {
        let pair =
            |key: &str, value: &str| Ok(Setting { key: Some(key.to_owned()), value: value.to_owned() });
        assert_eq!(setting("readonly=true"), pair("readonly", "true"));
        assert_eq!(setting("prerun = a=b"), pair("prerun", "a=b"));
        assert_eq!(setting("cachetype="), pair("cachetype", ""));
        assert_eq!(setting("/dev/by=id"), Ok(Setting { key: None, value: "/dev/by=id".into() }));
        assert!(setting("readonly").is_err() && setting("=1").is_err());
    }

    #[test]
    fn seconds_are_decimal_and_have_an_end() {
        assert_eq!(patience("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(patience("600"), Ok(Duration::from_secs(600)));
        assert!(["-1", "0", "nan", "inf", "601", "1s", ""].iter().all(|text| patience(text).is_err()));
        assert!(interval("0").is_err() && interval("0.1").is_ok());
    }
}
