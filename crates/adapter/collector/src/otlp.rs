//! Sending the metrics to an OpenTelemetry collector over the host's outgoing HTTP.
//!
//! The app's request waits for the collector for a short time only. After that the request stays in
//! flight, and the next activity of the instance finds its result.

mod client;

use std::time::Duration;

use wasmetry_host::encode::otlp::{self, Encoding, Period, Process};
use wasmetry_host::{Counter, FamilyKind, Identity, Registry, Snapshot};

use crate::bindings::wasmetry::adapter::config;
use crate::clock;
use client::{Answer, Response, Target, Timer};

/// The timeout of a request in flight: then it has failed, and its changes are sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The back-off after the first failure; it doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The longest back-off.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// Sends the changes since the last accepted request.
pub(crate) struct Sender {
    target: Target,
    process: Process,
    /// The time that an activity of the app waits for the collector.
    wait: Duration,
    /// The state that the collector has accepted or refused, and its time by the wall clock.
    sent: Snapshot,
    since: u64,
    in_flight: Option<InFlight>,
    /// After a failure: the time of the next attempt, and the length of this back-off.
    back_off: Option<(Duration, Duration)>,
    /// `true` if a warning about a late answer was written, and no answer has been in time since.
    is_late: bool,
    accepted: Counter,
    retried: Counter,
    refused: Counter,
    rejected: Counter,
}

/// A request without an answer yet.
struct InFlight {
    response: Response,
    deadline: Duration,
    /// The state that it brings the collector to.
    snapshot: Snapshot,
    time: u64,
    /// The number of series in it.
    series: u64,
}

impl Sender {
    /// Makes a sender, if the config names a destination.
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
            wait: Duration::from_millis(config::otlp_timeout().into()),
            sent: Snapshot::default(),
            since: clock::nanos(),
            in_flight: None,
            back_off: None,
            is_late: false,
            accepted: request("accepted"),
            retried: request("retried"),
            refused: request("refused"),
            rejected: registry.dropped("metrics", "rejected"),
        })
    }

    /// Sends the changes, unless a request is in flight or a failure is too recent; then the
    /// changes go with a later request. Returns the problems, a sentence each.
    pub(crate) fn send(&mut self, snapshot: Snapshot, now: Duration) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(in_flight) = self.in_flight.take() {
            match in_flight.response.answer() {
                Some(answer) => problems.extend(self.complete(in_flight, answer)),
                None if now < in_flight.deadline => {
                    self.in_flight = Some(in_flight);
                    return problems;
                }
                None => problems.push(self.fail(&format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
            }
        }
        if self.back_off.is_none_or(|(again, _)| now >= again) {
            problems.extend(self.start(snapshot, now));
        }
        problems
    }

    /// Starts a request with the changes and waits for its answer for a short time.
    fn start(&mut self, snapshot: Snapshot, now: Duration) -> Option<String> {
        let mut changes = snapshot.since(&self.sent);
        changes.retain(|family| family.name() != "wasmetry_build_info" && family.kind() != FamilyKind::Info);
        let time = clock::nanos();
        let period = Period::Delta { start: self.since, time };
        let request = otlp::metrics(&changes, period, &self.process, Encoding::Protobuf);
        if request.resource_metrics.is_empty() {
            return None;
        }
        let body = Encoding::Protobuf.encode(&request);
        let timer = Timer::new(self.wait);
        let started = self.target.post(&body, Encoding::Protobuf.content_type(), REQUEST_TIMEOUT, &timer);
        let response = match started {
            Ok(response) => response,
            Err(problem) => return Some(self.fail(&problem)),
        };
        let series = changes.families().map(|family| family.series().count() as u64).sum();
        let in_flight = InFlight { response, deadline: now + REQUEST_TIMEOUT, snapshot, time, series };
        match in_flight.response.wait(&timer) {
            Some(answer) => {
                self.is_late = false;
                self.complete(in_flight, answer)
            }
            None => {
                self.in_flight = Some(in_flight);
                let is_first = !std::mem::replace(&mut self.is_late, true);
                is_first.then(|| {
                    let (url, wait) = (self.target.url(), self.wait.as_millis());
                    format!(
                        "{url}: no answer within {wait} ms; the metrics are lost if the instance ends before the answer"
                    )
                })
            }
        }
    }

    /// Records the result of a request. Returns the problem, if there is one.
    fn complete(&mut self, request: InFlight, answer: Answer) -> Option<String> {
        let problem = match answer {
            Answer::Accepted => {
                self.accepted.inc();
                None
            }
            Answer::Refused(status) => {
                self.refused.inc();
                self.rejected.add(request.series);
                Some(format!("{}: status {status}; the metrics are lost", self.target.url()))
            }
            Answer::Failed(problem) => return Some(self.fail(&problem)),
        };
        (self.sent, self.since, self.back_off) = (request.snapshot, request.time, None);
        problem
    }

    /// Records a failure, which begins a back-off. Returns the problem.
    fn fail(&mut self, problem: &str) -> String {
        let back_off = self.back_off.map_or(FIRST_BACK_OFF, |(_, last)| (2 * last).min(LONGEST_BACK_OFF));
        self.back_off = Some((clock::monotonic() + back_off, back_off));
        self.retried.inc();
        format!("{}: {problem}", self.target.url())
    }
}
