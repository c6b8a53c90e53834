//! A real guest that sends what it records, for a host that cannot read its memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use wasmetry_tests::embedding::observed::{Allocation, Host};
use wasmetry_tests::exposition::value;

/// A guest that sends its metrics has the same scrape as one whose memory is read.
#[test]
fn pushed_metrics_equal_mapped_metrics() {
    let scrapes = [false, true].map(|is_pushed| {
        let host = Host::new(Allocation::Pooling);
        let host = if is_pushed { host.pushed() } else { host };
        for n in 0..20u64 {
            let mut recorder = host.instance();
            // More than one batch, and several pushes of one instance.
            for i in 0..n {
                recorder.run("count", (n,));
                recorder.run("visit", ((i % 3) as u32, i));
                recorder.run("shard", ((i % 6) as u32,));
                recorder.run("label", (format!("value {}", i % 5).as_str(), i));
                recorder.run("observe-seconds", (i as f64 / 10.0,));
                recorder.run("observe-size", (i as f64,));
                recorder.run("add-level", (1i64,));
                recorder.run("publish", ());
            }
            recorder.run("count-inline", ());
            recorder.run("publish", ());
        }
        let text = host.scrape();
        let is_of_the_guest = |line: &&str| !line.contains("wasm_") && !line.contains("wasmetry_build_info");
        text.lines().filter(is_of_the_guest).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(scrapes[0], scrapes[1]);
    assert_eq!(value(&scrapes[1].join("\n"), "counted_total", &[]), f64::from((0..20).map(|n| n * n).sum::<u32>()));
}

/// A panic loses nothing: its hook sends what the guest has recorded since the last push.
#[test]
fn panic_keeps_all_metrics() {
    let host = Host::new(Allocation::OnDemand).pushed();
    for n in 1..=10u64 {
        let mut recorder = host.instance();
        recorder.run("count", (n,));
        recorder.run("publish", ());
        recorder.call::<_, ()>("trap", (1000u64,)).unwrap_err();
    }
    let text = host.scrape();
    assert_eq!(value(&text, "counted_total", &[]), 10_055.0);
    assert_eq!(value(&text, "wasm_traps_total", &[("reason", "unreachable")]), 10.0);
}
