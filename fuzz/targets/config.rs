//! Whatever stands in the files: reading them ends, and reading the same again changes nothing (P1).
//!
//! The input is the main file and the files of its includedir, a zero byte between each, before and after a 0x01 byte:
//! the texts at start and at the reload.
#![no_main]

use config::{Options, Plan, SourceError, Sources, load};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Texts<'a>(Vec<&'a [u8]>);

impl<'a> Texts<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self(data.split(|byte| *byte == 0).collect())
    }
}

impl Sources for Texts<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<usize>().ok());
        let text = number.and_then(|number| self.0.get(number)).map(|text| text.to_vec());
        text.ok_or(SourceError { missing: true, dangling: false, reason: "No such file or directory".into() })
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
        Ok((1..self.0.len().min(20)).map(|number| dir.join(format!("{number}.conf"))).collect())
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (before, after) = data.split_at(data.iter().position(|byte| *byte == 1).unwrap_or(data.len()));
    let texts = Texts::new(before);
    let main = Path::new("/0");
    let Ok(started) = load(main, &texts, None, Options::default()) else { return };
    if let Ok(again) = load(main, &texts, Some(&started), Options::default()) {
        let plan = Plan::between(&started.config, &again.config, &BTreeSet::new());
        assert_eq!(started.config, again.config, "the same texts, another configuration: {:?}", plan.steps());
    }
    let after = Texts::new(after.get(1..).unwrap_or_default());
    if let Ok(reloaded) = load(main, &after, Some(&started), Options::default()) {
        let plan = Plan::between(&started.config, &reloaded.config, &BTreeSet::new());
        assert!(plan.steps().len() <= started.config.exports.len() + reloaded.config.exports.len());
    }
});
