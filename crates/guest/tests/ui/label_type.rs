use wasmetry::{Counter, Label, counter};

static BY_USER: Counter<String> = counter!("logins_total", "Logins.", labels: [user: String]);

#[derive(Clone, Copy, Label)]
enum Outcome {
    Done,
    Failed(u32),
}

fn main() {}
