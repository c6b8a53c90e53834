//! OpenTelemetry's standard environment variables, and such for Loki, which has none.
//!
//! Sources: OpenTelemetry, "Environment Variable Specification" and "OpenTelemetry Protocol Exporter". Unlike there, a value
//! that is not understood is an error rather than ignored, except the sampler's, and nothing is sent anywhere unless a variable
//! asks for it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use wasmetry_host::propagation::Sampler;

use super::{Batch, Compression, Config, Limits, Loki, LokiFormat, Metrics, Otlp, Protocol, Temporality, Tls};
use crate::Error;

/// One signal, as the names of variables have it.
#[derive(Clone, Copy)]
enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// What follows the base endpoint.
    fn path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }

    /// The exporters that a list may name, and whether that is the one by OTLP. Prometheus is served with or without it.
    fn exporters(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Logs | Self::Traces => &[("otlp", true), ("none", false)],
            Self::Metrics => &[("otlp", true), ("none", false), ("prometheus", false)],
        }
    }
}

/// The variables, each by a name that an error can tell.
struct Env<F>(F);

/// A variable that is set.
struct Variable {
    name: String,
    value: String,
}

impl Variable {
    fn error(&self, cause: impl Into<String>) -> Error {
        Error::Variable { name: self.name.clone(), value: self.value.clone(), cause: cause.into() }
    }

    fn parse<T: FromStr>(&self, expected: &str) -> Result<T, Error> {
        self.value.parse().map_err(|_| self.error(format!("set it to {expected}")))
    }

    /// Parses one of a few words, in any case.
    fn choose<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Error> {
        self.choose_for(&self.value, choices)
    }

    /// Parses some of a few words, with commas between them.
    fn choose_some<T: Copy>(&self, choices: &[(&str, T)]) -> Result<Vec<T>, Error> {
        self.value.split(',').map(|word| self.choose_for(word.trim(), choices)).collect()
    }

