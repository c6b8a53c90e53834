//! Jaeger, a real store of traces with its query API.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use ureq::Agent;

use super::built;
use super::daemon::{self, Daemon, free_addresses};

/// A running Jaeger, whose spans are on disk before they are acknowledged. Dropping it kills it.
pub struct Jaeger {
    daemon: Option<Daemon>,
    agent: Agent,
    query: SocketAddr,
    /// The address of OTLP over gRPC.
    pub grpc: SocketAddr,
    /// The address of OTLP over HTTP.
    pub http: SocketAddr,
    /// The URL that takes Zipkin's spans.
    pub zipkin: String,
    directory: tempfile::TempDir,
}

impl Jaeger {
    /// Starts it on free loopback ports. Returns `None` if it cannot be built.
    ///
    /// # Panics
    ///
    /// Panics with its log if it does not start.
    pub fn start() -> Option<Self> {
        built::program("jaeger", "jaeger")?;
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let [query, query_grpc, grpc, http, zipkin] = free_addresses();
        let storage = directory.path().display();
        // Without a batch processor, a request is answered when its spans are stored.
        let config = format!(
            "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp, zipkin], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
extensions:
  jaeger_query:
    storage: {{traces: spans}}
    http: {{endpoint: '{query}'}}
    grpc: {{endpoint: '{query_grpc}'}}
  jaeger_storage:
    backends:
      spans: {{badger: {{directories: {{keys: '{storage}/keys', values: '{storage}/values'}}, ephemeral: false}}}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '{grpc}'}}, http: {{endpoint: '{http}'}}}}}}
  zipkin: {{endpoint: '{zipkin}'}}
exporters:
  jaeger_storage_exporter: {{trace_storage: spans}}
"
        );
        fs::write(directory.path().join("config.yaml"), config).unwrap();
        let zipkin = format!("http://{zipkin}/api/v2/spans");
        let mut started = Self { daemon: None, agent: daemon::agent(), query, grpc, http, zipkin, directory };
        started.launch();
        Some(started)
    }

    fn launch(&mut self) {
        let program = built::program("jaeger", "jaeger").expect("it was built before");
        let path = |name| self.directory.path().join(name);
        let mut command = Command::new(program);
        command.arg("--config").arg(path("config.yaml"));
        let mut daemon = Daemon::start(&mut command, &path("log"));
        daemon.wait_for(&format!("http://{}/api/services", self.query));
        self.daemon = Some(daemon);
    }

    /// Stops it and starts it again, with the same addresses and storage.
    ///
    /// # Panics
    ///
    /// Panics with its log if it does not stop or start.
    pub fn restart(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        self.launch();
    }

    /// Returns the address of a transport, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    pub fn endpoint(&self, protocol: &str) -> String {
        format!("http://{}", if protocol == "grpc" { self.grpc } else { self.http })
    }

    /// Requests a path of the query API and returns the `data` of its response. Returns `None` if
    /// there is none.
    pub fn request(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = format!("http://{}/api/{path}", self.query);
        let mut response = self.agent.get(&url).query_pairs(parameters.iter().copied()).call().ok()?;
        let mut body: Value =
            serde_json::from_reader(response.body_mut().with_config().limit(1 << 30).reader()).ok()?;
        Some(body["data"].take()).filter(|data| !data.is_null())
    }

    /// Returns a stored trace.
    pub fn trace(&self, id: &str) -> Option<Trace> {
        self.request(&format!("traces/{id}"), &[])?.as_array_mut()?.first_mut().map(|trace| Trace(trace.take()))
    }

    /// Waits for a trace of at least `spans` spans.
    ///
    /// # Panics
    ///
    /// Panics with the trace that it has after a minute.
    pub fn wait_for_trace(&self, id: &str, spans: usize) -> Trace {
        let found = daemon::until(|| self.trace(id).filter(|trace| trace.spans().len() >= spans), || false);
        found.unwrap_or_else(|| panic!("{id} has less than {spans} spans: {:#?}", self.trace(id)))
    }

    /// Searches traces; `parameters` are those of the query API.
    ///
    /// # Panics
    ///
    /// Panics if it does not answer.
    pub fn search(&self, parameters: &[(&str, &str)]) -> Vec<Trace> {
        let found = self.request("traces", parameters).unwrap_or_else(|| panic!("no answer to {parameters:?}"));
        found.as_array().unwrap().iter().cloned().map(Trace).collect()
    }

    /// Returns its log, which has warnings and errors only.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// A trace as the query API returns it.
