//! A `wasi:http` service that attacks its host. The last segment of the path is the attack, and the
//! query has its numbers.
//!
//! | path | attack | query, with defaults |
//! |---|---|---|
//! | `/hello` | none | |
//! | `/status` | any status | `s=200` |
//! | `/cells` | regions with one list over an untouched window of 16 MiB | `regions=64`, `hold=0` ms |
//! | `/labels` | regions with one list of 65,536 series of 16 KiB of labels each | `regions=64` |
//! | `/buckets` | 2,000 series of 201 buckets with 30 KiB of constant labels | `rows=2000` |
//! | `/forge` | a region or a ring that breaks one rule; `forged.rs` and `record.rs` have the cases | `case`, `s=200` |
//! | `/absurd` | every absurd value by the handle API | |
//! | `/long` | a call of the host with a text of this many bytes | `bytes=20000000` |
//! | `/ring` | one ring, also as audit ring, of short records with a message of 60 KB | `log=20`, `regions=1` |
//! | `/flush` | collections without end of untouched windows | `n=1000`, `regions=1` |
//! | `/wait` | the same, by waiting for a clock | `n=1000`, `regions=1` |
//! | `/fields` | copies of header fields, which are kept | `n=1000000`, `size=100000`, `hold=0` ms |
//! | `/connect` | requests that are kept open | `to`, `n=100`, `hold=5000` ms |
//! | `/get` | a request whose response is returned, after this many redirects | `to`, `path=/`, `follow=0` |
//! | `/print` | a text on stdout, or on stderr with `e` | `t` |
//! | `/flood` | lines on stderr | `ms=1000` |
//! | `/stream` | a response without end | |
//! | `/log`, `/audit` | logs by the handle API | `n=1`, `m=line` |
//! | `/spans` | spans by the handle API that never end | `n=1` |
//! | `/resolve` | metrics that are resolved again and again, histograms or up/down counters (`up-down`) | `name=x`, `names=1`, `kind=histogram`, `ms=0` |
//! | `/series` | series of one metric, each with a label of this many bytes | `n=2100`, `m=16` |
//! | `/body` | reads the request's body | |
//! | `/spin` | a loop without end | |

mod absurd;
mod declared;
mod forged;
mod outgoing;
mod record;
mod region;

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use wasi::clocks::monotonic_clock::subscribe_duration;
use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    path: ["../../wit", "wit/hostile.wit"],
    world: "wasmetry:test-guests/hostile",
    generate_all,
});

use self::wasmetry::telemetry::{logs, metrics, spans};

struct Hostile;

/// The query of a request.
struct Query<'a>(HashMap<&'a str, &'a str>);

