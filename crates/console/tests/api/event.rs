//! Server-sent events: streams that resume, and the count of lost events.

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};

use serde_json::Value;
use wasmetry_console::{Body, Events, Request};
use wasmetry_host::Sink as _;
use wasmetry_host::record::Level;

use crate::fixture::members;
use crate::planted::{Planted, log};

impl Planted {
    fn events(&self, query: &str, last_event_id: Option<&str>) -> Box<dyn Events> {
        let request =
            Request { method: "GET", path: "/api/v1/events", query: Some(query), last_event_id, ..Request::default() };
        match self.console.answer(&request).body {
            Body::Events(events) => events,
            body => panic!("{body:?}"),
        }
    }
}

/// Reads all events that a stream has now.
fn read(events: &mut dyn Events) -> Vec<(String, String, Value)> {
    let mut text = String::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(bytes) = events.poll_next(&mut context) {
        text.push_str(&String::from_utf8(bytes.unwrap()).unwrap());
    }
    let blocks = text.split("\n\n").filter(|block| block.contains("event: "));
    blocks
        .map(|block| {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
            (field("id: "), field("event: "), serde_json::from_str(&field("data: ")).unwrap())
        })
        .collect()
}

#[test]
fn events_resume_exactly() {
    let shop = Planted::new();
    let record = |at: u64| shop.recorder.log(&shop.identity, log(None, at, Level::Info, &format!("{at}")));
    (0..10).for_each(record);
    let mut stream = shop.events("kinds=log&last=3", None);
    let first = read(&mut *stream);
    let messages: Vec<&str> = first.iter().map(|(_, _, data)| data["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["7", "8", "9"]);
    (10..20).for_each(record);
    let second = read(&mut *stream);
    assert_eq!(second.len(), 10);
    drop(stream);
    // A client that has lost its connection behind the fifth of them.
    let id = &second[4].0;
    (20..25).for_each(record);
    let resumed = read(&mut *shop.events("kinds=log", Some(id)));
    let messages: Vec<String> =
        resumed.iter().map(|(_, _, data)| data["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(messages, (15..25).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(read(&mut *shop.events("kinds=log", Some("abc-5")))[0].1, "restart");
    let request = Request {
        query: Some("kinds=trace&level=warn"),
        ..Request { method: "GET", path: "/api/v1/events", ..Request::default() }
    };
    assert_eq!(shop.console.answer(&request).status, 400);
    let request = Request { method: "GET", path: "/api/v1/events", last_event_id: Some("x"), ..Request::default() };
    assert_eq!(shop.console.answer(&request).status, 400);
    let all: Vec<_> = (0..wasmetry_console::limits::STREAMS).map(|_| shop.events("", None)).collect();
    assert_eq!(shop.answer("/api/v1/events").status, 429);
    drop(all);
    shop.console.stop();
    let mut ended = shop.events("", None);
    assert!(matches!(ended.poll_next(&mut Context::from_waker(Waker::noop())), Poll::Ready(None)));
}

/// A stream begins with the id behind which it continues, so that one that ends before its first
/// event loses none.
#[test]
fn stream_begins_with_its_id() {
    let shop = Planted::new();
    let record = |at: u64| shop.recorder.log(&shop.identity, log(None, at, Level::Info, &format!("{at}")));
    (0..5).for_each(record);
    let begin = |query: &str, id: Option<&str>| {
        let mut context = Context::from_waker(Waker::noop());
        match shop.events(query, id).poll_next(&mut context) {
            Poll::Ready(Some(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let first = begin("kinds=log&last=0", None);
    let id = first.strip_prefix("retry: 1000\nid: ").unwrap().strip_suffix("\n\n").unwrap().to_owned();
    (5..8).for_each(record);
    let resumed = read(&mut *shop.events("kinds=log", Some(&id)));
    let messages: Vec<&str> = resumed.iter().map(|(_, _, data)| data["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["5", "6", "7"]);
    // With earlier events, it is the id before them.
    let last = begin("kinds=log&last=2", None);
    let (before, _) = last.strip_prefix("retry: 1000\nid: ").unwrap().split_once('\n').unwrap();
    assert_eq!(read(&mut *shop.events("kinds=log", Some(before))).len(), 2);
    // A client of an earlier process keeps its id until it has got `restart`.
    assert!(begin("kinds=log", Some("abc-5")).starts_with("retry: 1000\n\nid: "));
}

/// Filters that only logs have leave traces out; those of both select both.
#[test]
fn filters_of_logs_leave_traces_out() {
    let shop = Planted::new();
    shop.request(7, "/cart", 500, 5_000_000);
    shop.request(8, "/", 200, 5_000_000);
    let kinds = |query: &str| -> Vec<String> {
        let events = read(&mut *shop.events(&format!("kinds=log,trace&last=10&{query}"), None));
        events.into_iter().map(|(_, kind, _)| kind).collect()
    };
    assert_eq!(kinds(""), ["log", "trace", "log", "trace"]);
    for query in ["level=info", "text=loaded", "site=src/cart.rs:42"] {
        assert_eq!(kinds(query), ["log", "log"], "{query}");
    }
    assert!(kinds("level=warn").is_empty());
    assert_eq!(kinds("component=storefront").len(), 4);
    assert!(kinds("component=other").is_empty());
    for query in ["route=/cart", "trace=00000000000000000000000000000007"] {
        assert_eq!(kinds(query), ["log", "trace"], "{query}");
    }
}

/// The fixture has each kind of event that an answer has, with its members.
#[test]
fn events_match_fixture() {
    let mut shop = Planted::with_memory(1 << 20);
    let flood = |shop: &Planted| {
        (0..3000).for_each(|at| shop.recorder.log(&shop.identity, log(None, at, Level::Info, &"x".repeat(500))));
    };
    flood(&shop);
    let mut stream = shop.events("last=1", None);
    read(&mut *stream);
    flood(&shop);
    shop.request(7, "/cart", 500, 5_000_000);
    shop.store();
    let found = read(&mut *stream);
    let fixture = include_str!("../fixtures/events.txt");
    let mut kinds = Vec::new();
    for block in fixture.split("\n\n").filter(|block| block.contains("event: ")) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let (kind, expected) = (field("event: "), serde_json::from_str::<Value>(field("data: ")).unwrap());
        let (_, _, data) = found.iter().find(|(_, known, _)| known == kind).unwrap_or_else(|| panic!("no {kind}"));
        let (mut has, mut wants) = (BTreeSet::new(), BTreeSet::new());
        members(data, "", &mut has);
        members(&expected, "", &mut wants);
        // These logs have no place in a trace.
        assert!(wants.is_subset(&has), "{kind}: {:?}", wants.difference(&has).collect::<Vec<_>>());
        kinds.push(kind);
    }
    assert_eq!(kinds, ["lost", "log", "trace", "step", "status"]);
}

/// The event `status` has the state as of the last snapshot, made by the thread of snapshots.
#[test]
fn status_event_is_of_snapshot() {
    let mut shop = Planted::new();
    let mut stream = shop.events("kinds=status", None);
    read(&mut *stream);
    shop.store();
    let used = |events: &[(String, String, Value)]| events[0].2["used_bytes"].as_u64().unwrap();
    let first = used(&read(&mut *stream));
    (0..1000).for_each(|at| shop.recorder.log(&shop.identity, log(None, at, Level::Info, "later")));
    assert!(read(&mut *stream).is_empty());
    shop.store();
    assert!(used(&read(&mut *stream)) > first);
}

#[test]
fn lost_events_are_counted_exactly() {
    let shop = Planted::with_memory(1 << 20);
    let record = |at: u64| shop.recorder.log(&shop.identity, log(None, at, Level::Info, &"x".repeat(1000)));
    record(0);
    let id = read(&mut *shop.events("kinds=log&last=1", None))[0].0.clone();
    (0..5000).for_each(record);
    let events = read(&mut *shop.events("kinds=log", Some(&id)));
    let lost: u64 =
        events.iter().filter(|event| event.1 == "lost").map(|event| event.2["count"].as_u64().unwrap()).sum();
    let received = events.iter().filter(|event| event.1 == "log").count() as u64;
    assert!(lost > 0 && received > 0);
    assert_eq!(lost + received, 5000);
    assert_eq!(shop.get("/api/v1/logs?after=1&limit=1")["lost"], lost);
    assert_eq!(shop.get("/api/v1/status")["logs"]["dropped"].as_u64().unwrap(), lost + 1);
}
