//! LogQL: the part of Loki's query language that recipes use.

use std::fmt;

use crate::promql::{duration, quoted};

/// A query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Expr {
    /// Lines.
    Lines(Selection),
    /// A function over the lines of a range, such as `count_over_time`.
    Range {
        /// The function.
        function: &'static str,
        /// The first argument of functions that have one, such as a quantile.
        parameter: Option<f64>,
        /// The lines.
        selection: Selection,
        /// The label whose numbers are values. Without it, lines are counted.
        unwrap: Option<&'static str>,
        /// The range in seconds.
        seconds: u64,
        /// The labels that are kept, for functions that can group. If it is empty, nothing is
        /// written.
        by: Vec<&'static str>,
    },
    /// An aggregation over series, such as `sum`.
    Aggregate {
        /// The operator.
        operator: &'static str,
        /// The first argument of operators that have one, such as `topk`.
        parameter: Option<u32>,
        /// The labels that are kept. If it is empty, nothing is written.
        by: Vec<&'static str>,
        /// The series.
        of: Box<Self>,
    },
}

/// Streams, and what is done with each of their lines.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// Labels of streams, their operators and values.
    pub matchers: Vec<(&'static str, &'static str, String)>,
    /// The stages, in their order.
    pub stages: Vec<Stage>,
}

impl Selection {
    /// Appends a stage.
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Appends a comparison of a label with a text.
    pub fn is(self, label: &'static str, value: &str) -> Self {
        self.stage(Stage::Filter(label, "=", Literal::Text(value.to_owned())))
    }

    /// Appends another comparison of a label.
    pub fn compare(self, label: &'static str, operator: &'static str, literal: Literal) -> Self {
        self.stage(Stage::Filter(label, operator, literal))
    }

    /// Counts the lines of a range, by labels.
    pub fn count(self, by: &[&'static str], seconds: u64) -> Expr {
        let count = Expr::Range {
            function: "count_over_time",
            parameter: None,
            selection: self,
            unwrap: None,
            seconds,
            by: Vec::new(),
        };
        Expr::Aggregate { operator: "sum", parameter: None, by: by.to_vec(), of: Box::new(count) }
    }
}

/// A stage of a pipeline.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Makes labels of the keys of a JSON line.
    Json,
    /// Keeps the lines whose label compares so.
    Filter(&'static str, &'static str, Literal),
}

/// A value that a label is compared with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Literal {
    /// A text, which is quoted.
    Text(String),
    /// A number.
    Number(f64),
    /// Milliseconds, which are compared with durations in Go's syntax.
    Milliseconds(f64),
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(selection) => write!(f, "{selection}"),
            Self::Range { function, parameter, selection, unwrap, seconds, by } => {
                write!(f, "{function}(")?;
                if let Some(parameter) = parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{selection}")?;
                if let Some(label) = unwrap {
                    write!(f, " | unwrap {label}")?;
                }
                write!(f, " [{}])", duration(*seconds))?;
                if !by.is_empty() {
                    write!(f, " by ({})", by.join(", "))?;
                }
                Ok(())
            }
            Self::Aggregate { operator, parameter, by, of } => {
                f.write_str(operator)?;
                if !by.is_empty() {
                    write!(f, " by ({})", by.join(", "))?;
                }
                f.write_str(" (")?;
                if let Some(parameter) = parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{of})")
            }
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (label, operator, value)) in self.matchers.iter().enumerate() {
            write!(f, "{}{label}{operator}{}", if i > 0 { ", " } else { "" }, quoted(value))?;
        }
        f.write_str("}")?;
        for stage in &self.stages {
            match stage {
                Stage::Json => f.write_str(" | json")?,
                Stage::Filter(label, operator, Literal::Text(text)) => {
                    write!(f, " | {label}{operator}{}", quoted(text))?;
                }
                Stage::Filter(label, operator, Literal::Number(number)) => {
                    write!(f, " | {label} {operator} {number}")?;
                }
                Stage::Filter(label, operator, Literal::Milliseconds(number)) => {
                    write!(f, " | {label} {operator} {number}ms")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_written() {
        let selection = Selection { matchers: vec![("component", "=", "a\"b".to_owned())], stages: Vec::new() };
        let slow = selection.stage(Stage::Json).compare("duration", ">", Literal::Milliseconds(500.0));
        assert_eq!(slow.to_string(), r#"{component="a\"b"} | json | duration > 500ms"#);
        let quantile = Expr::Range {
            function: "quantile_over_time",
            parameter: Some(0.95),
            selection: slow.clone(),
            unwrap: Some("duration_ms"),
            seconds: 300,
            by: vec!["route"],
        };
        let top = Expr::Aggregate { operator: "topk", parameter: Some(5), by: Vec::new(), of: Box::new(quantile) };
        let expected = r#"topk (5, quantile_over_time(0.95, {component="a\"b"} | json | duration > 500ms | unwrap duration_ms [5m]) by (route))"#;
        assert_eq!(top.to_string(), expected);
        let counted = slow.is("level", "error").count(&["pod"], 60).to_string();
        assert!(
            counted.starts_with("sum by (pod) (count_over_time({") && counted.ends_with("| level=\"error\" [1m]))")
        );
    }
}
