//! A command that counts, and exits with a failure before `main` returns and without a push.

use wasmetry::{ObservableCounter, observable_counter};

static OBSERVED: ObservableCounter =
    observable_counter!("attempts_observed_total", "Attempts, as observed.", observe: || 7);

fn main() {
    OBSERVED.register();
    wasmetry::counter!("attempts_total", "Attempts.").inc();
    std::process::exit(3);
}
