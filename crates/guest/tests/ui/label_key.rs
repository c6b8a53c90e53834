use wasmetry::{Counter, Label, counter};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static REQUESTS: Counter<(Route, Route)> =
    counter!("http_requests_total", "HTTP requests.", labels: [Route: Route, le: Route]);
static OTHERS: Counter<(Route, Route, Route)> =
    counter!("others_total", "Others.", labels: [quantile: Route, job: Route, a__b: Route]);
static TWICE: Counter<(Route, Route)> = counter!("twice_total", "Twice.", labels: [route: Route, route: Route]);
static SEVEN: Counter = counter!(
    "seven_total",
    "Seven.",
    labels: [a: Route, b: Route, c: Route, d: Route, e: Route, f: Route, g: Route],
);
static TEXT: Counter<Route> = counter!("text_total", "Text.", labels: ["route": Route]);
static BARE: Counter<Route> = counter!("bare_total", "Bare.", labels: [Route]);
static UNTYPED: Counter<Route> = counter!("untyped_total", "Untyped.", labels: [route: ]);
static VALUED: Counter<Route> = counter!("valued_total", "Valued.", labels: [route: "home"]);
static SEPARATED: Counter<(Route, bool)> = counter!("separated_total", "Separated.", labels: [route: Route; ok: bool]);

fn main() {}
