//! A client of Prometheus' HTTP API, for the queries of reports.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use wasmetry_ops::{Answer, RangeQuery};

use crate::client::Client;

/// The time for one query. Prometheus ends its own after two minutes.
const TIMEOUT: Duration = Duration::from_secs(130);

const ENDPOINT: &str = "/api/v1/query_range";

/// A Prometheus, or another server with its API.
#[derive(Debug)]
pub(super) struct Prometheus(Client);

impl Prometheus {
    /// Parses a URL, such as `http://127.0.0.1:9090` or one with a prefix of the path.
    pub(super) fn new(url: &str) -> Result<Self> {
        Client::new(("--prometheus", "a Prometheus", "http://127.0.0.1:9090"), url).map(Self)
    }

    /// Sends queries, one after another.
    pub(super) fn query(&self, queries: &[RangeQuery]) -> Result<Vec<Answer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        runtime.block_on(async {
            let mut answers = Vec::new();
            for query in queries {
                let place = || format!("--prometheus: cannot query {}", self.0.url);
                answers.push(self.send(query).await.with_context(place)?);
            }
            Ok(answers)
        })
    }

    async fn send(&self, query: &RangeQuery) -> Result<Answer> {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
        let (status, body) = self.0.send(Method::POST, ENDPOINT, headers, query.form(), TIMEOUT).await?;
        // A query that Prometheus refuses is answered with an error in JSON too.
        serde_json::from_slice(&body).map_err(|_| {
            let target = self.0.path(ENDPOINT);
            anyhow!("{target} answered with the status {status} and no result; check that it is a Prometheus")
        })
    }
}
