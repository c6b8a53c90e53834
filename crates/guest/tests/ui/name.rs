use wasmetry::{Counter, Gauge, Histogram, counter, gauge, histogram};

static NO_TOTAL: Counter = counter!("http_requests", "HTTP requests.");
static ONLY_TOTAL: Counter = counter!("_total", "Everything.");
static TOTAL: Counter = counter!("total_total", "Everything.");
static SUFFIX: Counter = counter!("requests_total_total", "HTTP requests.");
static CAMEL: Counter = counter!("httpRequests_total", "HTTP requests.");
static UPPER: Counter = counter!("Requests_total", "HTTP requests.");
static DASH: Counter = counter!("http-requests_total", "HTTP requests.");
static DOUBLE: Counter = counter!("http__requests_total", "HTTP requests.");
static EMPTY: Counter = counter!("", "HTTP requests.");
static LONG: Gauge = gauge!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "A long name.");
static RESERVED: Counter = counter!("wasm_requests_total", "HTTP requests.");
static PROMETHEUS: Gauge = gauge!("up", "Up.");
static GAUGE: Gauge = gauge!("requests_total", "HTTP requests.");
static HISTOGRAM: Histogram = histogram!("request_duration_seconds_bucket", "Time.", unit: seconds);
static SEVERAL: Counter = counter!("Requests", "", unit: ms);

fn main() {}
