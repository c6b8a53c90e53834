//! Attacks on the reads of a guest's memory.

use std::thread;
use std::time::{Duration, Instant};

use wasmetry_sink::{Reply, Sink};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::otlp::ReceivedMetrics;

use crate::neighbour::{HONEST, HOSTILE, Neighbours, Setup, finish};

/// Regions that declare 65,536 series of 16 KiB of labels each, again and again.
#[test]
fn long_labels_delay_no_neighbour() {
    let neighbours = Neighbours::start(Setup::default());
    let attacks = neighbours.start_attacks("labels?regions=64", 3);
    neighbours.serve_honest(200);
    // One of them is answered, as all of them are.
    assert_eq!(neighbours.attack("labels?regions=64"), Some(200));
    finish(attacks);
    // 64 headers have one list; on a slow machine, the read's time may end before the last one.
    let overlap = neighbours.dropped("overlap");
    assert!((1.0..=4.0 * 63.0).contains(&overlap), "{overlap}");
    neighbours.assert_honest_exact();
    // Each increment is in a series of its own or in the overflow series. A series for which the
    // exposition has no room has at most one of each request. A guest that waits for its turn is
    // answered before it is read for the last time.
    let hidden = neighbours.dropped("exposition_limit");
    let is_all = |text: &str| 4.0 * 65_536.0 - sum(text, "labels_total", &HOSTILE) <= 4.0 * hidden;
    let text = neighbours.server.scrape_until(is_all);
    assert!(sum(&text, "labels_total", &HOSTILE) <= 4.0 * 65_536.0);
    let cut = sum(&text, "wasmetry_dropped_total", &[HOSTILE[0], HOSTILE[1], ("reason", "read_budget")]);
    assert!((100_000.0..4.0 * 65_536.0).contains(&cut), "{cut}");
}

/// Guests that keep 64 regions with one list over 16 MiB of untouched memory alive.
#[test]
fn untouched_regions_keep_little_memory() {
    let neighbours = Neighbours::start(Setup::default());
    let memory = |text: &str| value(text, "wasm_telemetry_memory_bytes", &HOSTILE);
    let idle = memory(&neighbours.server.scrape());
    let attacks = neighbours.start_attacks("cells?regions=64&hold=2000", 4);
    let kept = |text: &str| memory(text) - idle;
    // Two regions of 15.5 MiB fit into what is kept for a store, and the tenant has a limit too.
    let text = neighbours.server.scrape_until(|text| kept(text) > f64::from(31 << 20));
    assert!(kept(&text) <= 4.0 * f64::from(32 << 20) && memory(&text) <= f64::from(256 << 20), "{}", kept(&text));
    neighbours.serve_honest(100);
    finish(attacks);
    // What is left are the values of 31 metrics with 65,536 series, nine bytes each, and lists of
    // entries.
    neighbours.server.scrape_until(|text| kept(text) <= f64::from(9 * 31 * 65_536 + (1 << 20)));
    let text = neighbours.assert_honest_exact();
    let dropped = |reason| sum(&text, "wasmetry_dropped_total", &[HOSTILE[0], HOSTILE[1], ("reason", reason)]);
    assert!(dropped("memory_limit") >= 4.0 * 62.0, "{}", dropped("memory_limit"));
    // What was not kept is read at the end, and is the memory of the first, as far as the read's
    // time goes.
    assert!((4.0..=4.0 * 63.0).contains(&dropped("overlap")), "{}", dropped("overlap"));
    neighbours.assert_honest_exact();
}

/// 8 MiB of short records, given twice, each of which is a log of 60 KB.
#[test]
fn short_records_make_bounded_logs() {
    let neighbours = Neighbours::start(Setup::default());
    let attacks = neighbours.start_attacks("ring?log=20&regions=64", 2);
    neighbours.serve_honest(100);
    finish(attacks);
    // 8 MiB of text for each request; the rest is counted.
    let records = 2.0 * f64::from((1 << 20) / 7);
    let cut = neighbours.dropped("read_budget");
    assert!((0.99 * records..records).contains(&cut), "{cut}");
    // At each read of the two guests, the second ring is refused.
    assert!(neighbours.dropped("ring") >= 2.0);
    // One header is one region.
    assert_eq!(neighbours.dropped("region_repeated"), 2.0 * 63.0);
    neighbours.assert_honest_exact();
}

/// A guest that has itself collected without end is ended at its deadline.
#[test]
fn endless_collection_ends_at_deadline() {
    let setup = Setup { hostile: "request-timeout = '1s'", ..Setup::default() };
    let neighbours = Neighbours::start(setup);
    let attacks = neighbours.start_attacks("flush?n=1000000000", 2);
    neighbours.serve_honest(100);
    for attack in attacks {
        assert_eq!(attack.join().unwrap(), Some(504));
    }
    let text = neighbours.assert_honest_exact();
    assert_eq!(sum(&text, "wasm_traps_total", &[HOSTILE[0], HOSTILE[1], ("reason", "deadline")]), 2.0);
}

