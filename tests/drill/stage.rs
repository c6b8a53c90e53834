//! A service with drills, a Prometheus and an Alertmanager with scaled rules, and a receiver.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmetry_tests::backend::alertmanager::Alertmanager;
use wasmetry_tests::backend::daemon::{free_addresses, until};
use wasmetry_tests::backend::prometheus::Prometheus;
use wasmetry_tests::backend::webhook::Webhook;
use wasmetry_tests::server::{Server, agent, command};
use wasmetry_tests::{guest, root};

use super::TOKEN;

/// The scale of durations: an hour takes 48 seconds.
pub(crate) const SCALE: &str = "1/75";

/// The samples of a Kubernetes cluster.
const KUBERNETES: &str = include_str!("../data/kubernetes.prom");

/// The longest time until an alert fires or resolves. The slowest are those of objectives: with all
/// of their windows full, the one over a day needs three minutes of errors.
const TIMEOUT: &str = "4m";

/// The objectives. In 14 days, 90% have the burn rates 6.72 over an hour, 2.8 over six and 1.4 over
/// a day: 67%, 28% and 14% of bad requests. In seven days there is none over a day, and with fewer
/// bad requests the drills of other critical alerts would fire these.
const OBJECTIVES: [&str; 2] = [
    "name = \"availability\"\nobjective = 90\nwindow = \"14d\"",
    "name = \"latency\"\nobjective = 90\nlatency = \"250ms\"\nwindow = \"14d\"",
];

/// The interval of a group of alerts at Alertmanager: five minutes.
pub(crate) const GROUP_INTERVAL: Duration = Duration::from_secs(4);

pub(crate) struct Stage {
    pub(crate) directory: tempfile::TempDir,
    addresses: [SocketAddr; 2],
    pub(crate) server: Server,
    pub(crate) prometheus: Prometheus,
    pub(crate) alertmanager: Alertmanager,
    /// The receiver of pages and of messages to the chat.
    pub(crate) receiver: Webhook,
    _destination: Webhook,
    _cluster: Webhook,
}

impl Stage {
    /// Starts everything. Returns `None` if Prometheus or Alertmanager cannot be built.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let [addr, telemetry, alertmanager] = free_addresses();
        let (receiver, destination, cluster) = (Webhook::start(""), Webhook::start(""), Webhook::start(KUBERNETES));
        fs::create_dir(path.join("secrets")).unwrap();
        for secret in ["page-url", "chat-url"] {
            fs::write(path.join("secrets").join(secret), receiver.url("/")).unwrap();
        }
        fs::write(path.join("token"), TOKEN).unwrap();
        let mut settings = String::new();
        writeln!(settings, "[ops]\ntargets = [\"{telemetry}\"]\nalertmanagers = [\"{alertmanager}\"]").unwrap();
        writeln!(settings, "[ops.receivers]\npage = \"webhook\"\nchat = \"webhook\"").unwrap();
        writeln!(settings, "secrets = \"{}\"", path.join("secrets").display()).unwrap();
        for objective in OBJECTIVES {
            writeln!(settings, "[[slo]]\n{objective}").unwrap();
        }
        fs::write(path.join("settings.toml"), settings).unwrap();
        write_config(path, "1", "");

        let config = path.join("wasmetry.toml");
        let generated = Command::new(command())
            .args(["ops", "all", "--window-scale", SCALE, "--config"])
            .args([config.as_path(), Path::new("-o"), path])
            .output()
            .unwrap();
        assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
        let routes = fs::read_to_string(path.join("alertmanager.yml")).unwrap();
        assert!(routes.contains(&format!("group_interval: {}s\n", GROUP_INTERVAL.as_secs())), "{routes}");
        // A cluster is watched beside the service.
        let prometheus_config = path.join("prometheus.yml");
        let mut text = fs::read_to_string(&prometheus_config).unwrap();
        assert!(text.contains("scrape_interval: 500ms"), "{text}");
        write!(text, "- job_name: cluster\n  static_configs: [{{targets: ['{}']}}]\n", cluster.address).unwrap();
        fs::write(&prometheus_config, text).unwrap();

