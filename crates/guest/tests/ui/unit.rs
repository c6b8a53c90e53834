use wasmetry::{Histogram, histogram};

static LATENCY: Histogram =
    histogram!("request_duration_milliseconds", "Time to serve a request.", unit: milliseconds, buckets: [1, 10, 100]);
static SIZE: Histogram = histogram!("response_size", "Size of a response.", unit: bytes, buckets: [100, 1000]);

fn main() {}
