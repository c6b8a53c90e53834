//! The configuration file, `wasmetry.toml`: its keys, and the positions of its values for errors.
//!
//! [`plan`] resolves a configuration to complete values; [`route`] has the hosts and prefixes.

pub(super) mod plan;
pub(super) mod route;
mod value;
pub(super) mod watched_file;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Deserialize;
use toml::Spanned;
use wasmetry_host::record::Level;
use wasmetry_host::{AccessLog, Filter};

use route::{Host, Prefix};
use value::{Environment, OneOrMore};

/// A configuration as it is written; each value has been checked by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    #[serde(default, deserialize_with = "value::address")]
    pub(super) addr: Option<Spanned<SocketAddr>>,
    #[serde(default, deserialize_with = "value::address")]
    pub(super) telemetry_addr: Option<Spanned<SocketAddr>>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) shutdown_timeout: Option<Duration>,
    #[serde(default)]
    pub(super) defaults: Defaults,
    #[serde(default)]
    pub(super) component: Vec<Spanned<Component>>,
    /// Read by `wasmetry ops` only.
    #[serde(default)]
    pub(super) ops: wasmetry_ops::Settings,
}

/// The values of components that do not set their own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Defaults {
    #[serde(default, deserialize_with = "value::label")]
    pub(super) tenant: Option<String>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) request_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "value::memory")]
    pub(super) max_memory: Option<u64>,
    #[serde(default, deserialize_with = "value::concurrency")]
    pub(super) max_concurrent_requests: Option<u32>,
    #[serde(default, deserialize_with = "value::count")]
    pub(super) max_waiting_requests: Option<usize>,
    #[serde(default, deserialize_with = "value::filter")]
    pub(super) log_level: Option<Filter>,
    #[serde(default, deserialize_with = "value::level")]
    pub(super) record_level: Option<Level>,
    pub(super) keep_failed: Option<bool>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) keep_slow: Option<Duration>,
    #[serde(default, deserialize_with = "value::access_log")]
    pub(super) access_log: Option<AccessLog>,
    pub(super) redact_query_parameters: Option<Vec<String>>,
    #[serde(default)]
    pub(super) env: Environment,
}

/// One component and its mounts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Component {
    pub(super) path: Option<Spanned<PathBuf>>,
    #[serde(default, deserialize_with = "value::label")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "value::label")]
    pub(super) version: Option<String>,
    pub(super) host: Option<Spanned<OneOrMore<Host>>>,
    pub(super) prefix: Option<Spanned<OneOrMore<Prefix>>>,
    // From here on as in `Defaults`: serde cannot both flatten that into this and refuse unknown
    // keys.
    #[serde(default, deserialize_with = "value::label")]
    pub(super) tenant: Option<String>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) request_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "value::memory")]
    pub(super) max_memory: Option<u64>,
    #[serde(default, deserialize_with = "value::concurrency")]
    pub(super) max_concurrent_requests: Option<u32>,
    #[serde(default, deserialize_with = "value::count")]
    pub(super) max_waiting_requests: Option<usize>,
    #[serde(default, deserialize_with = "value::filter")]
    pub(super) log_level: Option<Filter>,
    #[serde(default, deserialize_with = "value::level")]
    pub(super) record_level: Option<Level>,
    pub(super) keep_failed: Option<bool>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) keep_slow: Option<Duration>,
    #[serde(default, deserialize_with = "value::access_log")]
    pub(super) access_log: Option<AccessLog>,
    pub(super) redact_query_parameters: Option<Vec<String>>,
    #[serde(default)]
    pub(super) env: Environment,
}

/// The text of a configuration, with which offsets become positions.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Parses the configuration. An error names the file, line, column and key.
    pub(super) fn parse(&self) -> Result<Config> {
        toml::from_str(self.text).map_err(|mut error| {
            let at = self.position(error.span().map_or(0, |span| span.start));
            // Without its input the error shows the path of keys instead of an excerpt.
            error.set_input(None);
            let shown = error.to_string();
            let keys = shown.strip_prefix(error.message()).and_then(|rest| rest.trim().strip_prefix("in "));
            match keys {
                Some(keys) => anyhow!("{at}: {keys}: {}", error.message()),
                None => anyhow!("{at}: {}", error.message()),
            }
        })
    }

    /// Returns the position of a byte of the text.
    pub(super) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
        }
    }
}

