//! The rules for names, units and bounds. The macros check them at compile time, the host for every
//! binary.
//!
//! Sources: Prometheus' "Metric and label naming" and "Data model", and the OpenMetrics 1.0
//! specification.

use crate::{Kind, exponential};

/// The longest name, key or unit, in bytes.
pub const MAX_NAME: usize = 200;

/// A message that names a broken rule and its remedy.
pub type Problem = &'static str;

/// The prefixes of metrics that processes export about themselves: those of the host, and `go_` of
/// the programs in Go beside which it is scraped.
pub const RESERVED_PREFIXES: [&str; 5] = ["wasm_", "wasmetry_", "process_", "target_info", "go_"];

/// The name and the prefix of the metrics that Prometheus makes for each target. A sample of such a
/// name would stand in their place.
///
/// Source: Prometheus, "Jobs and instances", "Automatically generated labels and time series". The
/// others that it makes, `ALERTS` and `ALERTS_FOR_STATE`, are no snake case.
const MADE_BY_PROMETHEUS: (&str, &str) = ("up", "scrape_");

/// The suffixes that have a meaning in the exposition formats.
pub const SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];

/// Units that are not base units, each with its base unit.
const DERIVED_UNITS: [(&str, &str); 20] = [
    ("nanoseconds", "seconds"),
    ("microseconds", "seconds"),
    ("milliseconds", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("ns", "seconds"),
    ("us", "seconds"),
    ("ms", "seconds"),
    ("second", "seconds"),
    ("bits", "bytes"),
    ("byte", "bytes"),
    ("kilobytes", "bytes"),
    ("megabytes", "bytes"),
    ("gigabytes", "bytes"),
    ("kib", "bytes"),
    ("mib", "bytes"),
    ("percent", "ratio"),
    ("millimeters", "meters"),
    ("kilograms", "grams"),
];

/// The longest route, in bytes.
pub const MAX_ROUTE: usize = 256;

/// The route of a request whose route is not declared, or is one too many.
pub const OTHER_ROUTE: &str = "other";

/// Checks a route of requests.
///
/// # Errors
///
/// Returns a message if the route is empty, too long, or no template of a path.
pub fn route(route: &str) -> Result<(), Problem> {
    if route.is_empty() {
        return Err("a route is not empty: write the path's template, such as `/users/{id}`");
    }
    if route.len() > MAX_ROUTE {
        return Err("a route has at most 256 bytes: write the path's template, without the values of its parameters");
    }
    if route.contains(|char: char| char.is_control() || matches!(char, '?' | '#')) {
        return Err("a route has no query, fragment or control character: leave it out");
    }
    if route == OTHER_ROUTE {
        return Err("`other` is the route of requests whose route is not declared: write another one");
    }
    Ok(())
}

/// Checks the characters of a metric's name.
///
/// # Errors
///
/// Returns a message if the name is empty, too long or not snake case, has a double underscore, is
/// one that Prometheus makes, or has one of the [`RESERVED_PREFIXES`].
pub fn metric(name: &str) -> Result<(), Problem> {
    host_metric(name)?;
    if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(
            "names that start with `wasm_`, `wasmetry_`, `process_`, `target_info` or `go_` are the host's own: choose another prefix",
        );
    }
    Ok(())
}

/// Checks the characters of the name of a metric of the host.
fn host_metric(name: &str) -> Result<(), Problem> {
    snake_case(name)?;
    let (name_of_target, prefix) = MADE_BY_PROMETHEUS;
    if name == name_of_target || name.starts_with(prefix) {
        return Err("Prometheus makes `up` and the names that start with `scrape_`: choose another name");
    }
    Ok(())
}

/// Checks the name of a counter, which ends in `_total`.
///
/// # Errors
///
/// Returns a message if the name breaks a rule.
pub fn counter(name: &str) -> Result<(), Problem> {
    counter_suffix(name, metric)
}

/// Checks the name of a counter of the host, which may have one of the [`RESERVED_PREFIXES`].
///
/// # Errors
///
/// Returns a message if the name breaks another rule.
pub fn host_counter(name: &str) -> Result<(), Problem> {
    counter_suffix(name, host_metric)
}

