use wasmetry::{Counter, Histogram, counter, histogram};

static LATENCY: Histogram =
    histogram!("request_duration_milliseconds", "Time to serve a request.", unit: milliseconds, buckets: [1, 10, 100]);
static SIZE: Histogram = histogram!("response_size", "Size of a response.", unit: bytes, buckets: [100, 1000]);
static WAIT: Histogram = histogram!("wait_ms", "Time to wait.", unit: seconds);
static TOTAL: Counter = counter!("bytes_total", "Bytes.", unit: bytes);
static SENT: Counter = counter!("sent_kilobytes_total", "Sent.", unit: kilobytes);
static SHARE: Histogram = histogram!("share_percent", "Share.", unit: percent, buckets: [1, 10, 100]);
static WAY: Counter = counter!("way_millimeters_total", "Way.", unit: millimeters);
static WEIGHT: Counter = counter!("weight_kilograms_total", "Weight.", unit: kilograms);
static CASE: Counter = counter!("sent_Bytes_total", "Sent.", unit: Bytes);
static TEXT: Histogram = histogram!("request_duration_seconds", "Time.", unit: "seconds");
static MISSING: Histogram = histogram!("request_duration_seconds", "Time.", unit);

fn main() {}
