//! A real Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use crate::tool::Tool;

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    child: Child,
    url: String,
    agent: Agent,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes the address `target` every second. Returns `None` if Prometheus is not installed.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start(target: &str, flags: &[&str]) -> Option<Self> {
        Self::start_with_parameters(target, flags, "{}")
    }

    /// Scrapes with these URL parameters, as YAML. Returns `None` if Prometheus is not installed.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start_with_parameters(target: &str, flags: &[&str], parameters: &str) -> Option<Self> {
        let program = Tool::Prometheus.find()?;
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let config = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: wasmetry\n  params: {parameters}\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, text).unwrap();
        // Prometheus cannot choose a free port itself.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let timeout = Some(Duration::from_secs(20));
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(timeout).build().into();
        Some(Self { child, url: format!("http://127.0.0.1:{port}"), agent, _directory: directory })
    }

    /// Returns the result of an instant query, by the values of one label. Returns `None` if
    /// Prometheus does not respond.
    ///
    /// # Panics
    ///
    /// Panics if Prometheus refuses the query.
    pub fn query(&self, query: &str, label: &str) -> Option<BTreeMap<String, f64>> {
        let data = self.request("query", &[("query", query)])?;
        let result = data["result"].as_array().unwrap();
        let entry = |series: &Value| {
            let value = series["value"][1].as_str().unwrap().parse().unwrap();
            (series["metric"][label].as_str().unwrap_or_default().to_owned(), value)
        };
        Some(result.iter().map(entry).collect())
    }

    /// Returns the exemplars of the series that a query selects, each with the labels of its
    /// series. Returns `None` if Prometheus does not respond.
    ///
    /// # Panics
    ///
    /// Panics if Prometheus refuses the query.
    pub fn exemplars(&self, query: &str) -> Option<Vec<(Value, Value)>> {
        let data = self.request("query_exemplars", &[("query", query), ("start", "0"), ("end", "9999999999")])?;
        let of = |series: &Value| -> Vec<_> {
            let exemplars = series["exemplars"].as_array().unwrap().iter();
            exemplars.map(|exemplar| (series["seriesLabels"].clone(), exemplar.clone())).collect()
        };
        Some(data.as_array()?.iter().flat_map(of).collect())
    }

    /// Requests an API path and returns the response's `data`.
    fn request(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let mut response = self.agent.get(&url).query_pairs(parameters.iter().copied()).call().ok()?;
        let mut body: Value = serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?;
        assert_eq!(body["status"], "success", "{parameters:?}: {body}");
        Some(body["data"].take())
    }

    /// Repeats an instant query until `done` returns `true`, and returns the last result.
    ///
    /// # Panics
    ///
    /// Panics with the last result after a minute.
    pub fn query_until(
        &self,
        query: &str,
        label: &str,
        done: impl Fn(&BTreeMap<String, f64>) -> bool,
    ) -> BTreeMap<String, f64> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let result = self.query(query, label);
            if let Some(result) = result.as_ref().filter(|result| done(result)) {
                return result.clone();
            }
            assert!(Instant::now() < end, "{query} returns {result:?}");
            thread::yield_now();
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
