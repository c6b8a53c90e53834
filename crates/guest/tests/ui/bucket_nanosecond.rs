use wasmetry::{Histogram, histogram};

static FINE: Histogram = histogram!("fine_seconds", "Time.", unit: seconds, buckets: [0.0000000001, 0.0000000002]);

fn main() {}
