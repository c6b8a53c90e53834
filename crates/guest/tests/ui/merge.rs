use wasmetry::{Counter, Gauge, Histogram, UpDownCounter, counter, gauge, histogram, up_down_counter};

static AVERAGE: Gauge = gauge!("depth", "Depth.", merge: average);
static TEXT: Gauge = gauge!("depth", "Depth.", merge: "max");
static COUNTER: Counter = counter!("requests_total", "Requests.", merge: max);
static UP_DOWN: UpDownCounter = up_down_counter!("jobs", "Jobs.", merge: sum);
static HISTOGRAM: Histogram = histogram!("cart_items", "Items.", merge: last);

fn main() {}
