//! A plan that is shown is the one that is carried out, over thousands of pairs of configurations that were made at
//! random, good ones and broken ones.

use super::*;
use crate::connections::Sessions;
use crate::log::Log;
use control::view::Action;
use session::Limits;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};
use testkit::TempDir;

const PAIRS: usize = 10_000;
const NAMES: [&str; 5] = ["vol-1", "vol-2", "vol 3", "vol-4", "vol-5"];
const DISKS: usize = 5;

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

struct Place {
    dir: TempDir,
    dice: Dice,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: TempDir::new("plans"), dice: Dice(7) };
        fs::create_dir(place.dir.path().join("conf.d")).expect("a directory");
        for disk in 0..DISKS {
            fs::write(place.disk(disk), vec![0; 4096]).expect("a disk");
        }
        place.write("config", "[generic]\nincludedir = conf.d\n");
        place
    }

    fn disk(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("disk{number}"))
    }

    /// Old enough to be believed at once.
    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file");
        let file = File::options().write(true).open(path).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(1)).expect("a time");
    }

    /// Changes some of the files and disks.
    fn change(&mut self) {
        for _ in 0..=self.dice.below(3) {
            match self.dice.below(10) {
                0 => self.change_main(),
                1 | 2 => self.change_disk(),
                _ => self.change_snippet(),
            }
        }
    }

    fn change_main(&mut self) {
        let dice = &mut self.dice;
        let mut text = format!(
            "[generic]\nincludedir = conf.d\nallowlist = {}\nmax_threads = {}\nport = {}\n",
            dice.of(&["true", "false"]),
            dice.below(4) + 1,
            20_000 + dice.below(3)
        );
        if dice.one_in(6) {
            text.push_str("allowlist = perhaps\n");
        }
        if dice.one_in(3) {
            text.push_str(&self.export("in-main"));
        }
        self.write("config", &text);
    }

    fn change_disk(&mut self) {
        let number = self.dice.below(DISKS);
        let (path, other) = (self.disk(number), self.dir.path().join("other"));
        match self.dice.below(4) {
            0 => drop(fs::remove_file(path)),
            1 => fs::write(path, vec![0; 4096 * (1 + self.dice.below(3))]).expect("another size"),
            _ => {
                fs::write(&other, vec![0; 4096]).expect("another disk");
                fs::rename(other, path).expect("in its place");
            }
        }
    }

    fn change_snippet(&mut self) {
        let number = self.dice.below(NAMES.len());
        let name = format!("conf.d/{number}.conf");
        if self.dice.one_in(4) {
            let _ = fs::remove_file(self.dir.path().join(name));
            return;
        }
        // Now and then somebody else's name.
        let number = if self.dice.one_in(10) { self.dice.below(NAMES.len()) } else { number };
        let mut text = self.export(NAMES[number]);
        match self.dice.below(30) {
            0 => text.push_str("[half\n"),
            1 => text.push_str("readonly = maybe\n"),
            2 => text.clear(),
            3 => drop(text.pop()),
            _ => {}
        }
        self.write(&name, &text);
    }

    fn export(&mut self, name: &str) -> String {
        let number = self.dice.below(DISKS);
        let path = self.disk(number);
        let mut text = format!("[{name}]\nexportname = {}\n", path.display());
        for (key, values) in [
            ("readonly", &["true", "false"][..]),
            ("exclusive", &["true", "false"]),
            ("maxconnections", &["0", "3"]),
            ("on_change", &["fence", "keep"]),
            ("copyonwrite", &["true", "false"]),
        ] {
            if self.dice.one_in(3) {
                let value = self.dice.of(values);
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text
    }
}

/// What is served from which medium, and what is said of it.
fn served(shared: &Shared) -> BTreeMap<String, (Arc<Medium>, Export, bool)> {
    let catalog = shared.catalog();
    let served = |entry: &Arc<crate::catalog::Entry>| {
        let blocked = entry.blocked.is_some();
        (entry.settings.name.to_string(), (entry.medium.clone(), entry.settings.clone(), blocked))
    };
    catalog.entries().iter().map(served).collect()
}

fn names(plan: &view::Plan, actions: &[Action]) -> BTreeSet<String> {
    plan.steps.iter().filter(|step| actions.contains(&step.action)).map(|step| step.export.clone()).collect()
}

/// The plan against what became of the running set, which knows nothing of steps.
fn holds(plan: &view::Plan, before: &Shared, was: &BTreeMap<String, (Arc<Medium>, Export, bool)>) {
    let is = served(before);
    let added: BTreeSet<String> = is.keys().filter(|name| !was.contains_key(*name)).cloned().collect();
    let removed: BTreeSet<String> = was.keys().filter(|name| !is.contains_key(*name)).cloned().collect();
    assert_eq!(names(plan, &[Action::Add]), added, "{plan:?}");
    assert_eq!(names(plan, &[Action::Remove]), removed, "{plan:?}");
    let both = || is.iter().filter_map(|(name, now)| Some((name.clone(), was.get(name)?, now)));
    let other_medium = both().filter(|(_, was, is)| !Arc::ptr_eq(&was.0, &is.0)).map(|(name, ..)| name);
    assert_eq!(names(plan, &[Action::Replace, Action::Block]), other_medium.collect(), "{plan:?}");
    let told = names(plan, &[Action::Replace, Action::Block, Action::Retune]);
    for (name, _, _) in both().filter(|(_, was, is)| was.1 != is.1 || was.2 != is.2) {
        assert!(told.contains(&name), "{name} is another one: {plan:?}");
    }
}

#[test]
fn a_plan_is_what_the_reload_behind_it_does() {
    let mut place = Place::new();
    let shared = Shared::new(Log::to(|_, _| ()), Limits::default(), Sessions::within(1024));
    let files = Files { base: place.dir.path().into() };
    let main = place.dir.path().join("config");
    let loaded = config::load(&main, &files, None, config::Options::default()).expect("a start");
    let mut reconciler = Reconciler::new(shared.clone(), main, files, None);
    reconciler.start(loaded);
    let (mut seen, mut kept) = (BTreeMap::new(), 0);
    for pair in 0..PAIRS {
        place.change();
        let (plan, was) = (reconciler.plan(), served(&shared));
        assert_eq!(reconciler.plan(), plan, "asking changes nothing");
        let reload = reconciler.reload(None);
        assert_eq!(plan, reload.plan, "pair {pair}");
        holds(&plan, &shared, &was);
        assert_eq!(reload.outcome == Outcome::Refused, !plan.refused.is_empty(), "{reload:?}");
        let after = reconciler.plan();
        assert!(after.steps.is_empty() && after.settings.is_empty(), "pair {pair}: {after:?}");
        for step in &plan.steps {
            *seen.entry(step.action).or_insert(0) += 1;
        }
        kept += usize::from(!plan.kept_back.is_empty());
    }
    // What concerns some clients alone needs clients; `paths.rs` has them.
    assert!(seen.len() == 5 && seen.values().all(|&times| times > 20), "each kind is met: {seen:?}");
    assert!(kept > 1000 && kept < PAIRS - 1000, "files are broken now and then: {kept}");
}
