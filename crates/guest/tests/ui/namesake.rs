//! The metrics of one name have the same type, unit, labels and buckets.

use wasmetry::{Counter, Gauge, Histogram, Label, Sum, counter, exponential_histogram, gauge, histogram};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static REQUESTS: Counter = counter!("http_requests_total", "HTTP requests.");
static BY_ROUTE: Counter<Route> = counter!("http_requests_total", "HTTP requests.", labels: [route: Route]);

static BY_BOTH: Counter<(Route, bool)> = counter!("hits_total", "Hits.", labels: [route: Route, warm: bool]);
static BY_ONE: Counter<Route> = counter!("hits_total", "Hits.", labels: [route: Route]);
static SAME: Counter<(Route, bool)> = counter!("hits_total", "Hits of the cache.", labels: [route: Route, warm: bool]);

static GOLD: Counter = counter!("sales_total", "Sales.", const_labels: [tier: "gold"]);
static SILVER: Counter = counter!("sales_total", "Sales.", const_labels: [tier: "silver"]);
static SHOP: Counter = counter!("sales_total", "Sales.", const_labels: [shop: "north"]);

static WAIT: Histogram = histogram!("wait_seconds", "Time.", unit: seconds, buckets: [0.1, 1]);
static WAIT_UNIT: Histogram = histogram!("wait_seconds", "Time.", buckets: [0.1, 1]);
static WAIT_BUCKETS: Histogram = histogram!("wait_seconds", "Time.", unit: seconds, buckets: [1, 10]);
static WAIT_GAUGE: Gauge = gauge!("wait_seconds", "Time.", unit: seconds);

static SPENT: Counter = counter!("spent_total", "Spent.");
static SPENT_NUMBER: Counter<(), f64> = counter!("spent_total", "Spent.", value: f64);
static SPENT_UNIT: Counter = counter!("sent_bytes_total", "Sent.");

static HOTTEST: Gauge = gauge!("heat", "Heat.", merge: max);
static COLDEST: Gauge = gauge!("heat", "Heat.", merge: min);

static LOAD: Gauge = gauge!("load", "Load.");
static LOAD_SUM: Gauge<(), f64, Sum> = gauge!("load", "Load.", merge: sum);

// Names that differ, and samples that do not.
static TICKETS_CREATED: Counter = counter!("tickets_created_total", "Tickets created.");
static TICKETS: Counter = counter!("tickets_total", "Tickets.");
static ORDERS: Counter = counter!("orders_created_total", "Orders created.");

fn main() {
    counter!("sent_bytes_total", "Sent.", unit: bytes).inc();
    let _size = exponential_histogram!("size", "Size.", max_buckets: 20);
    let _other_size = exponential_histogram!("size", "Size.", max_buckets: 30);
    counter!("size_sum_total", "Sum of sizes.").inc();
}
