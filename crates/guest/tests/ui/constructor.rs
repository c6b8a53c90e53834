use wasmetry::{Counter, ExponentialHistogram, Gauge, Histogram, UpDownCounter};

static REQUESTS: Counter = Counter::new("http_requests_total", "HTTP requests.");

fn main() {
    let _depth = Gauge::<(), f64>::new("queue_depth", "Jobs that wait.");
    let _queued: UpDownCounter = UpDownCounter::new("jobs_queued", "Jobs that wait.");
    let _wait: Histogram = Histogram::new("wait_seconds", "Time.");
    let _size: ExponentialHistogram = ExponentialHistogram::new("size", "Size.");
}
