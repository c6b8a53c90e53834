//! Propagation of trace headers to the next service: by `wasmetry serve` if it exports traces, else
//! by the guest.
//!
//! The rules are those of W3C Trace Context Level 2 and of W3C Baggage.

use std::collections::BTreeSet;

use wasmetry_host::propagation::TraceState;
use wasmetry_host::record::TraceContext;
use wasmetry_tests::backend::echo::{EchoBackend, Headers, send};
use wasmetry_tests::guest;
use wasmetry_tests::otlp::Collector;
use wasmetry_tests::server::Server;

use crate::{CALLER, TRACE};

/// A relay and the backend that it calls.
struct Chain {
    relay: Server,
    next: EchoBackend,
    /// Receives the spans.
    _collector: Option<Collector>,
}

impl Chain {
    /// Makes a chain in which the host propagates, and one in which the guest does.
    fn both() -> [Self; 2] {
        let collector = Collector::start("http/protobuf");
        let relay = Server::start_with(&guest("trace-relay"), &[], &collector.variables());
        let by_host = Self { relay, next: EchoBackend::start(), _collector: Some(collector) };
        let by_guest =
            Self { relay: Server::start(&guest("trace-relay"), &[]), next: EchoBackend::start(), _collector: None };
        [by_host, by_guest]
    }

    /// Sends a request with these header lines that makes `count` calls, and returns the headers of
    /// each call.
    fn calls(&self, lines: &[String], count: usize) -> Vec<Headers> {
        let call = serde_json::json!({"url": self.next.url(), "arguments": []});
        let body = serde_json::Value::from(vec![call; count]).to_string();
        assert_eq!(send("POST", &format!("{}/", self.relay.url), lines, &body), 200, "{lines:?}");
        (0..count).map(|_| self.next.next_request()).collect()
    }

