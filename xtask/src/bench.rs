//! `bench`: a small fixed workload, interleaved over the servers so that a noisy machine is noisy for all. It prints
//! ratios; it judges only whether everything ran.

use crate::rivals::{NAMES, Profile, Rival, build, noise, scratch};
use crate::run::{Failed, Run, tool};
use std::path::PathBuf;
use std::time::Instant;

const ROUNDS: usize = 3;

/// A work and what a figure of it means.
struct Work {
    name: &'static str,
    /// The figure grows with speed.
    more_is_better: bool,
    run: fn(&Rival, &PathBuf) -> Result<f64, Failed>,
    program: &'static str,
}

const WORKS: [Work; 3] = [
    Work { name: "nbdcopy 256 MiB to null, s", more_is_better: false, run: pull, program: "nbdcopy" },
    Work {
        name: "nbdcopy 64 MiB from file and flush, s",
        more_is_better: false,
        run: push,
        program: "nbdcopy",
    },
    Work { name: "fio 4 KiB random reads, 64 deep, 1/s", more_is_better: true, run: random, program: "fio" },
];

/// All works on all servers.
pub fn bench(_: &[String]) -> Result<(), Failed> {
    build(Profile::Release)?;
    let dir = scratch("bench")?;
    let save = |name: &str, bytes: &[u8]| -> Result<PathBuf, Failed> {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|error| Failed(error.to_string()))?;
        Ok(path)
    };
    let content = noise(256 << 20);
    let source = save("source", &content[..64 << 20])?;
    let mut rivals = Vec::new();
    for name in NAMES {
        let disk = save(&format!("disk-{name}"), &content)?;
        rivals.extend(Rival::start(name, Profile::Release, &disk)?);
    }
    for work in &WORKS {
        if tool(work.program).is_none() {
            println!("SKIPPED: {}: {} is not installed", work.name, work.program);
            continue;
        }
        let mut figures = vec![Vec::new(); rivals.len()];
        for _ in 0..ROUNDS {
            for (rival, figures) in rivals.iter().zip(&mut figures) {
                figures.push((work.run)(rival, &source)?);
            }
        }
        report(work, &rivals, &mut figures);
    }
    Ok(())
}

fn report(work: &Work, rivals: &[Rival], figures: &mut [Vec<f64>]) {
    println!("{}", work.name);
    let medians: Vec<f64> = figures.iter_mut().map(|figures| median(figures)).collect();
    for (rival, figure) in rivals.iter().zip(&medians) {
        let ratio = if work.more_is_better { medians[0] / figure } else { figure / medians[0] };
        println!("  {:12} {figure:12.3}   ours is {ratio:.2} times as fast", rival.name);
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn pull(rival: &Rival, _: &PathBuf) -> Result<f64, Failed> {
    timed(Run::new("nbdcopy").args([&rival.uri("disk"), "null:"]))
}

fn push(rival: &Rival, source: &PathBuf) -> Result<f64, Failed> {
    // We flush at the end of a session whatever the client says; asked for a flush, all do the same work.
    timed(Run::new("nbdcopy").args(["--flush"]).args([source]).args([rival.uri("disk")]))
}

fn timed(run: Run) -> Result<f64, Failed> {
    let begin = Instant::now();
    run.text()?;
    Ok(begin.elapsed().as_secs_f64())
}

fn random(rival: &Rival, _: &PathBuf) -> Result<f64, Failed> {
    let uri = format!("--uri={}", rival.uri("disk"));
    let args = ["--name=bench", "--ioengine=nbd", &uri, "--rw=randread", "--bs=4k", "--iodepth=64"];
    let more = ["--time_based", "--runtime=2", "--size=256m", "--minimal", "--terse-version=3"];
    let text = Run::new("fio").args(args).args(more).text()?;
    let line = text.lines().find(|line| line.starts_with("3;")).unwrap_or_default();
    // Field 8 of the terse format: reads a second.
    line.split(';')
        .nth(7)
        .and_then(|figure| figure.parse().ok())
        .ok_or_else(|| Failed(format!("fio said {text}")))
}
