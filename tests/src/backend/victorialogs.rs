//! VictoriaLogs, a store of logs that takes Loki's push requests. It is not Loki.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use ureq::Agent;

use super::built;
use super::daemon::{self, Daemon, free_addresses};

/// A running VictoriaLogs. Dropping it kills it.
pub struct VictoriaLogs {
    daemon: Daemon,
    agent: Agent,
    addr: SocketAddr,
    _directory: tempfile::TempDir,
}

impl VictoriaLogs {
    /// Starts it on a free loopback port. Returns `None` if it cannot be built.
    ///
    /// # Panics
    ///
    /// Panics with its log if it does not start.
    pub fn start() -> Option<Self> {
        let program = built::program("victorialogs", "victoria-logs")?;
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let [addr] = free_addresses();
        let mut command = Command::new(program);
        command
            .arg(format!("-httpListenAddr={addr}"))
            .arg(format!("-storageDataPath={}", directory.path().join("data").display()))
            // Otherwise a message that is JSON would be taken apart.
            .arg("-loki.disableMessageParsing")
            .arg("-retentionPeriod=100y");
        let mut daemon = Daemon::start(&mut command, &directory.path().join("log"));
        daemon.wait_for(&format!("http://{addr}/health"));
        Some(Self { daemon, agent: daemon::agent(), addr, _directory: directory })
    }

    /// Returns the value of `WASMETRY_LOKI_ENDPOINT`, to which Loki's path is added.
    pub fn endpoint(&self) -> String {
        format!("http://{}/insert", self.addr)
    }

    /// Returns the records of a tenant that a query of LogsQL selects, each with its fields.
    ///
    /// # Panics
    ///
    /// Panics if the query is refused.
    pub fn query(&self, tenant: &str, query: &str) -> Vec<Value> {
        let url = format!("http://{}/select/logsql/query", self.addr);
        let request = self.agent.get(&url).query("query", query).query("limit", "100000");
        let mut response = request.header("AccountID", tenant).call().unwrap();
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
        assert_eq!(response.status(), 200, "{query}: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until a query selects `count` records, and returns them. Records can be found a moment
    /// after they were received.
    ///
    /// # Panics
    ///
    /// Panics with the records and the log after a minute.
    pub fn wait(&self, tenant: &str, query: &str, count: usize) -> Vec<Value> {
        let found = daemon::until(|| Some(self.query(tenant, query)).filter(|found| found.len() == count), || false);
        found
            .unwrap_or_else(|| panic!("{query} finds {:#?}; its log: {}", self.query(tenant, query), self.daemon.log()))
    }
}
