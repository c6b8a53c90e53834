//! Requests to the service, where it has too few of its own.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::client::Client;

/// The time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most requests in progress. More are not sent, as a slow service takes no more.
const IN_PROGRESS: usize = 256;

/// A service that receives requests.
pub(super) struct Traffic {
    client: Client,
    interval: Duration,
}

/// Requests that are sent until this is dropped.
pub(super) struct Sending(JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Traffic {
    /// Parses the URL of a service.
    pub(super) fn new(url: &str, rate: u32) -> Result<Self> {
        let client = super::client("--traffic", "a service", "http://127.0.0.1:8080", url)?;
        Ok(Self { client, interval: Duration::from_secs(1) / rate.max(1) })
    }

    /// Sends requests at the rate, to the path of the URL, or else to a route.
    pub(super) fn send(&self, route: &str) -> Sending {
        let client = self.client.clone();
        let path = match (client.path("").is_empty(), route.starts_with('/')) {
            (true, true) => route.to_owned(),
            (true, false) => "/".to_owned(),
            (false, _) => String::new(),
        };
        let mut interval = tokio::time::interval(self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Sending(tokio::spawn(async move {
            let mut requests = JoinSet::new();
            loop {
                interval.tick().await;
                while requests.try_join_next().is_some() {}
                if requests.len() < IN_PROGRESS {
                    let (client, path) = (client.clone(), path.clone());
                    // A request that fails is what the drill is about.
                    requests.spawn(async move {
                        let _ = client.send(Method::GET, &path, HeaderMap::new(), Bytes::new(), TIMEOUT).await;
                    });
                }
            }
        }))
    }
}
