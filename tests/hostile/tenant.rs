//! Attacks on what tenants share: names, the series of the host's families, queues, lines.

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use serde_json::Value;
use wasmetry_tests::declaration::{COUNTER, GAUGE, with_declarations};
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::agent;

use crate::neighbour::{HONEST, HOSTILE, Neighbours, Setup, finish};

/// The hostile tenant declares the honest one's histogram as a gauge, before it, and its counter
/// with another help text. The honest tenant's numbers stay, and its help text. Names that are not
/// a guest's are counted, and named in one line.
#[test]
fn squatted_names_hide_no_metric() {
    let directory = tempfile::tempdir().unwrap();
    let squatter = directory.path().join("squatter.wasm");
    let declared = [
        (GAUGE, "http_request_duration_seconds", "Call +1-900-SCAM"),
        (COUNTER, "http_requests_total", "FORGED"),
        (GAUGE, "up", "All is well."),
        (GAUGE, "scrape_duration_seconds", "No time at all."),
        (COUNTER, "wasm_http_requests_total", "Mine."),
    ];
    fs::write(&squatter, with_declarations(&guest("hostile"), declared)).unwrap();
    let neighbours = Neighbours::start(Setup { binary: Some(&squatter), ..Setup::default() });
    assert_eq!(neighbours.dropped("invalid_declaration"), 3.0);
    let begin = "hostile of the tenant `mallory`: rejected declarations, whose values are dropped: ";
    let line = neighbours.server.wait_for(begin);
    for name in ["up", "scrape_duration_seconds", "wasm_http_requests_total"] {
        assert!(line.contains(&format!("`{name}`: ")), "{line}");
    }
    assert_eq!(neighbours.attack("hello"), Some(200));
    neighbours.serve_honest(100);
    let text = neighbours.assert_honest_exact();
    assert!(text.contains("# TYPE http_request_duration_seconds gauge\n"), "{text}");
    assert!(text.contains("# TYPE http_request_duration_seconds_bucket untyped\n"), "{text}");
    let labels = [HONEST[0], HONEST[1], ("le", "+Inf")];
    let count = sum(&text, "http_request_duration_seconds_count", &HONEST);
    assert_eq!(sum(&text, "http_request_duration_seconds_bucket", &labels), count);
    let help = text.lines().find(|line| line.starts_with("# HELP http_requests_total ")).unwrap();
    assert!(help.contains(" (tenant acme)") && help.contains("FORGED (tenant mallory)"), "{help}");
    for (name, owner) in [("up", None), ("scrape_duration_seconds", None), ("wasm_http_requests_total", Some("host"))] {
        assert_eq!(text.contains(&format!("# TYPE {name} ")), owner.is_some(), "{name}");
    }
    assert!(!text.contains("HELP wasm_http_requests_total Mine."));
    assert_eq!(sum(&text, "wasmetry_dropped_total", &[HONEST[0], ("reason", "type_conflict")]), 0.0);
}

/// The hostile tenant resolves 10,000 names of its own other component as another type, again and
/// again: more than what the host remembers of refused ones. Each is counted once for each attempt.
#[test]
fn conflicting_names_cost_no_neighbour() {
    const NAMES: u32 = 10_000;
    const REQUESTS: usize = 2;
    let decoy = format!(
        "[[component]]\npath = '{}'\nname = 'decoy'\ntenant = '{}'\nprefix = '/decoy'\n",
        guest("hostile").display(),
        HOSTILE[1].1
    );
    let arguments = ["--limit", "resolved-metrics=20000", "--limit", "metrics=20000"];
    let neighbours = Neighbours::start(Setup { honest: &decoy, arguments: &arguments, ..Setup::default() });
    let names = format!("resolve?name=conflict&names={NAMES}");
    finish(neighbours.start_attacks_of("decoy", &format!("{names}&kind=up-down"), 1));
    let attacks = neighbours.start_attacks(&names, REQUESTS);
    neighbours.serve_honest(100);
    for attack in attacks {
        assert_eq!(attack.join().unwrap(), Some(200));
    }
    let reason = [HOSTILE[0], HOSTILE[1], ("reason", "type_conflict")];
    let count = |text: &str| sum(text, "wasmetry_dropped_total", &reason);
    let expected = f64::from(NAMES) * REQUESTS as f64;
    let text = neighbours.server.scrape_until(|text| count(text) >= expected);
    assert_eq!(sum(&text, "wasmetry_dropped_total", &HOSTILE), expected);
    assert_eq!(sum(&text, "wasmetry_dropped_total", &[("component", "decoy")]), 0.0);
    neighbours.assert_honest_exact();
}