fn counter_suffix(name: &str, characters: fn(&str) -> Result<(), Problem>) -> Result<(), Problem> {
    if name == "_total" {
        return Err("the name of a counter says what is counted before `_total`");
    }
    characters(name)?;
    match name.strip_suffix("_total") {
        None => Err("the name of a counter ends in `_total`"),
        Some(stem) if stem.ends_with("_total") => Err("the name of a counter ends in `_total` once"),
        Some(_) => Ok(()),
    }
}

/// Checks the name of an info metric, which ends in `_info`.
///
/// # Errors
///
/// Returns a message if the name breaks a rule.
pub fn info(name: &str) -> Result<(), Problem> {
    if name == "_info" {
        return Err("the name of an info metric says what it is about before `_info`");
    }
    metric(name)?;
    match name.strip_suffix("_info") {
        None => Err("the name of an info metric ends in `_info`"),
        Some(stem) if stem.ends_with("_info") => Err("the name of an info metric ends in `_info` once"),
        Some(_) => Ok(()),
    }
}

/// Checks the name of a gauge or a histogram, which has none of the [`SUFFIXES`].
///
/// # Errors
///
/// Returns a message if the name breaks a rule.
pub fn gauge_or_histogram(name: &str) -> Result<(), Problem> {
    metric(name)?;
    no_suffix(name)
}

/// Checks the name of a gauge of the host, which may have one of the [`RESERVED_PREFIXES`], and may
/// end in `_info`: by convention, `app_build_info` is a gauge with the value 1.
///
/// # Errors
///
/// Returns a message if the name breaks another rule.
pub fn host_gauge(name: &str) -> Result<(), Problem> {
    host_metric(name)?;
    no_suffix(name.strip_suffix("_info").filter(|stem| !stem.is_empty()).unwrap_or(name))
}

/// Checks the name of a histogram of the host, which may have one of the [`RESERVED_PREFIXES`].
///
/// # Errors
///
/// Returns a message if the name breaks another rule.
pub fn host_histogram(name: &str) -> Result<(), Problem> {
    host_metric(name)?;
    no_suffix(name)
}

fn no_suffix(name: &str) -> Result<(), Problem> {
    if has_suffix(name) {
        return Err(
            "only counters end in `_total`, and `_count`, `_sum`, `_bucket`, `_created` and `_info` are the exposition formats' own: leave the suffix away",
        );
    }
    Ok(())
}

/// The name that two metrics of different names both need in the exposition formats: its beginning
/// and its end. Returns `None` if they can be exported together.
///
/// OpenMetrics leaves the suffix of a counter and of an info metric to the samples, and adds
/// others: the counter `tickets_total` also has the name `tickets_created`, which is the name of a
/// counter `tickets_created_total`.
pub fn shared<'a>(a: (Kind, &'a str), b: (Kind, &'a str)) -> Option<(&'a str, &'static str)> {
    let (stem_a, stem_b) = (stem(a.0, a.1), stem(b.0, b.1));
    let mut names = sample_suffixes(a.0).iter().map(|suffix| (stem_a, *suffix));
    names.find(|(stem, suffix)| {
        let bytes = || stem.bytes().chain(suffix.bytes());
        sample_suffixes(b.0).iter().any(|other| bytes().eq(stem_b.bytes().chain(other.bytes())))
    })
}

/// The name of a metric in OpenMetrics, where the suffixes `_total` and `_info` belong to the
/// samples.
pub fn stem(kind: Kind, name: &str) -> &str {
    match kind {
        Kind::CounterU64 | Kind::CounterF64 => name.strip_suffix("_total").unwrap_or(name),
        Kind::Info => name.strip_suffix("_info").unwrap_or(name),
        _ => name,
    }
}

/// The suffixes of all names that a metric of this kind and its samples have in the exposition
/// formats, after its [`stem`].
pub const fn sample_suffixes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::CounterU64 | Kind::CounterF64 => &["", "_total", "_created"],
        Kind::Info => &["", "_info"],
        Kind::HistogramF64 | Kind::HistogramNanos | Kind::ExponentialF64 | Kind::ExponentialNanos => {
            &["", "_bucket", "_count", "_sum", "_created"]
        }
        _ => &[""],
    }
}

