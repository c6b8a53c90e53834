//! The control endpoint of the process that is drilled.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use wasmetry_export::scrape::{Drill, Lease};

use crate::client::Client;
use crate::flag::token;
use crate::text;

const ENDPOINT: &str = "/drill";

/// The time for one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A `wasmetry serve`.
pub(super) struct Process {
    client: Client,
    authorization: HeaderValue,
}

impl Process {
    /// Parses the URL of a telemetry endpoint, and reads the token.
    pub(super) fn new(url: &str, token_file: &Path) -> Result<Self> {
        let client = super::client("--telemetry", "a telemetry endpoint", "http://127.0.0.1:9464", url)?;
        let authorization = token::read("--token-file", token_file)?.authorization();
        Ok(Self { client, authorization })
    }

    /// Returns the alerts and their drills.
    pub(super) async fn drills(&self) -> Result<Vec<Drill>> {
        self.send(Method::GET, Bytes::new()).await
    }

    /// Starts a drill or renews its lease.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<Drill> {
        self.send(Method::PUT, serde_json::to_vec(lease)?).await
    }

    /// Ends a drill.
    pub(super) async fn end(&self, alert: &str) -> Result<Drill> {
        self.send(Method::DELETE, serde_json::json!({ "alert": alert }).to_string()).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, body: impl Into<Bytes>) -> Result<T> {
        let url = &self.client.url;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, self.authorization.clone())]);
        let answer = self.client.send(method, ENDPOINT, headers, body, TIMEOUT).await;
        let (status, body) = answer.with_context(|| format!("--telemetry: cannot reach {url}"))?;
        let reason = || text::line(&String::from_utf8_lossy(&body));
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_| {
                anyhow!("--telemetry: {url} answers something else; check that it is a telemetry endpoint")
            }),
            StatusCode::UNAUTHORIZED => {
                bail!("--token-file: {url} refuses the token; give that of its --telemetry-token-file")
            }
            StatusCode::FORBIDDEN => bail!("--telemetry: {url}: {}", reason()),
            StatusCode::CONFLICT | StatusCode::BAD_REQUEST => bail!("{}", reason()),
            _ => bail!("--telemetry: {url} answers with {}: {}", status.as_u16(), reason()),
        }
    }
}
