//! `cargo xtask demo --stack`: the storefront with Prometheus, Alertmanager, Jaeger and the
//! OpenTelemetry Collector, all on loopback.
//!
//! The Collector receives logs and traces by OTLP, and sends the traces to Jaeger. Prometheus
//! scrapes the storefront and sends alerts to Alertmanager.

mod config;

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    http,
    server::{self, Address, Server},
    traffic,
};
use crate::{backends, step, workspace};

/// The timeout until a program is ready, and until it shows what was sent.
const DEADLINE: Duration = Duration::from_secs(60);

/// The interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The query whose result is printed.
const QUERY: &str = "sum(http_requests_total)";

/// The tag of the trace that is printed: a request that trapped.
const TAG: (&str, &str) = ("error.type", "panic");

/// The addresses of all programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    storefront: Address,
    prometheus: SocketAddr,
    alertmanager: SocketAddr,
    jaeger: SocketAddr,
    /// Jaeger's gRPC query API, which nothing here uses.
    jaeger_grpc: SocketAddr,
    /// Jaeger's own OTLP receiver, for the Collector.
    jaeger_otlp: SocketAddr,
    collector_grpc: SocketAddr,
    collector_http: SocketAddr,
}

impl Addresses {
    /// Returns the addresses that the programs have by default, or free ones.
    pub(super) fn new(storefront: Address, are_free: bool) -> Result<Self> {
        let all = if are_free {
            super::free_addresses()?
        } else {
            [9090, 9093, 16686, 16685, 14317, 4317, 4318].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        };
        for addr in all {
            TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}; stop what listens there"))?;
        }
        let [prometheus, alertmanager, jaeger, jaeger_grpc, jaeger_otlp, collector_grpc, collector_http] = all;
        Ok(Self {
            storefront,
            prometheus,
            alertmanager,
            jaeger,
            jaeger_grpc,
            jaeger_otlp,
            collector_grpc,
            collector_http,
        })
    }
}

/// Starts everything, sends the traffic, prints what the backends show of it; then stops, or keeps
/// serving.
pub(super) fn run(storefront: Address, once: bool) -> Result<()> {
    let addresses = Addresses::new(storefront, once)?;
    let folder = workspace::target().join("demo-stack");
    // What an earlier demo has stored would be shown beside this one's.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let stack = Stack { addresses, folder };

    let jaeger = stack.start("jaeger", "jaeger", &["--config", &stack.file("jaeger.yaml", config::jaeger)?])?;
    stack.wait(&jaeger, addresses.jaeger, "/api/services")?;
    let collector = ["--config", &stack.file("collector.yaml", config::collector)?];
    let collector = stack.start("collector", "collector", &collector)?;
    stack.wait_until(&collector, "it listens", || TcpStream::connect(addresses.collector_http).ok().map(drop))?;
    let alertmanager = [
        format!("--config.file={}", stack.file("alertmanager.yml", config::alertmanager)?),
        format!("--storage.path={}", stack.folder.join("alertmanager").display()),
        format!("--web.listen-address={}", addresses.alertmanager),
        "--cluster.listen-address=".to_owned(),
    ];
    let alertmanager = stack.start("alertmanager", "alertmanager", &alertmanager)?;
    stack.wait(&alertmanager, addresses.alertmanager, "/-/ready")?;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", addresses.collector_http)),
        ("OTEL_METRICS_EXPORTER", "none".to_owned()),
    ];
    let mut storefront_server = Server::start_with(storefront, &variables)?;
    server::wait_until_ready(storefront, || storefront_server.still_runs())?;
    stack.file("rules.yml", config::rules)?;
    let prometheus = [
        format!("--config.file={}", stack.file("prometheus.yml", config::prometheus)?),
        format!("--storage.tsdb.path={}", stack.folder.join("prometheus").display()),
        format!("--web.listen-address={}", addresses.prometheus),
        "--enable-feature=exemplar-storage".to_owned(),
    ];
    let prometheus = stack.start("prometheus", "prometheus", &prometheus)?;
    stack.wait(&prometheus, addresses.prometheus, "/-/ready")?;
    // A rate needs a sample from before the traffic.
    stack.wait_until(&prometheus, "the first scrape", || stack.query(QUERY))?;

    step::loud("demo traffic", || traffic::drive(storefront).map(drop))?;
    let sent = f64::from(traffic::sent_requests());
    let counted = stack.wait_until(&prometheus, "the last scrape", || stack.query(QUERY).filter(|is| *is == sent))?;
    let trace = stack.wait_until(&jaeger, "a trace of a request that trapped", || stack.trace())?;
    let alert = stack.wait_until(&alertmanager, "an alert", || stack.alert())?;
    println!("prometheus: {QUERY} = {counted}");
    println!("jaeger: trace {trace} has {}={}", TAG.0, TAG.1);
    println!("alertmanager: {alert} fires");
    if once {
        storefront_server.stop()?;
        step::note("demo", "every backend shows the traffic sent, and the server stopped cleanly");
        return Ok(());
    }
    eprint!("{}", stack.where_to_look(&trace));
    // Ctrl-C ends this process and all others, which are in its process group.
    loop {
        storefront_server.still_runs()?;
        thread::sleep(Duration::from_secs(1));
    }
}

