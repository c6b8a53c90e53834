//! A real Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use super::daemon::{self, Daemon, free_addresses};
use crate::tool::Tool;

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    daemon: Daemon,
    /// Its address as a URL, without a slash at its end.
    pub url: String,
    agent: Agent,
    _directory: tempfile::TempDir,
    _config: Option<tempfile::TempDir>,
}

impl Prometheus {
    /// Scrapes the address `target` every second with Debian's version 2.42. Returns `None` if it
    /// is not installed.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start(target: &str, flags: &[&str]) -> Option<Self> {
        Self::start_with_parameters(target, flags, "{}")
    }

    /// Scrapes as [`start`](Self::start) does, with these URL parameters, as YAML.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start_with_parameters(target: &str, flags: &[&str], parameters: &str) -> Option<Self> {
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: wasmetry\n  params: {parameters}\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        Some(Self::launch(Tool::Prometheus.find()?, &config, flags))
    }

    /// Starts the version 3 of `tests/backends` with a configuration. Returns `None` if it cannot
    /// be built.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start_3(config: &str, flags: &[&str]) -> Option<Self> {
        Some(Self::launch(super::built::program("prometheus", "prometheus")?, config, flags))
    }

    /// Starts the version 3 of `tests/backends` with a configuration in a file, beside which its
    /// rules are. Returns `None` if it cannot be built.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start_3_in(config: &Path, flags: &[&str]) -> Option<Self> {
        Some(Self::launch_with(super::built::program("prometheus", "prometheus")?, config, flags))
    }

    fn launch(program: PathBuf, config: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let path = directory.path().join("prometheus.yml");
        fs::write(&path, config).unwrap();
        Self { _config: Some(directory), ..Self::launch_with(program, &path, flags) }
    }

    fn launch_with(program: PathBuf, path: &Path, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let [addr] = free_addresses();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            .args(flags);
        let daemon = Daemon::start(&mut command, &directory.path().join("log"));
        Self { daemon, url: format!("http://{addr}"), agent: daemon::agent(), _directory: directory, _config: None }
    }

    /// Returns the lines of its log that are warnings or errors.
    pub fn warnings(&self) -> Vec<String> {
        let log = self.daemon.log();
        let is_warning = |line: &&str| line.contains("level=WARN") || line.contains("level=ERROR");
        log.lines().filter(is_warning).map(str::to_owned).collect()
    }

    /// Waits until it answers requests.
    ///
    /// # Panics
    ///
    /// Panics with its log after a minute.
    pub fn wait_until_ready(&mut self) {
        self.daemon.wait_for(&format!("{}/-/ready", self.url));
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

    /// Returns all series of an instant query, each with its labels. Returns `None` if Prometheus
    /// does not respond.
    ///
    /// # Panics
    ///
    /// Panics if Prometheus refuses the query.
    pub fn series(&self, query: &str) -> Option<Vec<Value>> {
        Some(self.request("query", &[("query", query)])?["result"].as_array()?.clone())
    }

    /// Requests an API path and returns the response's `data`.
    ///
    /// # Panics
    ///
    /// Panics if Prometheus refuses the request.
    pub fn request(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
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
