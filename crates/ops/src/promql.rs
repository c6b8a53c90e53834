//! PromQL expressions as a tree, so that tests can change them and text is made in one place.

pub(crate) mod syntax;

use std::fmt;

/// An expression of PromQL.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// The series of a metric.
    Selector(Selector),
    /// The text of an expression that a user wrote, which has been checked.
    Text(String),
    /// A function of its arguments.
    Call {
        /// The function's name.
        function: &'static str,
        /// The arguments in their order.
        arguments: Vec<Expr>,
    },
    /// An aggregation over series.
    Aggregate {
        /// The operator, such as `sum`.
        operator: &'static str,
        /// The labels that are kept.
        by: Vec<String>,
        /// The expression whose series are aggregated.
        of: Box<Expr>,
    },
    /// A binary operation.
    Binary {
        /// The operator, such as `>` or `and`.
        operator: &'static str,
        /// The labels on which both sides are matched; all of them if there is no list.
        on: Option<Vec<String>>,
        /// `true` if several series of the left side match one of the right side.
        group_left: bool,
        /// The left side.
        left: Box<Expr>,
        /// The right side.
        right: Box<Expr>,
    },
}

/// The length of a range vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Seconds.
    Seconds(u64),
    /// A variable that Grafana replaces by a duration, such as `$__rate_interval`.
    Variable(&'static str),
}

impl From<u64> for Range {
    fn from(seconds: u64) -> Self {
        Self::Seconds(seconds)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => f.write_str(&duration(*seconds)),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// The series of a metric whose labels match.
///
/// A regular expression that begins with `$` is a variable of Grafana, such as `$component`. In any
/// other value `$` is written so that Grafana finds no variable in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Label, operator and value.
    pub matchers: Vec<(String, &'static str, String)>,
    /// The range, if the selector is a range vector.
    pub range: Option<Range>,
    /// The offset in seconds, or 0.
    pub offset: u64,
}

impl Selector {
    /// Returns the selector with one more matcher.
    #[must_use]
    pub fn with(mut self, label: &str, operator: &'static str, value: &str) -> Self {
        self.matchers.push((label.to_owned(), operator, value.to_owned()));
        self
    }

    /// Returns the selector as a range vector over these seconds, or a variable.
    #[must_use]
    pub fn over(mut self, range: impl Into<Range>) -> Expr {
        self.range = Some(range.into());
        Expr::Selector(self)
    }

    /// Returns the selector of the values of some seconds ago.
    #[must_use]
    pub fn before(mut self, seconds: u64) -> Self {
        self.offset = seconds;
        self
    }

    /// Returns the selector as an expression.
    #[must_use]
    pub fn now(self) -> Expr {
        Expr::Selector(self)
    }
}

/// The operators whose operands are written on lines of their own.
const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];

impl Expr {
    /// Returns a function of one argument.
    #[must_use]
    pub fn call(function: &'static str, argument: Self) -> Self {
        Self::Call { function, arguments: vec![argument] }
    }

    /// Returns `rate` over a range of seconds, or a variable.
    #[must_use]
    pub fn rate(selector: Selector, range: impl Into<Range>) -> Self {
        Self::call("rate", selector.over(range))
    }

    /// Returns an aggregation that keeps these labels.
    #[must_use]
    pub fn aggregate(operator: &'static str, by: &[&str], of: Self) -> Self {
        Self::Aggregate { operator, by: by.iter().map(|&label| label.to_owned()).collect(), of: Box::new(of) }
    }

    /// Returns the sum that keeps these labels.
    #[must_use]
    pub fn sum(by: &[&str], of: Self) -> Self {
        Self::aggregate("sum", by, of)
    }

    /// Returns a binary operation with another expression.
    #[must_use]
    pub fn op(self, operator: &'static str, right: Self) -> Self {
        Self::Binary { operator, on: None, group_left: false, left: Box::new(self), right: Box::new(right) }
    }

    /// Returns a binary operation whose sides are matched on these labels.
    #[must_use]
    pub fn op_on(self, operator: &'static str, on: &[&str], group_left: bool, right: Self) -> Self {
        let on = Some(on.iter().map(|&label| label.to_owned()).collect());
        Self::Binary { operator, on, group_left, left: Box::new(self), right: Box::new(right) }
    }

    /// Returns the comparison with a number.
    #[must_use]
    pub fn above(self, threshold: f64) -> Self {
        self.op(">", Self::Number(threshold))
    }

