//! The accepted records, one by one.

use crate::proto::common::v1::any_value::Value;
use crate::proto::common::v1::{InstrumentationScope, KeyValue};
use crate::proto::logs::v1::LogRecord;
use crate::proto::metrics::v1::Metric;
use crate::proto::resource::v1::Resource;
use crate::proto::trace::v1::Span;
use crate::{LokiStream, Request, Sink, State};

/// An accepted record with its resource and scope.
#[derive(Clone, Debug)]
pub struct Arrived<T> {
    /// The resource.
    pub resource: Resource,
    /// The instrumentation scope.
    pub scope: InstrumentationScope,
    /// The record.
    pub record: T,
}

impl<T> Arrived<T> {
    /// Returns an attribute of the resource as a text.
    pub fn resource_attribute(&self, key: &str) -> Option<String> {
        text(&self.resource.attributes, key)
    }
}

/// Returns the value of an attribute as a text. Returns `None` if it is missing, an array or a map.
pub fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        _ => return None,
    })
}

impl State {
    /// Returns the log records accepted by OTLP, in the order of their arrival.
    pub fn logs(&self) -> Vec<Arrived<LogRecord>> {
        self.arrived(|request| match request {
            Request::Logs(request) => {
                arrived(&request.resource_logs, |of| (&of.resource, &of.scope_logs), |of| (&of.scope, &of.log_records))
            }
            _ => Vec::new(),
        })
    }

    /// Returns the accepted spans, in the order of their arrival.
    pub fn spans(&self) -> Vec<Arrived<Span>> {
        self.arrived(|request| match request {
            Request::Traces(request) => {
                arrived(&request.resource_spans, |of| (&of.resource, &of.scope_spans), |of| (&of.scope, &of.spans))
            }
            _ => Vec::new(),
        })
    }

    /// Returns the metrics of all requests that were accepted at least partly, in the order of
    /// their arrival. A metric occurs once for each export.
    pub fn metrics(&self) -> Vec<Arrived<Metric>> {
        let metrics = |request: &Request| match request {
            Request::Metrics(request) => arrived(
                &request.resource_metrics,
                |of| (&of.resource, &of.scope_metrics),
                |of| (&of.scope, &of.metrics),
            ),
            _ => Vec::new(),
        };
        self.accepted.iter().flat_map(|(request, _)| metrics(request)).collect()
    }

    /// Returns the accepted streams of Loki, in the order of their arrival.
    pub fn streams(&self) -> Vec<LokiStream> {
        let streams = |request: &Request| match request {
            Request::Loki(streams) => streams.clone(),
            _ => Vec::new(),
        };
        self.accepted.iter().flat_map(|(request, _)| streams(request)).collect()
    }

    fn arrived<T>(&self, records: impl Fn(&Request) -> Vec<Arrived<T>>) -> Vec<Arrived<T>> {
        self.accepted.iter().flat_map(|(request, taken)| records(request).into_iter().take(*taken)).collect()
    }
}

impl Sink {
    /// Returns the accepted log records; see [`State::logs`].
    ///
    /// # Panics
    ///
    /// Panics if a rule was broken.
    pub fn logs(&self) -> Vec<Arrived<LogRecord>> {
        self.without_broken_rules(State::logs)
    }

    /// Returns the accepted spans; see [`State::spans`].
    ///
    /// # Panics
    ///
    /// Panics if a rule was broken.
    pub fn spans(&self) -> Vec<Arrived<Span>> {
        self.without_broken_rules(State::spans)
    }

    /// Returns the accepted metrics; see [`State::metrics`].
    ///
    /// # Panics
    ///
    /// Panics if a rule was broken.
    pub fn metrics(&self) -> Vec<Arrived<Metric>> {
        self.without_broken_rules(State::metrics)
    }

    fn without_broken_rules<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        self.with(|state| {
            assert_eq!(state.broken, [""; 0]);
            f(state)
        })
    }
}

/// Flattens the resources, scopes and records of an OTLP request.
fn arrived<R, S, T: Clone>(
    resources: &[R],
    resource: impl Fn(&R) -> (&Option<Resource>, &Vec<S>),
    scope: impl Fn(&S) -> (&Option<InstrumentationScope>, &Vec<T>),
) -> Vec<Arrived<T>> {
    let mut all = Vec::new();
    for of in resources {
        let (resource, scopes) = resource(of);
        for of in scopes {
            let (scope, records) = scope(of);
            all.extend(records.iter().map(|record| Arrived {
                resource: resource.clone().unwrap_or_default(),
                scope: scope.clone().unwrap_or_default(),
                record: record.clone(),
            }));
        }
    }
    all
}