#[derive(Clone, Debug)]
pub struct Trace(pub Value);

impl Trace {
    /// Returns its id.
    pub fn id(&self) -> &str {
        self.0["traceID"].as_str().unwrap()
    }

    /// Returns its spans, in the order of their start.
    pub fn spans(&self) -> Vec<Span<'_>> {
        let mut spans: Vec<_> =
            self.0["spans"].as_array().unwrap().iter().map(|span| Span { trace: &self.0, span }).collect();
        spans.sort_by_key(|span| span.times().0);
        spans
    }

    /// Returns the only span of a name.
    ///
    /// # Panics
    ///
    /// Panics if there is none or more than one.
    pub fn span(&self, name: &str) -> Span<'_> {
        let named: Vec<_> = self.spans().into_iter().filter(|span| span.name() == name).collect();
        let [span] = named[..] else { panic!("{} spans are named {name}: {:#}", named.len(), self.0) };
        span
    }
}

/// A span as the query API returns it.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    trace: &'a Value,
    span: &'a Value,
}

impl<'a> Span<'a> {
    /// Returns its name.
    pub fn name(self) -> &'a str {
        self.span["operationName"].as_str().unwrap()
    }

    /// Returns its id.
    pub fn id(self) -> &'a str {
        self.span["spanID"].as_str().unwrap()
    }

    /// Returns the name of its service.
    pub fn service(self) -> &'a str {
        self.process()["serviceName"].as_str().unwrap()
    }

    /// Returns an attribute of its resource as a text.
    pub fn resource(self, key: &str) -> Option<String> {
        value(&self.process()["tags"], key)
    }

    /// Returns a tag as a text: an attribute, or a field without a place of its own, such as
    /// `span.kind`.
    pub fn tag(self, key: &str) -> Option<String> {
        value(&self.span["tags"], key)
    }

    /// Returns the id of its parent.
    pub fn parent(self) -> Option<&'a str> {
        self.references("CHILD_OF").first().map(|of| of["spanID"].as_str().unwrap())
    }

    /// Returns its references of a type: `CHILD_OF`, or `FOLLOWS_FROM` for links.
    pub fn references(self, kind: &str) -> Vec<&'a Value> {
        let references = self.span["references"].as_array().into_iter().flatten();
        references.filter(|of| of["refType"] == kind).collect()
    }

    /// Returns its start and its end, in microseconds.
    pub fn times(self) -> (u64, u64) {
        let start = self.span["startTime"].as_u64().unwrap();
        (start, start + self.span["duration"].as_u64().unwrap())
    }

    /// Returns its events, each with its time in microseconds and its fields.
    pub fn events(self) -> Vec<(u64, &'a Value)> {
        let logs = self.span["logs"].as_array().into_iter().flatten();
        logs.map(|log| (log["timestamp"].as_u64().unwrap(), &log["fields"])).collect()
    }

    fn process(self) -> &'a Value {
        &self.trace["processes"][self.span["processID"].as_str().unwrap()]
    }
}

/// Returns the value of a key in a list of Jaeger's key-value pairs, as a text.
pub fn value(pairs: &Value, key: &str) -> Option<String> {
    let pair = pairs.as_array()?.iter().find(|pair| pair["key"] == key)?;
    Some(match &pair["value"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}
