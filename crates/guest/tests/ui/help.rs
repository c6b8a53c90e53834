use wasmetry::{Counter, counter};

const HELP: &str = "HTTP requests.";

static NONE: Counter = counter!("http_requests_total");
static COMMA: Counter = counter!("http_requests_total",);
static OPTION: Counter = counter!("http_requests_total", unit: bytes);
static EMPTY: Counter = counter!("http_requests_total", " ");
static CONSTANT: Counter = counter!("http_requests_total", HELP);
static EXPRESSION: Counter = counter!("http_requests_total", concat!("HTTP", " requests."));

fn main() {}