    fn choose_for<T: Copy>(&self, text: &str, choices: &[(&str, T)]) -> Result<T, Error> {
        let chosen = choices.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.error(format!("it is none of {}", words.join(", ")))
        })
    }

    /// Parses `key=value,key=value`, of which the values are percent-encoded.
    fn pairs(&self) -> Result<Vec<(String, String)>, Error> {
        let pair = |pair: &str| {
            let (key, value) = pair
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| self.error(format!("`{pair}` is no `key=value`; separate pairs by commas")))?;
            let value = percent_decode_str(value.trim()).decode_utf8();
            let value = value.map_err(|_| self.error(format!("the value of `{}` is no UTF-8", key.trim())))?;
            Ok((key.trim().to_owned(), value.into_owned()))
        };
        self.value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(pair).collect()
    }
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    /// A variable; one that is empty is as good as none.
    fn get(&self, name: &str) -> Option<Variable> {
        let value = (self.0)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| Variable { name: name.to_owned(), value: value.to_owned() })
    }

    /// The variable of an exporter that is about this signal, else the one that is about all.
    fn exporter(&self, signal: Signal, what: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name()))
            .or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    fn otlp(&self, signal: Signal) -> Result<Option<Otlp>, Error> {
        let exporter = self.get(&format!("OTEL_{}_EXPORTER", signal.name()));
        let is_asked_for = match &exporter {
            Some(variable) => Some(variable.choose_some(signal.exporters())?.contains(&true)),
            None => None,
        };
        if is_asked_for == Some(false) {
            return Ok(None);
        }
        let protocol = match self.exporter(signal, "PROTOCOL") {
            Some(variable) => variable.choose(&[
                ("grpc", Protocol::Grpc),
                ("http/protobuf", Protocol::HttpProtobuf),
                ("http/json", Protocol::HttpJson),
            ])?,
            None => Protocol::HttpProtobuf,
        };
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name()));
        let endpoint = match (own, self.get("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(own), _) => uri(&own, "")?,
            (None, Some(base)) if protocol == Protocol::Grpc => uri(&base, "")?,
            (None, Some(base)) => uri(&base, signal.path())?,
            (None, None) if is_asked_for == Some(true) => match protocol {
                Protocol::Grpc => Uri::from_static("http://localhost:4317"),
                _ => uri(&Variable { name: String::new(), value: "http://localhost:4318".to_owned() }, signal.path())?,
            },
            (None, None) => return Ok(None),
        };
        let mut otlp = Otlp::new(endpoint, protocol);
        if let Some(variable) = self.exporter(signal, "HEADERS") {
            otlp.headers = headers(&variable)?;
        }
        if let Some(variable) = self.exporter(signal, "COMPRESSION") {
            otlp.compression = variable.choose(&[("gzip", Compression::Gzip), ("none", Compression::None)])?;
        }
        if let Some(variable) = self.exporter(signal, "TIMEOUT") {
            otlp.timeout = milliseconds(&variable)?;
        }
        otlp.tls = tls("OTEL_EXPORTER_OTLP", |what| self.exporter(signal, what))?;
        Ok(Some(otlp))
    }

    fn metrics(&self) -> Result<Option<Metrics>, Error> {
        let Some(otlp) = self.otlp(Signal::Metrics)? else { return Ok(None) };
        let mut metrics = Metrics::new(otlp);
        if let Some(variable) = self.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE") {
            metrics.temporality = variable.choose(&[
                ("cumulative", Temporality::Cumulative),
                ("delta", Temporality::Delta),
                // It differs for asynchronous counters only, of which there are none.
                ("lowmemory", Temporality::Delta),
            ])?;
        }
        if let Some(variable) = self.get("OTEL_METRIC_EXPORT_INTERVAL") {
            metrics.interval = milliseconds(&variable)?;
        }
        if let Some(variable) = self.get("OTEL_METRIC_EXPORT_TIMEOUT") {
            metrics.retry.give_up_after = milliseconds(&variable)?;
        }
        Ok(Some(metrics))
    }

    fn loki(&self) -> Result<Option<Loki>, Error> {
        let get = |what: &str| self.get(&format!("WASMETRY_LOKI_{what}"));
        let Some(endpoint) = get("ENDPOINT") else { return Ok(None) };
        let format = match get("FORMAT") {
            Some(variable) => variable.choose(&[
                ("protobuf", LokiFormat::Protobuf),
                ("json", LokiFormat::Json(Compression::None)),
                ("json+gzip", LokiFormat::Json(Compression::Gzip)),
            ])?,
            None => LokiFormat::Protobuf,
        };
        let mut loki = Loki::new(uri(&endpoint, "loki/api/v1/push")?, format);
        if let Some(variable) = get("HEADERS") {
            loki.headers = headers(&variable)?;
        }
        if let Some(variable) = get("TIMEOUT") {
            loki.timeout = milliseconds(&variable)?;
        }
        loki.tls = tls("WASMETRY_LOKI", get)?;
        Ok(Some(loki))
    }

    /// What the variables of a processor, which begin with `prefix`, say about its queue and its batches.
    fn queue(&self, prefix: &str, limits: &mut Limits, batch: &mut Batch) -> Result<(), Error> {
        let get = |what: &str| self.get(&format!("{prefix}_{what}"));
        let count = |variable: &Variable| match variable.parse::<usize>("a number of records, from 1 on")? {
            0 => Err(variable.error("set it to a number of records, from 1 on")),
            count => Ok(count),
        };
        if let Some(variable) = get("MAX_QUEUE_SIZE") {
            limits.records = count(&variable)?;
            batch.records = batch.records.min(limits.records);
        }
        if let Some(variable) = get("MAX_EXPORT_BATCH_SIZE") {
            batch.records = count(&variable)?;
            if batch.records > limits.records {
                return Err(variable.error(format!("it is more than the queue holds, {}", limits.records)));
            }
        }
        if let Some(variable) = get("SCHEDULE_DELAY") {
            batch.schedule_delay = milliseconds(&variable)?;
        }
        Ok(())
    }

    /// The sampler. As the specification has it, a value that is not understood is as good as none.
    fn sampler(&self, warnings: &mut Vec<String>) -> Sampler {
        let Some(variable) = self.get("OTEL_TRACES_SAMPLER") else { return Sampler::default() };
        let chosen = variable.choose(&[
            ("always_on", (false, Some(1.0))),
            ("always_off", (false, Some(0.0))),
            ("traceidratio", (false, None)),
            ("parentbased_always_on", (true, Some(1.0))),
            ("parentbased_always_off", (true, Some(0.0))),
            ("parentbased_traceidratio", (true, None)),
        ]);
        let (is_parent_based, ratio) = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                warnings.push(format!("{error}; it is taken as `parentbased_always_on`"));
                return Sampler::default();
            }
        };
        let given = || match self.ratio() {
            Ok(ratio) => ratio,
            Err(error) => {
                warnings.push(format!("{error}; it is taken as 1"));
                None
            }
        };
        Sampler { ratio: ratio.or_else(given).unwrap_or(1.0), is_parent_based }
    }

    fn ratio(&self) -> Result<Option<f64>, Error> {
        let Some(argument) = self.get("OTEL_TRACES_SAMPLER_ARG") else { return Ok(None) };
        match argument.parse::<f64>("a share from 0 to 1, such as 0.25")? {
            ratio if (0.0..=1.0).contains(&ratio) => Ok(Some(ratio)),
            _ => Err(argument.error("set it to a share from 0 to 1, such as 0.25")),
        }
    }
}