/// Checks a label's key.
///
/// # Errors
///
/// Returns a message if the key is not snake case, has a double underscore, or has a meaning in
/// Prometheus.
pub fn label(key: &str) -> Result<(), Problem> {
    snake_case(key)?;
    match key {
        "le" => Err("it is the key of a histogram's buckets: choose another key"),
        "quantile" => Err("it is the key of a summary's quantiles: choose another key"),
        "job" | "instance" => Err("it is a key that Prometheus gives its targets: choose another key"),
        _ => Ok(()),
    }
}

/// Checks a unit, and that the metric's name ends in it: `request_duration_seconds` for `seconds`.
///
/// # Errors
///
/// Returns a message if the unit is not snake case, not a base unit, or not the end of the name.
pub fn unit(unit: &str, name: &str) -> Result<(), Problem> {
    snake_case(unit)?;
    if let Some(base) = base_unit(unit) {
        return Err(match base {
            "seconds" => "Prometheus uses base units: write `unit: seconds`",
            "bytes" => "Prometheus uses base units: write `unit: bytes`",
            "ratio" => "Prometheus uses base units: write `unit: ratio`, with values from 0 to 1",
            "meters" => "Prometheus uses base units: write `unit: meters`",
            _ => "Prometheus uses base units: write `unit: grams`",
        });
    }
    let stem = name.strip_suffix("_total").unwrap_or(name);
    match stem.strip_suffix(unit) {
        Some(rest) if rest.ends_with('_') && rest.len() > 1 => Ok(()),
        _ => Err("the name of a metric ends in its unit (before `_total`), such as `size_bytes` for `bytes`"),
    }
}

/// Checks a list of bucket bounds.
///
/// # Errors
///
/// Returns a message if there are no bounds or too many, or if one is not finite or not above the
/// one before it.
pub fn buckets(bounds: impl IntoIterator<Item = f64>) -> Result<(), Problem> {
    let mut last = None;
    let mut count = 0;
    for bound in bounds {
        if !bound.is_finite() {
            return Err("bucket bounds are finite: the bucket for +Inf is always there");
        }
        if last.is_some_and(|last| bound <= last) {
            return Err("bucket bounds rise strictly: sort them and leave doubles away");
        }
        last = Some(bound);
        count += 1;
    }
    match count {
        0 => Err("a histogram has at least one bucket bound"),
        1..=MAX_BUCKETS => Ok(()),
        _ => Err("a histogram has at most 200 bucket bounds"),
    }
}

/// Checks the number of buckets of an exponential histogram's series.
///
/// # Errors
///
/// Returns a message if there are too few or too many.
pub fn max_buckets(buckets: u64) -> Result<(), Problem> {
    match buckets {
        0..MIN_EXPONENTIAL => {
            Err("an exponential histogram has at least 2 buckets, which it makes as wide as is needed")
        }
        MIN_EXPONENTIAL..=MAX_EXPONENTIAL => Ok(()),
        _ => Err("an exponential histogram has at most 200 buckets"),
    }
}

const MIN_EXPONENTIAL: u64 = exponential::MIN_BUCKETS as u64;
const MAX_EXPONENTIAL: u64 = exponential::MAX_BUCKETS as u64;

/// The largest number of bucket bounds that a histogram can have.
pub const MAX_BUCKETS: usize = 200;

fn base_unit(unit: &str) -> Option<&'static str> {
    DERIVED_UNITS.iter().find(|(derived, _)| *derived == unit).map(|(_, base)| *base)
}

