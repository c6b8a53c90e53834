//! The answers of the API, from planted data: their values, their members as the fixtures have
//! them, and what hostile requests and records do.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod event;
mod explain;
mod exponential;
mod fixture;
mod log;
mod metric;
mod planted;
mod share;
mod trace;

use serde_json::Value;
use wasmetry_console::{ChangeKind, Request};
use wasmetry_host::Sink as _;
use wasmetry_host::record::{FieldValue, Level, SpanStatus};

use crate::fixture::assert_has_members;
use crate::planted::{Planted, context, log, shop, span, text};

#[test]
fn status_counts_and_shows_changes() {
    let shop = shop();
    shop.console.changed(ChangeKind::Limits, "storefront", "acme", "`storefront`: the memory limit changed");
    let mut status = shop.get("/api/v1/status");
    assert_eq!(status["changes"][0]["kind"], "limits");
    assert_eq!(status["changes"][1]["kind"], "start");
    assert_eq!(status["traces"]["kept"], 8);
    let parts = ["series_bytes", "logs_bytes", "traces_bytes", "fingerprints_bytes", "other_bytes"];
    let sum: u64 = parts.iter().map(|part| status["memory"][part].as_u64().unwrap()).sum();
    assert_eq!(sum, status["memory"]["used_bytes"].as_u64().unwrap());
    status["dropped"] = serde_json::json!([{"what": "", "reason": "", "count": 0}]);
    assert_has_members(&status, "status.json");
}

/// A version that was replaced is a change, without a call of the host; an answer of explain has
/// the changes of its component and of the host.
#[test]
fn replaced_versions_are_changes() {
    let mut shop = Planted::new();
    let instances = shop.registry.gauge("wasm_instances", "Instances.", &["component", "version", "tenant"]);
    for version in ["1", "2"] {
        for component in ["storefront", "warehouse"] {
            instances.with(&[component, version, "acme"]).set(1.0);
        }
        shop.store();
    }
    shop.console.changed(ChangeKind::Config, "", "", "`wasmetry.toml` was read again");
    shop.console.changed(ChangeKind::Limits, "warehouse", "acme", "`warehouse`: the memory limit changed");
    let kinds = |path: &str| -> Vec<(String, String)> {
        let answer = shop.get(path);
        let text = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
        let changes = answer["changes"].as_array().unwrap();
        changes.iter().map(|change| (text(change, "kind"), text(change, "component"))).collect()
    };
    let of = |kind: &str, component: &str| (kind.to_owned(), component.to_owned());
    let all = kinds("/api/v1/status");
    assert_eq!(all.len(), 5);
    assert!(all.contains(&of("version", "storefront")) && all.contains(&of("version", "warehouse")));
    assert_eq!(
        kinds("/api/v1/explain?component=storefront"),
        [of("config", ""), of("version", "storefront"), of("start", "")]
    );
    assert!(shop.get("/api/v1/status")["changes"].to_string().contains("`storefront`: version 1 was replaced by 2"));
}

/// The fields of a log that find no room are counted in it and in all.
#[test]
fn fields_left_out_are_counted() {
    let shop = Planted::new();
    let mut record = log(None, 1, Level::Info, "many fields");
    record.fields =
        (0..10).map(|number| (format!("f{number}").into(), FieldValue::Text("x".repeat(4000).into()))).collect();
    shop.recorder.log(&shop.identity, record);
    let logs = shop.get("/api/v1/logs");
    let one = &logs["logs"][0];
    assert_eq!((one["fields"].as_array().unwrap().len() as u64, &one["is_cut"]), (4, &Value::from(true)));
    assert_eq!(one["dropped"], 6);
    let status = shop.get("/api/v1/status");
    let drops = status["dropped"].as_array().unwrap();
    assert!(drops.contains(&serde_json::json!({"what": "fields", "reason": "log_size", "count": 6})), "{drops:?}");
}

