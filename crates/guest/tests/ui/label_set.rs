//! A declaration's labels are those of its type, and a series is selected by their values.

use wasmetry::{Counter, Histogram, Label, Text, counter, histogram};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static UNTYPED: Counter = counter!("a_total", "A.", labels: [route: Route]);
static SWAPPED: Counter<(Route, bool)> = counter!("b_total", "B.", labels: [ok: bool, route: Route]);
static LATENCY: Histogram = histogram!("c_seconds", "C.", labels: [route: Route], unit: seconds);
static KIND: Counter = histogram!("d_seconds", "D.", unit: seconds);
static RIGHT: Counter<(Route, Text<8>)> = counter!("e_total", "E.", labels: [route: Route, sku: Text<8>]);

fn main() {
    RIGHT.with(Route::Home).inc();
    RIGHT.with((Route::Home, 3)).inc();
    RIGHT.inc();
}