    /// The sub-expressions, without those of sub-expressions.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Selector(_) | Self::Text(_) => Vec::new(),
            Self::Call { arguments, .. } => arguments.iter().collect(),
            Self::Aggregate { of, .. } => vec![of],
            Self::Binary { left, right, .. } => vec![left, right],
        }
    }

    /// The selectors in the expression, in their order.
    pub fn selectors(&self) -> Vec<&Selector> {
        match self {
            Self::Selector(selector) => vec![selector],
            _ => self.children().into_iter().flat_map(Self::selectors).collect(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, is_operand: bool) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Selector(selector) => write!(f, "{selector}"),
            Self::Text(text) => write!(f, "({text})"),
            Self::Call { function, arguments } => {
                write!(f, "{function}(")?;
                for (i, argument) in arguments.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    argument.write(f, false)?;
                }
                f.write_str(")")
            }
            Self::Aggregate { operator, by, of } => {
                write!(f, "{operator} by ({}) (", by.join(", "))?;
                of.write(f, false)?;
                f.write_str(")")
            }
            Self::Binary { operator, on, group_left, left, right } => {
                if is_operand {
                    f.write_str("(")?;
                }
                left.write(f, true)?;
                f.write_str(if SET_OPERATORS.contains(operator) { "\n" } else { " " })?;
                f.write_str(operator)?;
                if let Some(on) = on {
                    write!(f, " on ({})", on.join(", "))?;
                }
                if *group_left {
                    f.write_str(" group_left ()")?;
                }
                f.write_str(" ")?;
                right.write(f, true)?;
                if is_operand {
                    f.write_str(")")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if !self.matchers.is_empty() {
            f.write_str("{")?;
            for (i, (label, operator, value)) in self.matchers.iter().enumerate() {
                let value = if *operator == "=~" && value.starts_with('$') { quoted(value) } else { literal(value) };
                write!(f, "{}{label}{operator}{value}", if i > 0 { "," } else { "" })?;
            }
            f.write_str("}")?;
        }
        if let Some(range) = self.range {
            write!(f, "[{range}]")?;
        }
        if self.offset > 0 {
            write!(f, " offset {}", duration(self.offset))?;
        }
        Ok(())
    }
}

/// Returns seconds as PromQL writes durations, in the largest unit that divides them.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [(604_800, "w"), (86_400, "d"), (3600, "h"), (60, "m")];
    match units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// Returns a string literal of PromQL.
pub(crate) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Returns a string literal in which Grafana finds no variable: `$name`, `${name}` or `[[name]]`.
fn literal(value: &str) -> String {
    quoted(value).replace('$', "\\x24").replace("[[", "[\\x5b")
}

/// Returns a regular expression that matches only this text.
pub(crate) fn escaped_regex(text: &str) -> String {
    let special = |c: char| "\\.+*?()|[]{}^$".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(metric: &str) -> Selector {
        Selector { metric: metric.to_owned(), matchers: Vec::new(), range: None, offset: 0 }
    }

    #[test]
    fn expressions_are_written() {
        let rate = |metric| Expr::sum(&["a", "b"], Expr::rate(selector(metric).with("c", "=", "d\"\\\n"), 300));
        let ratio = rate("x_total").op("/", rate("y_total")).above(0.05).op("and", rate("y_total").above(1.5));
        let x = r#"sum by (a, b) (rate(x_total{c="d\"\\\n"}[5m]))"#;
        let y = x.replace("x_total", "y_total");
        assert_eq!(ratio.to_string(), format!("(({x} / {y}) > 0.05)\nand ({y} > 1.5)"));
        let matched = selector("a").now().op_on("/", &["l"], true, selector("b").before(7200).now());
        assert_eq!(matched.to_string(), "a / on (l) group_left () b offset 2h");
    }

    #[test]
    fn variables_are_kept() {
        let rate = |selector: Selector| Expr::rate(selector, Range::Variable("$__rate_interval")).to_string();
        let with = |operator, value| rate(selector("x").with("l", operator, value));
        assert_eq!(with("=~", "$component"), r#"rate(x{l=~"$component"}[$__rate_interval])"#);
        // A label's value is no variable.
        assert_eq!(with("=", "$component"), r#"rate(x{l="\x24component"}[$__rate_interval])"#);
        assert_eq!(with("=~", "\\$c[[d"), r#"rate(x{l=~"\\\x24c[\x5bd"}[$__rate_interval])"#);
    }

    #[test]
    fn durations_and_texts() {
        let written = [0, 1, 90, 300, 7200, 86_400, 604_800, 601_200].map(duration);
        assert_eq!(written, ["0s", "1s", "90s", "5m", "2h", "1d", "1w", "167h"]);
        assert_eq!(escaped_regex("a.b|c-d"), "a\\.b\\|c-d");
    }
}
