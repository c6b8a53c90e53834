//! Sending the metrics to an OpenTelemetry collector, over the host's outgoing HTTP.

mod client;

use std::time::Duration;

use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
use wasmetry_host::{Counter, FamilyKind, Identity, Registry, Snapshot};

use crate::bindings::wasmetry::adapter::config;
use crate::clock;
use client::{Answer, Target};

/// How long a request may take: an instance that serves more than one request waits that long before the next.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long nothing is sent after the first failure; after each further one, twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long nothing is sent at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Sends what has changed since it was sent last.
pub(crate) struct Sender {
    target: Target,
    process: Process,
    /// What has been sent, and when that was, by the wall clock.
    sent: Snapshot,
    since: u64,
    /// After a failure: when to try again, and how long that was from then on.
    retry: Option<(Duration, Duration)>,
    accepted: Counter,
    retried: Counter,
    refused: Counter,
    rejected: Counter,
}

impl Sender {
    /// A sender, if the config names somebody to send to.
    pub(crate) fn new(registry: &Registry, identity: &Identity) -> Option<Self> {
        let (url, headers) = config::otlp()?;
        let requests = registry.counter(
            "wasmetry_export_requests_total",
            "Requests to a destination: accepted, to be retried, or refused.",
            &["signal", "destination", "outcome"],
        );
        let request = |outcome| requests.with(&["metrics", "otlp", outcome]);
        Some(Self {
            target: Target::new(&url, headers),
            process: Process::default().with_service_name(identity.component()),
            sent: Snapshot::default(),
            since: clock::nanos(),
            retry: None,
            accepted: request("accepted"),
            retried: request("retried"),
            refused: request("refused"),
            rejected: registry.dropped("metrics", "rejected"),
        })
    }

    /// Sends the changes, unless a failure is too recent. What is not sent is sent with the next changes.
    ///
    /// # Errors
    ///
    /// Returns what went wrong, for somebody to read.
    pub(crate) fn send(&mut self, snapshot: Snapshot, now: Duration) -> Result<(), String> {
        if self.retry.is_some_and(|(again, _)| now < again) {
            return Ok(());
        }
        let mut changes = snapshot.since(&self.sent);
        changes.retain(|family| family.name() != "wasmetry_build_info" && family.kind() != FamilyKind::Info);
        let time = clock::nanos();
        let period = Period::Delta { start: self.since, time };
        let request = otlp::metrics(&changes, period, &self.process, Encoding::Protobuf);
        if request.resource_metrics.is_empty() {
            return Ok(());
        }
        let answer = self.target.post(&Encoding::Protobuf.encode(&request), Encoding::Protobuf.content_type(), TIMEOUT);
        let (outcome, result) = match answer {
            Answer::Accepted => (&self.accepted, Ok(())),
            Answer::Refused(status) => {
                self.rejected.add(changes.families().map(|family| family.series().count() as u64).sum());
                (&self.refused, Err(format!("{}: status {status}; the metrics are lost", self.target.url())))
            }
            Answer::Failed(problem) => {
                let wait = self.retry.map_or(FIRST_WAIT, |(_, wait)| (2 * wait).min(LONGEST_WAIT));
                self.retry = Some((clock::monotonic() + wait, wait));
                self.retried.inc();
                return Err(format!("{}: {problem}", self.target.url()));
            }
        };
        outcome.inc();
        (self.sent, self.since, self.retry) = (snapshot, time, None);
        result
    }
}
