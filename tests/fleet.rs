//! A fleet: three processes that Prometheus finds by `/sd`, and their rolling restart under load.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::backend::otel_collector::{Options, OtelCollector, ReceivedRecord};
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::backend::victoriametrics::VictoriaMetrics;
use wasmetry_tests::exposition::sum;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, command, get};

/// The time between two requests.
const PACE: Duration = Duration::from_millis(10);

/// The most requests per second that the client sends.
const MAX_RATE: f64 = 1.0 / 0.01;

/// The final values of all processes and versions, by route. Of two runs of a version in a
/// process, it has the larger one.
const TOTAL: &str = "sum by (route) (max_over_time(http_requests_total[1h]))";

/// A process of the fleet: its addresses and its configuration.
struct Process {
    addr: SocketAddr,
    telemetry: SocketAddr,
    config: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Process {
    fn new(number: usize, directory: &Path, collector: Option<&OtelCollector>) -> Self {
        let own = |addr: SocketAddr| SocketAddr::from(([127, 0, 0, number as u8 + 1], addr.port()));
        let [addr, telemetry] = free_addresses().map(own);
        let variables = collector.map_or(Vec::new(), |collector| {
            vec![
                ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("{}/v1/metrics", collector.endpoint("http"))),
                ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf".to_owned()),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta".to_owned()),
                ("OTEL_METRIC_EXPORT_INTERVAL", "1000".to_owned()),
            ]
        });
        Self { addr, telemetry, config: directory.join(format!("{number}.toml")), variables }
    }

    /// Starts it with a version of the component.
    fn start(&self, version: &str, peers: &[SocketAddr]) -> Server {
        let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let guest = guest("storefront");
        let text = format!(
            "[fleet]\npeers = [{}]\n[[component]]\nname = \"shop\"\nversion = \"{version}\"\npath = \"{}\"\n",
            peers.join(", "),
            guest.display()
        );
        fs::write(&self.config, text).unwrap();
        let addresses = [self.addr, self.telemetry].map(|addr| addr.to_string());
        let arguments = ["--addr", &addresses[0], "--telemetry-addr", &addresses[1]];
        Server::configured_with(&self.config, &arguments, &self.variables)
    }

    /// Waits until Prometheus has this value of `up`.
    fn wait_until_up(&self, value: f64, prometheus: &Prometheus) {
        let query = format!("up{{instance=\"{}\"}}", self.telemetry);
        prometheus.query_until(&query, "instance", |result| result.values().eq([&value]));
    }
}

/// A client that sends to the processes in turn, and counts what was answered with 200.
struct Client {
    /// It holds the lock while it waits for an answer.
    urls: Arc<RwLock<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, f64>>,
}

impl Client {
    fn start(urls: Vec<String>) -> Self {
        let (urls, is_over) = (Arc::new(RwLock::new(urls)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (urls, is_over) = (Arc::clone(&urls), Arc::clone(&is_over));
            move || {
                let agent = agent();
                let mut sent = BTreeMap::new();
                for (number, route) in ["/", "/cart", "/checkout"].iter().cycle().enumerate() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    {
                        let urls = urls.read().unwrap();
                        let (status, body) = get(&agent, &format!("{}{route}", urls[number % urls.len()]));
                        assert_eq!(status, 200, "{body}");
                    }
                    *sent.entry((*route).to_owned()).or_default() += 1.0;
                    thread::sleep(PACE);
                }
                sent
            }
        });
        Self { urls, is_over, thread }
    }

    /// Sends no more to a process; its requests in progress have ended.
    fn drain(&self, url: &str) {
        self.urls.write().unwrap().retain(|other| other != url);
    }

    fn add(&self, url: &str) {
        self.urls.write().unwrap().push(url.to_owned());
    }

    /// Returns the requests by route.
    fn stop(self) -> BTreeMap<String, f64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Returns the queries of a panel of the dashboard that is generated for a configuration, for all