impl Config {
    /// Reads the variables that `lookup` finds, such as those of `std::env::var`.
    ///
    /// | variable | what it sets |
    /// |---|---|
    /// | `OTEL_SDK_DISABLED` | `true`: nothing is sent, whatever the others say |
    /// | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | [`process`](Self::process) |
    /// | `OTEL_LOGS_EXPORTER`, `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `otlp`, also without an endpoint; or `none`; for metrics also `prometheus`, which is none here, as metrics are served to it anyway |
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_LOGS_ENDPOINT`, `…_TRACES_ENDPOINT`, `…_METRICS_ENDPOINT` | [`logs`](Self::logs), [`spans`](Self::spans), [`metrics`](Self::metrics); the first one is a base to which `v1/logs` and so on are added, except with gRPC |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `grpc`, `http/protobuf` (the default) or `http/json` |
    /// | `OTEL_EXPORTER_OTLP_HEADERS`, `…_TIMEOUT`, `…_COMPRESSION` | the members of [`Otlp`] |
    /// | `OTEL_EXPORTER_OTLP_CERTIFICATE`, `…_CLIENT_CERTIFICATE`, `…_CLIENT_KEY` | [`Tls`] |
    /// | `OTEL_BLRP_…`, `OTEL_BSP_…`: `MAX_QUEUE_SIZE`, `MAX_EXPORT_BATCH_SIZE`, `SCHEDULE_DELAY` | [`Limits`] and [`Batch`] of logs and of spans |
    /// | `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` | `cumulative` (the default), `delta` or `lowmemory`, which is the same here |
    /// | `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRIC_EXPORT_TIMEOUT` | [`Metrics::interval`], and how long one reading is tried; in milliseconds |
    /// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | [`sampler`](Self::sampler) |
    /// | `WASMETRY_LOKI_ENDPOINT` | [`loki`](Self::loki); a base to which `loki/api/v1/push` is added |
    /// | `WASMETRY_LOKI_FORMAT` | `protobuf` (the default), `json` or `json+gzip` |
    /// | `WASMETRY_LOKI_HEADERS`, `…_TIMEOUT`, `…_CERTIFICATE`, `…_CLIENT_CERTIFICATE`, `…_CLIENT_KEY` | the members of [`Loki`] |
    /// | `WASMETRY_AUDIT_FILE` | [`audit`](Self::audit) |
    ///
    /// Each variable of an OTLP exporter has forms for one signal, as the endpoint does. An empty variable is as good as none.
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION` is not read: which buckets a histogram has is declared with it.
    ///
    /// ```
    /// use wasmetry_export::push::{Config, Protocol};
    ///
    /// let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/"), ("OTEL_LOGS_EXPORTER", "none")];
    /// let config = Config::from_env(|name| {
    ///     variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    /// })?;
    /// let spans = config.spans.unwrap();
    /// assert_eq!(spans.endpoint, "http://127.0.0.1:4318/v1/traces");
    /// assert_eq!(spans.protocol, Protocol::HttpProtobuf);
    /// assert!(config.logs.is_none());
    /// # Ok::<(), wasmetry_export::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a variable says what is not understood; of the sampler's, that is one of the [`warnings`](Self::warnings).
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let env = Env(lookup);
        let mut config = Self::default();
        if let Some(variable) = env.get("OTEL_RESOURCE_ATTRIBUTES") {
            for (key, value) in variable.pairs()? {
                match key.as_str() {
                    "service.name" => config.process.service_name = Some(value),
                    _ => config.process.attributes.push((key, value)),
                }
            }
        }
        if let Some(variable) = env.get("OTEL_SERVICE_NAME") {
            config.process.service_name = Some(variable.value);
        }
        config.sampler = env.sampler(&mut config.warnings);
        env.queue("OTEL_BLRP", &mut config.log_limits, &mut config.log_batch)?;
        env.queue("OTEL_BSP", &mut config.span_limits, &mut config.span_batch)?;
        config.audit = env.get("WASMETRY_AUDIT_FILE").map(|variable| PathBuf::from(variable.value));
        let is_disabled = match env.get("OTEL_SDK_DISABLED") {
            Some(variable) => variable.choose(&[("true", true), ("false", false)])?,
            None => false,
        };
        if !is_disabled {
            config.loki = env.loki()?;
            config.logs = env.otlp(Signal::Logs)?;
            config.spans = env.otlp(Signal::Traces)?;
            config.metrics = env.metrics()?;
        }
        Ok(config)
    }
}