/// Guests with 64 regions of 16 MiB have them collected again and again: none of these reads keeps
/// a thread of the service, and they take turns.
#[test]
fn large_collections_delay_no_neighbour() {
    let setup = Setup { hostile: "request-timeout = '2s'", ..Setup::default() };
    let neighbours = Neighbours::start(setup);
    let collecting = neighbours.start_attacks("flush?regions=64&n=1000000000", 8);
    let waiting = neighbours.start_attacks("wait?regions=64&n=1000000000", 8);
    neighbours.serve_honest(200);
    for attack in collecting.into_iter().chain(waiting) {
        assert_eq!(attack.join().unwrap(), Some(504));
    }
    let text = neighbours.assert_honest_exact();
    assert_eq!(sum(&text, "wasm_traps_total", &[HOSTILE[0], HOSTILE[1], ("reason", "deadline")]), 16.0);
    assert!(neighbours.dropped("overlap") >= 16.0);
    neighbours.assert_honest_exact();
}

/// The process ends at its shutdown timeout while reads are at work. Its last export has the honest
/// tenant's numbers, and what the reads have left out, with its owner.
#[test]
fn shutdown_does_not_wait_for_reads() {
    let sink = Sink::start(|_| Reply::Accept);
    let variables = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", sink.url("/v1/metrics"))];
    let arguments = ["--shutdown-timeout", "3s"];
    let neighbours = Neighbours::start(Setup { arguments: &arguments, variables: &variables, ..Setup::default() });
    let attacks = neighbours.start_attacks("labels?regions=64", 8);
    let busy = neighbours.start_attacks("flush?n=1000000000", 2);
    let running = |text: &str| value(text, "wasm_instances", &HOSTILE);
    neighbours.server.scrape_until(|text| running(text) > 0.0);
    neighbours.serve_honest(40);
    neighbours.dropped("overlap");
    let answered = neighbours.answered();
    let start = Instant::now();
    let (status, stderr) = neighbours.stop();
    let took = start.elapsed();
    assert!(status.success(), "{stderr:?}");
    // 3 s, a second for the guests, 5 s in which telemetry may be sent, and a slow machine.
    assert!(took < Duration::from_secs(3 + 1 + 5 + 10), "{took:?}");
    finish(attacks);
    finish(busy);
    let received = ReceivedMetrics::cumulative(&sink.metrics());
    for name in ["http_requests_total", "http_request_duration_seconds", "wasm_http_requests_total"] {
        assert_eq!(received.sum(name, &HONEST), answered, "{name}");
    }
    assert_eq!(received.sum("wasmetry_dropped_total", &HONEST[1..]), 0.0);
    let overlap = received.sum("wasmetry_dropped_total", &[HOSTILE[0], HOSTILE[1], ("reason", "overlap")]);
    // The eight requests have 64 headers with one list each.
    assert!((1.0..=8.0 * 63.0).contains(&overlap), "{overlap}");
}

/// 2,000 series of 201 buckets with 30 KiB of constant labels each, which are 24 GB of text: the
/// scrape has those that fit, each whole, and counts the others.
#[test]
fn scrape_bomb_hides_own_series() {
    const ROWS: f64 = 2000.0;
    const REQUESTS: usize = 3;
    let neighbours = Neighbours::start(Setup::default());
    let attacks = neighbours.start_attacks("buckets", REQUESTS);
    neighbours.serve_honest(100);
    for attack in attacks {
        assert_eq!(attack.join().unwrap(), Some(200));
    }
    let hidden = neighbours.dropped("exposition_limit");
    let text = neighbours.assert_honest_exact();
    // A component has 32 MiB; the rest are a few families of the host's.
    assert!(text.len() < (32 << 20) + (1 << 20), "{}", text.len());
    let shown = text.lines().filter(|line| line.starts_with("buckets_count{")).count();
    assert!(shown >= 1 && shown as f64 + hidden == ROWS, "{shown} {hidden}");
    assert_eq!(text.lines().filter(|line| line.starts_with("buckets_bucket{")).count(), 201 * shown);
    assert_eq!(sum(&text, "buckets_count", &HOSTILE), (shown * REQUESTS) as f64);
    // Scrapes at the same time have the same series, and count none of them again.
    thread::scope(|scope| {
        let scrapes: Vec<_> = (0..4).map(|_| scope.spawn(|| neighbours.server.scrape())).collect();
        neighbours.serve_honest(40);
        for scrape in scrapes {
            assert_eq!(sum(&scrape.join().unwrap(), "buckets_count", &HOSTILE), (shown * REQUESTS) as f64);
        }
    });
    assert_eq!(neighbours.dropped("exposition_limit"), hidden);
    neighbours.assert_honest_exact();
}
