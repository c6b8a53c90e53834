//! Clients that send nothing, half a head or half a body.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::server::{agent, get};

use crate::neighbour::{HONEST, HOSTILE, Neighbours, Setup};

/// Connections to the service that have sent this and wait.
pub(crate) fn stalled(neighbours: &Neighbours, count: usize, sent: &str) -> Vec<TcpStream> {
    let addr = neighbours.server.url.trim_start_matches("http://");
    let connect = |_| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // The server may have closed it by now.
        let _ = stream.write_all(sent.as_bytes());
        stream
    };
    (0..count).map(connect).collect()
}

/// More clients than the process may have files open have sent this and wait: others are answered.
fn hold_connections(sent: &str) {
    let neighbours = Neighbours::start(Setup { open_files: Some(300), ..Setup::default() });
    let held = stalled(&neighbours, 320, sent);
    neighbours.serve_honest(100);
    for path in ["/metrics", "/readyz"] {
        assert_eq!(get(&agent(), &format!("{}{path}", neighbours.server.telemetry)).0, 200, "{path}");
    }
    // Of 300 files, 129 are for clients; each further one takes the place of another.
    let text = neighbours.assert_honest_exact();
    let closed =
        |reason| value(&text, "wasmetry_connections_closed_total", &[("listener", "service"), ("reason", reason)]);
    assert!(closed("no_room") + closed("head_timeout") >= 320.0 - 129.0, "{text}");
    assert!(value(&text, "process_open_fds", &[]) < 300.0);
    drop(held);
}

#[test]
fn half_heads_close_no_service() {
    hold_connections("GET / HTTP/1.1\r\nHost: shop.test\r\nX-a: ");
}

#[test]
fn silent_clients_close_no_service() {
    hold_connections("");
}

/// More whole requests than clients may have connections arrive for a component whose only instance
/// is taken. Half of the connections wait for it, the other requests are refused, and the neighbour
/// is answered meanwhile.
#[test]
fn waiting_requests_close_no_service() {
    /// Of 300 files, 129 are for clients. A tenant gets half of them, of which one request runs.
    const WAITING: f64 = 63.0;
    const REFUSED: u32 = 20;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hostile = "max-concurrent-requests = 1\nrequest-timeout = '10m'";
    let neighbours = Neighbours::start(Setup { hostile, open_files: Some(300), ..Setup::default() });
    let path = format!("connect?to={}&n=1&hold=600000", silent.local_addr().unwrap());
    let held = stalled(&neighbours, 200, &format!("GET /a/{path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let waiting = |text: &str| value(text, "wasm_requests_waiting", &HOSTILE);
    let text = neighbours.server.scrape_until(|text| waiting(text) == WAITING);
    assert_eq!(value(&text, "wasm_instances", &HOSTILE), 1.0);
    for _ in 0..REFUSED {
        assert_eq!(neighbours.attack("hello"), Some(503));
    }
    neighbours.serve_honest(40);
    for path in ["/metrics", "/readyz"] {
        assert_eq!(get(&agent(), &format!("{}{path}", neighbours.server.telemetry)).0, 200, "{path}");
    }
    let text = neighbours.assert_honest_exact();
    assert_eq!(waiting(&text), WAITING, "they have waited all the time");
    let refused = |text: &str, owner: [(&str, &str); 2]| {
        sum(text, "wasm_requests_refused_total", &[owner[0], owner[1], ("reason", "tenant_limit")])
    };
    let of_hostile = refused(&text, HOSTILE);
    assert!(of_hostile >= f64::from(REFUSED), "{text}");
    assert_eq!(sum(&text, "wasm_requests_refused_total", &HOSTILE), of_hostile, "no other reason");
    assert_eq!(sum(&text, "wasm_http_requests_total", &[HOSTILE[0], HOSTILE[1], ("status", "503")]), of_hostile);
    assert_eq!(refused(&text, HONEST), 0.0);
    drop(held);
}

/// Clients that leave while they send or receive a body: each of their requests is counted, and
/// none keeps its instance.
#[test]
fn departed_clients_keep_no_instance() {
    const EACH: usize = 20;
    let neighbours = Neighbours::start(Setup::default());
    let upload = "POST /a/body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx";
    let uploads = stalled(&neighbours, EACH, upload);
    let mut downloads = stalled(&neighbours, EACH, "GET /a/stream HTTP/1.1\r\nHost: x\r\n\r\n");
    for download in &mut downloads {
        let mut head = [0; 64];
        download.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{head:?}");
    }
    // These have no request yet.
    drop(stalled(&neighbours, EACH, "GET /a/hello HTTP/1.1\r\nHost: x\r\nX-a: "));
    let running = |text: &str| value(text, "wasm_instances", &HOSTILE);
    neighbours.server.scrape_until(|text| running(text) == 2.0 * EACH as f64);
    neighbours.serve_honest(40);
    drop((uploads, downloads));
    let gone = [HOSTILE[0], HOSTILE[1], ("reason", "client_gone")];
    let text = neighbours.server.scrape_until(|text| running(text) == 0.0);
    assert_eq!(sum(&text, "wasm_http_aborted_requests_total", &gone), 2.0 * EACH as f64);
    assert_eq!(neighbours.attack("hello"), Some(200));
    neighbours.serve_honest(40);
    neighbours.assert_honest_exact();
}

/// Uploads that stall have half of a component's instances, and not for long if others wait.
#[test]
fn stalled_uploads_leave_instances() {
    let neighbours = Neighbours::start(Setup { hostile: "max-concurrent-requests = 8", ..Setup::default() });
    let upload = "POST /a/body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx";
    let mut uploads = stalled(&neighbours, 12, upload);
    let waiting = |text: &str| value(text, "wasm_requests_waiting", &HOSTILE);
    let text = neighbours.server.scrape_until(|text| waiting(text) == 8.0);
    assert_eq!(value(&text, "wasm_instances", &HOSTILE), 4.0);
    // The component answers other clients at once, and so does the neighbour.
    for _ in 0..20 {
        assert_eq!(neighbours.attack("hello"), Some(200));
    }
    neighbours.serve_honest(100);
    let ended = |text: &str| {
        sum(text, "wasm_http_aborted_requests_total", &[HOSTILE[0], HOSTILE[1], ("reason", "client_timeout")])
    };
    let text = neighbours.server.scrape_until(|text| ended(text) == 12.0);
    assert_eq!(sum(&text, "wasm_http_requests_total", &[HOSTILE[0], HOSTILE[1], ("status", "408")]), 12.0);
    let mut answer = String::new();
    uploads[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    neighbours.assert_honest_exact();
}