/// A program that is killed when this value is dropped.
#[derive(Debug)]
struct Program {
    name: &'static str,
    child: std::cell::RefCell<Child>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // Both fail if it has ended already, which is fine.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The stack's addresses and the folder of its configurations, logs and data.
#[derive(Debug)]
struct Stack {
    addresses: Addresses,
    folder: PathBuf,
}

impl Stack {
    /// Writes a configuration and returns its path.
    fn file(&self, name: &str, config: fn(&Addresses, &str) -> String) -> Result<String> {
        let path = self.folder.join(name);
        let folder = self.folder.display().to_string();
        fs::write(&path, config(&self.addresses, &folder))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Starts a program of a backend, with its log in a file.
    fn start<A: AsRef<std::ffi::OsStr>>(&self, backend: &str, name: &'static str, arguments: &[A]) -> Result<Program> {
        let program = backends::program(backend, name)?;
        let log = self.folder.join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        Ok(Program { name, child: child.into() })
    }

    /// Waits until a path is answered with 200.
    fn wait(&self, program: &Program, addr: SocketAddr, path: &str) -> Result<()> {
        self.wait_until(program, "its readiness", || {
            http::get(addr, path).ok().filter(|response| response.status == 200).map(drop)
        })
    }

    /// Waits until `get` returns a value.
    fn wait_until<T>(&self, program: &Program, what: &str, get: impl Fn() -> Option<T>) -> Result<T> {
        let log = || workspace::shown(&self.folder.join(format!("{}.log", program.name)));
        let start = Instant::now();
        loop {
            if let Some(value) = get() {
                return Ok(value);
            }
            let ended = program.child.borrow_mut().try_wait().context("cannot look after a program")?;
            if let Some(status) = ended {
                bail!("{} ended by itself ({status}); see {}", program.name, log());
            }
            if start.elapsed() > DEADLINE {
                bail!("{}: no {what} after {} s; see {}", program.name, DEADLINE.as_secs(), log());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns the value of a query that Prometheus evaluates now.
    fn query(&self, query: &str) -> Option<f64> {
        let path = format!("/api/v1/query?query={}", encode(query));
        let body = json(self.addresses.prometheus, &path)?;
        body["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Returns the id of a trace that has [`TAG`].
    fn trace(&self) -> Option<String> {
        let tags = format!("{{\"{}\":\"{}\"}}", TAG.0, TAG.1);
        let path = format!("/api/traces?service={}&lookback=1h&limit=1&tags={}", super::GUEST, encode(&tags));
        let body = json(self.addresses.jaeger, &path)?;
        body["data"][0]["traceID"].as_str().map(str::to_owned)
    }

    /// Returns the name of an alert that fires.
    fn alert(&self) -> Option<String> {
        let body = json(self.addresses.alertmanager, "/api/v2/alerts")?;
        body[0]["labels"]["alertname"].as_str().map(str::to_owned)
    }

    /// The addresses and commands to try while the stack runs.
    fn where_to_look(&self, trace: &str) -> String {
        let Addresses { storefront, prometheus, alertmanager, jaeger, collector_grpc, collector_http, .. } =
            self.addresses;
        let Address { service, telemetry } = storefront;
        let folder = workspace::shown(&self.folder);
        format!(
            "
The storefront and its backends keep running. Ctrl-C stops them.

  page           http://{telemetry}/         rates, latency, logs, traces and traps, live
  service        http://{service}/         routes: /  /cart  /checkout  /slow?ms=20  /boom  /spin
  metrics        http://{telemetry}/metrics
  prometheus     http://{prometheus}          an API; this build has no user interface
  alertmanager   http://{alertmanager}
  jaeger         http://{jaeger}
  collector      http://{collector_http} (OTLP by HTTP), {collector_grpc} (OTLP by gRPC)
  configuration, logs, data: {folder}

  curl http://{service}/cart
  curl -i http://{service}/boom       # traps: 500, counted, with a trace
  curl -sG http://{prometheus}/api/v1/query --data-urlencode 'query=sum by (route) (rate(http_requests_total[1m]))'
  curl -sG http://{prometheus}/api/v1/query_exemplars --data-urlencode 'query=http_request_duration_seconds_bucket' -d start=0 -d end=9999999999
  curl -s http://{jaeger}/api/traces/{trace}
  curl -s 'http://{jaeger}/api/traces?service={}&lookback=1h&limit=5'
  curl -s http://{alertmanager}/api/v2/alerts
  tail -f {folder}/logs.jsonl       # the logs that the Collector has received
",
            super::GUEST
        )
    }
}

/// Requests a path and parses the JSON of a successful answer.
fn json(addr: SocketAddr, path: &str) -> Option<Value> {
    let response = http::get(addr, path).ok().filter(|response| response.status == 200)?;
    serde_json::from_str(&response.body).ok()
}

/// Returns a value for a query string, of RFC 3986.
fn encode(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("sum(a_b) \"é\""), "sum%28a_b%29%20%22%C3%A9%22");
    }
}
