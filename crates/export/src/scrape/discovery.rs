//! Discovery: the addresses that Prometheus scrapes, for its `http_sd_configs`.

use std::fmt;
use std::str::FromStr;

/// The address of a telemetry endpoint, as Prometheus reaches it: a host and a port.
///
/// ```
/// use wasmetry_export::scrape::Target;
///
/// let target: Target = "shop-1.example.org:9464".parse()?;
/// assert_eq!(target.to_string(), "shop-1.example.org:9464");
/// assert!("shop-1.example.org".parse::<Target>().is_err());
/// # Ok::<(), wasmetry_export::scrape::InvalidTarget>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a [`Target`] that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTarget(String);

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.escape_debug().take(100).collect();
        write!(
            f,
            "`{shown}` is no address; write a host and a port: `10.0.0.7:9464`, `shop-1.example.org:9464` or `[::1]:9464`"
        )
    }
}

impl std::error::Error for InvalidTarget {}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let is_host = |host: &str| {
            let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            match address {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => {
                    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                    (1..=253).contains(&host.len()) && host.chars().all(is_allowed)
                }
            }
        };
        let is_port = |port: &str| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && is_port(port) => Ok(Self(text.to_owned())),
            _ => Err(InvalidTarget(text.to_owned())),
        }
    }
}

/// Returns the response to `/sd`, of Prometheus' HTTP service discovery. A target has no character
/// that JSON escapes.
pub(super) fn json(targets: &[Target]) -> String {
    let quoted: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!("[{{\"targets\":[{}],\"labels\":{{}}}}]\n", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_with_ports() {
        for text in ["127.0.0.1:1", "[::1]:65535", "a_b-c.d:80"] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", ":80", "a", "a:0", "a:65536", "::1:80", "[x]:80", "a/b:80", "a\":80", "a:+80", "http://a:80", "a b:80"]
        {
            assert_eq!(text.parse::<Target>(), Err(InvalidTarget(text.to_owned())));
        }
    }

    #[test]
    fn discovery_is_json() {
        let targets = ["a:1", "[::1]:2"].map(|text| text.parse().unwrap());
        assert_eq!(json(&targets), "[{\"targets\":[\"a:1\",\"[::1]:2\"],\"labels\":{}}]\n");
    }
}
