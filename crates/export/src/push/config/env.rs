//! Reads a configuration from OpenTelemetry's environment variables, and from such for Loki and the
//! audit file.
//!
//! Sources: OpenTelemetry, "Environment Variable Specification", "Common Configuration
//! Specification", "OpenTelemetry Protocol Exporter" and "Resource SDK". It deviates in three
//! points: nothing is sent unless a variable asks for it, an invalid value is an error rather than
//! ignored (an invalid sampler or Boolean only a warning), and some defaults are larger.

mod endpoint;
mod header;
mod loki;
mod otlp;
mod processor;
mod resource;
mod sampler;
mod unsupported;
mod variable;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;

pub use self::variable::VariableError;
use self::variable::{RawVariable, Variable};
use super::{AuditGrowth, Config, Growth, Tls};
use crate::Error;

/// The environment, with the errors that were found in it so far.
struct Env<F> {
    lookup: F,
    errors: RefCell<Vec<VariableError>>,
    warnings: RefCell<Vec<String>>,
}

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// Returns a variable that may be no text, such as a path. An empty variable counts as unset.
    fn raw(&self, name: &str) -> Option<RawVariable> {
        RawVariable::new(name, (self.lookup)(name)?)
    }

    /// Returns a variable. An empty one counts as unset, one that is not UTF-8 is an error.
    fn get(&self, name: &str) -> Option<Variable> {
        self.accept(self.raw(name)?.text())
    }

    /// Returns a result, or keeps its error.
    fn accept<T>(&self, result: Result<T, VariableError>) -> Option<T> {
        result.map_err(|error| self.errors.borrow_mut().push(error)).ok()
    }

    /// Parses a variable if it is set, and keeps an error.
    fn parse<T>(&self, name: &str, parse: impl FnOnce(&Variable) -> Result<T, VariableError>) -> Option<T> {
        self.accept(parse(&self.get(name)?))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(RawVariable::into_path)
    }

    /// Reads the growth of the audit file: by a component, by a tenant, and in all.
    fn audit_growth(&self, growth: &mut AuditGrowth) {
        let AuditGrowth { component, tenant, total } = growth;
        for (name, growth) in [
            ("WASMETRY_AUDIT_COMPONENT_GROWTH", component),
            ("WASMETRY_AUDIT_TENANT_GROWTH", tenant),
            ("WASMETRY_AUDIT_GROWTH", total),
        ] {
            let parsed = self.parse(name, |variable| {
                let [bytes, per_second] =
                    variable.pair("the bytes at once and in a second, such as 67108864,1048576")?;
                Ok(Growth::new(bytes, per_second))
            });
            *growth = parsed.unwrap_or(*growth);
        }
    }

    fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Returns `true` if OpenTelemetry is switched off. As the specification has it, any other
    /// value than `true` means `false`.
    fn is_disabled(&self) -> bool {
        let Some(variable) = self.get("OTEL_SDK_DISABLED") else { return false };
        variable.choose(&[("true", true), ("false", false)]).unwrap_or_else(|error| {
            self.warn(format!("{error}; it is read as `false`"));
            false
        })
    }

    /// Reads the variables of TLS. `name` returns the names of those that are set.
    fn tls(&self, name: impl Fn(&str) -> String) -> Tls {
        let (certificate, key) = (name("CLIENT_CERTIFICATE"), name("CLIENT_KEY"));
        let client = match (self.raw(&certificate), self.raw(&key)) {
            (Some(certificate), Some(key)) => Some((certificate.into_path(), key.into_path())),
            (None, None) => None,
            (Some(variable), None) => self.accept(Err(variable.error(format!("set {key} too")))),
            (None, Some(variable)) => self.accept(Err(variable.error(format!("set {certificate} too")))),
        };
        Tls { certificates: self.path(&name("CERTIFICATE")), client }
    }
}

impl Config {
    /// Reads the variables that `lookup` returns, such as `std::env::var_os`.
    ///
    /// The file `VARIABLES.md` of this crate lists them, with those that are not supported: each of
    /// those that is set makes one of the [`warnings`](Self::warnings).
    ///
    /// ```
    /// use wasmetry_export::push::{Config, Protocol};
    ///
    /// let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/"), ("OTEL_LOGS_EXPORTER", "none")];
    /// let config = Config::from_env(|name| {
    ///     variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
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
    /// [`Error::Variables`] with every variable that is invalid. Those that are only
    /// [`warnings`](Self::warnings) are not among them.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let env = Env { lookup, errors: RefCell::default(), warnings: RefCell::default() };
        let mut config = Self { sampler: env.sampler(), ..Self::default() };
        env.resource(&mut config.process);
        env.processor("OTEL_BLRP", &mut config.log_limits, &mut config.log_batch, &mut config.log_retry);
        env.processor("OTEL_BSP", &mut config.span_limits, &mut config.span_batch, &mut config.span_retry);
        config.audit = env.path("WASMETRY_AUDIT_FILE");
        env.audit_growth(&mut config.audit_growth);
        if !env.is_disabled() {
            config.loki = env.loki();
            config.logs = env.otlp(otlp::Signal::Logs);
            config.spans = env.otlp(otlp::Signal::Traces);
            config.metrics = env.metrics();
            env.warn_of_unsupported();
        }
        config.warnings = env.warnings.into_inner();
        let mut errors = env.errors.into_inner();
        // A variable for all signals is read for each.
        let mut seen = std::collections::HashSet::new();
        errors.retain(|error| seen.insert(error.name().to_owned()));
        if errors.is_empty() { Ok(config) } else { Err(Error::Variables(errors)) }
    }
}

#[cfg(test)]
mod tests;
