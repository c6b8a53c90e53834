//! A real Alertmanager.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use ureq::Agent;

use super::daemon::{self, Daemon};

/// A running Alertmanager. Dropping it kills it.
pub struct Alertmanager {
    daemon: Daemon,
    /// Its address as a URL, without a slash at its end.
    pub url: String,
    agent: Agent,
}

/// An alert that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveAlert {
    /// The label `alertname`.
    pub name: String,
    /// `true` if another alert inhibits it.
    pub is_inhibited: bool,
}

impl Alertmanager {
    /// Starts the one of `tests/backends` on an address, with the file `alertmanager.yml` of a
    /// directory. Returns `None` if it cannot be built.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start(directory: &Path, address: SocketAddr) -> Option<Self> {
        let mut command = Command::new(super::built::program("alertmanager", "alertmanager")?);
        command
            .args(["--config.file=alertmanager.yml", "--storage.path=alertmanager-data", "--cluster.listen-address="])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory);
        let mut daemon = Daemon::start(&mut command, &directory.join("alertmanager.log"));
        let url = format!("http://{address}");
        daemon.wait_for(&format!("{url}/-/ready"));
        Some(Self { daemon, url, agent: daemon::agent() })
    }

    /// Returns the alerts that it has. Returns `None` if it does not respond.
    ///
    /// # Panics
    ///
    /// Panics if the answer has no alerts.
    pub fn alerts(&self) -> Option<Vec<ActiveAlert>> {
        alerts(&self.agent, &self.url)
    }

    /// Waits until its alerts are as expected.
    ///
    /// # Panics
    ///
    /// Panics with its log after a minute.
    pub fn wait(&mut self, what: &str, is_expected: impl Fn(&[ActiveAlert]) -> bool) {
        let Self { daemon, url, agent } = self;
        daemon.wait(what, || alerts(agent, url).filter(|alerts| is_expected(alerts)));
    }
}

fn alerts(agent: &Agent, url: &str) -> Option<Vec<ActiveAlert>> {
    let mut response = agent.get(format!("{url}/api/v2/alerts")).call().ok()?;
    let body: Value = serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()?;
    let alert = |alert: &Value| ActiveAlert {
        name: alert["labels"]["alertname"].as_str().unwrap().to_owned(),
        is_inhibited: !alert["status"]["inhibitedBy"].as_array().unwrap().is_empty(),
    };
    Some(body.as_array().expect("a list of alerts").iter().map(alert).collect())
}
