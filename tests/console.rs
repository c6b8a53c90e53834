//! The console of a real `wasmetry serve`: its values equal `/metrics`, a failed request is there
//! with its trace and logs, events resume exactly, and its pages run nothing else.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmetry_tests::exposition::{sum, value};
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, command, get};

const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the answer of the API.
fn api(server: &Server, path: &str) -> Value {
    let (status, text) = get(&agent(), &format!("{}/api/v1/{path}", server.telemetry));
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Asks until `done` returns `true`: snapshots are stored every 5 s.
fn api_until(server: &Server, path: &str, done: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = api(server, path);
        if done(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path} has not the expected values: {answer:#}");
        // A pause between two looks, so that the server gets the processor.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a request to the service in a trace of its own.
fn request(server: &Server, path: &str, trace: u128) -> u16 {
    let traceparent = format!("00-{trace:032x}-b7ad6b7169203331-01");
    let url = format!("{}{path}", server.url);
    agent().get(url).header("traceparent", traceparent).call().unwrap().status().as_u16()
}

/// A connection that reads events.
struct EventReader {
    lines: BufReader<TcpStream>,
}

impl EventReader {
    fn open(server: &Server, query: &str, last_event_id: Option<&str>) -> Self {
        let address = server.telemetry.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let resume = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET /api/v1/events?{query} HTTP/1.1\r\nHost: {address}\r\n{resume}\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        // From here on, the stream has every event.
        while !line.starts_with("retry: ") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the stream has ended");
        }
        Self { lines }
    }

    /// Returns the id, the kind and the data of the next event.
    fn next(&mut self) -> (String, String, Value) {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream has ended");
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, kind, serde_json::from_str(data).unwrap());
            }
        }
    }
}

/// Rates, totals and gauges of the API equal those of a scrape after the traffic.
#[test]
fn overview_equals_metrics() {
    let server = Server::start(&guest("storefront"), &[]);
    for _ in 0..30 {
        get(&agent(), &format!("{}/cart", server.url));
        get(&agent(), &format!("{}/", server.url));
    }
    for _ in 0..5 {
        get(&agent(), &format!("{}/boom", server.url));
    }
    let component = |overview: &Value| overview["components"][0].clone();
    let overview = api_until(&server, "overview", |overview| component(overview)["requests"]["total"] == 65);
    let scrape = server.scrape();
    let component = component(&overview);
    assert_eq!(component["requests"]["total"], sum(&scrape, "wasm_http_requests_total", &[]));
    assert_eq!(component["component"], "storefront");
    assert_eq!(component["state"], "failing");
    for route in component["routes"].as_array().unwrap() {
        let of_route = [("route", route["route"].as_str().unwrap())];
        let total = sum(&scrape, "wasm_http_requests_total", &of_route);
        assert_eq!(route["requests"]["total"].as_f64(), Some(total), "{route}");
    }
    let traps = sum(&scrape, "wasm_traps_total", &[("reason", "unreachable")]);
    let of_reason =
        |traps: &Value| traps.as_array().unwrap().iter().find(|trap| trap["reason"] == "unreachable").cloned();
    assert_eq!(of_reason(&component["traps"]).unwrap()["total"].as_f64(), Some(traps));
    assert_eq!(component["memory_limit_bytes"].as_f64(), Some(value(&scrape, "wasm_linear_memory_limit_bytes", &[])));
    // Every series of the registry has its value.
    let series = api(&server, "series?metric=wasm_http_requests_total&by=status");
    for group in series["groups"].as_array().unwrap() {
        let status = [("status", group["labels"]["status"].as_str().unwrap())];
        assert_eq!(group["last"].as_f64(), Some(sum(&scrape, "wasm_http_requests_total", &status)));
        // The rates of the steps have all requests.
        let points = group["points"].as_array().unwrap().iter().filter_map(Value::as_f64).sum::<f64>();
        // On a machine under load a snapshot may be late, and its step is longer.
        let requests = points * series["step_seconds"].as_f64().unwrap();
        let is_exact = (requests - group["last"].as_f64().unwrap()).abs() < 1e-3;
        assert!(is_exact || series["step_seconds"] != 5, "{group}");
    }
    let metrics = api(&server, "metrics?limit=500");
    let names: Vec<&str> =
        metrics["metrics"].as_array().unwrap().iter().map(|metric| metric["name"].as_str().unwrap()).collect();
    for line in scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(names.contains(&name), "{name} is missing");
    }
    let status = api(&server, "status");
    assert!(status["memory"]["used_bytes"].as_u64() < status["memory"]["limit_bytes"].as_u64());
}

