//! The configuration file, `wasmetry.toml`: its keys, and the positions of its values for errors.
//!
//! [`plan`] resolves a configuration to complete values; [`route`] has the hosts and prefixes.

pub(super) mod plan;
pub(super) mod route;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Deserialize;
use toml::Spanned;
use wasmetry_export::scrape::Target;
use wasmetry_host::record::Level;
use wasmetry_host::{AccessLog, Filter};

use crate::flag::limit::Limit;
use crate::flag::telemetry::TelemetryArgs;
use crate::guest::outgoing::policy::{Allowed, Propagated};
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
    #[serde(default, deserialize_with = "value::target")]
    pub(super) telemetry_advertise: Option<Target>,
    pub(super) telemetry_token_file: Option<PathBuf>,
    pub(super) telemetry_view_token_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) telemetry_require_token: bool,
    pub(super) telemetry_host: Option<OneOrMore<value::HostName>>,
    pub(super) telemetry_tls_cert: Option<PathBuf>,
    pub(super) telemetry_tls_key: Option<PathBuf>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) shutdown_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "value::duration")]
    pub(super) compile_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "value::size")]
    pub(super) max_component_exposition: Option<u64>,
    #[serde(default, deserialize_with = "value::size")]
    pub(super) max_tenant_exposition: Option<u64>,
    #[serde(default, deserialize_with = "value::size")]
    pub(super) max_exposition: Option<u64>,
    #[serde(default, deserialize_with = "value::limits")]
    pub(super) limits: Vec<Limit>,
    #[serde(default)]
    pub(super) defaults: Defaults,
    #[serde(default)]
    pub(super) component: Vec<Spanned<Component>>,
    #[serde(default)]
    pub(super) fleet: Fleet,
    /// Read by `wasmetry ops` only.
    #[serde(default)]
    pub(super) ops: wasmetry_ops::Settings,
    /// Read by `wasmetry ops` only.
    #[serde(default)]
    pub(super) slo: Vec<Spanned<wasmetry_ops::Objective>>,
}

impl Config {
    /// Returns the settings of the telemetry address. Paths are relative to the configuration's
    /// directory.
    pub(super) fn telemetry(&self, directory: &Path) -> TelemetryArgs {
        let join = |path: &Option<PathBuf>| path.as_ref().map(|path| directory.join(path));
        let hosts = self.telemetry_host.iter().flat_map(|hosts| &hosts.0);
        TelemetryArgs {
            telemetry_token_file: join(&self.telemetry_token_file),
            telemetry_view_token_file: join(&self.telemetry_view_token_file),
            telemetry_require_token: self.telemetry_require_token,
            telemetry_hosts: hosts.map(|host| host.0.clone()).collect(),
            telemetry_tls_cert: join(&self.telemetry_tls_cert),
            telemetry_tls_key: join(&self.telemetry_tls_key),
        }
    }
}

