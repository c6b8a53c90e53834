//! The attributes of the process: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.

use std::ffi::OsString;

use wasmetry_host::encode::otlp::Process;

use super::Env;
use super::variable::{Variable, VariableError};

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    pub(super) fn resource(&self, process: &mut Process) {
        for (key, value) in self.parse("OTEL_RESOURCE_ATTRIBUTES", attributes).unwrap_or_default() {
            match key.as_str() {
                "service.name" => process.service_name = Some(value),
                _ => process.attributes.push((key, value)),
            }
        }
        if let Some(variable) = self.get("OTEL_SERVICE_NAME") {
            process.service_name = Some(variable.value);
        }
    }
}

/// Parses `key=value,key=value`, with both percent-encoded.
///
/// Source: OpenTelemetry, "Resource SDK", "Specifying resource information via an environment
/// variable".
fn attributes(variable: &Variable) -> Result<Vec<(String, String)>, VariableError> {
    let decode = |(key, value): (&str, &str)| {
        let decoded = variable.percent_decode(key, &format!("the key `{key}`"))?.into_owned();
        Ok((decoded, variable.percent_decode(value, &format!("the value of `{key}`"))?.into_owned()))
    };
    variable.pairs()?.into_iter().map(decode).collect()
}
