//! Units of Prometheus' metrics, as Grafana names them.

/// Grafana's names of units. Those of bytes are powers of 1024, as memory is.
const UNITS: [(&str, &str); 14] = [
    ("amperes", "amp"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "massg"),
    ("hertz", "hertz"),
    ("joules", "joule"),
    ("kelvin", "kelvin"),
    ("meters", "lengthm"),
    ("pascals", "pressurepa"),
    ("ratio", "percentunit"),
    ("seconds", "s"),
    ("volts", "volt"),
    ("watts", "watt"),
    ("", "short"),
];

/// Returns the unit of a value. A unit that Grafana does not have is written behind the number.
pub(super) fn of_value(unit: &str) -> String {
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    known.map_or_else(|| format!("suffix:{unit}"), |(_, grafana)| (*grafana).to_owned())
}

/// Returns the unit of a rate per second.
pub(super) fn of_rate(unit: &str) -> String {
    match unit {
        "" => "cps".to_owned(),
        "bytes" => "binBps".to_owned(),
        // Seconds per second are a share of a second; of joules per second, the unit is the watt.
        "joules" => "watt".to_owned(),
        "seconds" => "suffix:s/s".to_owned(),
        _ => format!("suffix:{unit}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_grafanas() {
        assert_eq!(
            ["seconds", "bytes", "ratio", "", "jobs"].map(of_value),
            ["s", "bytes", "percentunit", "short", "suffix:jobs"]
        );
        assert_eq!(["", "bytes", "seconds", "jobs"].map(of_rate), ["cps", "binBps", "suffix:s/s", "suffix:jobs/s"]);
    }
}