/// values of its variables.
fn panel(config: &Path, title: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let mut ops = Command::new(command());
    ops.args(["ops", "dashboard", "--config"]).arg(config).arg("-o").arg(directory.path());
    let output = ops.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(directory.path().join("grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let panel = panels.iter().find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("{title}: {text}"));
    let query = |target: &Value| {
        let query = target["expr"].as_str().unwrap();
        ["$instance", "$component", "$tenant"].iter().fold(query.to_owned(), |query, name| query.replace(name, ".*"))
    };
    panel["targets"].as_array().unwrap().iter().map(query).collect()
}

/// Returns the sum of all deltas of the storefront's requests, by route.
fn sum_of_deltas(records: &[ReceivedRecord]) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = BTreeMap::new();
    for received in records.iter().filter(|received| received.record["name"] == "http_requests_total") {
        for point in received.record["sum"]["dataPoints"].as_array().unwrap() {
            let attributes = point["attributes"].as_array().unwrap();
            let route = attributes.iter().find(|attribute| attribute["key"] == "route").unwrap();
            let value = point["asInt"].as_str().unwrap().parse::<f64>().unwrap();
            *all.entry(route["value"]["stringValue"].as_str().unwrap().to_owned()).or_default() += value;
        }
    }
    all.retain(|_, value| *value > 0.0);
    all
}

/// Stops a process that gets no more requests, once Prometheus has the values of its version.
/// Returns the requests that it has counted.
fn stop_scraped(server: &mut Server, process: &Process, version: &str, prometheus: &Prometheus) -> f64 {
    let counted = sum(&server.scrape(), "http_requests_total", &[]);
    let query = format!("sum(http_requests_total{{instance=\"{}\", version=\"{version}\"}})", process.telemetry);
    prometheus.query_until(&query, "", |result| result.values().eq([&counted]));
    server.terminate();
    assert!(server.wait().success());
    process.wait_until_up(0.0, prometheus);
    counted
}

/// Three processes are restarted in turn with a new version while a client sends requests. All
/// numbers are those of the client, in Prometheus, in VictoriaMetrics and at a Collector. A restart
/// with the same version is a reset of a counter.
#[test]
fn rolling_restart_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(collector) = OtelCollector::start(&Options::default()) else { return };
    let processes = [0, 1, 2].map(|number| Process::new(number, directory.path(), Some(&collector)));
    let peers = |of: usize| -> Vec<SocketAddr> {
        processes.iter().enumerate().filter(|(number, _)| *number != of).map(|(_, process)| process.telemetry).collect()
    };
    let mut servers = Vec::new();
    for (number, process) in processes.iter().enumerate() {
        servers.push(process.start("1", &peers(number)));
    }
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n- {{job_name: wasmetry, http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 1s}}]}}\n",
        processes[0].telemetry
    );
    let Some(mut prometheus) = Prometheus::start_3(&config, &[]) else { return };
    // VictoriaMetrics has the interval as a flag.
    let Some(victoria) = VictoriaMetrics::start(&config.replace(", refresh_interval: 1s", "")) else { return };
    prometheus.wait_until_ready();
    prometheus.query_until("up == 1", "instance", |up| up.len() == 3);
    let [reached, known] = panel(&processes[0].config, "Processes").try_into().unwrap();
    let [versions] = panel(&processes[0].config, "Processes by version").try_into().unwrap();
    let shows = |query: &str, processes: f64| {
        prometheus.query_until(query, "", |result| result.values().eq([&processes]));
    };
    let shows_versions = |expected: &[(&str, f64)]| {
        let expected: BTreeMap<String, f64> =
            expected.iter().map(|(version, count)| ((*version).to_owned(), *count)).collect();
        prometheus.query_until(&versions, "version", |result| *result == expected);
    };
    shows_versions(&[("1", 3.0)]);

    let client = Client::start(servers.iter().map(|server| server.url.clone()).collect());
    for (number, process) in processes.iter().enumerate() {
        client.drain(&servers[number].url);
        let counted = sum(&servers[number].scrape(), "http_requests_total", &[]);
        let query = format!("sum(http_requests_total{{instance=\"{}\", version=\"1\"}})", process.telemetry);
        victoria.query_until(&query, |result| result.values().eq([&counted]));
        stop_scraped(&mut servers[number], process, "1", &prometheus);
        shows(&reached, 2.0);
        shows(&known, 3.0);
        servers[number] = process.start("2", &peers(number));
        process.wait_until_up(1.0, &prometheus);
        let new = number as f64 + 1.0;
        let both = [("1", 3.0 - new), ("2", new)];
        shows_versions(if number == 2 { &both[1..] } else { &both });
        client.add(&servers[number].url);
    }
    let sent = client.stop();
    assert!(sent.len() == 3 && sent.values().all(|count| *count > 10.0), "{sent:?}");

    let found =
        prometheus.query_until(TOTAL, "route", |result| result.values().sum::<f64>() == sent.values().sum::<f64>());
    let of_routes = |mut found: BTreeMap<String, f64>| {
        found.retain(|_, value| *value > 0.0);
        found
    };
    assert_eq!(of_routes(found), sent);
    let victoria_found =
        victoria.query_until(TOTAL, |result| result.values().sum::<f64>() == sent.values().sum::<f64>());
    let by_route = victoria_found.into_iter().map(|((_, labels), value)| (labels["route"].clone(), value)).collect();
    assert_eq!(of_routes(by_route), sent);

    // The first process once more, with the same version: its series go on.
    let again = Client::start(servers.iter().map(|server| server.url.clone()).collect());
    again.drain(&servers[0].url);
    let before = stop_scraped(&mut servers[0], &processes[0], "2", &prometheus);
    servers[0] = processes[0].start("2", &peers(0));
    processes[0].wait_until_up(1.0, &prometheus);
    again.add(&servers[0].url);
    let own = format!("sum(http_requests_total{{instance=\"{}\", version=\"2\"}})", processes[0].telemetry);
    prometheus.query_until(&own, "", |result| result.values().any(|count| (10.0..before / 2.0).contains(count)));
    let mut all = sent;
    for (route, count) in again.stop() {
        *all.entry(route).or_default() += count;
    }
    let resets = "max by (instance) (resets(http_requests_total{version=\"2\"}[10m]))";
    let resets = prometheus.query_until(resets, "instance", |result| result.len() == 3);
    let expected = processes.each_ref().map(|process| process.telemetry.to_string()).into_iter().zip([1.0, 0.0, 0.0]);
    assert_eq!(resets, expected.collect());
    // Of two runs with the same version, the first was longer. `increase` estimates their sum.
    let total: f64 = all.values().sum();
    let last = sum(&servers[0].scrape(), "http_requests_total", &[]);
    prometheus.query_until(TOTAL, "route", |result| result.values().sum::<f64>() == total - last);
    let estimated = prometheus.query_until("sum(increase(http_requests_total[1h]))", "", |result| result.len() == 1);
    assert!((0.8 * total..1.2 * total).contains(&estimated[""]), "{estimated:?} of {total}");

    // No restart looks like traffic.
    let rate = prometheus
        .query_until("max_over_time(sum(rate(http_requests_total[10s]))[10m:1s])", "", |result| result.len() == 1);
    assert!(rate[""] <= 1.3 * MAX_RATE, "{rate:?}");
    // Each process was down for a moment, and has the new version.
    let down = prometheus.query_until("min_over_time(up[10m])", "instance", |result| result.len() == 3);
    assert!(down.values().all(|up| *up == 0.0), "{down:?}");
    shows_versions(&[("2", 3.0)]);
    // The process that lists the others was down, too.
    let mut warnings = prometheus.warnings();
    warnings.retain(|line| !line.contains("Unable to refresh target groups"));
    assert_eq!(warnings, [""; 0]);

    for server in servers {
        assert!(server.stop().0.success());
    }
    collector.wait(|received| sum_of_deltas(&received.metrics) == all);
}

