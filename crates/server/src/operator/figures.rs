//! Figures for Prometheus. Export names are the one label that configuration chooses; nothing that a client chooses is one.

use super::{exports, process};
use crate::state::Shared;
use control::metrics::{Family, Kind};
use control::view::State;
use session::{BOUNDS_US, Class, ExportName, Reading, Readings};
use std::collections::BTreeMap;
use std::time::SystemTime;

type Totals = BTreeMap<ExportName, (Readings, u64)>;

const STATES: [(State, &str); 6] = [
    (State::Serving, "serving"),
    (State::Unavailable, "unavailable"),
    (State::KeptBack, "kept_back"),
    (State::Fencing, "fencing"),
    (State::Poisoned, "poisoned"),
    (State::Placeholder, "placeholder"),
];

/// All of them.
pub fn figures(shared: &Shared, hanging: usize, since: SystemTime) -> Vec<Family> {
    let totals = shared.roll.totals();
    let mut families = vec![build()];
    families.extend(exports_and_sessions(shared, &totals, hanging));
    families.extend(requests(&totals));
    families.push(latency(&totals));
    families.extend(shared.reloads.figures());
    families.extend([shared.roll.endings(), shared.roll.refusals(), evicted(shared)]);
    families.extend(process::figures(since));
    families
}

fn build() -> Family {
    Family::new("nbd_server_build_info", Kind::Gauge, "1, with the version of the program.")
        .with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)
}

fn evicted(shared: &Shared) -> Family {
    let help = "Handshakes that gave way because all places were taken.";
    let family = Family::new("nbd_server_handshakes_evicted_total", Kind::Counter, help);
    family.with(&[], shared.sessions.evicted() as f64)
}

fn exports_and_sessions(shared: &Shared, totals: &Totals, hanging: usize) -> Vec<Family> {
    let catalog = shared.catalog();
    let mut states = Family::new(
        "nbd_server_export_state",
        Kind::Gauge,
        "1 for the state that an export is in, 0 for all others.",
    );
    let mut size = Family::new("nbd_server_export_size_bytes", Kind::Gauge, "Bytes of an export's disk.");
    for (entry, (is, told)) in catalog.entries().iter().zip(exports::states(&catalog)) {
        let name = entry.name.to_string();
        for (state, word) in STATES {
            states.push("", &[("export", &name), ("state", word)], f64::from(u8::from(state == is)));
        }
        if let Some(found) = told.found {
            size.push("", &[("export", &name)], found.size as f64);
        }
    }
    let mut sessions = Family::new("nbd_server_sessions", Kind::Gauge, "Sessions on an export now.");
    for (name, (_, count)) in totals {
        sessions.push("", &[("export", &name.to_string())], *count as f64);
    }
    let present = shared.roll.present();
    let (secured, in_flight) = present.iter().fold((0.0, 0.0), |(tls, in_flight), present| {
        let inside = present.sitter.turnstile.inside() as f64;
        (tls + f64::from(u8::from(present.tls.is_some())), in_flight + inside)
    });
    let gauge = |name, help, value| Family::new(name, Kind::Gauge, help).with(&[], value);
    vec![
        states,
        size,
        sessions,
        gauge("nbd_server_tls_sessions", "Sessions inside TLS now.", secured),
        gauge("nbd_server_requests_in_flight", "Requests with a disk now.", in_flight),
        gauge(
            "nbd_server_handshakes",
            "Connections that have not chosen an export yet.",
            shared.sessions.handshakes() as f64,
        ),
        gauge(
            "nbd_server_fences_hanging",
            "Disks that are not free because a request of a fenced session does not come back.",
            hanging as f64,
        ),
        gauge(
            "nbd_server_generation",
            "Counts the reloads that were carried out.",
            catalog.generation as f64,
        ),
    ]
}

fn requests(totals: &Totals) -> Vec<Family> {
    let family = |name, help, value: fn(&Reading) -> u64| {
        let mut family = Family::new(name, Kind::Counter, help);
        for (name, (readings, _)) in totals {
            for class in Class::ALL {
                let labels = [("export", name.to_string()), ("kind", word(class).to_owned())];
                let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
                family.push("", &labels, value(readings.of(class)) as f64);
            }
        }
        family
    };
    vec![
        family("nbd_server_requests_total", "Requests by export and kind.", |of| of.requests),
        family("nbd_server_bytes_total", "Bytes of requests by export and kind.", |of| of.bytes),
        family("nbd_server_errors_total", "Requests answered with an error.", |of| of.errors),
    ]
}

fn latency(totals: &Totals) -> Family {
    let help = "From a request's arrival to its reply, by export and kind.";
    let mut family = Family::new("nbd_server_request_duration_seconds", Kind::Histogram, help);
    for (name, (readings, _)) in totals {
        // Of a thousand exports few are busy, and of an idle one there is no time to tell.
        for class in Class::ALL.into_iter().filter(|class| readings.of(*class).requests > 0) {
            histogram(&mut family, &name.to_string(), word(class), readings.of(class));
        }
    }
    family
}

fn histogram(family: &mut Family, export: &str, kind: &str, of: &Reading) {
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
    let labels = [("export", export), ("kind", kind)];
    family.push_histogram(&labels, bounds, &of.buckets, of.took_us as f64 / 1e6);
}

fn word(class: Class) -> &'static str {
    match class {
        Class::Read => "read",
        Class::Write => "write",
        Class::Zeroes => "zeroes",
        Class::Trim => "trim",
        Class::Flush => "flush",
        Class::Other => "other",
    }
}