/// Routes have a bound in bytes; those that no request has any more leave their place to new ones.
#[test]
fn names_are_bounded_and_forgotten() {
    let shop = Planted::with_memory(1 << 20);
    let used = |shop: &Planted| shop.get("/api/v1/status")["memory"]["other_bytes"].as_u64().unwrap();
    let add = |number: u64| {
        let route = format!("/{number}/{}", "x".repeat(200));
        let root = context(u128::from(number) + 1, number + 1);
        let mut server = span(root, None, "GET", number, number + 1);
        server.request = Some(root.span_id);
        server.attributes = vec![("http.route".into(), FieldValue::Text(route.as_str().into()))];
        // Only some ten requests fit, so that names lose their users.
        for key in ["a", "b", "c"] {
            server.attributes.push((key.into(), FieldValue::Text("x".repeat(8000).into())));
        }
        server.status = SpanStatus::Error("failed".into());
        shop.recorder.span(&shop.identity, server);
    };
    for number in 0..5000 {
        add(number);
        assert!(number % 500 > 0 || used(&shop) <= 32 << 10, "{} bytes after {number}", used(&shop));
    }
    let drops = shop.get("/api/v1/status")["dropped"].to_string();
    assert!(drops.contains("\"names\""), "{drops}");
    let is_named = (5000..10_000).any(|number| {
        add(number);
        let newest = shop.get("/api/v1/traces?order=newest&limit=1");
        newest["traces"][0]["route"].as_str().unwrap().starts_with(&format!("/{number}/"))
    });
    assert!(is_named, "no name was forgotten for a new one");
    assert!(used(&shop) <= 32 << 10, "{}", used(&shop));
}

#[test]
fn hostile_requests_are_refused() {
    let shop = shop();
    for (path, status, detail) in [
        ("/api/v2/status", 404, "/api/v1/"),
        ("/api/v1/nothing", 404, "/api/v1/"),
        ("/api/v1/status?x=1", 400, "`x` is no parameter"),
        ("/api/v1/logs?level=warm", 400, "`level`: `warm`"),
        ("/api/v1/logs?limit=0", 400, "from 1 to 500"),
        ("/api/v1/logs?limit=501", 400, "from 1 to 500"),
        ("/api/v1/logs?cursor=x", 400, "`cursor`"),
        ("/api/v1/logs?trace=1", 400, "32 hexadecimal digits"),
        ("/api/v1/logs/x", 400, "number"),
        ("/api/v1/traces/x", 400, "32 hexadecimal digits"),
        ("/api/v1/traces?cursor=1", 400, "`cursor`"),
        ("/api/v1/traces?status=6xx", 400, "`status`"),
        ("/api/v1/series", 400, "`metric` is missing"),
        ("/api/v1/series?metric=none_total", 404, "`none_total`"),
        ("/api/v1/series?metric=wasm_traps_total&range=7", 400, "300, 900 or 3600"),
        ("/api/v1/overview?range=1&range=2", 400, "there twice"),
        ("/api/v1/events?kinds=all", 400, "`kinds`"),
    ] {
        let answer = shop.answer(path);
        let text = text(&answer).to_owned();
        assert_eq!(answer.status, status, "{path}: {text}");
        assert!(answer.headers.contains(&("content-type", "application/problem+json".to_owned())));
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{path}: {text}");
        assert!(!problem["detail"].as_str().unwrap().contains('\n'));
        assert_has_members(&problem, "problem.json");
    }
    let request = Request { method: "POST", path: "/api/v1/status", ..Request::default() };
    assert_eq!(shop.console.answer(&request).status, 405);
}

#[test]
fn guest_text_stays_text() {
    let shop = Planted::new();
    let hostile = format!("</script><script>alert(1)</script>\u{1b}[31m\u{2028}{}", "ß".repeat(10_000));
    let mut record = log(Some(context(5, 1)), 1, Level::Error, &hostile);
    record.fields.push((hostile.as_str().into(), FieldValue::Text(hostile.as_str().into())));
    record.fields.push(("nan".into(), FieldValue::Float(f64::NAN)));
    record.fields.push(("large".into(), FieldValue::Unsigned(u64::MAX)));
    shop.recorder.log(&shop.identity, record);
    let mut server = span(context(5, 1), None, &hostile, 1, 2);
    server.attributes.push(("http.route".into(), FieldValue::Text(hostile.as_str().into())));
    server.status = SpanStatus::Error(hostile.as_str().into());
    shop.recorder.span(&shop.identity, server);
    for path in ["/api/v1/logs", "/api/v1/logs/1", "/api/v1/traces", "/api/v1/traces/00000000000000000000000000000005"]
    {
        let answer = shop.answer(path);
        let text = text(&answer);
        assert!(!text.contains(['<', '>', '\u{1b}', '\u{2028}']), "{path}");
        let value: Value = serde_json::from_str(text).unwrap();
        assert!(value.is_object());
    }
    let listed = shop.get("/api/v1/logs");
    let listed = &listed["logs"][0];
    assert_eq!(listed["is_cut"], true);
    assert!(listed["message"].as_str().unwrap().len() < 600);
    let one = shop.get("/api/v1/logs/1");
    assert!(one["message"].as_str().unwrap().starts_with("</script><script>"));
    assert_eq!(one["fields"][0], serde_json::json!(["cart", 42]));
}
