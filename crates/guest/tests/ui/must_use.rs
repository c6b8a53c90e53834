#![deny(unused_must_use)]

use wasmetry::{Counter, Histogram, Timer, counter, histogram, observable_gauge, span};

static LATENCY: Histogram = histogram!("wait_seconds", "Time.", unit: seconds);
static REQUESTS: Counter<bool> = counter!("requests_total", "Requests.", labels: [ok: bool]);

fn main() {
    span!("load_cart");
    span!("load_cart").entered();
    LATENCY.start_timer();
    Timer::start();
    REQUESTS.with(true);
    observable_gauge!("depth", "Depth.", observe: || 1.0);
}
