//! Tokens that are no declaration.

use wasmetry::{Counter, Gauge, Label, counter, gauge};

const NAME: &str = "requests_total";

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static EMPTY: Counter = counter!();
static NAMED: Counter = counter!(NAME, "Requests.");
static NO_COMMA: Counter = counter!("requests_total", "Requests." unit: bytes);
static NO_COMMA_LATER: Gauge = gauge!("size_bytes", "Size.", unit: bytes merge: max);
static NO_OPTION: Counter = counter!("requests_total", "Requests.", 3);
static TWICE: Gauge = gauge!("depth", "Depth.", merge: max, merge: min);
static UNKNOWN: Counter<Route> = counter!("requests_total", "Requests.", lables: [route: Route]);
static EQUALS: Counter<Route> = counter!("requests_total", "Requests.", labels = [route: Route]);
static NO_LIST: Counter<Route> = counter!("requests_total", "Requests.", labels: Route);
static NO_LIST_OF_CONSTANTS: Counter = counter!("requests_total", "Requests.", const_labels: "gold");
static BRACES: Counter<Route> = counter!("requests_total", "Requests.", labels: { route: Route });

fn main() {}