    /// Sends a request that makes one call, and returns the call's span context and `tracestate`.
    fn call(&self, lines: &[String]) -> (TraceContext, String) {
        let headers = &self.calls(lines, 1)[0];
        let traceparent = headers.one("traceparent").expect("there is a trace");
        assert!(traceparent.starts_with("00-") && traceparent.len() == 55, "{traceparent}");
        let context = TraceContext::parse(traceparent.as_bytes()).unwrap();
        let trace_state = headers.one("tracestate").unwrap_or_default().to_owned();
        assert_eq!(TraceState::parse([trace_state.as_bytes()]).as_str(), trace_state);
        (context, trace_state)
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Returns header lines: a `traceparent` with these flags, and these values of `tracestate`.
fn trace(flags: &str, states: &[&str]) -> Vec<String> {
    let states = states.iter().map(|state| format!("tracestate: {state}"));
    [format!("traceparent: 00-{TRACE}-{CALLER}-{flags}")].into_iter().chain(states).collect()
}

/// A valid `traceparent` reaches the next service with a new parent id.
#[test]
fn valid_traceparent_is_propagated() {
    let spaces = [" ", "\t", " \t "];
    let mut valid: Vec<(String, u8)> = vec![
        (format!("traceparent: cc-{TRACE}-{CALLER}-01"), 1),
        (format!("traceparent: cc-{TRACE}-{CALLER}-01-what-comes-later"), 1),
        (format!("traceparent: 01-{TRACE}-{CALLER}-03-"), 3),
        (format!("TraceParent: 00-{TRACE}-{CALLER}-01"), 1),
        (format!("TRACEPARENT: 00-{TRACE}-{CALLER}-01"), 1),
    ];
    // The flags `sampled` and `random` are propagated; undefined flags are not.
    for (flags, propagated) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("fc", 0)] {
        valid.push((format!("traceparent: 00-{TRACE}-{CALLER}-{flags}"), propagated));
    }
    for space in spaces {
        valid.push((format!("traceparent:{space}00-{TRACE}-{CALLER}-01{space}"), 1));
    }
    for chain in Chain::both() {
        for (line, flags) in &valid {
            let (context, trace_state) = chain.call(&[line.clone(), "tracestate: a=1".to_owned()]);
            assert_eq!(context.trace_id.to_string(), TRACE, "{line}");
            assert_ne!(context.span_id.to_string(), CALLER, "{line}");
            assert_eq!((context.flags, trace_state.as_str()), (*flags, "a=1"), "{line}");
        }
    }
}

/// An invalid `traceparent` starts a new trace, and its `tracestate` is dropped.
#[test]
fn invalid_traceparent_starts_new_trace() {
    let upper = TRACE.to_uppercase();
    let value = |value: String| format!("traceparent: {value}");
    let mut invalid: Vec<Vec<String>> = [
        String::new(),
        "00".to_owned(),
        format!("00-{upper}-{CALLER}-01"),
        format!("00-{TRACE}-{}-01", CALLER.to_uppercase()),
        format!("00-{TRACE}-{CALLER}-0F"),
        format!("00-{}-{CALLER}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{}.-{CALLER}-01", &TRACE[1..]),
        format!("00-{}-{CALLER}-01", &TRACE[1..]),
        format!("00-0{TRACE}-{CALLER}-01"),
        format!("00-{TRACE}-{}-01", &CALLER[1..]),
        format!("00-{TRACE}-0{CALLER}-01"),
        format!("00-{TRACE}-{CALLER}-1"),
        format!("00-{TRACE}-{CALLER}-001"),
        format!("00-{TRACE}-{CALLER}-0."),
        format!("00-{TRACE}-{CALLER}"),
        format!("00-{TRACE}-{CALLER}-01-more"),
        format!("00-{TRACE}-{CALLER}-01."),
        format!("0-{TRACE}-{CALLER}-01"),
        format!("000-{TRACE}-{CALLER}-01"),
        format!("CC-{TRACE}-{CALLER}-01"),
        format!(".0-{TRACE}-{CALLER}-01"),
        format!("ff-{TRACE}-{CALLER}-01"),
        format!("cc-{TRACE}-{CALLER}-01.more"),
        format!("cc-{TRACE}-{CALLER}-0"),
        format!("00_{TRACE}_{CALLER}_01"),
        format!("00-{TRACE}-{CALLER}-01, 00-{TRACE}-{CALLER}-01"),
        format!("\"00-{TRACE}-{CALLER}-01\""),
    ]
    .into_iter()
    .map(|text| vec![value(text)])
    .collect();
    let good = value(format!("00-{TRACE}-{CALLER}-01"));
    invalid.extend([
        vec![],
        vec![good.clone(), good.clone()],
        vec![good.clone(), value(format!("00-{TRACE}-{CALLER}-00")).replace("traceparent", "TraceParent")],
        vec![good.clone(), value("invalid".to_owned())],
        vec![good.replace("traceparent", "trace-parent")],
        vec![good.replace("traceparent", "trace.parent")],
    ]);
    for chain in Chain::both() {
        let mut traces = BTreeSet::new();
        for mut lines in invalid.clone() {
            lines.push("tracestate: a=1".to_owned());
            let (context, trace_state) = chain.call(&lines);
            assert!(context.trace_id.to_string() != TRACE && traces.insert(context.trace_id), "{lines:?}");
            assert_eq!((context.flags, trace_state.as_str()), (3, ""), "{lines:?}");
        }
    }
}

/// The valid entries of a `tracestate` are propagated; an invalid header is dropped.
#[test]
fn valid_tracestate_entries_are_propagated() {
    let key = |len| "k".repeat(len);
    let numbered = |count: usize| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
    let characters: String = (' '..='~').filter(|c| !",=".contains(*c)).collect();
    let long = |n: usize| format!("long{n}={}", "v".repeat(150));
    let mut cases: Vec<(Vec<String>, String)> = vec![
        // Several headers are one list, in their order.
        (vec!["a=1,b=2".to_owned(), "c=3".to_owned(), String::new(), "d=4".to_owned()], "a=1,b=2,c=3,d=4".to_owned()),
        (vec!["a=1 \t,\t b=2,, ,c= 3".to_owned()], "a=1,b=2,c= 3".to_owned()),
        // The first member of a duplicated key is kept.
        (vec!["a=1,b=2,a=3".to_owned(), "b=2".to_owned()], "a=1,b=2".to_owned()),
        (vec![numbered(32)], numbered(32)),
        // Beyond 512 bytes, long members are removed first, then the last ones.
        (vec![format!("a=1,{},{},b=2,{},{}", long(0), long(1), long(2), long(3))], {
            format!("a=1,{},{},b=2,{}", long(0), long(1), long(2))
        }),
    ];
    for valid in [
        format!("0az_-*/@={characters}"),
        "t@v=1".to_owned(),
        "t@@v@=1".to_owned(),
        format!("{}=1", key(256)),
        format!("a={}", "v".repeat(256)),
    ] {
        cases.push((vec![valid.clone()], valid));
    }
    for invalid in [
        "A=1".to_owned(),
        "a.b=1".to_owned(),
        "a =1".to_owned(),
        "@a=1".to_owned(),
        "_a=1".to_owned(),
        "a".to_owned(),
        "a=".to_owned(),
        "=1".to_owned(),
        "a=1=2".to_owned(),
        "a=\u{e9}".to_owned(),
        format!("{}=1", key(257)),
        format!("a={}", "v".repeat(257)),
        numbered(33),
    ] {
        cases.push((vec!["ok=1".to_owned(), invalid], String::new()));
    }
    for chain in Chain::both() {
        for (states, propagated) in &cases {
            let states: Vec<&str> = states.iter().map(String::as_str).collect();
            let (context, trace_state) = chain.call(&trace("00", &states));
            assert_eq!((context.trace_id.to_string().as_str(), &trace_state), (TRACE, propagated), "{states:?}");
        }
        let (_, trace_state) = chain.call(&lines(&[
            &format!("traceparent: 00-{TRACE}-{CALLER}-00"),
            "TraceState: a=1",
            "TRACESTATE: b=2",
            "trace-state: c=3",
        ]));
        assert_eq!(trace_state, "a=1,b=2");
    }
}

/// Each outgoing call carries the id of a span of its own.
#[test]
fn outgoing_calls_have_distinct_parents() {
    for chain in Chain::both() {
        for lines in [trace("01", &["a=1"]), vec![], vec!["traceparent: no".to_owned()]] {
            let calls = chain.calls(&lines, 3);
            let contexts: Vec<TraceContext> = calls
                .iter()
                .map(|call| TraceContext::parse(call.one("traceparent").unwrap().as_bytes()).unwrap())
                .collect();
            let traces: BTreeSet<_> = contexts.iter().map(|context| context.trace_id).collect();
            let spans: BTreeSet<_> = contexts.iter().map(|context| context.span_id).collect();
            assert_eq!((traces.len(), spans.len()), (1, 3), "{contexts:?}");
        }
    }
}

/// `baggage` headers reach the next service unchanged.
#[test]
fn baggage_is_propagated_unchanged() {
    for chain in Chain::both() {
        // Baggage is propagated with and without a trace.
        for lines in [trace("01", &[]), vec![]] {
            let baggage = ["user=7;role=admin, empty=", "unit=%C3%A4"].map(|text| format!("Baggage: {text}"));
            let calls = chain.calls(&[lines, baggage.to_vec()].concat(), 1);
            assert_eq!(calls[0].all("baggage"), ["user=7;role=admin, empty=", "unit=%C3%A4"]);
        }
    }
}

/// A handler without a framework sends the headers of its host or, if there is no tracing host, its
/// own.
#[test]
fn wasi_http_handler_propagates_headers() {
    let (collector, next) = (Collector::start("http/protobuf"), EchoBackend::start());
    let by_host = Server::start_with(&guest("propagator"), &[], &collector.variables());
    // Without a collector and without a console, the host does not change headers.
    let by_guest = Server::start(&guest("propagator"), &["--no-console"]);
    let call = |propagator: &Server, task: &str, headers: &[String]| {
        assert_eq!(send("GET", &format!("{}/{task}/{}", propagator.url, next.authority), headers, ""), 200);
        next.next_request()
    };
    let baggage = || lines(&["baggage: user=7", "baggage: unit=1"]);
    let headers = [trace("03", &["a=1", "b=2"]), baggage()].concat();
    for (propagator, task) in [(&by_host, "send"), (&by_host, "send-on"), (&by_guest, "send-on")] {
        let call = call(propagator, task, &headers);
        let context = TraceContext::parse(call.one("traceparent").unwrap().as_bytes()).unwrap();
        assert_eq!((context.trace_id.to_string().as_str(), context.flags), (TRACE, 3), "{task}");
        assert_ne!(context.span_id.to_string(), CALLER, "{task}");
        assert_eq!(
            (call.one("tracestate"), call.all("baggage")),
            (Some("a=1,b=2"), vec!["user=7", "unit=1"]),
            "{task}"
        );
    }
    // Without a trace, both start one.
    for propagator in [&by_host, &by_guest] {
        let call = call(propagator, "send-on", &baggage());
        assert!(TraceContext::parse(call.one("traceparent").unwrap().as_bytes()).is_some());
        assert_eq!((call.one("tracestate"), call.all("baggage")), (None, vec!["user=7", "unit=1"]));
    }
    // The guest sends only headers that it sets.
    let unset = call(&by_guest, "send", &headers);
    assert_eq!(["traceparent", "tracestate", "baggage"].map(|name| unset.all(name).len()), [0; 3], "{unset:?}");
}

/// The sampling threshold reaches the next service in `tracestate` as `ot=th:`.
#[test]
fn sampling_threshold_is_propagated() {
    let collector = Collector::start("http/protobuf");
    let mut variables = collector.variables();
    variables.extend([
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5".to_owned()),
    ]);
    let relay = Server::start_with(&guest("trace-relay"), &[], &variables);
    let chain = Chain { relay, next: EchoBackend::start(), _collector: Some(collector) };
    let mut counts = [0; 2];
    while counts.contains(&0) {
        let (context, trace_state) = chain.call(&[]);
        // The last 7 bytes of the trace id decide, so that every service decides the same.
        let is_sampled = context.trace_id.number() as u64 & (1 << 55) != 0;
        assert_eq!((context.is_sampled(), trace_state.as_str()), (is_sampled, if is_sampled { "ot=th:8" } else { "" }));
        counts[usize::from(is_sampled)] += 1;
    }
    // The caller's decision is kept.
    for (flags, is_sampled) in [("00", false), ("01", true)] {
        let (context, trace_state) = chain.call(&trace(flags, &["a=1"]));
        assert_eq!((context.is_sampled(), trace_state.as_str()), (is_sampled, "a=1"));
    }
}
