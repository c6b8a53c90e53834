//! A host takes a bounded number of series of a metric.

use wasmetry::{Below, Counter, Histogram, Label, Text, counter, histogram};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
    Cart,
}

static SERIES: Counter<(Route, Below<40000>)> =
    counter!("orders_total", "Orders.", labels: [route: Route, shard: Below<40000>]);
static PAIRS: Counter<(Below<999>, Below<999>)> =
    counter!("cells_total", "Cells.", labels: [x: Below<999>, y: Below<999>]);
static WORDS: Histogram<(Route, Below<9999>)> = histogram!(
    "order_duration_seconds",
    "Time to place an order.",
    labels: [route: Route, shard: Below<9999>],
    unit: seconds,
    buckets: [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60,
    ],
);
static TEXTS: Counter<Text<5000>> = counter!("logins_total", "Logins.", labels: [user: Text<5000>]);
static LONG: Counter<Text<8, 2048>> = counter!("searches_total", "Searches.", labels: [query: Text<8, 2048>]);

fn main() {}
