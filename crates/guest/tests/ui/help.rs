use wasmetry::{
    Counter, ExponentialHistogram, Gauge, Histogram, ObservableCounter, ObservableGauge, UpDownCounter, counter,
    exponential_histogram, gauge, histogram, info_metric, observable_counter, observable_gauge, up_down_counter,
};

const HELP: &str = "HTTP requests.";

static NONE: Counter = counter!("http_requests_total");
static COMMA: Counter = counter!("http_requests_total",);
static OPTION: Counter = counter!("http_requests_total", unit: bytes);
static EMPTY: Counter = counter!("http_requests_total", " ");
static CONSTANT: Counter = counter!("http_requests_total", HELP);
static EXPRESSION: Counter = counter!("http_requests_total", concat!("HTTP", " requests."));

static OBSERVED: ObservableCounter = observable_counter!("hits_total", observe: || 1);
static UP_DOWN: UpDownCounter = up_down_counter!("queued");
static GAUGE: Gauge = gauge!("depth");
static OBSERVED_GAUGE: ObservableGauge = observable_gauge!("connections");
static HISTOGRAM: Histogram = histogram!("items");
static EXPONENTIAL: ExponentialHistogram = exponential_histogram!("size_bytes", unit: bytes);
info_metric!("shop_info");

static NOTHING: Counter = counter!();
static NAMED: Counter = counter!(name: "http_requests_total");

fn main() {}