impl<'a> Query<'a> {
    fn new(query: &'a str) -> Self {
        Self(query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.0.get(key).copied().unwrap_or(default)
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.0.get(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

impl Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = Query::new(query);
        match path.rsplit('/').next().unwrap_or(path) {
            "hello" => {}
            "status" => return respond(out, query.number("s", 200) as u16, b""),
            "cells" => {
                region::attach_headers(region::cells(), query.number("regions", 64));
                region::flush();
                spin_for(query.number("hold", 0));
            }
            "labels" => region::attach_headers(region::labels(), query.number("regions", 64)),
            "buckets" => region::attach(&region::buckets(query.number("rows", 2000) as usize), 1),
            "ring" => region::attach(&region::ring(1 << query.number("log", 20)), query.number("regions", 1)),
            "flush" => {
                region::attach_headers(region::cells(), query.number("regions", 1));
                (0..query.number("n", 1000)).for_each(|_| region::flush());
            }
            "wait" => {
                region::attach_headers(region::cells(), query.number("regions", 1));
                (0..query.number("n", 1000)).for_each(|_| subscribe_duration(1_000).block());
            }
            "fields" => {
                let size = query.number("size", 100_000) as usize;
                keep_fields(query.number("n", 1_000_000), size, query.number("hold", 0));
            }
            "connect" => outgoing::hold(query.text("to", ""), query.number("n", 100), query.number("hold", 5000)),
            "get" => {
                let (to, path) = (query.text("to", ""), query.text("path", "/"));
                let (status, body) = outgoing::get(to, path, query.number("follow", 0));
                return respond(out, status, &body);
            }
            "forge" => {
                let case = query.text("case", "");
                if !forged::forge(case) && !record::forge(case) {
                    return respond(out, 404, b"no such case\n");
                }
                return respond(out, query.number("s", 200) as u16, b"forged\n");
            }
            "absurd" => absurd::pass_all(),
            "long" => logs::emit(&log(&"l".repeat(query.number("bytes", 20_000_000) as usize)), None),
            "print" => print(query.text("t", ""), query.0.contains_key("e")),
            "flood" => flood(query.number("ms", 1000)),
            "stream" => return stream(out),
            "log" => (0..query.number("n", 1)).for_each(|_| logs::emit(&log(query.text("m", "line")), None)),
            "audit" => (0..query.number("n", 1)).for_each(|_| logs::audit(&log(query.text("m", "line")), None)),
            "spans" => open_spans(query.number("n", 1)),
            "resolve" => {
                let names = names(query.text("name", "x"), query.number("names", 1));
                resolve(&names, query.text("kind", "histogram") == "up-down", query.number("ms", 0));
            }
            "series" => add_series(query.number("n", 2100), query.number("m", 16) as usize),
            "body" => read_body(&request),
            "spin" => loop {
                std::hint::spin_loop();
            },
            _ => return respond(out, 404, b"no such attack\n"),
        }
        respond(out, 200, b"done\n");
    }
}

fn respond(out: ResponseOutparam, status: u16, text: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    // An invalid status leaves 200.
    let _ = response.set_status_code(status);
    let body = response.body().expect("a response has one body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a body has one stream");
    for chunk in text.chunks(4096) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            break;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// Answers with a body that ends when the client leaves.
fn stream(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("a response has one body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a body has one stream");
    while stream.blocking_write_and_flush(&[b'y'; 4096]).is_ok() {}
}

/// Uses the processor for some milliseconds.
fn spin_for(milliseconds: u64) {
    let (start, time) = (Instant::now(), Duration::from_millis(milliseconds));
    while start.elapsed() < time {}
}

/// Makes copies of fields in the host, and keeps them.
fn keep_fields(count: u64, size: usize, hold: u64) {
    let value = vec![b'x'; size];
    for _ in 0..count {
        let fields = Fields::new();
        if fields.append("k", &value).is_err() {
            break;
        }
        std::mem::forget(fields);
    }
    spin_for(hold);
}

/// Prints a text with the escapes that a query needs.
fn print(text: &str, to_stderr: bool) {
    let escapes =
        [("%20", " "), ("%22", "\""), ("%0A", "\n"), ("%0D", "\r"), ("%7B", "{"), ("%7D", "}"), ("%1B", "\x1b")];
    let text = escapes.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain));
    if to_stderr {
        eprint!("{text}");
    } else {
        print!("{text}");
        let _ = std::io::stdout().flush();
    }
}

/// Writes lines of 64 bytes to stderr, 128 at once.
fn flood(milliseconds: u64) {
    let mut line = vec![b'z'; 63];
    line.push(b'\n');
    let lines = line.repeat(128);
    let (start, time) = (Instant::now(), Duration::from_millis(milliseconds));
    while start.elapsed() < time && std::io::stderr().write_all(&lines).is_ok() {}
}

fn log(message: &str) -> logs::LogRecord {
    logs::LogRecord { level: logs::Level::Info, target: None, message: message.to_owned(), attributes: Vec::new() }
}

/// Starts spans and never ends them.
fn open_spans(count: u64) {
    for _ in 0..count {
        let span = spans::Span::start("open", spans::SpanKind::Internal, None, &[]);
        span.set_status(&spans::Status::Error("s".repeat(8000)));
        std::mem::forget(span);
    }
}

/// Counts 1 in each of so many series of a counter, whose label has this many bytes.
fn add_series(count: u64, bytes: usize) {
    for number in 0..count {
        let label = metrics::Label { key: "row".to_owned(), value: format!("{number:0bytes$}") };
        if let Ok(counter) = metrics::Counter::resolve(&descriptor("rows_total"), &[label]) {
            counter.inc();
        }
    }
}

fn descriptor(name: &str) -> metrics::Descriptor {
    metrics::Descriptor { name: name.to_owned(), help: String::new(), unit: None }
}

/// Returns this name, or so many that begin with it.
fn names(name: &str, count: u64) -> Vec<String> {
    if count < 2 { vec![name.to_owned()] } else { (0..count).map(|number| format!("{name}_{number}")).collect() }
}

/// Resolves each of the metrics in turn, again and again until the time is over, and drops their
/// handles each time.
fn resolve(names: &[String], is_up_down: bool, milliseconds: u64) {
    let (start, time) = (Instant::now(), Duration::from_millis(milliseconds));
    loop {
        for name in names {
            if is_up_down {
                let _ = metrics::UpDownCounter::resolve(&descriptor(name), &[]);
            } else {
                let _ = metrics::Histogram::resolve(&descriptor(name), &[], &[]);
            }
        }
        if start.elapsed() >= time {
            break;
        }
    }
}

fn read_body(request: &IncomingRequest) {
    let body = request.consume().expect("a request has one body");
    let stream = body.stream().expect("a body has one stream");
    while stream.blocking_read(1 << 16).is_ok() {}
}

wasi::http::proxy::export!(Hostile);

fn main() {}
