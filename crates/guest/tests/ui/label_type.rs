use wasmetry::{Counter, counter};

static BY_USER: Counter<String> = counter!("logins_total", "Logins.", labels: [user: String]);

fn main() {
    counter!("retries_total", "Retries.", labels: [attempt: u32]).with(3).inc();
}
