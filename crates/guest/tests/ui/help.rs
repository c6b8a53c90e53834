use wasmetry::{Counter, counter};

static REQUESTS: Counter = counter!("http_requests_total");
static OTHERS: Counter = counter!("others_total", "Others.", lables: []);

fn main() {}
