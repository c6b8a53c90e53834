//! The functions and aggregations that Prometheus 2.42 and 3 both have.

use super::Type::{self, Matrix, Scalar, Text, Vector};

/// An argument of a function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    One(Type),
    Optional(Type),
    /// Any number of them.
    Many(Type),
}

use Argument::{Many, One, Optional};

/// Each aggregation and the type of its parameter.
pub(super) const AGGREGATIONS: [(&str, Option<Type>); 12] = [
    ("avg", None),
    ("bottomk", Some(Scalar)),
    ("count", None),
    ("count_values", Some(Text)),
    ("group", None),
    ("max", None),
    ("min", None),
    ("quantile", Some(Scalar)),
    ("stddev", None),
    ("stdvar", None),
    ("sum", None),
    ("topk", Some(Scalar)),
];

type Function = (&'static str, &'static [Argument], Type);

const OF_VECTOR: &[Argument] = &[One(Vector)];
const OF_RANGE: &[Argument] = &[One(Matrix)];
const OF_TIME: &[Argument] = &[Optional(Vector)];

/// Each function, its arguments and its result.
pub(super) const FUNCTIONS: &[Function] = &[
    ("abs", OF_VECTOR, Vector),
    ("absent", OF_VECTOR, Vector),
    ("absent_over_time", OF_RANGE, Vector),
    ("avg_over_time", OF_RANGE, Vector),
    ("ceil", OF_VECTOR, Vector),
    ("changes", OF_RANGE, Vector),
    ("clamp", &[One(Vector), One(Scalar), One(Scalar)], Vector),
    ("clamp_max", &[One(Vector), One(Scalar)], Vector),
    ("clamp_min", &[One(Vector), One(Scalar)], Vector),
    ("count_over_time", OF_RANGE, Vector),
    ("day_of_month", OF_TIME, Vector),
    ("day_of_week", OF_TIME, Vector),
    ("day_of_year", OF_TIME, Vector),
    ("days_in_month", OF_TIME, Vector),
    ("delta", OF_RANGE, Vector),
    ("deriv", OF_RANGE, Vector),
    ("exp", OF_VECTOR, Vector),
    ("floor", OF_VECTOR, Vector),
    ("histogram_count", OF_VECTOR, Vector),
    ("histogram_fraction", &[One(Scalar), One(Scalar), One(Vector)], Vector),
    ("histogram_quantile", &[One(Scalar), One(Vector)], Vector),
    ("histogram_sum", OF_VECTOR, Vector),
    ("hour", OF_TIME, Vector),
    ("idelta", OF_RANGE, Vector),
    ("increase", OF_RANGE, Vector),
    ("irate", OF_RANGE, Vector),
    ("label_join", &[One(Vector), One(Text), One(Text), Many(Text)], Vector),
    ("label_replace", &[One(Vector), One(Text), One(Text), One(Text), One(Text)], Vector),
    ("last_over_time", OF_RANGE, Vector),
    ("ln", OF_VECTOR, Vector),
    ("log10", OF_VECTOR, Vector),
    ("log2", OF_VECTOR, Vector),
    ("max_over_time", OF_RANGE, Vector),
    ("min_over_time", OF_RANGE, Vector),
    ("minute", OF_TIME, Vector),
    ("month", OF_TIME, Vector),
    ("pi", &[], Scalar),
    ("predict_linear", &[One(Matrix), One(Scalar)], Vector),
    ("present_over_time", OF_RANGE, Vector),
    ("quantile_over_time", &[One(Scalar), One(Matrix)], Vector),
    ("rate", OF_RANGE, Vector),
    ("resets", OF_RANGE, Vector),
    ("round", &[One(Vector), Optional(Scalar)], Vector),
    ("scalar", OF_VECTOR, Scalar),
    ("sgn", OF_VECTOR, Vector),
    ("sort", OF_VECTOR, Vector),
    ("sort_desc", OF_VECTOR, Vector),
    ("sqrt", OF_VECTOR, Vector),
    ("stddev_over_time", OF_RANGE, Vector),
    ("stdvar_over_time", OF_RANGE, Vector),
    ("sum_over_time", OF_RANGE, Vector),
    ("time", &[], Scalar),
    ("timestamp", OF_VECTOR, Vector),
    ("vector", &[One(Scalar)], Vector),
    ("year", OF_TIME, Vector),
];
