//! Sends a request until its fate is known.

pub(super) mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;

use self::retry::{Backoff, Pause};
use super::Report;
use super::config::Retry;
use super::pipeline_metrics::{ExportDropReason, PipelineMetrics, RequestEnd};
use super::transport::{Outcome, Transport};
use crate::limits;

/// The fate of a request's records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExportResult {
    /// All but so many arrived.
    Success { rejected: u64 },
    /// None arrived, for all that is known.
    Dropped(ExportDropReason),
}

/// A request that is ready to be sent.
pub(crate) struct ExportRequest {
    pub(crate) body: Bytes,
    /// Whose records they are, where the destination is to be told by a header.
    pub(crate) tenant: Option<HeaderValue>,
    /// Whether it is sent again for as long as the process lives.
    pub(crate) is_audit: bool,
}

/// A way to a destination, and how it has been going.
pub(crate) struct ExportClient {
    pub(crate) transport: Transport,
    pub(crate) retry: Retry,
    pub(crate) metrics: Arc<PipelineMetrics>,
    pub(crate) health: Health,
    pub(crate) pause: Pause,
    /// When the destination may be addressed again, if it has said so.
    pub(crate) resume: Option<Instant>,
}

impl ExportClient {
    /// Sends a request, again and again if need be.
    pub(crate) async fn deliver(&mut self, parcel: ExportRequest, records: u64) -> ExportResult {
        let begin = Instant::now();
        // An audit record that is given up would be lost before the others that wait.
        let give_up_after = if parcel.is_audit { Duration::MAX } else { self.retry.give_up_after };
        let mut backoff = Backoff::new(Retry { give_up_after, ..self.retry });
        loop {
            if let Some(resume) = self.resume.take() {
                tokio::time::sleep_until(resume.into()).await;
            }
            let sent = Instant::now();
            let outcome = self.transport.send(parcel.body.clone(), parcel.tenant.as_ref()).await;
            let (end, fate) = match &outcome {
                Outcome::Accepted { rejected, .. } => {
                    (RequestEnd::Accepted, Some(ExportResult::Success { rejected: (*rejected).min(records) }))
                }
                Outcome::Refused { .. } => {
                    (RequestEnd::Refused, Some(ExportResult::Dropped(ExportDropReason::Rejected)))
                }
                Outcome::Retry { .. } => (RequestEnd::Retried, None),
            };
            self.metrics.request(end, sent.elapsed());
            self.health.learn(&outcome, records, self.metrics.losses());
            if let Some(fate) = fate {
                return fate;
            }
            let Outcome::Retry { after, .. } = outcome else { continue };
            // The next batch has to wait for it too, even if this one is given up.
            self.resume = after.and_then(|after| Instant::now().checked_add(after.min(limits::THROTTLE_MAX)));
            let Some(wait) = backoff.wait(begin.elapsed(), after, retry::random()) else {
                return ExportResult::Dropped(ExportDropReason::RetryExhausted);
            };
            match after {
                // It has asked for that, whether or not the process is about to end.
                Some(_) => tokio::time::sleep(wait).await,
                None => self.pause.wait(wait).await,
            }
        }
    }

    /// Loses a request that cannot be made.
    pub(crate) fn refuse(&mut self, cause: String, records: u64) -> ExportResult {
        self.health.learn(&Outcome::Refused { cause }, records, self.metrics.losses());
        ExportResult::Dropped(ExportDropReason::Rejected)
    }
}

/// Tells the operator when a destination fails and when it works again, and not more often than can be read.
pub(crate) struct Health {
    /// What is sent where, such as `logs to http://127.0.0.1:4318/v1/logs`.
    name: String,
    report: Report,
    /// What had been lost when the failure was told.
    failing: Option<u64>,
    told: Option<Instant>,
}

impl Health {
    pub(crate) fn new(name: String, report: Report) -> Self {
        Self { name, report, failing: None, told: None }
    }

    /// Learns how a request ended, and what has been lost in all.
    pub(crate) fn learn(&mut self, outcome: &Outcome, records: u64, losses: u64) {
        let name = &self.name;
        let complaint = match outcome {
            Outcome::Accepted { rejected: 0, message } if message.is_empty() => {
                if let Some(before) = self.failing.take() {
                    (self.report)(&format!("{name} are sent again; lost meanwhile: {}", losses - before));
                }
                return;
            }
            Outcome::Accepted { rejected, message } => {
                format!("{name} are accepted with a complaint, and {rejected} of {records} rejected: {message}")
            }
            Outcome::Refused { cause } => format!("{name} are refused, and {records} lost: {cause}"),
            Outcome::Retry { cause, .. } => format!("{name} cannot be sent, and wait: {cause}"),
        };
        let is_due = self.told.is_none_or(|told| told.elapsed() >= limits::COMPLAINT_INTERVAL);
        if self.failing.is_none() && is_due {
            self.failing = Some(losses);
            self.told = Some(Instant::now());
            (self.report)(&complaint);
        }
    }
}
