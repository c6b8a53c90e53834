//! A fleet: three processes that Prometheus finds by `/sd`, and their rolling restart under load.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmetry_tests::backend::daemon::free_addresses;
use wasmetry_tests::backend::otel_collector::{Options, OtelCollector, ReceivedRecord};
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::backend::victoriametrics::VictoriaMetrics;
use wasmetry_tests::exposition::sum;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

/// The time between two requests.
const PACE: Duration = Duration::from_millis(10);

/// The most requests per second that the client sends.
const MAX_RATE: f64 = 1.0 / 0.01;

/// The final values of all processes and versions, by route.
const TOTAL: &str = "sum by (route) (max_over_time(http_requests_total[1h]))";

/// A process of the fleet: its addresses and its configuration.
struct Process {
    addr: SocketAddr,
    telemetry: SocketAddr,
    config: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Process {
    fn new(number: usize, directory: &std::path::Path, collector: Option<&OtelCollector>) -> Self {
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

/// Three processes are restarted in turn with a new version while a client sends requests. All
/// numbers are those of the client, in Prometheus, in VictoriaMetrics and at a Collector.
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

    let client = Client::start(servers.iter().map(|server| server.url.clone()).collect());
    for (number, process) in processes.iter().enumerate() {
        let instance = process.telemetry.to_string();
        client.drain(&servers[number].url);
        let counted = sum(&servers[number].scrape(), "http_requests_total", &[]);
        let query = format!("sum(http_requests_total{{instance=\"{instance}\", version=\"1\"}})");
        prometheus.query_until(&query, "", |result| result.values().eq([&counted]));
        let of_victoria = |result: &BTreeMap<_, f64>| result.values().eq([&counted]);
        victoria.query_until(&query, of_victoria);
        servers[number].terminate();
        assert!(servers[number].wait().success());
        let up = |value: f64| move |result: &BTreeMap<String, f64>| result.values().eq([&value]);
        let is_up = format!("up{{instance=\"{instance}\"}}");
        prometheus.query_until(&is_up, "instance", up(0.0));
        servers[number] = process.start("2", &peers(number));
        prometheus.query_until(&is_up, "instance", up(1.0));
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

    // No restart looks like traffic.
    let rate = prometheus
        .query_until("max_over_time(sum(rate(http_requests_total[10s]))[10m:1s])", "", |result| result.len() == 1);
    assert!(rate[""] <= 1.3 * MAX_RATE, "{rate:?}");
    // Each process was down for a moment, and has the new version.
    let down = prometheus.query_until("min_over_time(up[10m])", "instance", |result| result.len() == 3);
    assert!(down.values().all(|up| *up == 0.0), "{down:?}");
    let versions = prometheus
        .query_until("count by (version) (wasm_instance_starts_total)", "version", |result| result.len() == 1);
    assert_eq!(versions, BTreeMap::from([("2".to_owned(), 3.0)]));
    // The process that lists the others was down, too.
    let mut warnings = prometheus.warnings();
    warnings.retain(|line| !line.contains("Unable to refresh target groups"));
    assert_eq!(warnings, [""; 0]);

    for server in servers {
        assert!(server.stop().0.success());
    }
    collector.wait(|received| sum_of_deltas(&received.metrics) == sent);
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
    let text = fs::read_to_string(&process.config).unwrap().replace("peers = [", "peers = [\"shop-3:1\", ");
    fs::write(&process.config, text).unwrap();
    server.signal("HUP");
    server.wait_for("reloaded");
    let (_, listed) = get(&agent(), &format!("{}/sd", server.telemetry));
    assert_eq!(listed, expected.replace("\"127.0.0.9", "\"shop-3:1\",\"127.0.0.9"));

    let everywhere = Server::start(&guest("storefront"), &["--telemetry-addr", "0.0.0.0:0"]);
    let port = everywhere.telemetry.rsplit_once(':').unwrap().1.to_owned();
    let (status, text) = get(&agent(), &format!("http://127.0.0.1:{port}/sd"));
    assert_eq!(status, 404);
    assert!(text.contains("--telemetry-advertise"), "{text}");
}
