//! The spans of `#[wasmetry::handler]`, for functions of wstd and of `wasi:http`, as children of
//! the host's spans.

use std::io::{BufRead, BufReader};

use wasmetry_host::encode::otlp::proto::trace::v1::Span;
use wasmetry_host::encode::otlp::proto::trace::v1::span::SpanKind;
use wasmetry_host::encode::otlp::proto::trace::v1::status::StatusCode;
use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::backend::echo::{EchoBackend, send};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::{Collector, attributes};
use wasmetry_tests::server::Server;

use crate::{CALLER, hex};

/// A served guest with a collector.
struct TracedServer {
    server: Server,
    collector: Collector,
    requests: u32,
}

impl TracedServer {
    fn start(name: &str) -> Self {
        let collector = Collector::start("http/protobuf");
        let server = Server::start_with(&guest(name), &[], &collector.variables());
        Self { server, collector, requests: 0 }
    }

    /// Sends a request, waits for `count` spans of its trace, and returns the status and a line for
    /// each span.
    ///
    /// A line has the span's kind, name, parent, attributes that are equal in each run, and status;
    /// parents come first.
    fn request(&mut self, method: &str, path: &str, body: &str, count: usize) -> (u16, Vec<String>) {
        self.requests += 1;
        let trace = format!("{:032x}", 0xabcd_0000 + self.requests);
        let traceparent = format!("traceparent: 00-{trace}-{CALLER}-01");
        let status = send(method, &format!("{}{path}", self.server.url), &[traceparent], body);
        let arrived = self
            .collector
            .wait(|arrived| arrived.spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace).count() >= count);
        let mut spans: Vec<&Span> =
            arrived.spans.iter().map(|(_, span)| span).filter(|span| hex(&span.trace_id) == trace).collect();
        spans.sort_by_key(|span| (span.start_time_unix_nano, std::cmp::Reverse(span.end_time_unix_nano)));
        let lines = spans.iter().map(|span| self.line(span, &spans)).collect();
        (status, lines)
    }

    /// Formats a span as a line, and checks that its parent contains it in time.
    ///
    /// A guest's clock lags behind the host's by the time that the host's answer took to arrive, so
    /// that the host's client span may end after the guest's span around it.
    fn line(&self, span: &Span, all: &[&Span]) -> String {
        let parent = all.iter().find(|other| other.span_id == span.parent_span_id);
        if let Some(parent) = parent {
            let (inner, outer) = [span, parent].map(|span| (span.start_time_unix_nano, span.end_time_unix_nano)).into();
            let has_later_clock = span.kind() == SpanKind::Client && parent.kind() != SpanKind::Server;
            assert!(
                outer.0 <= inner.0 && inner.0 <= inner.1 && (has_later_clock || inner.1 <= outer.1),
                "{span:#?} is not inside of {parent:#?}"
            );
        }
        let parent = match parent {
            Some(parent) => parent.name.as_str(),
            None if hex(&span.parent_span_id) == CALLER => "caller",
            None => "nothing",
        };
        let kind = match span.kind() {
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Internal => "internal",
            SpanKind::Producer => "producer",
            other => panic!("{other:?}"),
        };
        let mut line = format!("{kind} {:?} of {parent:?}:", span.name);
        for (key, value) in attributes(&span.attributes) {
            match key.as_str() {
                // These are equal for all requests, or differ in each run.
                "server.address" | "server.port" | "network.protocol.version" | "url.scheme" | "url.full" => {}
                _ => line += &format!(" {key}={value}"),
            }
        }
        let status = span.status.clone().unwrap_or_default();
        match status.code() {
            StatusCode::Unset => {}
            StatusCode::Ok => line += " OK",
            StatusCode::Error => line += &format!(" ERROR {:?}", status.message),
        }
        line
    }
}

/// The span of a `wasi:http` handler is a child of the server span.
#[test]
fn wasi_http_handler_span_has_parent() {
    let mut propagator = TracedServer::start("propagator");
    let ok = "http.request.method=GET http.response.status_code=200 http.route";
    let (status, spans) = propagator.request("GET", "/ok", "", 2);
    assert_eq!(status, 200);
    assert_eq!(
        spans,
        [
            format!("server \"GET /{{task}}/{{authority}}\" of \"caller\": {ok}=/{{task}}/{{authority}} url.path=/ok"),
            format!("internal \"handle\" of \"GET /{{task}}/{{authority}}\": {ok}=/{{task}}/{{authority}}"),
        ]
    );

    let (status, spans) = propagator.request("POST", "/fail?sig=secret&x=1", "", 2);
    assert_eq!(status, 503);
    let failed = "error.type=503 http.request.method=POST http.response.status_code=503 http.route";
    assert_eq!(
        spans,
        [
            format!(
                "server \"POST /{{task}}/{{authority}}\" of \"caller\": {failed}=/{{task}}/{{authority}} url.path=/fail url.query=sig=REDACTED&x=1 ERROR \"\""
            ),
            format!(
                "internal \"handle\" of \"POST /{{task}}/{{authority}}\": {failed}=/{{task}}/{{authority}} ERROR \"\""
            ),
        ]
    );

    let (status, spans) = propagator.request("BREW", "/ok", "", 2);
    assert_eq!(status, 200);
    assert_eq!(
        spans,
        [
            "server \"HTTP /{task}/{authority}\" of \"caller\": http.request.method=_OTHER http.request.method_original=BREW \
             http.response.status_code=200 http.route=/{task}/{authority} url.path=/ok",
            "internal \"handle\" of \"HTTP /{task}/{authority}\": http.request.method=_OTHER http.response.status_code=200 \
             http.route=/{task}/{authority}",
        ]
    );

    let (status, spans) = propagator.request("GET", "/panic", "", 2);
    assert_eq!(status, 500);
    let (file, text) = ("tests/guests/src/bin/propagator.rs", include_str!("../guests/src/bin/propagator.rs"));
    let at = text.find("panic!(\"requested").unwrap();
    let (line, column) = (text[..at].lines().count(), at - text[..at].rfind('\n').unwrap());
    let panic = format!("panicked at {file}:{line}:{column}: requested by the test");
    assert_eq!(
        spans,
        [
            format!(
                "server \"GET /{{task}}/{{authority}}\" of \"caller\": error.type=panic http.request.method=GET \
                 http.response.status_code=500 http.route=/{{task}}/{{authority}} url.path=/panic ERROR {panic:?}"
            ),
            format!(
                "internal \"handle\" of \"GET /{{task}}/{{authority}}\": error.type=panic http.request.method=GET \
                 http.route=/{{task}}/{{authority}} wasm.trap.reason=unreachable ERROR {panic:?}"
            ),
        ]
    );
}