/// A URL, to which a path may be added.
fn uri(variable: &Variable, path: &str) -> Result<Uri, Error> {
    let text = match path {
        "" => variable.value.clone(),
        path => format!("{}/{path}", variable.value.trim_end_matches('/')),
    };
    let remedy = "it is no URL of http or https; write it like `http://127.0.0.1:4318`";
    let uri: Uri = text.parse().map_err(|_| variable.error(remedy))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(variable.error(remedy));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // It would stand in what is told of the destination.
        return Err(variable.error("a user and a password are not taken from a URL; set the header `authorization`"));
    }
    Ok(uri)
}

/// What `get` finds of the variables about TLS, which begin with `prefix`.
fn tls(prefix: &str, get: impl Fn(&str) -> Option<Variable>) -> Result<Tls, Error> {
    let path = |variable: Variable| PathBuf::from(variable.value);
    let client = match (get("CLIENT_CERTIFICATE"), get("CLIENT_KEY")) {
        (Some(certificate), Some(key)) => Some((path(certificate), path(key))),
        (None, None) => None,
        (Some(variable), None) => return Err(variable.error(format!("set {prefix}_CLIENT_KEY too"))),
        (None, Some(variable)) => return Err(variable.error(format!("set {prefix}_CLIENT_CERTIFICATE too"))),
    };
    Ok(Tls { certificates: get("CERTIFICATE").map(path), client })
}

