//! A command that counts, sends that, and exits with a failure in the middle.

fn main() {
    wasmetry::counter!("attempts_total", "Attempts.").inc();
    wasmetry::publish();
    std::process::exit(3);
}