fn has_suffix(name: &str) -> bool {
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

fn snake_case(name: &str) -> Result<(), Problem> {
    let bytes = name.as_bytes();
    match bytes.first() {
        None => return Err("the name is empty: say what it stands for"),
        Some(b'a'..=b'z') => {}
        Some(_) => return Err("a name starts with a lower-case letter"),
    }
    if bytes.len() > MAX_NAME {
        return Err("a name has at most 200 bytes");
    }
    if !bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        return Err("a name is snake case: lower-case letters, digits and single underscores");
    }
    if name.contains("__") || name.ends_with('_') {
        return Err("a name has single underscores, and none at its end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recommended_names_are_accepted() {
        assert_eq!(counter("http_requests_total"), Ok(()));
        assert_eq!(gauge_or_histogram("http_request_duration_seconds"), Ok(()));
        assert_eq!(unit("seconds", "http_request_duration_seconds"), Ok(()));
        assert_eq!(unit("bytes", "sent_bytes_total"), Ok(()));
        assert_eq!(label("route"), Ok(()));
        assert_eq!(buckets([0.001, 0.5, 1.0]), Ok(()));
    }

    #[test]
    fn only_true_clashes_are_shared() {
        let (counter, histogram, gauge) = (Kind::CounterU64, Kind::HistogramF64, Kind::GaugeF64);
        for name in ["tickets_created_total", "tickets_count_total", "tickets_bucket_total", "build_info_total"] {
            assert_eq!(super::counter(name), Ok(()));
        }
        assert_eq!(info("build_sum_info"), Ok(()));
        let cases = [
            ((counter, "tickets_created_total"), (counter, "tickets_total"), Some(("tickets_created", ""))),
            ((counter, "tickets_total"), (counter, "tickets_created_total"), Some(("tickets", "_created"))),
            ((histogram, "wait"), (counter, "wait_count_total"), Some(("wait", "_count"))),
            ((gauge, "tickets"), (counter, "tickets_total"), Some(("tickets", ""))),
            ((counter, "tickets_created_total"), (counter, "orders_total"), None),
            ((counter, "tickets_count_total"), (counter, "tickets_total"), None),
            ((gauge, "wait"), (gauge, "wait_seconds"), None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(shared(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn broken_rules_are_rejected() {
        for name in
            ["", "Requests_total", "requests", "a__b_total", "_total", "x_total_total", "wasm_x_total", "é_total"]
        {
            assert!(counter(name).is_err(), "{name}");
        }
        for name in ["up", "scrape_duration_seconds", "go_goroutines", "process_open_fds", "ALERTS", "ALERTS_FOR_STATE"]
        {
            assert!(gauge_or_histogram(name).is_err(), "{name}");
        }
        assert!(counter("scrape_errors_total").is_err() && host_gauge("up").is_err());
        assert!(host_counter("scrape_errors_total").is_err() && host_histogram("scrape_wait").is_err());
        assert_eq!(
            [gauge_or_histogram("upload_size"), gauge_or_histogram("goals"), gauge_or_histogram("scraped")],
            [Ok(()); 3]
        );
        assert_eq!([host_gauge("go_goroutines"), host_gauge("process_open_fds")], [Ok(()); 2]);
        for name in ["depth_total", "depth_count", "queue_info", "depth_"] {
            assert!(gauge_or_histogram(name).is_err(), "{name}");
        }
        // The host's own may have a reserved prefix, and nothing else more.
        for check in [host_counter, host_gauge, host_histogram] {
            for name in
                ["", "Depth", "a__b", "a-b", "_info", "_total", "é", "depth_count", "depth_bucket", "x_total_total"]
            {
                assert!(check(name).is_err(), "{name}");
            }
        }
        assert_eq!([host_counter("x_total"), host_counter("wasm_traps_total")], [Ok(()); 2]);
        assert_eq!([host_gauge("wasm_instances"), host_gauge("wasmetry_build_info")], [Ok(()); 2]);
        assert_eq!(host_histogram("wasm_size"), Ok(()));
        assert!(host_counter("depth").is_err() && host_gauge("x_total").is_err() && host_histogram("x_info").is_err());
        for key in ["le", "__name__", "__name", "Method", "quantile", "job"] {
            assert!(label(key).is_err(), "{key}");
        }
        assert!(unit("milliseconds", "x_milliseconds").is_err_and(|problem| problem.contains("unit: seconds")));
        assert!(unit("seconds", "x_bytes").is_err());
        assert!(unit("seconds", "seconds").is_err());
        for bounds in [&[] as &[f64], &[1.0, 1.0], &[2.0, 1.0], &[f64::INFINITY], &[f64::NAN]] {
            assert!(buckets(bounds.iter().copied()).is_err(), "{bounds:?}");
        }
        assert!(buckets((0..201).map(f64::from)).is_err());
        assert_eq!(
            [0, 1, 2, 160, 200, 201, u64::MAX].map(|n| max_buckets(n).is_ok()),
            [false, false, true, true, true, false, false]
        );
    }
}
