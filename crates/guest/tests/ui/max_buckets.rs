use wasmetry::{ExponentialHistogram, Histogram, exponential_histogram, histogram};

static FEW: ExponentialHistogram = exponential_histogram!("size", "Size.", max_buckets: 1);
static MANY: ExponentialHistogram = exponential_histogram!("size", "Size.", max_buckets: 400);
static BOUNDS: ExponentialHistogram = exponential_histogram!("size", "Size.", buckets: [1, 2]);
static EXPLICIT: Histogram = histogram!("size", "Size.", max_buckets: 10);
static NEGATIVE: ExponentialHistogram = exponential_histogram!("size", "Size.", max_buckets: -3);
static HUGE: ExponentialHistogram = exponential_histogram!("size", "Size.", max_buckets: 99999999999999999999999);
static TEXT: ExponentialHistogram = exponential_histogram!("size", "Size.", max_buckets: "10");

fn main() {}