/// The outgoing calls of a handler are client spans.
#[test]
fn outgoing_calls_are_client_spans() {
    let mut propagator = TracedServer::start("propagator");
    let next = EchoBackend::start();
    let handle = "internal \"handle\" of \"GET /{task}/{authority}\": http.request.method=GET http.response.status_code=200 \
                  http.route=/{task}/{authority}";
    let client = "http.request.method=GET http.response.status_code=200";
    // The host's client span is a child of the guest's span only if the guest names it.
    for (task, more, parent) in
        [("send", None, "GET /{task}/{authority}"), ("send-on", Some("producer \"send on\" of \"handle\":"), "send on")]
    {
        let path = format!("/{task}/{}", next.authority);
        let count = 3 + usize::from(more.is_some());
        let (status, spans) = propagator.request("GET", &path, "", count);
        assert_eq!((status, spans.len()), (200, count), "{spans:#?}");
        assert_eq!(spans[1], handle);
        assert_eq!(spans.get(2).filter(|_| more.is_some()).map(String::as_str), more);
        assert_eq!(spans[count - 1], format!("client \"GET\" of {parent:?}: {client}"));
    }
    // No process listens on this port.
    let [closed] = free_addresses();
    let (status, spans) = propagator.request("GET", &format!("/send/{closed}"), "", 3);
    assert_eq!(status, 500);
    let client = &spans[2];
    let begin =
        "client \"GET\" of \"GET /{task}/{authority}\": error.type=connection_refused http.request.method=GET ERROR ";
    assert!(client.starts_with(begin), "{client}");
}

/// The span of a wstd handler is a child of the server span.
#[test]
fn wstd_handler_span_has_parent() {
    let mut relay = TracedServer::start("trace-relay");
    let (status, spans) = relay.request("GET", "/", "", 2);
    assert_eq!(status, 405);
    // A status of 4xx is not an error of the server.
    let refused = "http.request.method=GET http.response.status_code=405 http.route=/";
    assert_eq!(
        spans,
        [
            format!("server \"GET /\" of \"caller\": {refused} url.path=/"),
            format!("internal \"handle\" of \"GET /\": {refused}"),
        ]
    );

    // The handler returns early by `?`.
    let (status, spans) = relay.request("POST", "/", r#"[{"url": "no url", "arguments": []}]"#, 3);
    assert_eq!(status, 500);
    let [server, handle, call] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(
        server,
        "server \"POST /\" of \"caller\": error.type=_OTHER http.request.method=POST http.response.status_code=500 \
         http.route=/ url.path=/ ERROR \"invalid uri character\""
    );
    let begin = "internal \"handle\" of \"POST /\": error.type=_OTHER http.request.method=POST http.route=/ ERROR ";
    assert!(handle.starts_with(begin) && handle.contains("uri"), "{handle}");
    assert_eq!(call, "internal \"relay\" of \"handle\": url=no url");
}

#[test]
fn outgoing_failures_have_own_types() {
    let mut propagator = TracedServer::start("propagator");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        // Reads the request, since unread bytes would reset the connection, and closes instead of
        // answering.
        let (stream, _) = silent.accept().unwrap();
        let lines = BufReader::new(&stream).lines().map_while(Result::ok);
        assert!(lines.take_while(|line| !line.is_empty()).count() > 1);
    });
    for (authority, kind) in [
        // A label has at most 63 bytes, so that the resolver sends no query.
        (format!("{}:80", "x".repeat(64)), "dns_error"),
        ("224.0.0.1:80".to_owned(), "destination_ip_unroutable"),
        (silent_address.to_string(), "http_response_incomplete"),
    ] {
        let (status, spans) = propagator.request("GET", &format!("/send/{authority}"), "", 3);
        assert_eq!(status, 500);
        let begin = format!(
            "client \"GET\" of \"GET /{{task}}/{{authority}}\": error.type={kind} http.request.method=GET ERROR "
        );
        assert!(spans[2].starts_with(&begin), "{authority}: {}", spans[2]);
    }
    server.join().unwrap();
}
