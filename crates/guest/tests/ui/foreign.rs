//! Arguments as the macros of `prometheus` and `metrics` have them.

use wasmetry::{Counter, Histogram, counter, gauge, histogram};

static LABELS: Counter = counter!("http_requests_total", "HTTP requests.", &["method", "status"]);
static LIST: Counter = counter!("http_requests_total", "HTTP requests.", ["http.route"]);
static BUCKETS: Histogram = histogram!("wait_seconds", "Time.", vec![0.1, 0.5]);

fn main() {
    counter!("http_requests_total", "method" => "GET").inc();
    counter!("http_requests_total", "HTTP requests.", "method" => "GET").inc();
    counter!("http_requests_total", "HTTP requests.", method = "GET").inc();
    gauge!(opts!("queue_depth", "Jobs that wait."));
    gauge!("queue_depth", &["7"]);
}
