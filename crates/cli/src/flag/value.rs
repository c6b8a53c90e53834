//! The values of flags and of the configuration: durations, sizes, addresses, levels.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use wasmetry_export::scrape::{InvalidTarget, Target};
use wasmetry_host::record::Level;
use wasmetry_host::{AccessLog, Filter};

use crate::guest::limits;
use crate::guest::outgoing::policy::{Allowed, Propagated};

/// The longest duration of a flag. A longer one is surely a slip, and timers overflow far above.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses a duration with a unit, such as `30s`.
pub(crate) fn duration(value: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(value)
        .map_err(|_| "expected a number with a unit, such as `30s`, `200ms` or `1m`".to_owned())?;
    match duration {
        Duration::ZERO => Err("it must be longer than zero".to_owned()),
        long if long > MAX_DURATION => Err("it must be at most `24h`".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses a size in bytes, such as `64MiB` or `65536`.
pub(crate) fn size(value: &str) -> Result<u64, String> {
    let size: ByteSize =
        value.parse().map_err(|_| "expected bytes or a number with a unit, such as `64MiB` or `65536`".to_owned())?;
    match size.as_u64() {
        0 => Err("it must be greater than zero".to_owned()),
        size => Ok(size),
    }
}

/// Parses a limit of linear memory: a size from one page to all of the address space.
pub(crate) fn memory(value: &str) -> Result<u64, String> {
    let bytes = size(value)?;
    if bytes < limits::WASM_PAGE {
        return Err("it must be at least one page, `64KiB`".to_owned());
    }
    if bytes > limits::MAX_MEMORY {
        return Err("it must be at most `4GiB`, which is all that a 32-bit component can address".to_owned());
    }
    Ok(bytes)
}

/// Parses the memory of the console.
pub(crate) fn console_memory(value: &str) -> Result<usize, String> {
    let bytes = usize::try_from(size(value)?).unwrap_or(usize::MAX);
    if !(wasmetry_console::limits::MIN_MEMORY..=wasmetry_console::limits::MAX_MEMORY).contains(&bytes) {
        return Err("it must be from `1MiB` to `4GiB`; `--no-console` switches the console off".to_owned());
    }
    Ok(bytes)
}

/// Parses an address to listen on.
pub(crate) fn address(value: &str) -> Result<SocketAddr, String> {
    let numeric = match value.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => value.to_owned(),
    };
    numeric.parse().map_err(|_| {
        "expected an IP address and a port, such as `127.0.0.1:8080`, `[::1]:8080` or `0.0.0.0:0`".to_owned()
    })
}

/// Parses a destination that an untrusted guest may connect to.
pub(crate) fn allowed(value: &str) -> Result<Allowed, String> {
    value.parse()
}

/// Parses a host that gets the baggage of clients.
pub(crate) fn propagated(value: &str) -> Result<Propagated, String> {
    value.parse()
}

/// Parses a host name without a port.
pub(crate) fn host_name(value: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=253).contains(&value.len()) && value.chars().all(is_allowed) {
        return Ok(value.to_owned());
    }
    Err("expected a host name without a scheme and a port, such as `shop-1.example.org`".to_owned())
}

/// Parses the address of a telemetry endpoint, as others reach it.
pub(crate) fn target(value: &str) -> Result<Target, String> {
    value.parse().map_err(|error: InvalidTarget| error.to_string())
}

/// Checks the URL of a collector. Its text is kept, since the exporter parses it.
pub(crate) fn collector(value: &str) -> Result<String, String> {
    let url: Option<http::Uri> = value.parse().ok();
    let is_http = url.as_ref().and_then(http::Uri::scheme_str).is_some_and(|scheme| matches!(scheme, "http" | "https"));
    let authority = url.as_ref().and_then(http::Uri::authority);
    if !is_http || authority.is_none_or(|authority| authority.host().is_empty()) || value.contains('#') {
        return Err("expected a URL of http or https, such as `http://127.0.0.1:4318`".to_owned());
    }
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(
            "user and password are not accepted in a URL; set OTEL_EXPORTER_OTLP_HEADERS=authorization=…".to_owned()
        );
    }
    Ok(value.to_owned())
}

/// Parses a filter of levels, such as `warn,shop::cart=debug`.
pub(crate) fn filter(value: &str) -> Result<Filter, String> {
    value.parse().map_err(|error: wasmetry_host::InvalidFilter| error.to_string())
}

/// Parses a selection of the access log.
pub(crate) fn access_log(value: &str) -> Result<AccessLog, String> {
    value.parse().map_err(|error: wasmetry_host::InvalidAccessLog| error.to_string())
}

/// Parses a level.
pub(crate) fn level(value: &str) -> Result<Level, String> {
    let known = |level: &Level| level.name().eq_ignore_ascii_case(value);
    let expected = "expected `off`, `error`, `warn`, `info`, `debug` or `trace`";
    Level::ALL.into_iter().find(known).ok_or_else(|| expected.to_owned())
}

/// Parses an environment variable for the guest. A name alone stands for the variable of this
/// process, by which a secret need not be on the command line.
pub(crate) fn variable(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        None if !value.is_empty() => match std::env::var(value) {
            Ok(inherited) => Ok((value.to_owned(), inherited)),
            Err(_) => Err("expected `NAME=VALUE`, or the name of a variable that this process has".to_owned()),
        },
        _ => Err("expected `NAME=VALUE`".to_owned()),
    }
}

/// The longest value of an identity label, in bytes.
const MAX_LABEL: usize = 128;

/// Checks the value of an identity label.
pub(crate) fn label(value: &str) -> Result<String, String> {
    if value.trim().is_empty() {
        return Err("it must not be empty".to_owned());
    }
    if value.len() > MAX_LABEL || value.chars().any(char::is_control) {
        return Err(format!("it must have at most {MAX_LABEL} bytes and no control characters"));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86400)));
        for wrong in ["", "abc", "30", "s", "-1s", "0s", "0ms", "1e9s", "25h", "99999999999999999999s", "NaNs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("1 kB"), Ok(1000));
        for wrong in ["", "abc", "MiB", "-1", "0", "0MiB", "64 bananas"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("127.0.0.1:8080"), Ok(([127, 0, 0, 1], 8080).into()));
        assert_eq!(address("localhost:0"), Ok(([127, 0, 0, 1], 0).into()));
        assert!(address("[::1]:80").is_ok());
        for wrong in ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:99999", "example.org:80", "http://127.0.0.1:80"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
        assert!(variable("NO_SUCH_VARIABLE_HERE").is_err());
        assert_eq!(variable("PATH"), Ok(("PATH".to_owned(), std::env::var("PATH").unwrap())));
        assert!(variable("=b").is_err());
    }

    #[test]
    fn labels() {
        assert_eq!(label("storefront"), Ok("storefront".to_owned()));
        assert!(label(" ").is_err());
        assert!(label("a\nb").is_err());
        assert!(label(&"x".repeat(129)).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(memory("64KiB"), Ok(65536));
        assert_eq!(memory("4GiB"), Ok(1 << 32));
        assert!(memory("1").is_err());
        assert!(memory("5GiB").is_err());
    }
}
