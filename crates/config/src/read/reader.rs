//! One group, key by key. Whatever is wrong is remembered, and a default stands in for it.

use super::Found;
use crate::document::{Entry, Group, is_locale_key};
use crate::keys::{self, Place, Status};
use crate::problem::Problem;
use crate::value;
use std::path::{Path, PathBuf};

pub(super) struct Reader<'a> {
    file: &'a Path,
    group: &'a Group,
    place: Place,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, group: &'a Group, place: Place) -> Self {
        Self { file, group, place, errors: Vec::new(), warnings: Vec::new() }
    }

    /// All keys have been asked for; those that nobody asked for get their word.
    pub(super) fn found<T>(mut self, settings: T) -> Found<T> {
        self.look_at_the_rest();
        Found { settings, errors: self.errors, warnings: self.warnings }
    }

    /// The key is there, whatever it says.
    pub(super) fn says(&self, key: &str) -> bool {
        self.group.entry(key).is_some()
    }

    /// The group's name as it is shown.
    pub(super) fn shown(&self) -> String {
        self.group.shown()
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.parse(key, value::string)
    }

    /// A text; an empty one is as good as none.
    pub(super) fn words(&mut self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// A path; an empty one is as good as none.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.words(key).map(PathBuf::from)
    }

    /// What has two values; false is the default.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.said(key).unwrap_or(false)
    }

    /// What has two values, where saying nothing is a third.
    pub(super) fn said(&mut self, key: &str) -> Option<bool> {
        self.parse(key, value::boolean)
    }

    pub(super) fn number(&mut self, key: &str) -> Option<i32> {
        self.parse(key, value::int)
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let text = self.text(key)?;
        Some(text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(Into::into).collect())
    }

    pub(super) fn parse<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Option<T> {
        let entry = self.group.entry(key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(hint) => {
                let shown = entry.value.escape_ascii();
                let what = format!("Could not parse {key} in group {}: \"{shown}\"", self.shown());
                self.error(key, &what, hint);
                None
            }
        }
    }

    /// A text that has a meaning of its own; blanks behind it do not count.
    pub(super) fn understood<T>(
        &mut self,
        key: &str,
        understand: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match understand(text.trim_end()) {
            Ok(value) => Some(value),
            Err(hint) => {
                self.invalid(key, text.trim_end(), &hint);
                None
            }
        }
    }

    /// One of a few words, the first of which is the default.
    pub(super) fn choice<T: Copy, const N: usize>(&mut self, key: &str, choices: [(&str, T); N]) -> T {
        let chosen = self.understood(key, |text| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let choice = choices.iter().find(|(word, _)| *word == text);
            choice.map(|(_, value)| *value).ok_or_else(|| format!("write {}", words.join(" or ")))
        });
        chosen.unwrap_or(choices[0].1)
    }

    /// Two keys that are both asked for, and must not be.
    pub(super) fn exclude(&mut self, one: (&str, bool), other: (&str, bool)) {
        if one.1 && other.1 {
            let (one, other) = (one.0, other.0);
            let what = format!("Cannot mix {one} with {other} for an export in group {}", self.shown());
            self.error(one, &what, "choose one of them");
        }
    }

    /// Keys that nobody asks for: unknown ones, and those that do nothing here.
    fn look_at_the_rest(&mut self) {
        let group = self.group;
        for entry in group.entries.iter().filter(|entry| !is_locale_key(&entry.key)) {
            let name = String::from_utf8_lossy(&entry.key);
            match keys::find(self.place, &entry.key).map(|key| key.status) {
                Some(Status::Working) => {}
                Some(Status::Dead(why)) => self.warn_at(entry, &format!("{name} has no effect: {why}")),
                None => {
                    let suggestion = keys::suggestion(self.place, &name);
                    self.warn_at(entry, &format!("unknown key {name}: {suggestion}"));
                }
            }
        }
    }

    fn warn_at(&mut self, entry: &Entry, what: &str) {
        let key = String::from_utf8_lossy(&entry.key);
        self.warnings.push(Problem::at(self.file, entry.line, what).inside(self.shown(), Some(&key)));
    }

    /// The key stands there and does not do what one may think.
    pub(super) fn warn(&mut self, key: &str, what: &str) {
        let problem = self.at(key, what);
        self.warnings.push(problem);
    }

    pub(super) fn invalid(&mut self, key: &str, value: &str, hint: &str) {
        let what = format!("Invalid value {value} for parameter {key} in group {}", self.shown());
        self.error(key, &what, hint);
    }

    pub(super) fn error(&mut self, key: &str, what: &str, hint: &str) {
        let problem = self.at(key, what).hint(hint);
        self.errors.push(problem);
    }

    fn at(&self, key: &str, what: &str) -> Problem {
        let line = self.group.entry(key).map_or(self.group.line, |entry| entry.line);
        Problem::at(self.file, line, what).inside(self.shown(), Some(key))
    }
}