/// A request that trapped is kept with its spans, its logs and the reason, and so are normal ones.
#[test]
fn failed_request_has_trace_and_logs() {
    let server = Server::start(&guest("storefront"), &[]);
    assert_eq!(request(&server, "/boom", 0xb00), 500);
    assert_eq!(request(&server, "/cart", 0xca7), 200);
    let traces = api_until(&server, "traces", |traces| traces["traces"].as_array().unwrap().len() == 2);
    assert_eq!(traces["traces"][0]["outcome"], "failed");
    assert_eq!((&traces["traces"][0]["route"], &traces["traces"][1]["route"]), (&"/boom".into(), &"/cart".into()));
    let trace = api(&server, &format!("traces/{:032x}", 0xb00));
    assert!(trace["trap"]["text"].as_str().unwrap().contains("panic"), "{:#}", trace["trap"]);
    assert_eq!(trace["spans"][0]["kind"], "server");
    assert_eq!(trace["spans"][0]["status"], "error");
    let levels: Vec<&str> =
        trace["logs"].as_array().unwrap().iter().map(|log| log["level"].as_str().unwrap()).collect();
    assert!(levels.contains(&"error"), "{levels:?}");
    let traps = api(&server, "traps");
    assert_eq!(traps["traps"][0]["count"], 1);
    assert_eq!(traps["traps"][0]["example_trace_id"], format!("{:032x}", 0xb00));
    let logs = api(&server, &format!("logs?trace={:032x}", 0xb00));
    assert_eq!(logs["logs"].as_array().unwrap().len(), levels.len());
}

