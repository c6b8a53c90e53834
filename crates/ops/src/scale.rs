//! The scale of the generated durations, with which drills and tests take seconds instead of hours.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::promql::{Expr, syntax};

/// The factor by which every generated range, `for`, interval and wait is multiplied.
///
/// A factor is rounded so that a minute has whole milliseconds: the tests of alerts count minutes.
///
/// ```
/// use wasmetry_ops::WindowScale;
///
/// let scale: WindowScale = "1/60".parse()?;
/// assert_eq!(scale.to_string(), "0.016667");
/// assert!("0.001".parse::<WindowScale>().is_err());
/// # Ok::<(), wasmetry_ops::InvalidScale>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowScale {
    /// The milliseconds of a scaled minute.
    minute: u64,
}

/// The milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// The shortest interval of scrapes and evaluations in milliseconds, as far as the shortest range
/// then holds enough of them. It is the time-out of a scrape too: a busy process must not count as
/// down.
const LEAST_INTERVAL: u64 = 500;

/// The shortest range in milliseconds, unscaled.
const SHORTEST_RANGE: u64 = 5 * MINUTE;

/// The scrapes that a range holds at least: a rate of two needs that neither is lost.
const LEAST_SCRAPES: u64 = 4;

/// The smallest factor: at 0.002, the shortest range of 5 minutes holds four scrapes of 150 ms.
const LEAST: f64 = 0.002;

/// The error of a text that is no scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScale {
    /// The text.
    pub text: String,
}

impl fmt::Display for InvalidScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text } = self;
        write!(f, "`{text}` is not a factor from {LEAST} to 1; write it as `0.02` or `1/60`")
    }
}

impl std::error::Error for InvalidScale {}

impl FromStr for WindowScale {
    type Err = InvalidScale;

    fn from_str(text: &str) -> Result<Self, InvalidScale> {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let factor = match text.split_once('/') {
            Some((numerator, denominator)) => number(numerator).zip(number(denominator)).map(|(n, d)| n / d),
            None => number(text),
        };
        match factor {
            Some(factor) if (LEAST..=1.0).contains(&factor) => {
                Ok(Self { minute: (factor * MINUTE as f64).round() as u64 })
            }
            _ => Err(InvalidScale { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for WindowScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.factor());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Default for WindowScale {
    fn default() -> Self {
        Self { minute: MINUTE }
    }
}

impl WindowScale {
    /// The factor.
    pub fn factor(self) -> f64 {
        self.minute as f64 / MINUTE as f64
    }

    /// Returns `true` if durations are written as they are.
    pub fn is_one(self) -> bool {
        self.minute == MINUTE
    }

    /// Returns seconds as a duration of this scale, of at least a millisecond.
    pub(crate) fn duration(self, seconds: u64) -> String {
        milliseconds(self.milliseconds(seconds * 1000))
    }

    /// Returns the seconds of an interval of scrapes or evaluations as a duration of this scale.
    pub(crate) fn interval(self, seconds: u64) -> String {
        milliseconds(self.scaled_interval(seconds))
    }

    fn scaled_interval(self, seconds: u64) -> u64 {
        let least = LEAST_INTERVAL.min(self.milliseconds(SHORTEST_RANGE) / LEAST_SCRAPES);
        self.milliseconds(seconds * 1000).max(least.min(seconds * 1000))
    }

    fn milliseconds(self, unscaled: u64) -> u64 {
        let scaled = u128::from(unscaled) * u128::from(self.minute);
        let rounded = (scaled + u128::from(MINUTE) / 2) / u128::from(MINUTE);
        u64::try_from(rounded).unwrap_or(u64::MAX).max(u64::from(unscaled > 0))
    }

    /// Returns an expression as [`query`](Self::query) does.
    pub(crate) fn expr(self, expr: &Expr, scrape_interval: u64) -> String {
        self.query(&expr.to_string(), scrape_interval)
    }

    /// Returns a query in which each range, offset and step is scaled, for series that are scraped
    /// each `scrape_interval` seconds (unscaled). A range holds at least four scrapes.
    pub fn query(self, query: &str, scrape_interval: u64) -> String {
        if self.is_one() {
            return query.to_owned();
        }
        let least = LEAST_SCRAPES * self.scaled_interval(scrape_interval);
        syntax::map_durations(query, |unscaled, is_range| {
            let scaled = self.milliseconds(unscaled);
            milliseconds(if is_range { scaled.max(least.min(unscaled)) } else { scaled })
        })
    }

    /// Returns a duration that is written with one unit, such as `30s`, in this scale.
    pub(crate) fn text(self, unscaled: &'static str) -> Cow<'static, str> {
        if self.is_one() {
            return Cow::Borrowed(unscaled);
        }
        let scaled = syntax::map_durations(unscaled, |unscaled, _| milliseconds(self.milliseconds(unscaled)));
        Cow::Owned(scaled)
    }
}

/// Returns milliseconds as Prometheus writes durations, in the largest unit that divides them.
fn milliseconds(duration: u64) -> String {
    if duration.is_multiple_of(1000) { crate::promql::duration(duration / 1000) } else { format!("{duration}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(text: &str) -> WindowScale {
        text.parse().unwrap()
    }

    #[test]
    fn factors_are_parsed() {
        for (text, shown) in
            [("1", "1"), ("0.02", "0.02"), ("1/60", "0.016667"), ("0.01", "0.01"), (" 1 / 100 ", "0.01")]
        {
            assert_eq!(scale(text).to_string(), shown);
        }
        assert!(scale("60/60").is_one());
        for text in ["", "0", "0.001", "1.1", "-1", "1/0", "NaN", "1/60/2", "inf", "x"] {
            let error = text.parse::<WindowScale>().unwrap_err().to_string();
            assert!(error.contains("from 0.002 to 1") && error.contains(&format!("`{text}`")), "{error}");
        }
    }

    /// A minute has whole milliseconds, so that multiples of it stay multiples.
    #[test]
    fn durations_are_proportional() {
        let third = scale("0.0123456");
        assert_eq!([60, 300, 600].map(|seconds| third.duration(seconds)), ["741ms", "3705ms", "7410ms"]);
        let sixtieth = scale("1/60");
        assert_eq!([15, 60, 3600, 604_800].map(|seconds| sixtieth.duration(seconds)), ["250ms", "1s", "1m", "168m"]);
        assert_eq!(scale("1").duration(3600), "1h");
        assert_eq!([sixtieth.text("30s"), sixtieth.text("1d")], ["500ms", "24m"]);
        assert_eq!([sixtieth.interval(15), scale("0.002").interval(15)], ["500ms", "150ms"]);
        assert_eq!([scale("0.002").interval(60), scale("1").interval(15)], ["150ms", "15s"]);
    }

    #[test]
    fn ranges_hold_four_scrapes() {
        let text = r#"rate(x_5m{l="[5m]"}[5m] offset 1h) / y[1m:30s] + 5"#;
        let expr = Expr::Text(text.to_owned());
        let scaled = |factor: &str| scale(factor).expr(&expr, 15);
        assert_eq!(scaled("1"), format!("({text})"));
        assert_eq!(scaled("1/60"), r#"(rate(x_5m{l="[5m]"}[5s] offset 1m) / y[2s:500ms] + 5)"#);
        assert_eq!(scaled("0.002"), r#"(rate(x_5m{l="[5m]"}[600ms] offset 7200ms) / y[600ms:60ms] + 5)"#);
    }
}
