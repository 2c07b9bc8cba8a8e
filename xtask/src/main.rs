//! Developer commands: `cargo x NAME`. Needs nothing but cargo.
#![forbid(unsafe_code)]

mod apt;
mod bench;
mod check;
mod fuzz;
mod interop;
mod lab;
mod manual;
mod packages;
mod rivals;
mod roff;
mod run;
mod tests;

use run::{Failed, Run};
use std::path::Path;
use std::process::ExitCode;

/// Its name, what it takes, what it does, the function.
type Command = (&'static str, &'static str, &'static str, fn(&[String]) -> Result<(), Failed>);

const COMMANDS: &[Command] = &[
    ("t", "[name]", "unit and session tests, or those with this name", tests::quick),
    ("test", "", "everything; installs what it needs", tests::everything),
    ("check", "", "format, clippy, quick tests, docs, licences, tidy: before each commit", check::check),
    ("demo", "", "the main job on an embedded default", demo),
    ("interop", "", "foreign clients against ours, each result checked", interop::interop),
    (
        "fuzz",
        "[seconds] [target]",
        "each fuzz target for so long (60), and the canary must be found",
        fuzz::fuzz,
    ),
    (
        "manual",
        "[dir]",
        "the manual's tables of keys, made anew from the parser's; with DIR, its pages as man reads them",
        pages,
    ),
    ("lab", "[name]", "the long form of what runs in distributions and containers", lab::containers),
    (
        "vm",
        "[name]",
        "the server on a virtual machine, the long form: disks that come and go, ten rounds",
        lab::vm,
    ),
    ("bench", "", "a small fixed workload against other servers, as ratios", bench::bench),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = args.split_first() else { return list("no command") };
    let Some((name, _, _, act)) = COMMANDS.iter().find(|(name, ..)| name == command) else {
        return list(&format!("unknown command `{command}`"));
    };
    match act(rest) {
        Ok(()) => {
            println!("cargo x {name}: ok");
            ExitCode::SUCCESS
        }
        Err(Failed(what)) => {
            println!("cargo x {name}: FAILED: {what}");
            ExitCode::FAILURE
        }
    }
}

fn list(why: &str) -> ExitCode {
    eprintln!("{why}; there are:");
    for (name, args, about, _) in COMMANDS {
        eprintln!("  cargo x {:26} {about}", format!("{name} {args}"));
    }
    ExitCode::from(2)
}

fn pages(args: &[String]) -> Result<(), Failed> {
    let failed = |path: &Path, error: std::io::Error| Failed(format!("{}: {error}", path.display()));
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| failed(path, error));
    let write = |path: &Path, text: String| std::fs::write(path, text).map_err(|error| failed(path, error));
    let Some(dir) = args.first().map(Path::new) else {
        let path = run::root().join(manual::PAGE);
        return write(&path, manual::with_tables(&read(&path)?));
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for page in roff::PAGES {
        let text = read(&run::root().join(page))?;
        let version = concat!("nbd-server-enhanced ", env!("CARGO_PKG_VERSION"));
        let name = Path::new(page).file_stem().unwrap_or_default();
        write(&dir.join(name), roff::roff(&text, version))?;
    }
    Ok(())
}

fn demo(args: &[String]) -> Result<(), Failed> {
    packages::for_building();
    // As the tests have it, so that nothing is built twice.
    Run::cargo(["build", "--quiet", "-p", "server", "--bins", "--example", "demo"])
        .args(packages::server_features())
        .go("building")?;
    Run::new(run::target().join("debug/examples/demo")).args(args).go("the demo")
}
