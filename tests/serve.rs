//! `wasmetry serve`: responses to clients, and the metrics of their requests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "serve/client.rs"]
mod client;
#[path = "serve/limit.rs"]
mod limit;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use wasmetry_host::Declarations;
use wasmetry_tests::exposition::{has, sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// Ten thousand concurrent requests are counted exactly, including those that trap or time out.
#[test]
fn all_requests_are_counted_exactly() {
    // Route, number of requests, status.
    const TRAFFIC: [(&str, u64, u16); 8] = [
        ("/", 4_000, 200),
        ("/cart", 3_000, 200),
        ("/checkout?item=pear", 1_500, 200),
        ("/checkout?item=unicorn", 400, 503),
        ("/slow?ms=1", 400, 200),
        ("/nowhere", 150, 404),
        ("/boom", 500, 500),
        ("/spin", 50, 504),
    ];
    assert_eq!(TRAFFIC.iter().map(|(_, count, _)| count).sum::<u64>(), 10_000);

    let server = Server::start(&guest("storefront"), &["--request-timeout", "500ms"]);
    // Shuffled, so that requests of all kinds run at the same time.
    let mut requests: Vec<_> =
        TRAFFIC.iter().flat_map(|&(path, count, status)| (0..count).map(move |_| (path, status))).collect();
    let mut seed = 42u64;
    for i in (1..requests.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        requests.swap(i, (seed >> 33) as usize % (i + 1));
    }
    let statuses = thread::scope(|scope| {
        let clients: Vec<_> = requests
            .chunks(requests.len() / 8)
            .map(|requests| {
                let url = &server.url;
                scope.spawn(move || {
                    let agent = agent();
                    let mut statuses: BTreeMap<(&str, u16), u64> = BTreeMap::new();
                    for (path, _) in requests {
                        let (status, _) = get(&agent, &format!("{url}{path}"));
                        *statuses.entry((path, status)).or_default() += 1;
                    }
                    statuses
                })
            })
            .collect();
        let mut all: BTreeMap<(&str, u16), u64> = BTreeMap::new();
        for client in clients {
            for (key, count) in client.join().unwrap() {
                *all.entry(key).or_default() += count;
            }
        }
        all
    });

    let text = server.scrape_until(|text| value(text, "wasm_http_requests_in_flight", &[]) == 0.0);
    for (route, count) in [
        ("/", 4_000),
        ("/cart", 3_000),
        ("/checkout", 1_900),
        ("/slow", 400),
        ("other", 150),
        ("/boom", 500),
        ("/spin", 50),
    ] {
        assert_eq!(sum(&text, "http_requests_total", &[("route", route)]), f64::from(count), "{route}");
    }
    assert_eq!(sum(&text, "http_requests_total", &[]), 10_000.0);
    let slow_timeouts = statuses.get(&("/slow?ms=1", 504)).copied().unwrap_or(0) as f64;
    assert_eq!(value(&text, "wasm_traps_total", &[("route", "/boom"), ("reason", "unreachable")]), 500.0);
    assert_eq!(sum(&text, "wasm_traps_total", &[("reason", "unreachable")]), 500.0);
    // On a busy machine a wait of 1 ms can exceed the deadline too; the client counts such a
    // response.
    assert_eq!(sum(&text, "wasm_traps_total", &[("reason", "deadline")]), 50.0 + slow_timeouts);
    assert_eq!(value(&text, "http_requests_failed_total", &[("route", "/checkout"), ("status", "503")]), 400.0);
    assert_eq!(value(&text, "http_requests_failed_total", &[("route", "other"), ("status", "404")]), 150.0);
    assert_eq!(value(&text, "items_sold_total", &[("item", "pear")]), 1_500.0);
    assert_eq!(value(&text, "http_request_duration_seconds_count", &[("route", "/cart")]), 3_000.0);
    assert_eq!(value(&text, "http_request_duration_seconds_bucket", &[("route", "/cart"), ("le", "+Inf")]), 3_000.0);

    // The host and the client have the same counts by status.
    let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
    for ((path, status), count) in &statuses {
        let expected = TRAFFIC.iter().find(|(other, ..)| other == path).unwrap().2;
        assert!(*status == expected || (*status == 504 && *path == "/slow?ms=1"), "{path} was answered {status}");
        *by_status.entry(*status).or_default() += count;
    }
    for (status, count) in by_status {
        let status = status.to_string();
        assert_eq!(sum(&text, "wasm_http_requests_total", &[("status", &status)]), count as f64, "{status}");
    }
    assert_eq!(value(&text, "wasm_instance_starts_total", &[]), 10_000.0);
    assert_eq!(value(&text, "wasm_instances", &[]), 0.0);
}

/// A scrape has the metrics of a guest that runs an endless loop.
#[test]
fn scrape_has_endless_guest() {
    let server = Server::start(&guest("storefront"), &["--request-timeout", "3s"]);
    thread::scope(|scope| {
        let (sender, response) = channel();
        let url = format!("{}/spin", server.url);
        scope.spawn(move || sender.send(get(&agent(), &url)).unwrap());
        let text = server.scrape_until(|text| sum(text, "http_requests_total", &[("route", "/spin")]) == 1.0);
        assert!(response.try_recv().is_err(), "the guest still runs when a scrape has its count");
        assert_eq!(value(&text, "wasm_http_requests_in_flight", &[]), 1.0);
        assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0);
        assert_eq!(response.recv().unwrap().0, 504);
    });
    let text = server.scrape_until(|text| sum(text, "wasm_traps_total", &[("reason", "deadline")]) == 1.0);
    assert_eq!(sum(&text, "http_requests_total", &[]), 1.0);
}

