//! Sends one request to a destination, with retries, until its result is known.

mod destination_health;
pub(super) mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;

pub(super) use self::destination_health::DestinationHealth;
use self::retry::{Backoff, RetryTimer};
use super::config::Retry;
use super::fault::ExportFaults;
use super::pipeline_metrics::{ExportDropReason, PipelineMetrics, RequestOutcome};
use super::transport::{Response, Transport};
use crate::limits;

/// The result of a request, for its records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExportResult {
    /// The destination accepted all records but `rejected`.
    Success { rejected: u64 },
    /// No record arrived, as far as is known.
    Dropped(ExportDropReason),
}

/// A request that is ready to be sent.
pub(crate) struct ExportRequest {
    pub(crate) body: Bytes,
    /// The tenant of its records, where the destination expects it in a header.
    pub(crate) tenant: Option<HeaderValue>,
    /// `true` if it is retried until the process ends.
    pub(crate) is_audit: bool,
}

/// The client of one destination.
pub(crate) struct ExportClient {
    pub(crate) transport: Transport,
    pub(crate) retry: Retry,
    pub(crate) metrics: Arc<PipelineMetrics>,
    pub(crate) health: DestinationHealth,
    pub(crate) timer: RetryTimer,
    /// The earliest time of the next request, if the destination is throttling.
    pub(crate) throttled_until: Option<Instant>,
    pub(crate) faults: ExportFaults,
}

impl ExportClient {
    /// Sends a request, and retries it as the destination's response and the retry policy allow.
    pub(crate) async fn export(&mut self, request: ExportRequest, records: u64) -> ExportResult {
        let begin = Instant::now();
        let policy = if request.is_audit {
            // Audit records are the last to be dropped, so they are not dropped while others wait.
            Retry { give_up_after: Duration::MAX, cancel_after: Duration::MAX, ..self.retry }
        } else {
            self.retry
        };
        let mut backoff = Backoff::new(policy);
        loop {
            if let Some(until) = self.throttled_until {
                let end = begin.checked_add(policy.cancel_after).filter(|end| *end < until);
                tokio::time::sleep_until(end.unwrap_or(until).into()).await;
                if end.is_some() {
                    return ExportResult::Dropped(ExportDropReason::RetryExhausted);
                }
                self.throttled_until = None;
            }
            let sent = Instant::now();
            let limit = policy.cancel_after.saturating_sub(begin.elapsed());
            let response = match self.faults.next() {
                Some(response) => response,
                None => self.transport.send(request.body.clone(), request.tenant.as_ref(), limit).await,
            };
            let (outcome, result) = match &response {
                Response::Success { rejected, .. } => {
                    (RequestOutcome::Accepted, Some(ExportResult::Success { rejected: (*rejected).min(records) }))
                }
                // It is unknown if the records were stored, and sending them again would not help.
                Response::UnrecognizedSuccess { .. } => {
                    (RequestOutcome::Accepted, Some(ExportResult::Success { rejected: 0 }))
                }
                Response::NonRetryable { .. } => {
                    (RequestOutcome::Refused, Some(ExportResult::Dropped(ExportDropReason::Rejected)))
                }
                Response::Retryable { .. } => (RequestOutcome::Retried, None),
            };
            self.metrics.request(outcome, sent.elapsed());
            self.health.record(&response, records, self.metrics.all_dropped());
            if let Some(result) = result {
                return result;
            }
            let Response::Retryable { after, .. } = response else { continue };
            // The next request waits for it too, even if this one is dropped.
            self.throttled_until = after.and_then(|after| Instant::now().checked_add(after.min(limits::THROTTLE_MAX)));
            let Some(delay) = backoff.next_delay(begin.elapsed(), after, retry::random()) else {
                return ExportResult::Dropped(ExportDropReason::RetryExhausted);
            };
            match after {
                // A delay that the destination asked for is kept at shutdown too.
                Some(_) => tokio::time::sleep(delay).await,
                None => self.timer.wait(delay).await,
            }
        }
    }

    /// Drops a request that cannot be built, and reports why.
    pub(crate) fn reject(&mut self, cause: String, records: u64) -> ExportResult {
        self.health.record(&Response::NonRetryable { cause }, records, self.metrics.all_dropped());
        ExportResult::Dropped(ExportDropReason::Rejected)
    }
}