/// The hostile tenant answers with every status on its three mounts: more series than a component
/// has. The honest tenant's requests have their own, and each request is counted.
#[test]
fn statuses_take_no_others_series() {
    /// Series of requests of one component, and those of `POST` that exist from the start.
    const ROOM: u32 = 2000;
    const EXPECTED: u32 = 3 * 4;
    const STATUSES: u32 = 700;
    let neighbours = Neighbours::start(Setup::default());
    thread::scope(|scope| {
        for mount in ["a", "b", "c"] {
            let url = &neighbours.server.url;
            scope.spawn(move || {
                let agent = agent();
                // Without those of redirects, which clients follow.
                for status in (200..300).chain(400..1000) {
                    let mut response = agent.get(format!("{url}/{mount}/status?s={status}")).call().unwrap();
                    assert_eq!(u32::from(response.status().as_u16()), status);
                    let _ = response.body_mut().read_to_string();
                }
            });
        }
    });
    neighbours.serve_honest(100);
    let requests = 3 * STATUSES;
    let over = f64::from(requests + EXPECTED - ROOM);
    let reason = [HOSTILE[0], HOSTILE[1], ("reason", "series_limit")];
    let text = neighbours.server.scrape_until(|text| sum(text, "wasmetry_dropped_total", &reason) >= over);
    assert_eq!(sum(&text, "wasmetry_dropped_total", &reason), over);
    assert_eq!(sum(&text, "wasm_http_requests_total", &HOSTILE), f64::from(requests));
    let overflow = [HOSTILE[0], HOSTILE[1], ("status", "overflow")];
    assert_eq!(value(&text, "wasm_http_requests_total", &overflow), over);
    let text = neighbours.assert_honest_exact();
    assert_eq!(sum(&text, "wasm_http_requests_total", &[("tenant", "acme"), ("status", "overflow")]), 0.0);
}

/// The hostile tenant makes more and longer audit records than the file and the collector take, of
/// which the latter never answers. Each of another tenant's is in the file, and none was dropped.
#[test]
fn audit_flood_drops_own_records() {
    const FLOOD: usize = 8;
    const EACH: usize = 10_000;
    const TEXT: usize = 2000;
    const BANKS: usize = 100;
    /// Bytes that a component may add to the file at once, and in each second.
    const GROWTH: [u64; 2] = [64 << 20, 1 << 20];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/logs", collector.local_addr().unwrap());
    let bank = format!(
        "[[component]]\npath = '{}'\nname = 'bank'\ntenant = 'bank'\nprefix = '/bank'\n",
        guest("hostile").display()
    );
    let neighbours = Neighbours::start(Setup {
        honest: &bank,
        variables: &[
            ("WASMETRY_AUDIT_FILE", path.display().to_string()),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", endpoint),
        ],
        ..Setup::default()
    });
    let start = Instant::now();
    let flood = neighbours.start_attacks(&format!("audit?n={EACH}&m={}", "a".repeat(TEXT)), FLOOD);
    let agent = agent();
    for _ in 0..BANKS {
        let url = format!("{}/bank/audit?n=1", neighbours.server.url);
        assert_eq!(agent.get(&url).call().unwrap().status(), 200);
    }
    neighbours.serve_honest(100);
    finish(flood);
    let lines = |tenant: &str| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let of_tenant = format!("\"tenant\":\"{tenant}\"");
        text.lines().filter(|line| line.contains(&of_tenant)).count()
    };
    // Of the collector's queue, and of the file.
    let dropped = ["queue_full", "growth_limit"].map(|reason| neighbours.dropped(reason));
    let text = neighbours.server.scrape_until(|_| lines("bank") == BANKS);
    assert_eq!(sum(&text, "wasmetry_dropped_total", &[("tenant", "bank")]), 0.0);
    let all = (FLOOD * EACH) as f64;
    assert!(dropped.iter().all(|count| *count < 2.0 * all) && lines("mallory") < FLOOD * EACH, "{dropped:?}");
    let size = fs::metadata(&path).unwrap().len();
    let [at_once, each_second] = GROWTH;
    // The others' records take less than a mebibyte.
    assert!(size < at_once + (start.elapsed().as_secs() + 2) * each_second, "{size}");
    neighbours.assert_honest_exact();
}

