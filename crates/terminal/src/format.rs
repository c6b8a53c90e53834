//! Numbers and times as people read them, each in a few characters.

use std::time::{Duration, UNIX_EPOCH};

/// Writes a number a second.
pub(crate) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 0.01 => "<0.01".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.2}"),
        Some(rate) if rate < 1000.0 => format!("{rate:.0}"),
        Some(rate) if rate < 1e6 => format!("{:.1}k", rate / 1e3),
        Some(rate) if rate < 1e9 => format!("{:.1}M", rate / 1e6),
        Some(rate) => format!("{:.0}G", (rate / 1e9).min(99_999.0)),
    }
}

/// Writes a share in percent.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share.map(|share| share * 100.0) {
        None => "-".to_owned(),
        Some(0.0) => "0%".to_owned(),
        Some(percent) if percent < 0.1 => "<0.1%".to_owned(),
        Some(percent) if percent < 10.0 => format!("{percent:.1}%"),
        Some(percent) if (99.5..100.0).contains(&percent) => ">99%".to_owned(),
        Some(percent) => format!("{percent:.0}%"),
    }
}

/// Writes a duration in seconds.
pub(crate) fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.0 => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0}µs", (seconds * 1e6).max(1.0)),
        Some(seconds) if seconds < 0.01 => format!("{:.1}ms", seconds * 1e3),
        Some(seconds) if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        Some(seconds) if seconds < 10.0 => format!("{seconds:.1}s"),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.0}s"),
        Some(seconds) if seconds < 7200.0 => format!("{:.0}m", seconds / 60.0),
        Some(seconds) if seconds < 172_800.0 => format!("{:.0}h", seconds / 3600.0),
        Some(seconds) => format!("{:.0}d", seconds / 86_400.0),
    }
}

/// Writes a number of bytes.
pub(crate) fn bytes(bytes: Option<f64>) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let Some(mut bytes) = bytes else { return "-".to_owned() };
    let mut unit = 0;
    while bytes >= 1024.0 && unit + 1 < UNITS.len() {
        bytes /= 1024.0;
        unit += 1;
    }
    if bytes < 10.0 && unit > 0 { format!("{bytes:.1}{}", UNITS[unit]) } else { format!("{bytes:.0}{}", UNITS[unit]) }
}

/// Writes a time of Unix in RFC 3339, with milliseconds.
pub(crate) fn time(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).ok().and_then(|since| UNIX_EPOCH.checked_add(since));
    // The last time that RFC 3339 can express.
    let time = time.filter(|_| seconds < 253_402_300_800.0).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Writes the time of the day of a time of Unix, in UTC.
pub(crate) fn time_of_day(seconds: f64) -> String {
    time(seconds).get(11..23).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let values =
            [0.0, 1e-9, 0.001, 0.0099, 0.05, 0.999, 0.9999, 1.0, 9.99, 99.4, 1023.0, 1e4, 1e6, 1e9, 1e12].map(Some);
        for value in values.into_iter().chain([None]) {
            for text in [rate(value), percent(value.map(|value| value.min(1.0))), duration(value), bytes(value)] {
                assert!((1..=9).contains(&text.chars().count()), "{value:?}: {text}");
            }
        }
        assert_eq!(
            [rate(Some(12.3)), percent(Some(0.042)), duration(Some(0.094)), bytes(Some(2_359_296.0))],
            ["12", "4.2%", "94ms", "2.2M"]
        );
        assert_eq!(time(1_764_374_401.125), "2025-11-29T00:00:01.125Z");
        assert_eq!(time_of_day(1_764_374_401.125), "00:00:01.125");
        assert_eq!(time(1e300), "1970-01-01T00:00:00.000Z");
    }
}
