use wasmetry::{Counter, counter, gauge};

#[derive(Clone, Copy)]
enum Route {
    Home,
}

static BY_USER: Counter<String> = counter!("logins_total", "Logins.", labels: [user: String]);
static BY_STATUS: Counter<u16> = counter!("responses_total", "Responses.", labels: [status: u16]);
static BY_ROUTE: Counter<Route> = counter!("requests_total", "Requests.", labels: [route: Route]);

fn main() {
    counter!("retries_total", "Retries.", labels: [attempt: u32]).with(3).inc();
    counter!("names_total", "Names.", labels: [name: &'static str]).with("a").inc();
    gauge!("sizes", "Sizes.", labels: [size: f64]).with(1.5).set(2.0);
}