/// A position in a configuration: file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Source { path: Path::new("w.toml"), text }.parse()
    }

    #[track_caller]
    fn error(text: &str, parts: &[&str]) {
        let error = parse(text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
    }

    #[test]
    fn all_keys_are_read() {
        let config = parse(
            r#"
            addr = "127.0.0.1:80"
            telemetry-addr = "localhost:81"
            shutdown-timeout = "5s"
            [defaults]
            tenant = "acme"
            request-timeout = "1s"
            max-memory = "1MiB"
            max-concurrent-requests = 1
            max-waiting-requests = 0
            log-level = "warn,shop=debug"
            record-level = "trace"
            keep-failed = false
            keep-slow = "1s"
            access-log = "all"
            redact-query-parameters = ["token"]
            env = { A = "1" }
            [[component]]
            path = "a.wasm"
            name = "a"
            version = "1"
            tenant = "other"
            host = ["a.org", "*.b.org"]
            prefix = "/a"
            request-timeout = "200ms"
            max-memory = 65536
            max-concurrent-requests = 10_000
            max-waiting-requests = 3
            [component.env]
            B = "b"
            [[component]]
            path = "b.wasm"
            [ops]
            error-ratio = 0.02
            latency = "250ms"
            scrape-interval = "30s"
            image = "shop:1"
            [ops.kubernetes]
            replicas = 3
            "#,
        )
        .unwrap();
        assert_eq!((config.ops.error_ratio, config.ops.latency, config.ops.scrape_interval), (0.02, 0.25, 30));
        assert_eq!((config.ops.image.as_deref(), config.ops.kubernetes.replicas), (Some("shop:1"), 3));
        assert_eq!(config.addr.unwrap().into_inner(), ([127, 0, 0, 1], 80).into());
        assert_eq!(config.telemetry_addr.unwrap().into_inner(), ([127, 0, 0, 1], 81).into());
        assert_eq!(config.shutdown_timeout, Some(Duration::from_secs(5)));
        assert_eq!(config.defaults.max_memory, Some(1 << 20));
        assert_eq!(config.defaults.log_level.unwrap().to_string(), "warn,shop=debug");
        assert_eq!((config.defaults.record_level, config.defaults.keep_failed), (Some(Level::Trace), Some(false)));
        assert_eq!(config.defaults.keep_slow, Some(Duration::from_secs(1)));
        assert_eq!(config.defaults.access_log, Some(AccessLog::ALL));
        assert_eq!(config.defaults.redact_query_parameters, Some(vec!["token".to_owned()]));
        assert_eq!(config.defaults.env.0, [("A".to_owned(), "1".to_owned())]);
        let component = config.component[0].get_ref();
        assert_eq!(component.host.as_ref().unwrap().get_ref().0.len(), 2);
        assert_eq!(component.prefix.as_ref().unwrap().get_ref().0.len(), 1);
        assert_eq!(component.max_memory, Some(65536));
        assert_eq!(component.max_concurrent_requests, Some(10_000));
        assert_eq!(component.env.0, [("B".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn errors_name_their_position() {
        error("addr = ", &["w.toml:1:8: "]);
        error("\n\naddr = 'x'", &["w.toml:3:8: `addr`: expected an IP address and a port"]);
        error("addr = 8080", &["w.toml:1:8: `addr`: ", "integer `8080`", "in quotes", "127.0.0.1:8080"]);
        error("adr = '127.0.0.1:1'", &["w.toml:1:1: ", "unknown field `adr`", "`addr`"]);
        error("x = 1\n[[component]]\n", &["w.toml:1:1: ", "unknown field `x`"]);
        error("[[component]]\npath = 'a'\nprefx = '/'", &["w.toml:3:1: ", "unknown field `prefx`", "`prefix`"]);
        error("[[component]]\nüber = 1\n", &["w.toml:2:1: "]);
        error("# ü\n[component]\npath = 'a'", &["w.toml:2:1: `component`: ", "expected a sequence"]);
        error("[defaults]\n  request-timeout = '30'", &["w.toml:2:21: `defaults.request-timeout`: ", "such as `30s`"]);
        error("[defaults]\nrequest-timeout = 30", &["`defaults.request-timeout`", "`\"30s\"`"]);
        error("[defaults]\nmax-memory = '1KiB'", &["`defaults.max-memory`", "at least one page"]);
        error("[defaults]\nmax-memory = -1", &["`defaults.max-memory`", "w.toml:2:14"]);
        error("[defaults]\nmax-memory = 1.5", &["`defaults.max-memory`", "`\"64MiB\"`"]);
        error("[defaults]\nmax-concurrent-requests = 0", &["max-concurrent-requests", "from 1 to 10000"]);
        error("[defaults]\nmax-concurrent-requests = 10001", &["max-concurrent-requests", "from 1 to 10000"]);
        error("[defaults]\nmax-concurrent-requests = '4'", &["max-concurrent-requests", "from 1 to 10000"]);
        error("[defaults]\nmax-waiting-requests = -1", &["max-waiting-requests", "0 or more"]);
        error("[defaults]\nlog-level = 'loud'", &["w.toml:2:13: `defaults.log-level`", "`loud` in a filter of levels"]);
        error("[defaults]\nrecord-level = 'loud'", &["w.toml:2:16: `defaults.record-level`", "`debug` or `trace`"]);
        error("[defaults]\naccess-log = 'some'", &["w.toml:2:14: `defaults.access-log`", "`failed,slow` or `all`"]);
        error("[defaults]\nkeep-failed = 1", &["w.toml:2:15: `defaults.keep-failed`", "expected a boolean"]);
        error("[defaults]\ntenant = ''", &["`defaults.tenant`", "must not be empty"]);
        error("[defaults]\ntenant = \"a\\nb\"", &["`defaults.tenant`", "control characters"]);
        error("[ops]\nerror-ration = 0.1", &["w.toml:2:1: ", "unknown field `error-ration`", "`error-ratio`"]);
        error("[ops]\nerror-ratio = 5", &["w.toml:2:15: `ops.error-ratio`", "expected a ratio above 0 and up to 0.6"]);
        error("[ops]\nlatency = '1h'", &["w.toml:2:11: `ops.latency`", "from `\"2ms\"` to `\"6s\"`"]);
        error("[ops]\nlatency = 1", &["w.toml:2:11: `ops.latency`", "a duration in quotes"]);
        error("[ops]\nscrape-interval = '1500ms'", &["w.toml:2:19: `ops.scrape-interval`", "whole seconds"]);
        error("[ops]\nout-of-memory = 0", &["w.toml:2:17: `ops.out-of-memory`", "a number above 0"]);
        error("[ops]\njob = ''", &["w.toml:2:7: `ops.job`", "not empty"]);
        error("[ops]\nimage = 'A b'", &["w.toml:2:9: `ops.image`", "is not an image's name"]);
        error("[ops.kubernetes]\nreplicas = 0", &["`ops.kubernetes.replicas`", "from 1 to 1000"]);
        error("[ops.kubernetes]\nreplica = 1", &["w.toml:2:1: `ops.kubernetes`", "unknown field `replica`"]);
        error("[defaults.env]\n'A=B' = 'c'", &["w.toml:2:1: `defaults.env", "must not contain `=`"]);
        error("[defaults.env]\n'' = 'c'", &["w.toml:2:1: ", "must not be empty"]);
        error("[defaults.env]\nA = 1", &["w.toml:2:5: `defaults.env.A`", "in quotes"]);
        error("[defaults.env]\nA = \"a\\u0000\"", &["w.toml:2:5: `defaults.env.A`", "NUL"]);
        error("[[component]]\nhost = 'a:80'", &["w.toml:2:8: `component.host`", "remove the port"]);
        error("[[component]]\nhost = ['a',\n 'b/c']", &["w.toml:3:2: `component.host`", "write a path into `prefix`"]);
        error("[[component]]\nhost = []", &["w.toml:2:8: `component.host`", "at least one"]);
        error("[[component]]\nhost = 5", &["w.toml:2:8: `component.host`", "in quotes"]);
        error("[[component]]\nprefix = 'shop'", &["w.toml:2:10: `component.prefix`", "begins with a slash: `/shop`"]);
        error("[[component]]\nname = 'a'\nname = 'b'", &["w.toml:3:1: ", "duplicate key"]);
        error("[[component]\n", &["w.toml:1:"]);
        error("addr = '127.0.0.1:1", &["w.toml:1:"]);
    }
}
