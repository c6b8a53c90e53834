//! Open files that clients and guests use up together.

use std::fs;
use std::net::TcpListener;
use std::thread;

use wasmetry_sink::{Reply, Sink, Version};
use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::otlp::ReceivedMetrics;
use wasmetry_tests::server::{agent, get};

use crate::client::stalled;
use crate::neighbour::{HONEST, HOSTILE, Neighbours, Setup, finish};

/// Clients and the connections of guests hold all that they get of 300 files. The host has its own:
/// it answers scrapes, opens a connection to a backend that starts only now, writes audit records
/// and reads a new configuration with a component.
#[test]
fn clients_and_guests_leave_host_files() {
    const FILES: u32 = 300;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Until it starts, it refuses connections.
    let [backend] = free_addresses();
    let endpoint = format!("http://{backend}/v1/metrics");
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.jsonl");
    let variables = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint),
        ("OTEL_METRIC_EXPORT_INTERVAL", "300".to_owned()),
        ("WASMETRY_AUDIT_FILE", audit.display().to_string()),
    ];
    let setup = Setup { hostile: "version = 'v0'", variables: &variables, open_files: Some(FILES), ..Setup::default() };
    let neighbours = Neighbours::start(setup);
    let attack = format!("connect?to={}&n=60&hold=15000", silent.local_addr().unwrap());
    let attacks = neighbours.start_attacks(&attack, 2);
    let refused =
        |text: &str| sum(text, "wasm_outgoing_refused_total", &[HOSTILE[0], HOSTILE[1], ("reason", "tenant_limit")]);
    neighbours.server.scrape_until(|text| refused(text) > 0.0);
    let mut held = stalled(&neighbours, FILES as usize, "GET / HTTP/1.1\r\nHost: shop.test\r\nX-a: ");

    let sink = Sink::start_on(TcpListener::bind(backend).unwrap(), Version::Http, |_| Ok(()), |_| Reply::Accept);
    thread::scope(|scope| {
        // Each request takes the place of a half head, and another half head that of its
        // connection.
        scope.spawn(|| held.extend(stalled(&neighbours, 100, "GET / HTTP/1.1\r\nHost: shop.test\r\nX-a: ")));
        neighbours.serve_honest(40);
        for path in ["/metrics", "/readyz"] {
            assert_eq!(get(&agent(), &format!("{}{path}", neighbours.server.telemetry)).0, 200, "{path}");
        }
    });
    assert_eq!(neighbours.attack("audit?n=3&m=in+need"), Some(200));
    neighbours.reload("version = 'v0'", "version = 'v1'");
    assert_eq!(neighbours.attack("audit?n=2&m=in+need"), Some(200));
    neighbours.serve_honest(20);

    let records = || fs::read_to_string(&audit).unwrap_or_default().matches("in+need").count();
    let closed = |text: &str| {
        value(text, "wasmetry_connections_closed_total", &[("listener", "service"), ("reason", "no_room")])
    };
    let text = neighbours.server.scrape_until(|text| closed(text) > 0.0 && records() == 5);
    assert!(value(&text, "process_open_fds", &[]) < f64::from(FILES));
    let answered = neighbours.answered();
    sink.wait(|state| {
        ReceivedMetrics::cumulative(&state.metrics()).sum("wasm_http_requests_total", &HONEST) == answered
    });
    for version in ["v0", "v1"] {
        let owner = [HOSTILE[0], HOSTILE[1], ("version", version), ("status", "200")];
        assert!(sum(&text, "wasm_http_requests_total", &owner) > 0.0, "{version}");
    }
    drop(held);
    let text = neighbours.assert_honest_exact();
    assert_eq!(sum(&text, "wasmetry_dropped_total", &[]), 0.0);
    // 75 for all guests, of which one tenant gets 37.
    assert_eq!(refused(&text), 2.0 * 60.0 - 37.0);
    drop(neighbours);
    finish(attacks);
}
