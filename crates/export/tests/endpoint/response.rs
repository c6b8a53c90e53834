//! The responses of each path: status, headers and format.

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering;

use wasmetry_export::scrape::{Config, Server};

use crate::process::{Answer, connect, get, request, start};

#[test]
fn metrics_have_requested_format() {
    let (server, process) = start(Config::default());
    let text = get(&server, "/metrics");
    assert_eq!(text.status, 200);
    assert_eq!(text.header("content-type"), Some(wasmetry_host::encode::prometheus::CONTENT_TYPE));
    assert_eq!(text.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(text.header("content-length"), Some(text.body.len().to_string().as_str()));
    assert!(text.body.contains("\ntest_events_total 7\n"), "{}", text.body);
    assert!(!text.body.contains("# EOF"));

    let accept = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";
    let open_metrics = request(&server, "GET", "/metrics?from=prometheus", accept);
    assert_eq!(open_metrics.status, 200);
    assert_eq!(open_metrics.header("content-type"), Some(wasmetry_host::encode::openmetrics::CONTENT_TYPE));
    assert!(open_metrics.body.ends_with("# EOF\n"), "{}", open_metrics.body);
    assert_eq!(process.scraped.load(Ordering::SeqCst), 2);
    // Start times are samples on request only, in a format that has them.
    for (query, accept, is_present) in [
        ("created=true", accept, true),
        ("from=prometheus&created=true", accept, true),
        ("created=true", "", false),
        ("created=false", accept, false),
        ("created", accept, false),
    ] {
        let answer = request(&server, "GET", &format!("/metrics?{query}"), accept);
        assert_eq!(answer.body.contains("\ntest_events_created 1700000000.5\n"), is_present, "{query} {accept:?}");
    }
    server.stop();
}

/// The head and the body of an answer whose body is no text.
fn bytes(server: &Server, method: &str, headers: &str) -> (Answer, Vec<u8>) {
    let mut stream = connect(server);
    write!(stream, "{method} /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").unwrap();
    Answer::read_bytes(&mut stream)
}

#[test]
fn metrics_are_compressed_when_accepted() {
    let (server, process) = start(Config::default());
    let family = process.registry.counter("test_large_total", "Large.", &["key"]);
    for i in 0..20_000 {
        family.with(&[&format!("value-{i}")]).add(i);
    }
    let plain = get(&server, "/metrics");
    assert_eq!(plain.header("content-encoding"), None);
    // The header of Prometheus.
    let (gzip, body) = bytes(&server, "GET", "Accept-Encoding: gzip\r\n");
    assert_eq!((gzip.status, gzip.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(gzip.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(gzip.header("content-type"), plain.header("content-type"));
    // It is compressed as the client reads it.
    assert_eq!(gzip.header("transfer-encoding"), Some("chunked"));
    assert!(body.len() < plain.body.len() / 4, "{} of {}", body.len(), plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert!(text == plain.body, "what was compressed is what there was");

    let (head, nothing) = bytes(&server, "HEAD", "Accept-Encoding: gzip\r\n");
    assert_eq!((head.header("content-encoding"), nothing), (Some("gzip"), vec![]));
    assert_eq!(head.header("content-length"), gzip.header("content-length"));
    let (refused, body) = bytes(&server, "GET", "Accept-Encoding: gzip;q=0\r\n");
    assert_eq!((refused.header("content-encoding"), body.len()), (None, plain.body.len()));

    let accept =
        "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";
    let (protobuf, plain) = bytes(&server, "GET", accept);
    assert_eq!(protobuf.header("content-type"), Some(wasmetry_host::encode::protobuf::CONTENT_TYPE));
    let (_, body) = bytes(&server, "GET", &format!("{accept}Accept-Encoding: gzip\r\n"));
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut decoded).unwrap();
    assert!(decoded == plain && plain.starts_with(b"\x39\x0a\x11test_events_total"), "{:?}", &plain[..30]);
    server.stop();
}

#[test]
fn head_has_headers_without_body() {
    let (server, _) = start(Config::default());
    for path in ["/metrics", "/healthz", "/readyz", "/"] {
        let get = get(&server, path);
        let head = request(&server, "HEAD", path, "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    server.stop();
}

#[test]
fn unknown_paths_and_methods_are_explained() {
    let (server, _) = start(Config::default());
    for path in ["/metric", "/metrics/", "//metrics", "/favicon.ico", "/%6detrics"] {
        let answer = get(&server, path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body, "not found; the paths are /metrics, /healthz, /readyz, /sd and /\n");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = request(&server, method, "/metrics", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(request(&server, method, "/nothing", "").status, 404, "{method}");
    }
    server.stop();
}

#[test]
fn page_links_to_every_path() {
    let (server, _) = start(Config::default());
    let page = get(&server, "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(page.body.contains(&format!("href=\"{path}\"")), "{path}");
    }
    assert!(!page.body.contains("http"), "no external assets");
    server.stop();
}

#[test]
fn readiness_has_reason() {
    let (server, process) = start(Config::default());
    assert_eq!(get(&server, "/readyz").status, 200);
    *process.not_ready.lock().unwrap() = Some("compiling storefront.wasm".to_owned());
    let answer = get(&server, "/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "not ready: compiling storefront.wasm\n"));
    assert_eq!(get(&server, "/healthz").status, 200, "health does not depend on readiness");
    server.stop();
}

// Without a `Host`, as HTTP/1.0 allows.
#[test]
fn old_requests_without_host_are_answered() {
    let (server, _) = start(Config::default());
    for path in ["/metrics", "/healthz"] {
        let mut stream = connect(&server);
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut stream).status, 200, "{path}");
    }
    server.stop();
}