fn headers(variable: &Variable) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (key, value) in variable.pairs()? {
        let name = HeaderName::from_str(&key).map_err(|_| variable.error(format!("`{key}` is no header's name")))?;
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| variable.error(format!("the value of `{key}` is no header's")))?;
        // It may be a password.
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn milliseconds(variable: &Variable) -> Result<Duration, Error> {
    match variable.parse::<u64>("a number of milliseconds, from 1 on")? {
        0 => Err(variable.error("set it to a number of milliseconds, from 1 on")),
        count => Ok(Duration::from_millis(count)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Error> {
        Config::from_env(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_is_sent_unless_it_is_asked_for() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")],
        ] {
            let config = read(variables).unwrap();
            assert!(config.logs.is_none() && config.spans.is_none(), "{variables:?}");
        }
        let config = read(&[("OTEL_LOGS_EXPORTER", "otlp")]).unwrap();
        assert_eq!(config.logs.unwrap().endpoint, "http://localhost:4318/v1/logs");
        assert!(config.spans.is_none());
    }

    #[test]
    fn the_variable_of_a_signal_comes_first() {
        let config = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a:1/otlp"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://b/logs"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key = a%20b , x=y"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "z=1"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
        ])
        .unwrap();
        let (logs, spans) = (config.logs.unwrap(), config.spans.unwrap());
        assert_eq!((logs.endpoint.to_string(), logs.compression), ("http://b/logs".to_owned(), Compression::None));
        assert_eq!(spans.endpoint, "https://a:1/otlp/v1/traces");
        assert_eq!((spans.compression, spans.protocol), (Compression::Gzip, Protocol::HttpJson));
        assert_eq!(spans.timeout, Duration::from_millis(250));
        assert_eq!(
            (&spans.headers["api-key"], &spans.headers["x"]),
            (&HeaderValue::from_static("a b"), &HeaderValue::from_static("y"))
        );
        assert!(spans.headers["api-key"].is_sensitive());
        assert_eq!(logs.headers.keys().collect::<Vec<_>>(), ["z"]);
        assert_eq!(spans.tls.certificates, Some("ca.pem".into()));
        let grpc = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert_eq!(read(&grpc).unwrap().spans.unwrap().endpoint, "http://a:4317/");
    }

    #[test]
    fn metrics_go_where_the_others_go_unless_told_otherwise() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
        let metrics = read(&[base]).unwrap().metrics.unwrap();
        assert_eq!(metrics.otlp.endpoint, "http://a:1/v1/metrics");
        assert_eq!((metrics.temporality, metrics.interval.as_secs()), (Temporality::Cumulative, 60));
        assert_eq!(metrics.retry.give_up_after.as_secs(), 30);
        for (exporter, is_pushed) in
            [("none", false), ("prometheus", false), ("otlp", true), ("prometheus, otlp", true), ("OTLP", true)]
        {
            let config = read(&[base, ("OTEL_METRICS_EXPORTER", exporter)]).unwrap();
            assert_eq!((config.metrics.is_some(), config.logs.is_some()), (is_pushed, true), "{exporter}");
        }
        let own = read(&[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://b/otlp/metrics"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=x"),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "2000"),
        ])
        .unwrap();
        assert!(own.logs.is_none() && own.spans.is_none());
        let metrics = own.metrics.unwrap();
        assert_eq!((metrics.otlp.endpoint.path(), metrics.otlp.protocol), ("/otlp/metrics", Protocol::HttpJson));
        assert_eq!(
            (&metrics.otlp.headers["api-key"], metrics.otlp.compression),
            (&"x".parse().unwrap(), Compression::Gzip)
        );
        assert_eq!((metrics.otlp.timeout.as_millis(), metrics.otlp.tls.certificates), (250, Some("ca.pem".into())));
        assert_eq!((metrics.temporality, metrics.interval.as_secs()), (Temporality::Delta, 5));
        assert_eq!(metrics.retry.give_up_after.as_secs(), 2);
    }

    #[test]
    fn resources_queues_and_samplers_are_read() {
        let config = read(&[
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,deployment.environment.name=test%2C1"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "7"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "30"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ])
        .unwrap();
        assert_eq!(config.process.service_name.as_deref(), Some("shop"));
        assert_eq!(config.process.attributes, [("deployment.environment.name".to_owned(), "test,1".to_owned())]);
        assert_eq!((config.span_limits.records, config.span_batch.records), (100, 100));
        assert_eq!((config.log_batch.records, config.log_batch.schedule_delay), (7, Duration::from_millis(30)));
        assert_eq!(config.sampler, Sampler { ratio: 0.25, is_parent_based: true });
        let never = read(&[("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_TRACES_SAMPLER_ARG", "1")]).unwrap();
        assert_eq!(never.sampler, Sampler { ratio: 0.0, is_parent_based: false });
    }

    #[test]
    fn loki_and_the_audit_file_have_variables_of_their_own() {
        let config = read(&[
            ("WASMETRY_LOKI_ENDPOINT", "http://loki:3100/"),
            ("WASMETRY_LOKI_FORMAT", "json+gzip"),
            ("WASMETRY_LOKI_HEADERS", "authorization=Basic%20eDp5"),
            ("WASMETRY_LOKI_TIMEOUT", "2000"),
            ("WASMETRY_LOKI_CLIENT_CERTIFICATE", "chain.pem"),
            ("WASMETRY_LOKI_CLIENT_KEY", "key.pem"),
            ("WASMETRY_AUDIT_FILE", "/var/log/audit.jsonl"),
        ])
        .unwrap();
        let loki = config.loki.unwrap();
        assert_eq!(loki.endpoint, "http://loki:3100/loki/api/v1/push");
        assert_eq!((loki.format, loki.timeout), (LokiFormat::Json(Compression::Gzip), Duration::from_secs(2)));
        assert_eq!(loki.headers["authorization"], "Basic eDp5");
        assert_eq!(loki.tls.client, Some(("chain.pem".into(), "key.pem".into())));
        assert_eq!(config.audit, Some("/var/log/audit.jsonl".into()));
        let disabled = [("WASMETRY_LOKI_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")];
        assert!(read(&disabled).unwrap().loki.is_none());
    }

    #[test]
    fn errors_name_the_variable_and_the_remedy() {
        for (name, value, cause) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "http or https"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://a", "http or https"),
            ("OTEL_LOGS_EXPORTER", "console", "`otlp`, `none`"),
            ("OTEL_METRICS_EXPORTER", "otlp,console", "`otlp`, `none`, `prometheus`"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1 on"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000", "more than the queue holds, 65536"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "1s", "milliseconds"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "`c` is no `key=value`"),
            ("OTEL_SDK_DISABLED", "1", "`true`, `false`"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@a", "set the header `authorization`"),
            ("WASMETRY_LOKI_ENDPOINT", "loki:3100", "http or https"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}={value:?}: ")) && error.contains(cause), "{error}");
        }
        for (name, value, cause) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http", "`http/json`"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "no header's name"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem", "CLIENT_CERTIFICATE too"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "from 1 on"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "`cumulative`, `delta`, `lowmemory`"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "milliseconds"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "0", "from 1 on"),
        ] {
            let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), (name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(cause), "{error}");
        }
    }

    #[test]
    fn a_sampler_that_is_not_understood_is_the_default_and_a_warning() {
        for name in ["sometimes", "jaeger_remote", "xray"] {
            let config = read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0")]).unwrap();
            assert_eq!(config.sampler, Sampler::default());
            let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
            assert!(
                warning.starts_with(&format!("OTEL_TRACES_SAMPLER={name:?}: it is none of `always_on`")),
                "{warning}"
            );
            assert!(warning.ends_with("; it is taken as `parentbased_always_on`"), "{warning}");
        }
        for value in ["1.5", "-0.1", "NaN", "a half"] {
            let variables = [("OTEL_TRACES_SAMPLER", "TraceIDRatio"), ("OTEL_TRACES_SAMPLER_ARG", value)];
            let config = read(&variables).unwrap();
            assert_eq!(config.sampler, Sampler { ratio: 1.0, is_parent_based: false });
            let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
            let expected = "set it to a share from 0 to 1, such as 0.25; it is taken as 1";
            assert_eq!(*warning, format!("OTEL_TRACES_SAMPLER_ARG={value:?}: {expected}"));
        }
        // Where it is not asked for, it does not matter what it says.
        let config = read(&[("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_TRACES_SAMPLER_ARG", "x")]).unwrap();
        assert_eq!((config.sampler.ratio, config.warnings.len()), (0.0, 0));
        assert!(read(&[("OTEL_TRACES_SAMPLER_ARG", "x")]).unwrap().warnings.is_empty());
    }
}