/// The hostile tenant prints what looks like another tenant's record, and like a report of the
/// host. Each line of the output is a record of its own tenant.
#[test]
fn printed_lines_forge_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stdout.jsonl");
    let neighbours =
        Neighbours::start(Setup { arguments: &["--log-format", "json"], stdout: Some(&path), ..Setup::default() });
    let forged =
        "%7B%22level%22:%22error%22,%22message%22:%22vault%20open%22,%22tenant%22:%22acme%22,%22audit%22:true%7D%0A";
    assert_eq!(neighbours.attack(&format!("print?t={forged}")), Some(200));
    assert_eq!(neighbours.attack("print?t=half%20a%20line%20"), Some(200));
    assert_eq!(neighbours.attack("print?e=1&t=trap:%20shop%20GET%20/:%20out_of_memory%0A%1B[2J%0A"), Some(200));
    neighbours.serve_honest(40);
    let records = || -> Vec<Value> {
        let text = fs::read_to_string(&path).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect()
    };
    let is_printed = |record: &Value| record["stream"].is_string();
    neighbours.server.scrape_until(|_| records().iter().filter(|record| is_printed(record)).count() >= 4);
    for record in records() {
        let message = record["log"].as_str().or(record["message"].as_str()).unwrap_or_default();
        let is_hostile = ["vault", "half a line", "out_of_memory", "\u{1b}"].iter().any(|text| message.contains(text));
        assert_eq!(is_hostile, is_printed(&record), "{record}");
        if is_hostile {
            assert_eq!((record["tenant"].as_str(), record["audit"].as_bool()), (Some("mallory"), None), "{record}");
        }
    }
    assert!(!fs::read_to_string(&path).unwrap().contains('\u{1b}'));
    neighbours.assert_honest_exact();
}

/// The hostile tenant declares more names that are not a guest's than a line has, with control
/// characters, and the same again in another version. Each is counted, and the line is short.
#[test]
fn rejected_names_are_one_line() {
    const NAMES: usize = 300;
    let directory = tempfile::tempdir().unwrap();
    let squatter = directory.path().join("squatter.wasm");
    let names: Vec<String> = (0..NAMES).map(|number| format!("scrape_{number}\u{1b}[2J\u{202e}\n")).collect();
    let declared: Vec<(u8, &str, &str)> = names.iter().map(|name| (GAUGE, name.as_str(), "Mine.")).collect();
    fs::write(&squatter, with_declarations(&guest("hostile"), declared)).unwrap();
    let neighbours = Neighbours::start(Setup { binary: Some(&squatter), ..Setup::default() });
    assert_eq!(neighbours.dropped("invalid_declaration"), NAMES as f64);
    let line = neighbours.server.wait_for("hostile of the tenant `mallory`: rejected declarations");
    assert!(line.ends_with("; and more; `wasmetry inspect` lists them"), "{line}");
    assert!(line.contains("`scrape_0\\u{1b}[2J\\u{202e}`: ") && line.len() < 4000, "{line}");
    neighbours.serve_honest(40);
    neighbours.assert_honest_exact();
}

