//! Alertmanager's API: the alerts that it has.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Deserialize;
use wasmetry_export::scrape::Drill;

use crate::client::Client;

/// Alerts that fire, also those that are silenced or inhibited.
///
/// Source: the OpenAPI document of Alertmanager's API, version 2.
const ENDPOINT: &str = "/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true";

/// The time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An Alertmanager.
pub(super) struct Alertmanager(Client);

/// An alert that fires.
#[derive(Debug, Deserialize)]
pub(super) struct Alert {
    labels: BTreeMap<String, String>,
}

impl Alertmanager {
    /// Parses a URL.
    pub(super) fn new(url: &str) -> Result<Self> {
        super::client("--alertmanager", "an Alertmanager", "http://127.0.0.1:9093", url).map(Self)
    }

    /// Returns the alerts that fire.
    pub(super) async fn alerts(&self) -> Result<Vec<Alert>> {
        let url = &self.0.url;
        let answer = self.0.send(Method::GET, ENDPOINT, HeaderMap::new(), Bytes::new(), TIMEOUT).await;
        let (status, body) = answer.with_context(|| format!("--alertmanager: cannot reach {url}"))?;
        serde_json::from_slice(&body).map_err(|_| {
            anyhow!(
                "--alertmanager: {url} answers with the status {status} and no alerts; check that it is an Alertmanager"
            )
        })
    }
}

impl Alert {
    /// Returns `true` if it is the alert of a drill, on the same component and tenant.
    pub(super) fn is_of(&self, drill: &Drill) -> bool {
        let is = |label: &str, value: &str| value.is_empty() || self.labels.get(label).is_some_and(|of| of == value);
        is("alertname", &drill.alert) && is("component", &drill.component) && is("tenant", &drill.tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_match_by_labels() {
        let parsed: Vec<Alert> = serde_json::from_str(
            r#"[{"labels": {"alertname": "A", "component": "shop", "tenant": "acme"}, "status": {"state": "active"}}]"#,
        )
        .unwrap();
        let drill = |alert: &str, component: &str, tenant: &str| Drill {
            alert: alert.to_owned(),
            component: component.to_owned(),
            tenant: tenant.to_owned(),
            ..Drill::default()
        };
        let cases =
            [("A", "shop", "acme", true), ("A", "", "", true), ("A", "shop", "other", false), ("B", "", "", false)];
        for (alert, component, tenant, expected) in cases {
            assert_eq!(parsed[0].is_of(&drill(alert, component, tenant)), expected);
        }
    }
}
