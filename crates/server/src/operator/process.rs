//! The process as the system sees it, under the names that Prometheus has for it.

use control::metrics::{Family, Kind};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// What `/proc/self` says. A figure that cannot be had is left out.
pub fn figures(since: SystemTime) -> Vec<Family> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses, which may hold anything.
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    // Numbered as proc(5) does, from the third on.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    let resident = field(24).map(|pages| pages * rustix::param::page_size() as f64);
    let open = fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count().saturating_sub(1) as f64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let started = since.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    let families = [
        ("process_cpu_seconds_total", Kind::Counter, "Processor time of the process.", cpu),
        ("process_resident_memory_bytes", Kind::Gauge, "Memory that is in use.", resident),
        ("process_threads", Kind::Gauge, "Threads.", field(20)),
        ("process_open_fds", Kind::Gauge, "Open descriptors.", open),
        ("process_max_fds", Kind::Gauge, "Descriptors that may be open.", limit.map(|limit| limit as f64)),
        ("process_start_time_seconds", Kind::Gauge, "When the server began to serve, since 1970.", started),
    ];
    let with = |(name, kind, help, value): (_, _, _, Option<f64>)| {
        value.map(|value| Family::new(name, kind, help).with(&[], value))
    };
    families.into_iter().filter_map(with).collect()
}
