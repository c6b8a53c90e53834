//! Regions, rings and calls that break one rule each. The host counts each once, with its owner,
//! and nothing else.

use std::collections::BTreeMap;
use std::net::TcpListener;

use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::server::Server;

use crate::neighbour::{HOSTILE, Neighbours, Setup};

/// The drops of a component: signal, reason and count.
type Drops<'a> = &'a [(&'a str, &'a str, f64)];

/// The cases of the guest's `/forge`, and what the host counts for one request. It reads a guest
/// twice: before the guest waits for its client, and at the end.
const FORGED: [(&str, Drops<'_>); 59] = [
    ("magic", &[("metrics", "header", 1.0)]),
    ("version", &[("metrics", "format_version", 1.0)]),
    ("abi", &[("metrics", "format_version", 1.0)]),
    ("width", &[("metrics", "header", 1.0)]),
    ("empty", &[("metrics", "header", 1.0)]),
    ("unaligned", &[("metrics", "header", 1.0)]),
    ("outside", &[("metrics", "header", 1.0)]),
    ("below", &[("metrics", "header", 1.0)]),
    ("wrapped", &[("metrics", "entry_list", 1.0)]),
    ("list-outside", &[("metrics", "entry_list", 1.0)]),
    ("list-unaligned", &[("metrics", "entry_list", 1.0)]),
    ("list-circular", &[("metrics", "entry_list", 1.0)]),
    ("list-endless", &[("metrics", "entry_list", 1.0), ("metrics", "unknown_descriptor", 4096.0)]),
    ("undeclared", &[("metrics", "unknown_descriptor", 1.0)]),
    ("larger", &[("metrics", "entry_bounds", 1.0)]),
    ("replaced", &[("metrics", "list_changed", 1.0)]),
    ("overlapping", &[("metrics", "overlap", 63.0)]),
    ("many", &[("metrics", "overlap", 63.0), ("metrics", "region_limit", 6.0)]),
    ("ballast", &[("metrics", "memory_limit", 2.0)]),
    ("text", &[("metrics", "label_text", 1.0)]),
    ("text-length", &[("metrics", "label_text", 1.0)]),
    ("text-overflow", &[("metrics", "label_text", 1.0)]),
    ("fallen", &[("metrics", "decrease", 1.0)]),
    ("risen", &[("metrics", "out_of_range", 1.0)]),
    ("largest", &[("metrics", "out_of_range", 1.0)]),
    ("nan", &[("metrics", "not_a_number", 1.0)]),
    ("nan-level", &[("metrics", "not_a_number", 1.0)]),
    ("nan-sum", &[("metrics", "not_a_number", 1.0)]),
    ("negative", &[("metrics", "decrease", 2.0)]),
    ("buckets", &[("metrics", "buckets", 1.0)]),
    ("losses", &[("metrics", "label_table_full", 7.0)]),
    ("ring-odd", &[("records", "ring", 2.0)]),
    ("ring-large", &[("records", "ring", 2.0)]),
    ("ring-outside", &[("records", "ring", 2.0)]),
    ("ring-unaligned", &[("records", "ring", 2.0)]),
    ("ring-full", &[("records", "ring", 2.0)]),
    ("ring-rewritten", &[("records", "ring", 2.0)]),
    ("record-empty", &[("records", "ring", 1.0)]),
    ("record-long", &[("records", "ring", 1.0)]),
    ("record-open", &[("records", "ring", 1.0)]),
    ("record-missing", &[("records", "overwritten", 5.0)]),
    ("record-kind", &[("records", "unknown_record", 1.0)]),
    ("site", &[("records", "unknown_record", 1.0)]),
    ("holes", &[]),
    ("arguments", &[("records", "unknown_record", 1.0)]),
    ("message", &[("records", "unknown_record", 1.0)]),
    ("message-bytes", &[]),
    ("span-twice-ended", &[("spans", "span_limit", 1.0)]),
    ("span-twice-started", &[("spans", "span_limit", 1.0)]),
    ("span-never-started", &[("spans", "span_limit", 1.0)]),
    ("span-own-parent", &[("spans", "span_context", 1.0)]),
    ("span-zero", &[("records", "unknown_record", 1.0)]),
    ("spans-open", &[("spans", "span_limit", 76.0)]),
    // Sums that become infinite are shown as they are, and so are the smallest numbers.
    ("subnormal", &[]),
    ("infinite-sum", &[]),
    ("infinite", &[]),
    // The guest is ended: what it lends is not its memory.
    ("gigabytes", &[]),
    ("beyond", &[]),
    ("unheard-of", &[]),
];

/// Returns the drops of the hostile component that are not 0, but for the past that the console
/// does not keep any more.
fn drops(text: &str) -> BTreeMap<String, f64> {
    let [(_, component), (_, tenant)] = HOSTILE;
    let of_hostile = |line: &&str| {
        line.starts_with("wasmetry_dropped_total{")
            && line.contains(&format!("component=\"{component}\""))
            && line.contains(&format!("tenant=\"{tenant}\""))
            && !line.contains("reason=\"console_memory\"")
    };
    let parse = |line: &str| {
        let (_, rest) = line.split_once("signal=\"").unwrap();
        let (labels, count) = rest.rsplit_once(' ').unwrap();
        (labels.replace("\",reason=\"", " ").replace("\"}", ""), count.parse::<f64>().unwrap())
    };
    text.lines().filter(of_hostile).map(parse).filter(|(_, count)| *count > 0.0).collect()
}

/// Returns the scrape in which all requests of the hostile component are counted: it has read what
/// they left.
fn after_requests(server: &Server, requests: usize) -> String {
    server.scrape_until(|text| sum(text, "wasm_http_requests_total", &HOSTILE) == requests as f64)
}

/// A collector that answers nothing, so that spans are recorded.
fn silent_collector() -> (TcpListener, [(&'static str, String); 1]) {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    (collector, [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)])
}

/// Each case is counted under its reason, as often as it is expected, and nothing else is: not for
/// its owner, and not for the neighbour.
#[test]
fn forged_memory_is_counted_once() {
    let (_collector, variables) = silent_collector();
    let neighbours = Neighbours::start(Setup { variables: &variables, ..Setup::default() });
    let mut expected = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, (case, counted)) in FORGED.iter().enumerate() {
        let status = match *case {
            // These records wait for the outcome, and are read if the request fails.
            "span-twice-ended" | "span-never-started" => 500,
            "gigabytes" | "beyond" => 500,
            "unheard-of" => 404,
            _ => 200,
        };
        assert_eq!(neighbours.attack(&format!("forge?case={case}&s={status}")), Some(status), "{case}");
        neighbours.serve_honest(4);
        for (signal, reason, count) in *counted {
            *expected.entry(format!("{signal} {reason}")).or_insert(0.0) += count;
        }
        let found = drops(&after_requests(&neighbours.server, number + 1));
        if found != expected {
            wrong.push(format!("{case}: {found:?}, not {expected:?}"));
            expected = found;
        }
    }
    assert_eq!(wrong, [""; 0]);
    let text = neighbours.assert_honest_exact();
    let total = |name: &str| sum(&text, name, &HOSTILE);
    assert_eq!(sum(&text, "wasm_traps_total", &HOSTILE), 2.0);
    // What is valid beside what is not was read.
    assert_eq!(total("forged_misses_total"), 1.0);
    assert_eq!(value(&text, "forged_spent_total", &HOSTILE), f64::INFINITY);
    assert_eq!(value(&text, "forged_wait_sum", &HOSTILE), f64::NEG_INFINITY);
    // Both logs without arguments and the logs before others.
    assert!(total("wasm_log_records_total") >= 2.0);
}

/// Every absurd value by the handle API is refused or cut, and counted once with its owner.
#[test]
fn absurd_calls_are_counted() {
    let (_collector, variables) = silent_collector();
    let neighbours = Neighbours::start(Setup { variables: &variables, ..Setup::default() });
    let attacks = neighbours.start_attacks("absurd", 2);
    neighbours.serve_honest(40);
    for attack in attacks {
        assert_eq!(attack.join().unwrap(), Some(200));
    }
    let text = after_requests(&neighbours.server, 2);
    let each = [
        ("metrics invalid_descriptor", 12.0),
        ("metrics invalid_value", 9.0 + 4.0),
        ("metrics label_too_long", 1.0),
        ("records attribute_limit", 72.0),
        ("spans span_context", 2.0),
        ("spans span_limit", 2.0),
    ];
    let expected: BTreeMap<_, _> = each.iter().map(|(reason, count)| ((*reason).to_owned(), 2.0 * count)).collect();
    assert_eq!(drops(&text), expected);
    assert_eq!(value(&text, "absurd_total", &HOSTILE), 1e-323);
    assert_eq!(value(&text, "absurd_wait_count", &HOSTILE), 2.0 * (1.0 + 65_536.0));
    assert_eq!(value(&text, "absurd_texts_total", &[HOSTILE[0], HOSTILE[1], ("text", "overflow")]), 2.0);
    // A text of more than the host takes ends the guest.
    assert_eq!(neighbours.attack("long?bytes=20000000"), Some(500));
    let reason = [HOSTILE[0], HOSTILE[1], ("reason", "host_error")];
    neighbours.server.scrape_until(|text| sum(text, "wasm_traps_total", &reason) == 1.0);
    neighbours.assert_honest_exact();
}
