//! Reports to the operator when a destination fails and when it works again, at a bounded rate.

use std::time::Instant;

use http::HeaderValue;

use crate::limits;
use crate::push::Report;
use crate::push::transport::Response;

/// The health of a destination, as the operator was informed of it.
pub(crate) struct DestinationHealth {
    /// The signal and its destination, such as `logs to http://127.0.0.1:4318/v1/logs`.
    name: String,
    report: Report,
    /// The number of records that had been dropped when the current failure was reported.
    failing: Option<u64>,
    last_report: Option<Instant>,
    last_throttle: Option<Instant>,
    /// `true` after a success that is no response of the protocol was reported.
    has_reported_unrecognized: bool,
}

impl DestinationHealth {
    pub(crate) fn new(name: String, report: Report) -> Self {
        Self { name, report, failing: None, last_report: None, last_throttle: None, has_reported_unrecognized: false }
    }

    /// Records the response to a request, and reports it if the health has changed. `dropped`
    /// counts all records of the pipeline that were dropped so far.
    pub(crate) fn record(&mut self, response: &Response, records: u64, dropped: u64) {
        let name = &self.name;
        let message = match response {
            Response::Success { rejected: 0, message } if message.is_empty() => return self.recovered(dropped),
            Response::UnrecognizedSuccess { description } => return self.unrecognized(description),
            Response::Success { rejected: 0, message } => format!("{name} are accepted with a warning: {message}"),
            Response::Success { rejected, message } => {
                format!("{name} are accepted in part; rejected: {rejected} of {records}: {message}")
            }
            Response::NonRetryable { cause } | Response::InvalidContent { cause } => {
                format!("{name} are rejected; dropped: {records}: {cause}")
            }
            Response::Retryable { cause, .. } | Response::Throttled { cause, .. } => {
                format!("{name} cannot be sent and are retried: {cause}")
            }
        };
        let is_due = self.last_report.is_none_or(|last| last.elapsed() >= limits::REPORT_INTERVAL);
        if self.failing.is_none() && is_due {
            self.failing = Some(dropped);
            self.last_report = Some(Instant::now());
            (self.report)(&message);
        }
    }

    /// Reports that the destination throttles one tenant; that of others works.
    pub(crate) fn throttled(&mut self, tenant: Option<&HeaderValue>, cause: &str) {
        if self.last_throttle.is_none_or(|last| last.elapsed() >= limits::REPORT_INTERVAL) {
            self.last_throttle = Some(Instant::now());
            let tenant = tenant.map_or("no tenant".to_owned(), |tenant| format!("the tenant {tenant:?}"));
            let name = &self.name;
            (self.report)(&format!("{name} are throttled for {tenant}, whose records wait: {cause}"));
        }
    }

    /// Reports once that something else than the destination may be answering.
    fn unrecognized(&mut self, description: &str) {
        if !std::mem::replace(&mut self.has_reported_unrecognized, true) {
            (self.report)(&format!(
                "{} count as sent, but the answer is none of this protocol ({description}); check the URL",
                self.name
            ));
        }
    }

    fn recovered(&mut self, dropped: u64) {
        if let Some(before) = self.failing.take() {
            (self.report)(&format!("{} are sent again; dropped meanwhile: {}", self.name, dropped - before));
        }
    }
}
