use wasmetry::{Counter, counter};

static REQUESTS: Counter = counter!("http_requests", "HTTP requests.");

fn main() {}
