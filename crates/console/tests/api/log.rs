//! Logs: their filters, pages and single records.

use std::time::SystemTime;

use serde_json::Value;
use wasmetry_host::Sink as _;
use wasmetry_host::record::Level;

use crate::fixture::assert_has_members;
use crate::planted::{Planted, context, log, nanos};

#[test]
fn logs_are_filtered_and_paged() {
    let shop = Planted::new();
    let now = nanos(SystemTime::now());
    for at in 0..1000u64 {
        let level = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace][at as usize % 5];
        let trace = (at % 10 == 0).then(|| context(7, 1));
        shop.recorder.log(&shop.identity, log(trace, now + at, level, &format!("message {at}")));
    }
    let logs = shop.get("/api/v1/logs");
    assert_has_members(&logs, "logs.json");
    assert_eq!((logs["logs"].as_array().unwrap().len(), &logs["newest"]), (100, &Value::from(1000)));
    let count = |query: &str| shop.get(&format!("/api/v1/logs?limit=500&{query}"))["logs"].as_array().unwrap().len();
    assert_eq!(count("level=warn"), 400);
    assert_eq!(count("text=MESSAGE%209"), 111);
    assert_eq!(count("text=GIFT&level=error"), 200);
    assert_eq!(count(&format!("trace={:032x}", 7)), 100);
    assert_eq!(count("site=src/cart.rs:42&component=storefront&tenant=acme"), 500);
    assert_eq!(count("site=src/cart.rs:4"), 0);
    // Backwards and forwards, each log comes once.
    for start in ["", "after=0&"] {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = shop.get(&format!("/api/v1/logs?{start}limit=37{cursor}"));
            ids.extend(page["logs"].as_array().unwrap().iter().map(|log| log["id"].as_u64().unwrap()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        if start.is_empty() {
            ids.reverse();
        }
        assert_eq!(ids, (1..=1000).collect::<Vec<u64>>(), "{start}");
    }
    let one = shop.get("/api/v1/logs/500");
    assert_has_members(&one, "log.json");
    assert_eq!((&one["message"], &one["site_records"]["count"]), (&Value::from("message 499"), &Value::from(1000)));
    assert_eq!(shop.answer("/api/v1/logs/1001").status, 404);
}

/// An id with the epoch of another process names no log of this one.
#[test]
fn log_of_other_epoch_is_gone() {
    let shop = Planted::new();
    shop.recorder.log(&shop.identity, log(None, nanos(SystemTime::now()), Level::Info, "first"));
    let status = shop.get("/api/v1/status");
    let epoch = status["epoch"].as_str().unwrap();
    assert_eq!(shop.get(&format!("/api/v1/logs/{epoch}-1"))["message"], "first");
    for (id, expected) in [(format!("{epoch}0-1"), 404), ("-1".into(), 404), (format!("{epoch}-x"), 400)] {
        assert_eq!(shop.answer(&format!("/api/v1/logs/{id}")).status, expected, "{id}");
    }
}