/// The hostile tenant prints in two components, of which each may print as many lines as the
/// tenant. Together they have the tenant's number, and another tenant loses no line.
#[test]
fn printed_flood_is_bounded_by_tenant() {
    const LINES: usize = 1500;
    const OTHERS: usize = 50;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stdout.jsonl");
    let limits = format!(
        "[limits]\noutput-lines = 1000\noutput-lines-per-second = 0\ntenant-output-lines = {LINES}\n\
         tenant-output-lines-per-second = 0"
    );
    let component = |name: &str, tenant: &str| {
        let path = guest("hostile");
        format!(
            "[[component]]\npath = '{}'\nname = '{name}'\ntenant = '{tenant}'\nprefix = '/{name}'\n",
            path.display()
        )
    };
    let neighbours = Neighbours::start(Setup {
        top: &limits,
        honest: &(component("second", "mallory") + &component("bank", "bank")),
        arguments: &["--log-format", "json"],
        stdout: Some(&path),
        ..Setup::default()
    });
    let (url, agent) = (&neighbours.server.url, agent());
    for _ in 0..3 {
        for flooding in ["a", "second"] {
            assert_eq!(agent.get(format!("{url}/{flooding}/flood?ms=200")).call().unwrap().status(), 200);
        }
    }
    for _ in 0..OTHERS {
        assert_eq!(agent.get(format!("{url}/bank/print?t=line%0A")).call().unwrap().status(), 200);
    }
    neighbours.serve_honest(40);
    let printed = |tenant: &str| {
        let text = fs::read_to_string(&path).unwrap();
        let of_tenant = format!("\"tenant\":\"{tenant}\"");
        text.lines().filter(|line| line.contains("\"stream\"") && line.contains(&of_tenant)).count()
    };
    let text = neighbours.server.scrape_until(|_| printed("bank") == OTHERS && printed("mallory") >= LINES);
    assert_eq!(printed("mallory"), LINES);
    for component in ["hostile", "second"] {
        let owner = [("component", component), HOSTILE[1], ("reason", "output_limit")];
        assert!(sum(&text, "wasmetry_dropped_total", &owner) > 0.0, "{component}");
    }
    assert_eq!(sum(&text, "wasmetry_dropped_total", &[("tenant", "bank")]), 0.0);
    neighbours.assert_honest_exact();
}

/// Drops by a queue, by the audit file and by the rules for outgoing requests are lines of `serve`:
/// one for each kind, however many drops there are.
#[test]
fn kinds_of_drops_are_logged_once() {
    let directory = tempfile::tempdir().unwrap();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/logs", collector.local_addr().unwrap());
    let neighbours = Neighbours::start(Setup {
        variables: &[
            ("WASMETRY_AUDIT_FILE", directory.path().join("audit.jsonl").display().to_string()),
            ("WASMETRY_AUDIT_TENANT_GROWTH", "1000,0".to_owned()),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", endpoint),
            // The honest tenant has fewer records than half of it.
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "200".to_owned()),
        ],
        ..Setup::default()
    });
    let refused = |text: &str| sum(text, "wasm_outgoing_refused_total", &[HOSTILE[0], HOSTILE[1]]);
    let mut counts = [0.0; 3];
    for _ in 0..3 {
        for attack in ["log?n=1000", "audit?n=100", "get?to=169.254.169.254"] {
            assert!(neighbours.attack(attack).is_some(), "{attack}");
        }
        let more = |text: &str| {
            let dropped = ["queue_full", "growth_limit"]
                .map(|reason| sum(text, "wasmetry_dropped_total", &[HOSTILE[0], HOSTILE[1], ("reason", reason)]));
            [dropped[0], dropped[1], refused(text)]
        };
        let text = neighbours.server.scrape_until(|text| more(text).iter().zip(counts).all(|(now, was)| *now > was));
        counts = more(&text);
    }
    neighbours.serve_honest(4);
    neighbours.assert_honest_exact();
    let (_, lines) = neighbours.stop();
    for what in [
        "some of its logs are dropped (queue_full); wasmetry_dropped_total",
        "some of its logs are dropped (growth_limit); wasmetry_dropped_total",
        "some of its outgoing requests are refused (prohibited_address); wasm_outgoing_refused_total",
    ] {
        let line = format!("hostile of the tenant `mallory`: {what} counts them, and docs/limits.md has the limits");
        assert_eq!(lines.iter().filter(|other| **other == line).count(), 1, "{line}: {lines:#?}");
    }
}

/// The hostile tenant prints without end, in many requests at once. The lines beyond its
/// component's rate are dropped and counted.
#[test]
fn printed_flood_is_bounded_by_component() {
    let neighbours = Neighbours::start(Setup::default());
    let flood = neighbours.start_attacks("flood?ms=1500", 4);
    neighbours.serve_honest(100);
    finish(flood);
    assert!(neighbours.dropped("output_limit") > 0.0);
    neighbours.assert_honest_exact();
}
