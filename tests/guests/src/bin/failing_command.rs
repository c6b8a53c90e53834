//! A command that counts, publishes its metrics, and exits with a failure before `main` returns.

fn main() {
    wasmetry::counter!("attempts_total", "Attempts.").inc();
    wasmetry::publish();
    std::process::exit(3);
}