/// A client that loses its connection receives each event once, in order.
#[test]
fn events_resume_without_gaps() {
    let server = Server::start(&guest("storefront"), &["--log-format", "off"]);
    let mut reader = EventReader::open(&server, "kinds=trace", None);
    let mut ids = Vec::new();
    let mut last = String::new();
    for at in 1..=20 {
        request(&server, "/cart", at);
        if at % 7 == 0 {
            // Some events are read, and the connection is lost.
            while ids.len() < at as usize - 3 {
                let (id, kind, data) = reader.next();
                assert_eq!(kind, "trace");
                ids.push(data["trace_id"].as_str().unwrap().to_owned());
                last = id;
            }
            reader = EventReader::open(&server, "kinds=trace", Some(&last));
        }
    }
    while ids.len() < 20 {
        let (_, kind, data) = reader.next();
        assert_eq!(kind, "trace");
        ids.push(data["trace_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids, (1..=20).map(|at| format!("{at:032x}")).collect::<Vec<_>>());
    // A step comes every 5 s, though nothing happens.
    let mut steps = EventReader::open(&server, "kinds=step", None);
    assert_eq!(steps.next().1, "step");
    // Streams do not keep the server from stopping.
    let begin = Instant::now();
    assert!(server.stop().0.success());
    assert!(begin.elapsed() < Duration::from_secs(20));
}

/// A client that reads nothing is cut, which is counted.
#[test]
fn unread_stream_is_cut_and_counted() {
    let server = Server::start(&guest("log-service"), &["--log-level", "info"]);
    let reader = EventReader::open(&server, "kinds=log", None);
    assert_eq!(api(&server, "status")["streams"]["open"], 1);
    let (end, mut from) = (Instant::now() + 2 * PATIENCE, 0);
    let streams = loop {
        // More than the buffers of both sockets hold, and then some more.
        get(&agent(), &format!("{}/logs?from={from}&count=200", server.url));
        from += 200;
        let streams = api(&server, "status")["streams"].clone();
        if streams["open"] == 0 {
            break streams;
        }
        assert!(Instant::now() < end, "the stream is open: {streams}");
    };
    assert_eq!(streams["cut"], 1);
    drop(reader);
    // One that the client itself closes is none of them.
    drop(EventReader::open(&server, "kinds=log", None));
    let closed = api_until(&server, "status", |status| status["streams"]["open"] == 0);
    assert_eq!(closed["streams"]["cut"], 1);
}

/// Whatever the exporters sample, the console has the requests of a quiet service.
#[test]
fn sampling_of_exporters_is_its_own() {
    let sampler = [("OTEL_TRACES_SAMPLER", "always_off".to_owned())];
    let server = Server::start_with(&guest("storefront"), &[], &sampler);
    for _ in 0..5 {
        get(&agent(), &format!("{}/cart", server.url));
    }
    let traces = api_until(&server, "traces", |traces| traces["traces"].as_array().unwrap().len() == 5);
    assert_eq!(traces["traces"][0]["outcome"], "normal");
    assert!(traces["traces"][0]["spans"].as_u64().unwrap() > 1, "the guest's spans are there: {traces:#}");
}

/// A reload that brings another version and another limit is among what changed lately, where
/// failures are explained: in the API and in the terminal, for this component only.
#[test]
fn reload_is_what_changed_lately() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wasmetry.toml");
    let write = |version: &str, memory: &str| {
        let path = guest("storefront");
        let text = format!(
            "[[component]]\npath = {path:?}\nname = 'shop'\nversion = '{version}'\nmax-memory = '{memory}'\n\
             [[component]]\npath = {path:?}\nname = 'other'\nhost = ['other.test']\n"
        );
        // Replaced as a whole, so that no half of it is read.
        let new = folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &config).unwrap();
    };
    write("1.4.0", "32MiB");
    let server = Server::configured(&config, &[]);
    let versions = |overview: &Value, name: &str| {
        let components = overview["components"].as_array().unwrap();
        components.iter().any(|component| component["component"] == "shop" && component["version"] == name)
    };
    api_until(&server, "overview", |overview| versions(overview, "1.4.0"));
    let kinds = |answer: &Value| -> Vec<String> {
        let changes = answer["changes"].as_array().unwrap();
        changes.iter().map(|change| change["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&api(&server, "explain?component=shop")), ["start"]);

    write("1.5.0", "16MiB");
    server.wait_for("reloaded on a changed file");
    // The version is found in the first snapshot that has it.
    let explained = api_until(&server, "explain?component=shop", |answer| kinds(answer).len() == 4);
    let text = |kind: &str| {
        let changes = explained["changes"].as_array().unwrap();
        changes.iter().find(|change| change["kind"] == kind).unwrap()["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(text("version"), "`shop`: version 1.4.0 was replaced by 1.5.0");
    assert_eq!(text("limits"), "`shop`: the memory limit changed from 33554432 bytes to 16777216 bytes");
    assert!(text("config").starts_with("the configuration was read again on "), "{}", text("config"));
    assert_eq!(kinds(&api(&server, "explain?component=other")), ["config", "start"]);

    let arguments = ["explain", &server.telemetry, "--component", "shop"];
    let output = std::process::Command::new(command()).args(arguments).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (_, lately) = printed.split_once("what changed lately:").unwrap_or_else(|| panic!("{printed}"));
    for part in ["version 1.4.0 was replaced by 1.5.0", "the memory limit changed", "the configuration was read again"]
    {
        assert!(lately.contains(part), "{printed}");
    }
}

/// The page is served with a policy that lets it run and load only its own files.
#[test]
fn page_has_strict_headers() {
    let server = Server::start(&guest("storefront"), &[]);
    let mut page = agent().get(format!("{}/", server.telemetry)).call().unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let tag = page.headers()["etag"].to_str().unwrap().to_owned();
    let text = page.body_mut().read_to_string().unwrap();
    for file in text.split(['"', '\'']).filter(|part| part.starts_with("page/")) {
        let (status, _) = get(&agent(), &format!("{}/{file}", server.telemetry));
        assert_eq!(status, 200, "{file}");
    }
    let again = agent().get(format!("{}/", server.telemetry)).header("if-none-match", tag).call().unwrap();
    assert_eq!(again.status(), 304);
    let (status, text) = get(&agent(), &format!("{}/api/v1/logs?level=warm", server.telemetry));
    assert_eq!(status, 400);
    assert!(text.contains("`level`: `warm`"), "{text}");
    // A client that the page's origin does not know gets nothing.
    let foreign =
        agent().get(format!("{}/api/v1/status", server.telemetry)).header("host", "evil.example").call().unwrap();
    assert!(foreign.status().is_client_error(), "{}", foreign.status());
}

/// Without the console, the address has the links to the metrics only.
#[test]
fn console_can_be_switched_off() {
    let server = Server::start(&guest("storefront"), &["--no-console"]);
    let (status, text) = get(&agent(), &format!("{}/", server.telemetry));
    assert_eq!(status, 200);
    assert!(text.contains("/metrics"));
    assert_eq!(get(&agent(), &format!("{}/api/v1/status", server.telemetry)).0, 404);
    let mut answer = Vec::new();
    agent()
        .get(format!("{}/metrics", server.telemetry))
        .call()
        .unwrap()
        .body_mut()
        .as_reader()
        .read_to_end(&mut answer)
        .unwrap();
    assert!(!answer.is_empty());
}
