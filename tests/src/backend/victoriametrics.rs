//! VictoriaMetrics, a store of metrics that scrapes as Prometheus does.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use ureq::Agent;

use super::daemon::{self, Daemon, free_addresses};
use crate::exposition::Series;
use crate::tool::Tool;

/// A running VictoriaMetrics. Dropping it kills it.
pub struct VictoriaMetrics {
    daemon: Daemon,
    agent: Agent,
    addr: SocketAddr,
    _directory: tempfile::TempDir,
}

impl VictoriaMetrics {
    /// Starts it with a scrape configuration. Returns `None` if it is not installed.
    ///
    /// # Panics
    ///
    /// Panics with its log if it does not start.
    pub fn start(scrape_config: &str) -> Option<Self> {
        let program = Tool::VictoriaMetrics.find()?;
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let config = directory.path().join("scrape.yml");
        fs::write(&config, scrape_config).unwrap();
        let [addr] = free_addresses();
        let mut command = Command::new(program);
        command
            .arg(format!("-httpListenAddr={addr}"))
            .arg(format!("-storageDataPath={}", directory.path().join("data").display()))
            .arg(format!("-promscrape.config={}", config.display()))
            // Otherwise a query does not see the latest samples.
            .args(["-search.latencyOffset=0s", "-search.disableCache", "-promscrape.httpSDCheckInterval=1s"]);
        let mut daemon = Daemon::start(&mut command, &directory.path().join("log"));
        daemon.wait_for(&format!("http://{addr}/health"));
        Some(Self { daemon, agent: daemon::agent(), addr, _directory: directory })
    }

    /// Returns the series that a query selects, without the labels `job` and `instance`, each with
    /// its value.
    ///
    /// # Panics
    ///
    /// Panics if the query is refused.
    pub fn query(&self, query: &str) -> BTreeMap<Series, f64> {
        let url = format!("http://{}/api/v1/query", self.addr);
        let mut response = self.agent.get(&url).query("query", query).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(body["status"], "success", "{query}: {text}");
        let entry = |series: &Value| {
            let metric = series["metric"].as_object().unwrap().iter();
            let mut labels: BTreeMap<String, String> = metric
                .filter(|(key, _)| !["job", "instance"].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            let name = labels.remove("__name__").unwrap_or_default();
            if let Some(le) = labels.get_mut("le") {
                *le = le.parse::<f64>().unwrap().to_string();
            }
            ((name, labels), series["value"][1].as_str().unwrap().parse().unwrap())
        };
        body["data"]["result"].as_array().unwrap().iter().map(entry).collect()
    }

    /// Repeats a query until `is_done` returns `true` for its result, and returns it.
    ///
    /// # Panics
    ///
    /// Panics with the result and the log after a minute.
    pub fn query_until(&self, query: &str, is_done: impl Fn(&BTreeMap<Series, f64>) -> bool) -> BTreeMap<Series, f64> {
        let found = daemon::until(|| Some(self.query(query)).filter(&is_done), || false);
        found.unwrap_or_else(|| panic!("{query} returns {:#?}; its log: {}", self.query(query), self.daemon.log()))
    }
}
