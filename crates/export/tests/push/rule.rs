//! The rules for the records of these tests, for each protocol.

use wasmetry_sink::proto::common::v1::{InstrumentationScope, KeyValue};
use wasmetry_sink::proto::resource::v1::Resource;
use wasmetry_sink::rule::Checked;
use wasmetry_sink::{LokiStream, Request, text};

use crate::record::NUMBER;

/// One record that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) number: u64,
    pub(crate) is_audit: bool,
}

macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

/// Checks what a request carries, and returns it.
pub(crate) fn records(request: &Request) -> Checked<Vec<Arrived>> {
    let mut arrived = Vec::new();
    match request {
        Request::Logs(request) => {
            for resource in &request.resource_logs {
                let is_audit = check_resource(resource.resource.as_ref())?;
                for scope in &resource.scope_logs {
                    check_scope(scope.scope.as_ref())?;
                    for log in &scope.log_records {
                        arrived.push(Arrived { number: number(text(&log.attributes, NUMBER))?, is_audit });
                    }
                }
            }
        }
        Request::Traces(request) => {
            for resource in &request.resource_spans {
                check_resource(resource.resource.as_ref())?;
                for scope in &resource.scope_spans {
                    check_scope(scope.scope.as_ref())?;
                    for span in &scope.spans {
                        arrived.push(Arrived { number: number(text(&span.attributes, NUMBER))?, is_audit: false });
                    }
                }
            }
        }
        Request::Loki(streams) => {
            for stream in streams {
                let is_audit = check_stream(stream)?;
                for entry in &stream.entries {
                    let number = number(entry.metadata(NUMBER).map(str::to_owned))?;
                    arrived.push(Arrived { number, is_audit });
                }
            }
        }
        Request::Metrics(_) => return Err("metrics".to_owned()),
    }
    Ok(arrived)
}

/// Returns `true` for the audit stream.
fn check_resource(resource: Option<&Resource>) -> Checked<bool> {
    let attributes: &[KeyValue] = resource.map_or(&[], |resource| &resource.attributes);
    let expected = match text(attributes, "tenant").as_deref() {
        // The tenants of a flood have components of their names.
        Some("evil") => ["evil", "1", "evil"],
        Some("bank") => ["bank", "1", "bank"],
        _ => ["shop", "1.2", "acme"],
    };
    for (key, expected) in ["service.name", "service.version", "tenant"].iter().zip(expected) {
        require!(text(attributes, key).as_deref() == Some(expected), "{key} in {attributes:?}");
    }
    let stream = text(attributes, "stream");
    require!(matches!(stream.as_deref(), None | Some("audit")), "stream {stream:?}");
    Ok(stream.is_some())
}

fn check_scope(scope: Option<&InstrumentationScope>) -> Checked {
    require!(scope.is_some_and(|scope| scope.name == "shop::cart"), "scope {scope:?}");
    Ok(())
}

/// Returns `true` for the audit stream.
fn check_stream(stream: &LokiStream) -> Checked<bool> {
    let tenant = stream.label("tenant");
    require!(matches!(tenant, None | Some("acme" | "initech" | "evil" | "bank")), "tenant {tenant:?}");
    let (component, version) = match tenant {
        // The tenants of a flood have components of their names.
        Some(tenant @ ("evil" | "bank")) => (tenant, "1"),
        _ => ("shop", "1.2"),
    };
    for (name, expected) in [("service_name", component), ("component", component), ("version", version)] {
        require!(stream.label(name) == Some(expected), "{name} in {:?}", stream.labels);
    }
    Ok(stream.label("stream").is_some())
}

fn number(text: Option<String>) -> Checked<u64> {
    text.and_then(|text| text.parse().ok()).ok_or("no number".to_owned())
}
