//! Addresses, URLs and paths in the table `[ops]`.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::text;

/// Returns what is after the scheme of an HTTP URL, if it has a host and no space or control
/// character.
fn after_scheme(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let host = rest.split(['/', '?', '#']).next()?;
    let is_valid = !host.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    is_valid.then_some(rest)
}

/// Reads the URL of a service. It is written into configurations that expand variables.
pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = text(deserializer)?;
    if after_scheme(&url).is_some_and(|rest| !rest.contains(|c| "\"<>\\^`{}|$".contains(c))) {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    Err(D::Error::custom("expected a URL, such as `http://127.0.0.1:3100`"))
}

pub(super) fn optional_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    url(deserializer).map(Some)
}

/// Reads the URL of a page. It is only shown to people.
pub(super) fn optional_link<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let link = text(deserializer)?;
    if after_scheme(&link).is_some() {
        return Ok(Some(link));
    }
    Err(D::Error::custom("expected the URL of a page, such as `https://grafana.example.com/d/shop`"))
}

/// Returns `true` if `address` is a host and a port, as in `10.0.0.7:9464` or `[::1]:9464`.
fn has_host_and_port(address: &str) -> bool {
    let is_host = |host: &str| match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)),
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

pub(super) fn host_and_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let address = text(deserializer)?;
    if has_host_and_port(&address) {
        return Ok(address);
    }
    Err(D::Error::custom("expected a host and its port, such as `localhost:25` or `jaeger:4317`"))
}

/// Reads addresses as Prometheus takes them: without a scheme and without a path.
pub(super) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let addresses = Vec::<String>::deserialize(deserializer)?;
    match addresses.iter().find(|address| !has_host_and_port(address)) {
        None => Ok(addresses),
        Some(address) => Err(D::Error::custom(format_args!(
            "expected hosts and their ports, such as `[\"10.0.0.7:9464\"]`, not `{}`",
            shown(address)
        ))),
    }
}

/// Reads patterns of files that Prometheus' file discovery accepts: `*` stands in the last part
/// only, and the extension names the format.
pub(super) fn target_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let files = Vec::<String>::deserialize(deserializer)?;
    let is_valid = |file: &String| {
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        let stem = [".yml", ".yaml", ".json"].iter().find_map(|extension| name.strip_suffix(extension));
        stem.is_some_and(|stem| !stem.is_empty() && stem.matches('*').count() <= 1)
            && !folder.contains('*')
            && !file.chars().any(char::is_control)
    };
    match files.iter().find(|file| !is_valid(file)) {
        None => Ok(files),
        Some(file) => Err(D::Error::custom(format_args!(
            "expected files that end with `.yml`, `.yaml` or `.json`, such as `[\"/etc/prometheus/targets/*.yml\"]`, \
             not `{}`",
            shown(file)
        ))),
    }
}

fn shown(text: &str) -> String {
    text.escape_debug().take(100).collect()
}
