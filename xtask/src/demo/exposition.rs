//! The Prometheus text format 0.0.4, as far as the demo needs to read it back.
//!
//! Source of the format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use anyhow::{Context as _, Result, bail};

/// One line of a scrape: a series and its value.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample {
    /// The sample's name, such as `http_requests_total` or `latency_seconds_bucket`.
    pub(crate) name: String,
    /// The labels, unescaped, in the order of the line.
    pub(crate) labels: Vec<(String, String)>,
    /// The value.
    pub(crate) value: f64,
}

impl Sample {
    /// The value of the label `key`, if the series has it.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Reads the samples of a scrape, skipping its comments.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).with_context(|| format!("the scrape has the line `{line}`"))).collect()
}

/// Reads one line.
fn sample(line: &str) -> Result<Sample> {
    let end = line.find(['{', ' ', '\t']).context("a sample has no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").context("a label has no quoted value")?;
            let (value, after) = quoted(after)?;
            labels.push((key.trim().to_owned(), value));
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        rest = &rest[1..];
    }
    // A timestamp may follow the value; `f64` reads `NaN`, `+Inf` and `-Inf` as they are written
    // here.
    let value = rest.split_whitespace().next().context("a sample has no value")?;
    let value = value.parse().ok().with_context(|| format!("`{value}` is no number"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Reads a label's value up to its closing quote; returns it and what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => bail!("a label's value has an unknown escape"),
            },
            other => value.push(other),
        }
    }
    bail!("a label's value has no closing quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_values_and_timestamps() -> Result<()> {
        let text =
            "# HELP a A.\n# TYPE a counter\na{route=\"/\",x=\"q\\\"\\\\\\n}é\",} 3\nb 1.5 1700000000000\nc{} +Inf\n";
        let samples = parse(text)?;
        assert_eq!(samples.len(), 3);
        assert_eq!(samples[0].name, "a");
        assert_eq!(samples[0].label("route"), Some("/"));
        assert_eq!(samples[0].label("x"), Some("q\"\\\n}é"));
        assert_eq!(samples[0].label("y"), None);
        assert_eq!((samples[0].value, samples[1].value, samples[2].value), (3.0, 1.5, f64::INFINITY));
        Ok(())
    }

    #[test]
    fn refuses_broken_lines() {
        for line in ["a", "a{", "a{b}", "a{b=\"c} 1", "a{b=\"\\x\"} 1", "a one", "a{b=\"c\"}"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