/// A component without wasmetry is served and has the host's metrics.
#[test]
fn uninstrumented_component_has_host_metrics() {
    let server = Server::start(&guest("uninstrumented"), &["--name", "third-party"]);
    let agent = agent();
    for _ in 0..20 {
        assert_eq!(get(&agent, &format!("{}/", server.url)), (200, "plain\n".to_owned()));
    }
    assert_eq!(get(&agent, &format!("{}/boom", server.url)).0, 500);
    let text = server.scrape_until(|text| value(text, "wasm_http_requests_in_flight", &[]) == 0.0);
    let component = ("component", "third-party");
    assert_eq!(value(&text, "wasm_http_requests_total", &[component, ("method", "GET"), ("status", "200")]), 20.0);
    assert_eq!(value(&text, "wasm_http_requests_total", &[component, ("method", "GET"), ("status", "500")]), 1.0);
    assert_eq!(value(&text, "wasm_http_request_duration_seconds_count", &[component]), 21.0);
    assert_eq!(value(&text, "wasm_traps_total", &[component, ("reason", "unreachable")]), 1.0);
    assert_eq!(value(&text, "wasm_instance_starts_total", &[component]), 21.0);
    assert!(value(&text, "wasm_guest_busy_seconds_total", &[component]) > 0.0);
    assert_eq!(value(&text, "wasm_http_response_bytes_total", &[component]) as u64 / 20, 6);
    assert!(value(&text, "process_resident_memory_bytes", &[]) > 1e6);
    assert!(has(&text, "wasmetry_build_info", &[("version", env!("CARGO_PKG_VERSION"))]));
}

/// A request whose client closes its connection is collected.
#[test]
fn aborted_request_is_collected() {
    let server = Server::start(&guest("storefront"), &[]);
    let address = server.url.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /slow?ms=400 HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    // The client closes its connection after the host has received the request.
    server.scrape_until(|text| sum(text, "wasm_instances", &[]) == 1.0);
    drop(client);
    let text = server.scrape_until(|text| {
        sum(text, "wasm_instances", &[]) == 0.0 && sum(text, "wasm_http_requests_in_flight", &[]) == 0.0
    });
    assert_eq!(sum(&text, "http_requests_total", &[("route", "/slow")]), 1.0);
    assert_eq!(sum(&text, "wasm_http_requests_total", &[]), 1.0);
}

#[test]
fn shutdown_finishes_requests() {
    let mut server = Server::start(&guest("storefront"), &[]);
    let url = server.url.clone();
    thread::scope(|scope| {
        let client = scope.spawn(move || get(&agent(), &format!("{url}/slow?ms=700")));
        server.scrape_until(|text| sum(text, "wasm_http_requests_in_flight", &[]) == 1.0);
        server.terminate();
        assert_eq!(client.join().unwrap(), (200, "That took a while.\n".to_owned()));
    });
    assert!(server.wait().success());
}

/// The scrape's format is negotiated, and the probes respond.
#[test]
fn format_is_negotiated() {
    let server = Server::start(&guest("storefront"), &[]);
    let agent = agent();
    let metrics = format!("{}/metrics", server.telemetry);
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, content_type, end) in [
        (prometheus, "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8", "\n"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "\n"),
    ] {
        let mut response = agent.get(&metrics).header("accept", accept).call().unwrap();
        assert_eq!(response.headers()["content-type"], content_type, "{accept}");
        assert!(response.body_mut().read_to_string().unwrap().ends_with(end), "{accept}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&agent, &format!("{}{path}", server.telemetry)).0, 200, "{path}");
    }
    assert_eq!(get(&agent, &format!("{}/nowhere", server.telemetry)).0, 404);
}

