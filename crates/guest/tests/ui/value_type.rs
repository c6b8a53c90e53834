use std::num::NonZeroU64;

use wasmetry::{Counter, Gauge, counter, gauge};

type Amount = i128;

static ALIAS: Counter<(), Amount> = counter!("a_total", "A.", value: Amount);
static OTHER: Gauge<(), NonZeroU64> = gauge!("b", "B.", value: NonZeroU64);
static UNTYPED: Counter = counter!("c_total", "C.", value: f64);

fn main() {}
