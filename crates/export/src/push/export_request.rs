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
use super::pipeline::queue::ThrottleEnd;
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

/// The reason for which a request comes back without a result.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// Its tenant is throttled until then.
    Throttled {
        end: ThrottleEnd,
        /// `true` if it has no time left for another attempt.
        is_exhausted: bool,
    },
    /// The destination refuses its content, which may be that of one tenant.
    Refused,
}

/// A request that is ready to be sent.
pub(crate) struct ExportRequest {
    pub(crate) body: Bytes,
    /// The tenant of its records, where the destination expects it in a header.
    tenant: Option<HeaderValue>,
    /// `true` if it is retried until the process ends.
    is_audit: bool,
    /// `true` if its records are of several tenants.
    is_mixed: bool,
    /// The attempts to send it. `None` before the first one.
    attempts: Option<Attempts>,
}

impl ExportRequest {
    /// Creates a request whose records are of one tenant, or of none.
    pub(crate) fn new(body: Bytes, tenant: Option<HeaderValue>, is_audit: bool) -> Self {
        Self { body, tenant, is_audit, is_mixed: false, attempts: None }
    }

    /// Sets if its records are of several tenants.
    pub(crate) fn with_mixed(self, is_mixed: bool) -> Self {
        Self { is_mixed, ..self }
    }
}

/// The attempts to send a request.
#[derive(Debug)]
struct Attempts {
    begin: Instant,
    backoff: Backoff,
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
    /// `true` if each tenant's records have requests and limits of their own.
    pub(crate) is_by_tenant: bool,
    /// `true` if the destination accepts all of a request or, if it responds with a failure, none.
    pub(crate) is_atomic: bool,
    pub(crate) faults: ExportFaults,
}

impl ExportClient {
    /// Sends a request of no tenant until its result is known.
    pub(crate) async fn export(&mut self, mut request: ExportRequest, records: u64) -> ExportResult {
        match self.export_part(&mut request, records).await {
            Ok(result) => result,
            // It is not kept for later, and cannot be divided.
            Err(Unsent::Throttled { .. }) => ExportResult::Dropped(ExportDropReason::RetryExhausted),
            Err(Unsent::Refused) => ExportResult::Dropped(ExportDropReason::Rejected),
        }
    }

    /// Sends a request, and retries it as the destination's response and the retry policy allow.
    ///
    /// # Errors
    ///
    /// If others need not wait for it, as its tenant alone is throttled, or if its tenants' records
    /// are to be sent apart, as the destination refuses them together.
    pub(crate) async fn export_part(
        &mut self,
        request: &mut ExportRequest,
        records: u64,
    ) -> Result<ExportResult, Unsent> {
        let policy = if request.is_audit {
            // Audit records are the last to be dropped, so they are not dropped while others wait.
            Retry { give_up_after: Duration::MAX, cancel_after: Duration::MAX, ..self.retry }
        } else {
            self.retry
        };
        let begin = Instant::now();
        let Attempts { begin, backoff } =
            request.attempts.get_or_insert_with(|| Attempts { begin, backoff: Backoff::new(policy) });
        loop {
            if let Some(until) = self.throttled_until {
                let end = begin.checked_add(policy.cancel_after).filter(|end| *end < until);
                tokio::time::sleep_until(end.unwrap_or(until).into()).await;
                if end.is_some() {
                    return Ok(ExportResult::Dropped(ExportDropReason::RetryExhausted));
                }
                self.throttled_until = None;
            }
            let sent = Instant::now();
            let limit = policy.cancel_after.saturating_sub(begin.elapsed());
            let response = match self.faults.next() {
                Some(response) => response,
                None => self.transport.send(request.body.clone(), request.tenant.as_ref(), limit).await,
            };
            let duration = sent.elapsed();
            self.metrics.request(RequestOutcome::of(&response), duration);
            match &response {
                // The parts' results are reported.
                Response::InvalidContent { .. } if request.is_mixed && self.is_atomic => return Err(Unsent::Refused),
                Response::Throttled { cause, .. } if self.is_by_tenant => {
                    self.health.throttled(request.tenant.as_ref(), cause);
                }
                response => self.health.record(response, records, self.metrics.all_dropped()),
            }
            let is_throttled = self.is_by_tenant && matches!(response, Response::Throttled { .. });
            let after = match response {
                Response::Success { rejected, .. } => {
                    return Ok(ExportResult::Success { rejected: rejected.min(records) });
                }
                // It is unknown if the records were stored, and sending them again would not help.
                Response::UnrecognizedSuccess { .. } => return Ok(ExportResult::Success { rejected: 0 }),
                Response::NonRetryable { .. } | Response::InvalidContent { .. } => {
                    return Ok(ExportResult::Dropped(ExportDropReason::Rejected));
                }
                Response::Retryable { after, .. } | Response::Throttled { after, .. } => after,
            };
            let now = Instant::now();
            // The next request waits for it too, even if this one is dropped.
            let throttled_until = after.and_then(|after| now.checked_add(after.min(limits::THROTTLE_MAX)));
            let delay = backoff.next_delay(begin.elapsed(), after, retry::random());
            let delay = delay.map(|delay| delay.min(limits::THROTTLE_MAX));
            if is_throttled {
                let at = delay.and_then(|delay| now.checked_add(delay)).or(throttled_until).unwrap_or(now);
                let end = ThrottleEnd { at, is_requested: after.is_some() };
                return Err(Unsent::Throttled { end, is_exhausted: delay.is_none() });
            }
            self.throttled_until = throttled_until;
            match (delay, after) {
                (None, _) => return Ok(ExportResult::Dropped(ExportDropReason::RetryExhausted)),
                // A delay that the destination asked for is kept at shutdown too.
                (Some(delay), Some(_)) => tokio::time::sleep(delay).await,
                (Some(delay), None) => self.timer.wait(delay).await,
            }
        }
    }

    /// Drops a request that cannot be built, and reports why.
    pub(crate) fn reject(&mut self, cause: String, records: u64) -> ExportResult {
        self.health.record(&Response::NonRetryable { cause }, records, self.metrics.all_dropped());
        ExportResult::Dropped(ExportDropReason::Rejected)
    }
}