/// The other processes of a fleet.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fleet {
    /// Their telemetry endpoints.
    #[serde(default, deserialize_with = "value::targets")]
    pub(super) peers: Vec<Target>,
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
    pub(super) untrusted: Option<bool>,
    pub(super) allow_outgoing: Option<OneOrMore<Allowed>>,
    pub(super) propagate_to: Option<OneOrMore<Propagated>>,
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
    pub(super) untrusted: Option<bool>,
    pub(super) allow_outgoing: Option<OneOrMore<Allowed>>,
    pub(super) propagate_to: Option<OneOrMore<Propagated>>,
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
            telemetry-advertise = "shop-1:81"
            telemetry-token-file = "token"
            telemetry-view-token-file = "view-token"
            telemetry-require-token = true
            telemetry-host = ["shop-1.org"]
            telemetry-tls-cert = "tls.crt"
            telemetry-tls-key = "tls.key"
            shutdown-timeout = "5s"
            compile-timeout = "1m"
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
            untrusted = true
            allow-outgoing = ["10.0.0.0/8", "orders:80"]
            propagate-to = "*.example.org"
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
            [fleet]
            peers = ["shop-2:81", "[::1]:82"]
            [ops]
            error-ratio = 0.02
            latency = "250ms"
            scrape-interval = "30s"
            openslo = ["slo.yaml"]
            image = "shop:1"
            [ops.kubernetes]
            replicas = 3
            [[slo]]
            name = "checkout"
            objective = 99.5
            latency = "250ms"
            window = "28d"
            [[slo]]
            name = "orders"
            objective = 99.9
            bad = "sum(rate(orders_lost_total[5m]))"
            total = "sum(rate(orders_total[5m]))"
            "#,
        )
        .unwrap();
        assert_eq!((config.ops.error_ratio, config.ops.latency, config.ops.scrape_interval), (0.02, 0.25, 30));
        assert_eq!(config.ops.openslo, ["slo.yaml"]);
        let [checkout, orders] = config.slo.as_slice() else { panic!("{:?}", config.slo) };
        assert_eq!((checkout.get_ref().objective, checkout.get_ref().window), (99.5, 28 * 86_400));
        assert_eq!(orders.get_ref().name, "orders");
        assert_eq!((config.ops.image.as_deref(), config.ops.kubernetes.replicas), (Some("shop:1"), 3));
        let telemetry = config.telemetry(Path::new("/etc"));
        assert_eq!(config.addr.unwrap().into_inner(), ([127, 0, 0, 1], 80).into());
        assert_eq!(config.telemetry_addr.unwrap().into_inner(), ([127, 0, 0, 1], 81).into());
        assert_eq!(config.telemetry_advertise.unwrap().to_string(), "shop-1:81");
        assert_eq!(telemetry.telemetry_token_file, Some("/etc/token".into()));
        assert_eq!(telemetry.telemetry_view_token_file, Some("/etc/view-token".into()));
        assert_eq!(
            (telemetry.telemetry_require_token, &telemetry.telemetry_hosts[..]),
            (true, &["shop-1.org".to_owned()][..])
        );
        assert_eq!(telemetry.telemetry_tls_cert, Some("/etc/tls.crt".into()));
        assert_eq!(telemetry.telemetry_tls_key, Some("/etc/tls.key".into()));
        let peers: Vec<String> = config.fleet.peers.iter().map(Target::to_string).collect();
        assert_eq!(peers, ["shop-2:81", "[::1]:82"]);
        assert_eq!(config.shutdown_timeout, Some(Duration::from_secs(5)));
        assert_eq!(config.compile_timeout, Some(Duration::from_secs(60)));
        assert_eq!(config.defaults.max_memory, Some(1 << 20));
        assert_eq!(config.defaults.log_level.unwrap().to_string(), "warn,shop=debug");
        assert_eq!((config.defaults.record_level, config.defaults.keep_failed), (Some(Level::Trace), Some(false)));
        assert_eq!(config.defaults.keep_slow, Some(Duration::from_secs(1)));
        assert_eq!(config.defaults.access_log, Some(AccessLog::ALL));
        assert_eq!(config.defaults.redact_query_parameters, Some(vec!["token".to_owned()]));
        assert_eq!(config.defaults.untrusted, Some(true));
        let allowed: Vec<String> = config.defaults.allow_outgoing.unwrap().0.iter().map(Allowed::to_string).collect();
        assert_eq!(allowed, ["10.0.0.0/8", "orders:80"]);
        assert_eq!(config.defaults.propagate_to.unwrap().0, ["*.example.org".parse().unwrap()]);
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
        error("telemetry-host = 'http://a'", &["w.toml:1:18: `telemetry-host`", "without a scheme and a port"]);
        error(
            "[defaults]\nallow-outgoing = '10.0.0.0/99'",
            &["`defaults.allow-outgoing`", "a network, an address or a host"],
        );
        error("[defaults]\npropagate-to = ['a:80']", &["`defaults.propagate-to`", "a host without a port"]);
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
        for objective in ["0", "100", "100.1", "-1.5"] {
            let text = format!("[[slo]]\nname = 'a'\nobjective = {objective}");
            error(&text, &["w.toml:3:13: `slo.objective`", "a percentage from 50 to 99.999, such as `99.9`"]);
        }
        let off = "[[slo]]\nname = 'a'\nobjective = 99\nlatency = '300ms'";
        error(off, &["w.toml:1:1: ", "`a` has the threshold 300ms", "250ms, 400ms, 500ms, 1s"]);
        error("[[slo]]\nname = 'a'\nobjective = 99\nwindow = '1d'", &["w.toml:4:10: `slo.window`", "from `7d`"]);
        error("[[slo]]\nname = 'a'", &["w.toml:1:1: ", "missing field `objective`"]);
        error("[[slo]]\nname = 'a'\nobjective = 99\ngoood = 'a'", &["w.toml:4:1: ", "unknown field `goood`"]);
        error("[ops]\nerror-ration = 0.1", &["w.toml:2:1: ", "unknown field `error-ration`", "`error-ratio`"]);
        error("[ops]\nerror-ratio = 5", &["w.toml:2:15: `ops.error-ratio`", "expected a ratio above 0 and up to 0.6"]);
        error("[ops]\nlatency = '1h'", &["w.toml:2:11: `ops.latency`", "from `\"2ms\"` to `\"6s\"`"]);
        error("[ops]\nlatency = 1", &["w.toml:2:11: `ops.latency`", "a duration in quotes"]);
        error("[ops]\nscrape-interval = '1500ms'", &["w.toml:2:19: `ops.scrape-interval`", "whole seconds"]);
        error("[ops]\nout-of-memory = 0", &["w.toml:2:17: `ops.out-of-memory`", "a number above 0"]);
        error("[ops]\njob = ''", &["w.toml:2:7: `ops.job`", "not empty"]);
        error("[ops.receivers]\nmail-to = 'x'", &["w.toml:2:11: `ops.receivers.mail-to`", "a mail address"]);
        error("[ops.working-hours]\nstart = '19:00'", &["w.toml:1:1: `ops.working-hours`", "is not before `end`"]);
        error("[ops.logs]\nloki = 'x'", &["w.toml:2:1: ", "unknown field `loki`", "`loki-url`"]);
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
