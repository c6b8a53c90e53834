//! Panics and errors of a service in an embedding, whose memory is read or pushed.

use std::sync::Arc;
use std::time::Duration;

use wasmetry_export::push::{Config, Exporter};
use wasmetry_host::Registry;
use wasmetry_tests::embedding::http::HttpHost;

use super::*;

/// Starts an exporter to a collector.
pub(super) fn exporter(collector: &Collector, registry: &Registry) -> Arc<Exporter> {
    let variables = collector.variables();
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    let config = Config::from_env(lookup).unwrap();
    Arc::new(Exporter::start(config, registry, Arc::new(|text: &str| panic!("{text}"))).unwrap())
}

/// A panic and an error of a request whose route the guest has set: the log, the event, the
/// statuses of both spans, the requests, durations and traps of the route. The panic hook pushes
/// what was recorded before the trap.
#[test]
fn embedded_failures_speak() {
    for is_pushed in [false, true] {
        let collector = Collector::start("http/protobuf");
        let registry = HttpHost::registry();
        let exporter = exporter(&collector, &registry);
        let host = HttpHost::new("failing-service", registry, Arc::<Exporter>::clone(&exporter), is_pushed);
        for (number, path, expected, error_type, message) in [
            (1, "/carts/panic", 500, "panic", "the cart is on fire".to_owned()),
            (2, "/carts/error", 500, "failing_service::CartError", format!("cannot load cart 7: {SOURCE}")),
            (3, "/carts/7", 200, "", String::new()),
        ] {
            let trace = format!("{number:032x}");
            assert_eq!(host.get(path, &format!("00-{trace}-b7ad6b7169203331-01")), expected, "{path}");
            let failures = usize::from(expected == 500);
            let arrived = collector
                .wait(|arrived| spans(arrived, &trace).len() == 2 && errors(arrived, Some(&trace)).len() >= failures);
            let (logs, spans) = (errors(&arrived, Some(&trace)), spans(&arrived, &trace));
            let [server, handler] = &spans[..] else { panic!("{spans:#?}") };
            assert_eq!((&*server.name, &*handler.name), ("GET /carts/{id}", "routed"), "{path}");
            assert_eq!(attributes(&server.attributes)["http.route"], "/carts/{id}");
            assert_eq!(handler.parent_span_id, server.span_id);
            if expected == 200 {
                assert!(logs.is_empty() && handler.events.is_empty(), "{logs:#?} {handler:#?}");
                continue;
            }
            let [log] = &logs[..] else { panic!("{path}, pushed: {is_pushed}: {logs:#?}") };
            assert!(log.message.ends_with(&message), "{log:?}");
            assert_eq!((&log.trace, &log.span), (&handler.trace_id, &handler.span_id));
            assert_eq!(exception(handler)["exception.type"], error_type, "{path}");
            for span in [server, handler] {
                assert_eq!(status(span), (StatusCode::Error, log.message.clone()), "{path}");
                assert_eq!(attributes(&span.attributes)["error.type"], error_type, "{path}");
            }
        }
        let scrape = host.scrape();
        let of_route = |name: &str, label| sum(&scrape, name, &[("route", "/carts/{id}"), label]);
        let method = ("method", "GET");
        assert_eq!(of_route("wasm_http_requests_total", method), 3.0, "{scrape}");
        assert_eq!(of_route("wasm_http_requests_total", ("status", "500")), 2.0);
        assert_eq!(value(&scrape, "wasm_http_request_duration_seconds_count", &[("route", "/carts/{id}")]), 3.0);
        assert_eq!(of_route("wasm_traps_total", ("reason", "unreachable")), 1.0);
        assert_eq!(sum(&scrape, "wasm_traps_total", &[]), 1.0);
        drop(host);
        assert_eq!(exporter.stop(Duration::from_secs(30)), 0);
    }
}
