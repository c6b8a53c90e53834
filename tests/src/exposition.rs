//! Sample values of the Prometheus text format, read without validation; the official parsers
//! validate it elsewhere.

use std::collections::BTreeMap;

/// Returns the value of the only sample with this name whose labels include `labels`.
///
/// # Panics
///
/// Panics with the text if there is no such sample or more than one.
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let values: Vec<_> = matching(text, name, labels).collect();
    assert_eq!(values.len(), 1, "{} samples of {name}{labels:?} in:\n{text}", values.len());
    values[0]
}

/// Returns the sum of all samples with this name whose labels include `labels`; 0 if there is none.
pub fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    matching(text, name, labels).sum()
}

/// Returns `true` if there is a sample with this name whose labels include `labels`.
pub fn has(text: &str, name: &str, labels: &[(&str, &str)]) -> bool {
    matching(text, name, labels).next().is_some()
}

/// A sample's name and its labels.
pub type Series = (String, BTreeMap<String, String>);

/// Returns all samples of a text whose label values contain neither quotes nor line ends.
///
/// Bucket bounds are formatted as Rust formats numbers, so that texts of different encoders can be
/// compared.
///
/// # Panics
///
/// Panics if a line is not a sample.
pub fn samples(text: &str) -> BTreeMap<Series, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("`{line}` is not a sample"))).collect()
}

fn sample(line: &str) -> Option<(Series, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}')?.split_terminator("\",").map(|label| {
        let (key, value) = label.split_once("=\"")?;
        let value = value.trim_end_matches('"');
        let value = if key == "le" { value.parse::<f64>().ok()?.to_string() } else { value.to_owned() };
        Some((key.to_owned(), value))
    });
    Some(((name.to_owned(), labels.collect::<Option<_>>()?), value.parse().ok()?))
}

fn matching<'a>(text: &'a str, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let is_match = found == name
            && labels.iter().all(|(key, value)| {
                let label = format!("{key}=\"{value}\"");
                rest.starts_with(&label) || rest.contains(&format!(",{label}"))
            });
        is_match.then(|| value.parse().unwrap_or_else(|_| panic!("no number at the end of `{line}`")))
    })
}
