//! Logs or traces a thousand times in each round: `facade-cost KIND ROUNDS`, with the kind `log`,
//! `event`, `span` or `off`. Prints the number of operations.
//!
//! A feature selects the back end; without one, nothing receives the records. The usual back ends
//! write to stderr.

use std::env;
use std::hint::black_box;

fn main() {
    let mut arguments = env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let rounds: u32 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(0);
    init();
    for round in 0..rounds {
        for number in 0..1000 {
            record(&kind, black_box(1000 * round + number));
        }
    }
    println!("{}", 1000 * rounds);
}

fn record(kind: &str, number: u32) {
    match kind {
        "log" => log::info!("line {number} of {}", black_box("cart")),
        "event" => tracing::info!(items = number, name = black_box("cart"), "cart loaded"),
        "span" => tracing::info_span!("load", items = number).in_scope(|| black_box(())),
        _ => {
            log::trace!("line {number} of {}", black_box("cart"));
            tracing::trace!(items = number, name = black_box("cart"), "cart loaded");
        }
    }
}

fn init() {
    #[cfg(feature = "wasmetry-log")]
    wasmetry_log::init();
    #[cfg(feature = "wasmetry-tracing")]
    wasmetry_tracing::init();
    #[cfg(feature = "env-logger")]
    env_logger::builder().filter_level(log::LevelFilter::Debug).init();
    #[cfg(feature = "tracing-fmt")]
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
}
