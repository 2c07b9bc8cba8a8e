//! Figures as people read them.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes: exact where that is short, else with one decimal.
pub fn size(bytes: u64) -> String {
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let whole = 1_u64 << (10 * unit);
    if bytes.is_multiple_of(whole) {
        return format!("{} {}", bytes / whole, UNITS[unit]);
    }
    // Rounded down: a disk that is one byte short of 10 GiB is not one of 10 GiB.
    let tenths = u128::from(bytes) * 10 / u128::from(whole);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// How long, with the two units that matter.
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 => format!("{}ms", age.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// As [`age`], from milliseconds.
pub fn age_ms(ms: u64) -> String {
    age(Duration::from_millis(ms))
}

/// How long ago that was, by this machine's clock; none where it cannot be read.
pub fn since(at: &str) -> Option<String> {
    let at: jiff::Timestamp = at.parse().ok()?;
    let ms = jiff::Timestamp::now().as_millisecond() - at.as_millisecond();
    Some(age_ms(ms.try_into().unwrap_or(0)))
}

/// Something in a second: three figures are enough.
pub fn rate(each_second: f64) -> String {
    match each_second {
        rate if rate <= 0.0 => "0".into(),
        rate if rate < 0.01 => "<0.01".into(),
        rate if rate < 10.0 => format!("{rate:.2}"),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// Bytes in a second, in MiB.
pub fn mib(bytes_each_second: f64) -> String {
    rate(bytes_each_second / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_never_said_larger_than_it_is() {
        let sizes = [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (10 << 30, "10 GiB")];
        for (bytes, said) in sizes.into_iter().chain([((10 << 30) - 1, "9.9 GiB"), (u64::MAX, "15.9 EiB")]) {
            assert_eq!(size(bytes), said);
        }
    }

    #[test]
    fn an_age_has_the_two_units_that_matter() {
        let ages = [(0, "0ms"), (999, "999ms"), (42_999, "42s"), (125_000, "2m05s"), (15_120_000, "4h12m")];
        for (ms, said) in ages.into_iter().chain([(273_600_000, "3d04h")]) {
            assert_eq!(age_ms(ms), said);
        }
        assert_eq!(since("yesterday"), None);
        assert!(since("2020-01-01T00:00:00.000Z").is_some_and(|age| age.contains('d')));
        assert_eq!(since("9999-01-01T00:00:00Z"), Some("0ms".into()), "a clock that was set back");
    }

    #[test]
    fn a_rate_has_three_figures() {
        let rates = [(0.0, "0"), (0.001, "<0.01"), (1.234, "1.23"), (12.34, "12.3"), (1234.4, "1234")];
        assert!(rates.iter().all(|(value, said)| rate(*value) == *said));
        assert_eq!(mib(1_572_864.0), "1.50");
    }
}