/// `/sd` lists the address that is advertised and the peers, and never what a client names.
#[test]
fn discovery_ignores_host_header() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::new(0, directory.path(), None);
    let peer: SocketAddr = "127.0.0.9:9464".parse().unwrap();
    let server = process.start("1", &[peer]);
    let expected = format!("[{{\"targets\":[\"{}\",\"{peer}\"],\"labels\":{{}}}}]\n", process.telemetry);
    let mut response = agent().get(format!("{}/sd", server.telemetry)).header("host", "evil.example").call().unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.body_mut().read_to_string().unwrap(), expected);

    // A peer that is added is listed after the reload.
    let text = fs::read_to_string(&process.config).unwrap().replace("peers = [", "peers = [\"127.0.0.8:1\", ");
    fs::write(&process.config, text).unwrap();
    server.signal("HUP");
    server.wait_for("reloaded");
    let (_, listed) = get(&agent(), &format!("{}/sd", server.telemetry));
    assert_eq!(listed, expected.replace("\"127.0.0.9", "\"127.0.0.8:1\",\"127.0.0.9"));

    let everywhere = Server::start(&guest("storefront"), &["--telemetry-addr", "0.0.0.0:0"]);
    let port = everywhere.telemetry.rsplit_once(':').unwrap().1.to_owned();
    let (status, text) = get(&agent(), &format!("http://127.0.0.1:{port}/sd"));
    assert_eq!(status, 404);
    assert!(text.contains("--telemetry-advertise"), "{text}");
}