/// Broken requests are refused, and the next request is served.
#[test]
fn broken_requests_are_refused() {
    let server = Server::start(&guest("storefront"), &[]);
    let address = server.url.strip_prefix("http://").unwrap();
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET / HTTP/9.9\r\n\r\n", b"GET /\0 HTTP/1.1\r\n\r\n", b"\r\n\r\n\r\n"]
    {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut response = Vec::new();
        // The server responds or closes the connection, and continues to serve.
        let _ = client.read_to_end(&mut response);
        let text = String::from_utf8_lossy(&response);
        assert!(response.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
    }
    assert_eq!(get(&agent(), &format!("{}/", server.url)).0, 200);
}

/// Opens connections to the service that send nothing.
fn idle_clients(server: &Server, count: usize) -> Vec<TcpStream> {
    let addr = server.url.trim_start_matches("http://");
    (0..count).map(|_| TcpStream::connect(addr).unwrap()).collect()
}

// The soft limit is raised; below a hard limit, connections of the service leave descriptors to
// telemetry.
#[test]
fn idle_clients_leave_telemetry_descriptors() {
    for (soft, hard, clients) in [(256, 2048, 400), (300, 300, 270)] {
        let server = Server::start_with_open_files(&guest("storefront"), soft, hard);
        let idle = idle_clients(&server, clients);
        for path in ["/metrics", "/readyz"] {
            let (status, text) = get(&agent(), &format!("{}{path}", server.telemetry));
            assert_eq!(status, 200, "{soft}:{hard} {path}: {text}");
        }
        drop(idle);
        assert_eq!(get(&agent(), &format!("{}/", server.url)).0, 200, "{soft}:{hard}");
        assert!(server.stop().0.success());
    }
}

// The limit is lowered while the process runs, so that not even the reserve is left.
#[test]
fn missing_descriptors_are_counted_and_reported() {
    let server = Server::start(&guest("storefront"), &[]);
    server.limit_open_files(3);
    let idle = idle_clients(&server, 20);
    let line = server.wait_for("connections to the service port cannot be accepted");
    assert!(line.contains("ulimit"), "{line}");
    drop(idle);
    server.limit_open_files(1000);
    let errors = [("listener", "service")];
    server.scrape_until(|text| value(text, "wasmetry_accept_errors_total", &errors) >= 1.0);
    assert_eq!(get(&agent(), &format!("{}/", server.url)).0, 200);
    let (_, stderr) = server.stop();
    assert!(!stderr.iter().any(|line| line.starts_with("connections to the service port")), "{stderr:?}");
}

// HTTP/1.0 needs no `Host`; health checks of load balancers send none. A client may close its half
// of the connection.
#[test]
fn half_closed_requests_are_answered() {
    let server = Server::start(&guest("storefront"), &[]);
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        for is_half_closed in [false, true] {
            let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            if is_half_closed {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.split(' ').nth(1) == Some("200"), "{request:?} {is_half_closed}: {answer}");
        }
    }
    assert!(server.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").contains(" 400 "));
    assert!(server.stop().0.success());
}

/// A component beyond its bytes of exposition: whole series are missing and counted, the host's own
/// are complete, and stderr names the component once.
#[test]
fn exposition_of_component_is_bounded() {
    let flags = ["--tenant", "acme", "--max-component-exposition", "4KiB"];
    let server = Server::start(&guest("storefront"), &flags);
    let agent = agent();
    for path in ["/", "/cart", "/"] {
        assert_eq!(get(&agent, &format!("{}{path}", server.url)).0, 200);
    }
    let owner = [("component", "storefront"), ("tenant", "acme")];
    let hidden = |text: &str| {
        let reason = ("reason", "exposition_limit");
        value(text, "wasmetry_dropped_total", &[owner[0], owner[1], ("signal", "metrics"), reason])
    };
    let text = server.scrape_until(|text| sum(text, "wasm_http_requests_total", &owner) == 3.0);
    assert!(hidden(&text) > 0.0, "{text}");
    let own: usize = text.lines().filter(|line| is_of_guest(line)).map(|line| line.len() + 1).sum();
    assert!(own > 0 && own <= 4 << 10, "{own} bytes");
    // Nothing is counted or reported again.
    assert_eq!(hidden(&server.scrape()), hidden(&text));
    let (_, lines) = server.stop();
    let reports: Vec<_> = lines.iter().filter(|line| line.contains("--max-component-exposition")).collect();
    assert!(reports.len() == 1 && reports[0].contains("`acme`"), "{lines:?}");
}

/// A limit of guests is set by its name. What it refuses is counted, and does not end the service.
#[test]
fn guest_limits_are_set_by_name() {
    let path = guest("storefront");
    let declared = Declarations::from_wasm(&fs::read(&path).unwrap()).unwrap().metrics().len();
    let server = Server::start(&path, &["--limit", "metrics=2", "--limit", "read-time=50ms"]);
    assert_eq!(get(&agent(), &server.url).0, 200);
    let refused = |text: &str| sum(text, "wasmetry_dropped_total", &[("reason", "metric_limit")]);
    let text = server.scrape_until(|text| refused(text) > 0.0);
    assert_eq!(refused(&text), (declared - 2) as f64);
    let (_, lines) = server.stop();
    assert!(lines.iter().any(|line| line.contains("dropped (metric_limit)")), "{lines:?}");
}

/// Returns `true` for a sample of a metric that the storefront declares.
fn is_of_guest(line: &str) -> bool {
    line.contains("component=\"storefront\"") && !line.starts_with("wasm")
}
