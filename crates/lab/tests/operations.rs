//! Every command of `docs/operations.md`, typed on an appliance as an operator would, and every line that it shows.
#![allow(missing_docs, reason = "the whole file is a test")]

#[path = "operations/runbook.rs"]
mod runbook;
#[path = "operations/scene.rs"]
mod scene;

use lab::{Engine, Product, repository};
use runbook::{Command, Part};
use scene::Scene;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
#[ignore = "cargo x lab"]
fn every_command_of_the_runbook_does_what_it_says() {
    let Some(engine) = Engine::start("every_command_of_the_runbook_does_what_it_says") else { return };
    let product = Product::build(&engine);
    let Some(mut scene) = Scene::new(&engine, &product) else { return };
    let text = std::fs::read_to_string(repository().join("docs/operations.md")).expect("the runbook");
    let mut wrong = Vec::new();
    let mut typed = 0;
    for part in runbook::parts(&text) {
        match part {
            Part::Stage(direction) => scene.play(&direction),
            Part::Command(command) => {
                typed += 1;
                wrong.extend(differs(&command, &scene));
            }
        }
    }
    assert!(typed > 40, "the commands were not found: {typed}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What only looks is asked again for a while: the journal is a little behind.
fn differs(command: &Command, scene: &Scene<'_>) -> Option<String> {
    let looks =
        ["journalctl", "nbdctl exports", "nbdctl sessions"].iter().any(|word| command.text.starts_with(word));
    let until = Instant::now() + if looks { PATIENCE } else { Duration::ZERO };
    loop {
        let differs = command.differs(&scene.type_in(&command.text));
        if differs.is_none() || Instant::now() >= until {
            return differs;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
