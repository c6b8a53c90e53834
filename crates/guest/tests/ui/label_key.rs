use wasmetry::{Counter, Label, counter};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

static REQUESTS: Counter<(Route, Route)> =
    counter!("http_requests_total", "HTTP requests.", labels: [Route: Route, le: Route]);

fn main() {}
