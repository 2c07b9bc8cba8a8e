//! `fuzz`: libFuzzer on the stable toolchain, by the flags that cargo-fuzz would set.

use crate::run::{Failed, Run, all, root, tool};

/// One for each reader of untrusted bytes.
const TARGETS: [&str; 3] = ["handshake", "requests", "config"];

/// What makes the compiler count edges and comparisons for libFuzzer.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cdebug-assertions \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Each target for some seconds, or one of them.
pub fn fuzz(args: &[String]) -> Result<(), Failed> {
    let seconds = match args.first() {
        None => 60,
        Some(text) => text.parse().map_err(|_| Failed(format!("`{text}` is not a number of seconds")))?,
    };
    let host = host()?;
    // `--target` keeps the flags away from build scripts, which could not be linked with them.
    Run::cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host])
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", root().join("fuzz/target"))
        .go("fuzz targets with coverage")?;
    let chosen = TARGETS.iter().filter(|target| args.get(1).is_none_or(|name| name == *target));
    let runs = chosen.map(|target| run(&host, target, seconds));
    all(std::iter::once(canary(&host)).chain(runs))
}

/// Whether the targets build, without coverage: quick, and good enough for every change.
pub fn builds() -> Result<(), Failed> {
    if tool("c++").is_none() {
        println!("== fuzz targets: SKIPPED, libFuzzer needs a C++ compiler");
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        return if in_ci { Err(Failed("fuzz targets need c++, and CI=true".into())) } else { Ok(()) };
    }
    Run::cargo(["build", "--manifest-path", "fuzz/Cargo.toml"])
        .env("CARGO_TARGET_DIR", root().join("fuzz/target"))
        .go("fuzz targets build")
}

fn run(host: &str, target: &str, seconds: u32) -> Result<(), Failed> {
    let corpus = prepare(target)?;
    program(host, target, &corpus)
        .args([&format!("-max_total_time={seconds}"), "-print_final_stats=1", "-verbosity=0", "-timeout=10"])
        .go(&format!("fuzz {target} for {seconds} s"))
}

/// A target that fails on one input of three bytes. If that is not found, the fuzzing finds nothing at all.
fn canary(host: &str) -> Result<(), Failed> {
    let corpus = prepare("canary")?;
    let output = program(host, "canary", &corpus).args(["-max_total_time=60"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).contains("the canary sings");
    if said && !output.status.success() {
        println!("== the canary was found");
        return Ok(());
    }
    Err(Failed("the canary was not found: the fuzzing is blind".into()))
}

fn prepare(target: &str) -> Result<String, Failed> {
    for dir in [format!("fuzz/corpus/{target}"), "fuzz/artifacts".to_owned()] {
        std::fs::create_dir_all(root().join(&dir)).map_err(|error| Failed(format!("{dir}: {error}")))?;
    }
    Ok(format!("fuzz/corpus/{target}"))
}

/// New inputs go to `fuzz/corpus`, which is not committed; `fuzz/seeds` is.
fn program(host: &str, target: &str, corpus: &str) -> Run {
    let program = root().join(format!("fuzz/target/{host}/release/{target}"));
    let seeds = format!("fuzz/seeds/{target}");
    let seeds = root().join(&seeds).is_dir().then_some(seeds);
    Run::new(program).args([corpus]).args(seeds).args([format!("-artifact_prefix=fuzz/artifacts/{target}-")])
}

fn host() -> Result<String, Failed> {
    let text = Run::new("rustc").args(["-vV"]).text()?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failed("rustc does not say its host".into()))
}
