//! The time that the console takes beside requests.

use std::time::{Duration, Instant, SystemTime};

use wasmetry_console::{Config, Console};
use wasmetry_host::Registry;

/// A snapshot of 10,000 series each 5 s, half of them histograms that all change, takes less than
/// 1% of a core: 50 ms. The median is of wall times, so it is an upper bound; the bench prints the
/// time on a processor.
#[test]
fn snapshots_take_little_time() {
    let registry = Registry::new();
    let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let times = registry.histogram("job_duration_seconds", "Times.", &["component", "version", "queue"], &bounds);
    let family = registry.counter("jobs_total", "Jobs.", &["component", "version", "queue"]);
    let queues = || (0..5000).map(|queue| format!("queue-{queue}"));
    let counters: Vec<_> = queues().map(|queue| family.with(&["storefront", "77ab01c2de44", &queue])).collect();
    let histograms: Vec<_> = queues().map(|queue| times.with(&["storefront", "77ab01c2de44", &queue])).collect();
    let console = Console::new(Config::default());
    let mut time = SystemTime::now();
    let mut taken = Vec::new();
    for step in 0..20 {
        counters.iter().for_each(|counter| counter.add(3));
        histograms.iter().zip(0..).for_each(|(histogram, at)| histogram.observe(f64::from((at + step) % 100) / 8.0));
        let begin = Instant::now();
        console.store(&registry.snapshot(Duration::ZERO), time);
        taken.push(begin.elapsed());
        time += Duration::from_secs(5);
    }
    taken.sort_unstable();
    let median = taken[taken.len() / 2];
    println!("a snapshot of 10,000 series is taken and stored in {median:?}");
    assert!(median < Duration::from_millis(50), "{median:?}");
}
