//! The filter of levels by target.

use std::fmt;
use std::str::FromStr;

use wasmetry_abi::Level;

/// The export levels by target: `info`, `warn,shop::cart=debug`.
///
/// The longest listed target that is the record's target or a parent of it decides; `::` and `.`
/// separate the parts of a target. The level without a target is the default; without one, the
/// default is `off`.
///
/// ```
/// use wasmetry_host::{Filter, record::Level};
///
/// let filter: Filter = "warn,shop=debug".parse()?;
/// assert_eq!(filter.level("shop::cart"), Level::Debug);
/// assert_eq!(filter.level("shopping"), Level::Warn);
/// assert_eq!(filter.finest(), Level::Debug);
/// # Ok::<(), wasmetry_host::InvalidFilter>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    default: Level,
    /// Longest target first.
    targets: Vec<(String, Level)>,
}

impl Default for Filter {
    /// `info`.
    fn default() -> Self {
        Self::all(Level::Info)
    }
}

impl Filter {
    /// The same level for all targets.
    pub const fn all(level: Level) -> Self {
        Self { default: level, targets: Vec::new() }
    }

    /// Returns the export level of a target.
    pub fn level(&self, target: &str) -> Level {
        let is_below = |parent: &str| {
            target
                .strip_prefix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('.'))
        };
        self.targets.iter().find(|(parent, _)| is_below(parent)).map_or(self.default, |(_, level)| *level)
    }

    /// Returns the finest export level of all targets.
    pub fn finest(&self) -> Level {
        self.targets.iter().map(|(_, level)| *level).fold(self.default, Level::max)
    }
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let mut filter = Self::all(Level::Off);
        let mut has_default = false;
        for part in text.split(',').map(str::trim) {
            let invalid = |cause| InvalidFilter { part: part.to_owned(), cause };
            let level = |name: &str| {
                let known = |level: &Level| level.name().eq_ignore_ascii_case(name.trim());
                Level::ALL.into_iter().find(known).ok_or_else(|| invalid(Cause::Level))
            };
            match part.split_once('=') {
                None if has_default => return Err(invalid(Cause::Twice)),
                None => (filter.default, has_default) = (level(part)?, true),
                Some((target, name)) => {
                    let target = target.trim();
                    if target.is_empty() {
                        return Err(invalid(Cause::Target));
                    }
                    if filter.targets.iter().any(|(known, _)| known == target) {
                        return Err(invalid(Cause::Twice));
                    }
                    filter.targets.push((target.to_owned(), level(name)?));
                }
            }
        }
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.default.name())?;
        self.targets.iter().try_for_each(|(target, level)| write!(f, ",{target}={}", level.name()))
    }
}

/// The error of a text that is no [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFilter {
    part: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Level,
    Target,
    Twice,
}

impl fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            Cause::Level => "the levels are `off`, `error`, `warn`, `info`, `debug` and `trace`",
            Cause::Target => "there is no target before the `=`",
            Cause::Twice => "it is given twice",
        };
        write!(f, "`{}` in a filter of levels: {cause}; write `info` or `warn,shop::cart=debug`", self.part)
    }
}

impl std::error::Error for InvalidFilter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_target_decides() {
        let filter: Filter = " info, a::b = trace ,a=off".parse().unwrap();
        let cases = [
            ("", Level::Info),
            ("a", Level::Off),
            ("a::c", Level::Off),
            ("a::b", Level::Trace),
            ("a::b::c", Level::Trace),
            ("a::bc", Level::Off),
            ("a.b", Level::Off),
            ("a::b.c", Level::Trace),
            ("ab", Level::Info),
        ];
        for (target, level) in cases {
            assert_eq!(filter.level(target), level, "{target}");
        }
        assert_eq!(filter.to_string(), "info,a::b=trace,a=off");
        assert_eq!(filter.to_string().parse(), Ok(filter));
        assert_eq!("a=debug".parse::<Filter>().unwrap().level("b"), Level::Off);
    }

    #[test]
    fn errors_name_the_wrong_part() {
        for (text, part) in [
            ("verbose", "verbose"),
            ("info,=debug", "=debug"),
            ("info,a=x", "a=x"),
            ("", ""),
            ("a=info,a=warn", "a=warn"),
            ("info,warn", "warn"),
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{part}`")), "{error}");
        }
    }
}