        // The service comes first, so that it is never down.
        let server = start(path, [addr, telemetry], &destination);
        let alertmanager = Alertmanager::start(path, alertmanager)?;
        let mut prometheus = Prometheus::start_3_in(&prometheus_config, &[])?;
        prometheus.wait_until_ready();
        prometheus.query_until("up == 1", "job", |up| up.len() == 2);
        Some(Self {
            addresses: [addr, telemetry],
            server,
            prometheus,
            alertmanager,
            receiver,
            _destination: destination,
            _cluster: cluster,
            directory,
        })
    }

    /// Returns the names of all alerts that were generated.
    pub(crate) fn alerts(&self) -> BTreeSet<String> {
        let files = ["alerts/wasm-alerts.yml", "rules/slo-alerts.yml"];
        let texts = files.map(|file| fs::read_to_string(self.directory.path().join(file)).unwrap());
        let name = |line: &str| line.trim().strip_prefix("- alert: ").map(str::to_owned);
        texts.iter().flat_map(|text| text.lines().filter_map(name)).collect()
    }

    /// Waits until the receiver has been notified of an alert since there were `before` alerts, and
    /// for another interval of groups, in which all alerts are sent that are not silenced.
    ///
    /// # Panics
    ///
    /// Panics if it is notified of the silenced alert too.
    pub(crate) fn assert_silenced(&self, before: usize, silenced: &str, by: &str) {
        let notified = || self.receiver.notifications().split_off(before);
        let has = |alert: &str| notified().iter().any(|notified| notified.alert == alert && notified.is_firing);
        assert!(until(|| has(by).then_some(()), || false).is_some(), "{by} does not reach the receiver");
        // The messages of one flush arrive within a second.
        let end = Instant::now() + GROUP_INTERVAL + Duration::from_secs(1);
        let sent = until(|| (has(silenced) || Instant::now() > end).then(|| has(silenced)), || false);
        assert_eq!(sent, Some(false), "{silenced} is sent beside {by}: {:?}", notified());
    }

    /// Writes the configuration with a version of the component and more text, which the process
    /// finds.
    pub(crate) fn configure(&self, version: &str, more: &str) {
        write_config(self.directory.path(), version, more);
    }

    /// Returns the command that drills alerts with traffic.
    pub(crate) fn drill(&self, arguments: &[&str]) -> Command {
        let token = self.directory.path().join("token");
        let mut command = drill(arguments, &self.server.telemetry, &self.alertmanager.url, token.to_str().unwrap());
        command.args(["--yes", "--rate", "50", "--timeout", TIMEOUT, "--traffic", &self.url()]);
        command
    }

    /// Returns the URL of the service.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addresses[0])
    }
}

fn write_config(directory: &Path, version: &str, more: &str) {
    let settings = fs::read_to_string(directory.join("settings.toml")).unwrap();
    let path = guest("shop");
    let component = format!(
        "{more}[[component]]\nname = \"shop\"\nversion = \"{version}\"\nmax-concurrent-requests = 32\npath = \"{}\"\n",
        path.display()
    );
    fs::write(directory.join("wasmetry.toml"), component + &settings).unwrap();
}

fn start(directory: &Path, [addr, telemetry]: [SocketAddr; 2], destination: &Webhook) -> Server {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", destination.url("")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500".to_owned()),
    ];
    let (addr, telemetry) = (addr.to_string(), telemetry.to_string());
    let token = directory.join("token");
    let arguments = [
        "--addr",
        &addr,
        "--telemetry-addr",
        &telemetry,
        "--allow-drills",
        "--telemetry-token-file",
        token.to_str().unwrap(),
    ];
    Server::configured_with(&directory.join("wasmetry.toml"), &arguments, &variables)
}

/// Returns a command that drills alerts.
pub(crate) fn drill(arguments: &[&str], telemetry: &str, alertmanager: &str, token: &str) -> Command {
    let mut command = Command::new(command());
    command.arg("drill").args(arguments).args(["--telemetry", telemetry, "--alertmanager", alertmanager]);
    command.args(["--token-file", token]).stdin(Stdio::null());
    command
}

/// Sends a request to `/drill`, and returns the status and the body of the answer.
pub(crate) fn control(server: &Server, token: &str, method: &str, body: &Value) -> (u16, String) {
    let url = format!("{}/drill", server.telemetry);
    let authorization = format!("Bearer {token}");
    let agent = agent();
    let answer = match method {
        "GET" => agent.get(&url).header("authorization", authorization).call(),
        "PUT" => agent.put(&url).header("authorization", authorization).send(body.to_string()),
        _ => agent.delete(&url).header("authorization", authorization).force_send_body().send(body.to_string()),
    };
    let mut answer = answer.unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// Returns the alerts that a server lists.
pub(crate) fn drills(server: &Server, token: &str) -> Vec<Value> {
    let (status, text) = control(server, token, "GET", &Value::Null);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Waits until a server has a drill, or has none.
pub(crate) fn wait_for_drill(server: &Server, token: &str, is_wanted: bool) {
    let is_active = || drills(server, token).iter().any(|drill| drill["is_active"] == true);
    assert!(until(|| (is_active() == is_wanted).then_some(()), || false).is_some());
}

/// Sends SIGINT.
pub(crate) fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// Writes the table of times into `docs/drills.md`, with `UPDATE_EXPECT=1`.
pub(crate) fn document(table: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_none() {
        return;
    }
    let path: PathBuf = root().join("docs/drills.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, rest) = page.split_once("<!-- table -->\n").unwrap();
    let (_, end) = rest.split_once("<!-- end of table -->\n").unwrap();
    fs::write(&path, format!("{begin}<!-- table -->\n{table}<!-- end of table -->\n{end}")).unwrap();
}
