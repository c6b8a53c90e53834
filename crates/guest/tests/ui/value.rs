use wasmetry::{Counter, Gauge, Histogram, UpDownCounter, counter, gauge, histogram, up_down_counter};

static SIGNED: Counter<(), i64> = counter!("a_total", "A.", value: i64);
static SMALL: Counter<(), u32> = counter!("b_total", "B.", value: u32);
static UNSIGNED: Gauge<(), u64> = gauge!("c", "C.", value: u64);
static SHORT: UpDownCounter<(), f32> = up_down_counter!("d", "D.", value: f32);
static HISTOGRAM: Histogram = histogram!("e", "E.", value: f64);
static LITERAL: Counter = counter!("f_total", "F.", value: 3);
static REFERENCE: Gauge = gauge!("g", "G.", value: &f64);

fn main() {}
