//! Clients of the service and of the telemetry endpoint.

use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::Server;

use crate::connection::Connection;

fn serve() -> Server {
    Server::start(&guest("http-service"), &[])
}

/// Waits for the end of all requests, and checks that `count` of them are counted with status 200
/// and that no guest trapped.
fn expect_successes(server: &Server, count: f64) {
    let text = server.scrape_until(|text| sum(text, "wasm_http_requests_total", &[]) >= count);
    assert_eq!(sum(&text, "wasm_http_requests_total", &[("status", "200")]), count);
    assert_eq!(sum(&text, "wasm_http_requests_total", &[]), count);
    assert_eq!(sum(&text, "wasm_traps_total", &[]), 0.0);
}

/// Requests that are sent at once are answered one after the other, in their order.
#[test]
fn pipelined_requests_keep_their_order() {
    let server = serve();
    let mut service = Connection::open(&server.url);
    let mut requests = String::new();
    for number in 0..20 {
        let body = format!("request {number}");
        let length = body.len();
        requests += &format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
    }
    service.send(requests);
    for number in 0..20 {
        let response = service.response();
        assert_eq!((response.status, response.text()), (200, format!("request {number}").as_str()));
    }
    expect_successes(&server, 20.0);

    let mut telemetry = Connection::open(&server.telemetry);
    let paths = ["/healthz", "/metrics", "/nowhere", "/readyz"];
    telemetry.send(paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).concat());
    let responses = paths.map(|_| telemetry.response());
    assert_eq!(responses.each_ref().map(|response| response.status), [200, 200, 404, 200]);
    assert_eq!(sum(responses[1].text(), "wasm_http_requests_total", &[]), 20.0);
}

/// A client that expects `100 Continue` receives it when the guest reads the body; if the guest
/// ignores the body, the client receives the final response.
#[test]
fn expect_continue_is_answered() {
    let server = serve();
    let head = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n");
    let mut connection = Connection::open(&server.url);
    for _ in 0..2 {
        connection.send(format!("{}\r\n", head("/count")));
        assert_eq!(connection.response_to_head().status, 100);
        connection.send("12345");
        let response = connection.response();
        assert_eq!((response.status, response.text()), (200, "5"));
    }
    let mut connection = Connection::open(&server.url);
    connection.send(format!("{}\r\n", head("/ignore")));
    let response = connection.response();
    assert_eq!((response.status, response.text()), (200, "ok"));
    expect_successes(&server, 3.0);
}

/// Trailers of a request reach the guest, and those of a response reach the client.
#[test]
fn trailers_pass_in_both_directions() {
    let server = serve();
    let mut connection = Connection::open(&server.url);
    connection.send(
        "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
         3\r\n1+2\r\n0\r\nx-sum: 3\r\n\r\n",
    );
    let response = connection.response();
    assert_eq!((response.status, response.text()), (200, "3 x-sum=3"));

    connection.send("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let response = connection.response();
    assert_eq!((response.status, response.text()), (200, "1+2"));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "3".to_owned())]);
    // A client that has not announced that it reads trailers receives none.
    connection.send("GET /trailers HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = connection.response();
    assert_eq!((response.status, response.text(), response.trailers.len()), (200, "1+2", 0));
    expect_successes(&server, 3.0);
}

/// A response to `HEAD` has no body, however large the guest's is, and the connection stays usable.
#[test]
fn head_omits_a_large_body() {
    let server = serve();
    let mut connection = Connection::open(&server.url);
    for _ in 0..3 {
        connection.send("HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(connection.response_to_head().status, 200);
        connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(connection.response().text(), "ok");
    }
    connection.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.response().body.len(), 1 << 20);
    expect_successes(&server, 7.0);

    let mut telemetry = Connection::open(&server.telemetry);
    telemetry.send("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = telemetry.response_to_head();
    assert_eq!(head.status, 200);
    assert!(head.header("content-length").is_some_and(|length| length != "0"), "{head:?}");
    assert_eq!(telemetry.response().text(), "ok\n");
}

/// A client receives a response that precedes the end of its request's body.
#[test]
fn response_may_precede_the_body() {
    let server = serve();
    for _ in 0..5 {
        let mut connection = Connection::open(&server.url);
        connection.send("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nthe first bytes");
        let response = connection.response();
        assert_eq!((response.status, response.text()), (200, "ok"));
    }
    // A body that the guest ignores does not become the next request.
    let mut connection = Connection::open(&server.url);
    let body = "GET /injected HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.send(format!(
        "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        body.len()
    ));
    assert_eq!(connection.response().text(), "ok");
    assert_eq!(connection.response().text(), "ok");
    expect_successes(&server, 7.0);
    assert_eq!(value(&server.scrape(), "wasm_http_requests_in_flight", &[]), 0.0);
}
