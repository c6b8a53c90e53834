//! The console: its parts, what they receive, and the thread that takes snapshots.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use wasmetry_explain::{Explainer, Group};
use wasmetry_host::record::{LogRecord, SpanRecord, SpanStatus, TraceId};
use wasmetry_host::{Identity, Registry, RequestFacts, SeriesKey, SeriesLabels, Snapshot};

use crate::api;
use crate::event::Streams;
use crate::limits;
use crate::page;
use crate::problem::Problem;
use crate::record::drop::Dropped;
use crate::record::sampling::Sampling;
use crate::record::trace::{Class, Ended};
use crate::record::{Records, code};
use crate::request::{Answer, Request};
use crate::series::SeriesStore;

/// The reason in `wasmetry_dropped_total` of what has left the memory of the console.
const DROPPED: &str = "console_memory";

/// The configuration of a [`Console`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of everything that is kept; see [`limits::MEMORY`].
    pub memory: usize,
    /// The version of the host.
    pub version: String,
    /// The registry that counts drops.
    registry: Option<Registry>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, version, registry: _ } = self;
        f.debug_struct("Config").field("memory", memory).field("version", version).finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { memory: limits::MEMORY, version, registry: None }
    }
}

impl Config {
    /// Sets the bytes of everything that is kept, which are at least [`limits::MIN_MEMORY`].
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = bytes.max(limits::MIN_MEMORY);
        self
    }

    /// Sets the registry in whose `wasmetry_dropped_total` the drops of the console are counted
    /// with their owners, at each snapshot, with the reason `console_memory`.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }
}

/// The kind of a change that may be a cause of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The host started.
    Start,
    /// A component was replaced by another version.
    Version,
    /// The configuration was read again.
    Config,
    /// The limits of a component changed.
    Limits,
}

impl ChangeKind {
    /// The name, as answers show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Version => "version",
            Self::Config => "config",
            Self::Limits => "limits",
        }
    }
}

/// The cause for which the spans of a request are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The sampler of the exporter has selected its trace.
    Sampler,
    /// It failed or was slow.
    Outcome,
    /// The console has selected it.
    Selection,
}

/// A change that may be a cause of failures.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) time: u64,
    pub(crate) kind: ChangeKind,
    pub(crate) component: String,
    pub(crate) tenant: String,
    pub(crate) text: String,
}

impl Change {
    fn size(&self) -> usize {
        size_of::<Self>() + self.component.len() + self.tenant.len() + self.text.len()
    }
}

/// The recent past of a host, and the answers to requests for it. A clone shares it.
///
/// Logs and spans come from a [`Recorder`](crate::Recorder), snapshots from the thread of
/// [`start`](Self::start).
#[derive(Clone)]
pub struct Console {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) begin: u64,
    pub(crate) series: Mutex<SeriesStore>,
    pub(crate) records: Mutex<Records>,
    pub(crate) sampling: Sampling,
    explainer: Mutex<Explainer>,
    /// Selects the normal requests of which there are fingerprints.
    fingerprints: Sampling,
    pub(crate) streams: Streams,
    changes: Mutex<Changes>,
    services: Mutex<Vec<String>>,
    stopping: Mutex<bool>,
    stopped: Condvar,
    is_stopped: AtomicBool,
}

#[derive(Default)]
struct Changes {
    latest: VecDeque<Change>,
    /// The bytes of the latest ones.
    bytes: usize,
    dropped: u64,
    /// The version of each component and tenant.
    versions: BTreeMap<(String, String), String>,
}

/// The thread that takes snapshots. Dropping it stops the console and waits for the thread.
#[derive(Debug)]
pub struct SnapshotThread {
    console: Console,
    thread: Option<JoinHandle<()>>,
}

impl Drop for SnapshotThread {
    fn drop(&mut self) {
        self.console.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Console {
    /// Creates a console that has received nothing.
    pub fn new(config: Config) -> Self {
        let begin = nanos(SystemTime::now());
        let part = |sixteenths: usize| config.memory / 16 * sixteenths;
        let console = Self {
            shared: Arc::new(Shared {
                series: Mutex::new(SeriesStore::new(part(limits::SERIES_PART), begin)),
                records: Mutex::new(Records::new([
                    part(limits::LOGS_PART),
                    part(limits::TRACES_PART),
                    config.memory / limits::NAMES_DIVISOR,
                    config.memory / limits::TRAPS_DIVISOR,
                ])),
                explainer: Mutex::new(Explainer::new(config.memory / limits::FINGERPRINTS_DIVISOR)),
                fingerprints: Sampling::new(limits::FINGERPRINTS_PER_SECOND),
                config,
                begin,
                sampling: Sampling::new(limits::NORMAL_REQUESTS_PER_SECOND),
                streams: Streams::default(),
                changes: Mutex::default(),
                services: Mutex::default(),
                stopping: Mutex::new(false),
                stopped: Condvar::new(),
                is_stopped: AtomicBool::new(false),
            }),
        };
        console.changed(ChangeKind::Start, "", "", "the host started");
        console
    }

    /// Starts a thread that stores a snapshot at each multiple of 5 s.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn start(&self, snapshots: impl Fn() -> Snapshot + Send + 'static) -> io::Result<SnapshotThread> {
        let console = self.clone();
        let thread = std::thread::Builder::new().name("console".to_owned()).spawn(move || console.run(&snapshots))?;
        Ok(SnapshotThread { console: self.clone(), thread: Some(thread) })
    }

    fn run(&self, snapshots: &dyn Fn() -> Snapshot) {
        let mut next = SystemTime::now();
        loop {
            let now = SystemTime::now();
            if now >= next {
                let begin = Instant::now();
                let snapshot = snapshots();
                self.store(&snapshot, now);
                self.shared.series().set_took(begin.elapsed());
                // A clock that was set back would have the thread wait for long.
                next = next_step(SystemTime::now());
            }
            let left = next.duration_since(SystemTime::now()).unwrap_or_default();
            if self.wait(left.min(Duration::from_secs(limits::STEP_SECONDS))) {
                return;
            }
            self.shared.streams.wake(self.shared.records().last_event);
        }
    }

    /// Waits for a time, or until a reader of events comes, whose events are due earlier. Returns
    /// `true` if the console is stopped.
    fn wait(&self, time: Duration) -> bool {
        let stopping = self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let time = if self.shared.streams.is_empty() { time } else { time.min(limits::EVENT_INTERVAL) };
        if *stopping {
            return true;
        }
        *self.shared.stopped.wait_timeout(stopping, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Lets the thread of [`start`](Self::start) see a new reader of events.
    pub(crate) fn wake_thread(&self) {
        // Taken, so that the thread is not between its look at the readers and its wait.
        drop(self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.stopped.notify_all();
    }

    /// Stops the thread of [`start`](Self::start), and ends all event streams.
    pub fn stop(&self) {
        *self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        self.shared.stopped.notify_all();
        self.shared.streams.wake_all();
    }

    /// Stores a snapshot that was taken at `time`.
    pub fn store(&self, snapshot: &Snapshot, time: SystemTime) {
        let time = nanos(time);
        let mut series = self.shared.series();
        series.store(snapshot, time);
        let versions = api::overview::versions(&series);
        let refused = series.take_refused();
        drop(series);
        self.find_changed_versions(versions);
        self.count_drops(refused);
        // Readers of events wait for no lock of the series.
        self.shared.streams.stored(time, api::status::event(&self.shared));
        self.shared.streams.wake_all();
    }

    /// Counts drops with their owners: those of the series, and of the records since the last call.
    fn count_drops(&self, mut drops: Vec<Dropped>) {
        drops.append(&mut self.shared.records().take_drops());
        // The registry is called without a lock of the console.
        let Some(registry) = &self.shared.config.registry else { return };
        for Dropped { identity, signal, count } in drops {
            registry.count_dropped(&identity, signal, DROPPED, count);
        }
    }

    /// Notes the components whose version has changed.
    fn find_changed_versions(&self, found: BTreeMap<(String, String), String>) {
        let mut texts = Vec::new();
        {
            let mut changes = self.shared.changes();
            for ((component, tenant), version) in &found {
                let known = changes.versions.get(&(component.clone(), tenant.clone()));
                if let Some(known) = known.filter(|known| *known != version) {
                    let text = format!("`{component}`: version {known} was replaced by {version}");
                    texts.push((component.clone(), tenant.clone(), text));
                }
            }
            changes.versions = found;
        }
        for (component, tenant, text) in texts {
            self.changed(ChangeKind::Version, &component, &tenant, &text);
        }
    }

    /// Sets the addresses of the services, as URLs, which the page shows while there are no
    /// requests.
    pub fn set_services(&self, urls: Vec<String>) {
        *self.shared.services.lock().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    /// Notes a change that may be a cause of failures: of a component of a tenant, or, with empty
    /// texts, of the host.
    pub fn changed(&self, kind: ChangeKind, component: &str, tenant: &str, text: &str) {
        let cut = |text: &str| text[..text.floor_char_boundary(limits::LIST_TEXT)].to_owned();
        let (component, tenant, text) = (cut(component), cut(tenant), cut(text));
        let change = Change { time: nanos(SystemTime::now()), kind, component, tenant, text };
        let limit = self.shared.config.memory / limits::CHANGES_DIVISOR;
        let mut changes = self.shared.changes();
        changes.bytes += change.size();
        changes.latest.push_back(change);
        while changes.latest.len() > limits::CHANGES || (changes.bytes > limit && changes.latest.len() > 1) {
            let Some(oldest) = changes.latest.pop_front() else { break };
            changes.bytes -= oldest.size();
            changes.dropped += 1;
        }
    }

    /// Keeps a log.
    pub(crate) fn record_log(&self, identity: &Arc<Identity>, log: &LogRecord) {
        let mut body = Vec::with_capacity(256);
        let dropped_fields = code::put_log(log, &mut body);
        self.shared.records().add_log(identity, log, &body, dropped_fields);
    }

    /// Returns `true` if a request gets a fingerprint: it failed, was slow, or is among those that
    /// are sampled.
    pub(crate) fn selects_facts(&self, identity: &Identity, facts: &RequestFacts) -> bool {
        // Without a trace, the time of the end is as random.
        let random = facts.trace.map_or(u128::from(facts.end), |trace| trace.trace_id.number());
        facts.error.is_some() || facts.is_slow || self.shared.fingerprints.selects(identity.tenant(), random, facts.end)
    }

    /// Keeps the fingerprint of a request that was selected.
    pub(crate) fn record_facts(&self, identity: &Identity, facts: &RequestFacts) {
        let group = match facts.error {
            Some(_) => Group::Failed,
            None if facts.is_slow => Group::Slow,
            None => Group::Normal,
        };
        let weight = if group == Group::Normal {
            1.0 / self.shared.fingerprints.share_of(identity.tenant()).max(1e-9)
        } else {
            1.0
        };
        let weight = weight.round() as u32;
        let add = |labels: Option<&HashMap<SeriesKey, SeriesLabels>>| {
            self.shared.explainer().add(identity, facts, group, weight, labels)
        };
        if let Err(unknown) = add(None) {
            // Without the explainer's lock, which all requests share.
            let labels = unknown.into_iter().filter_map(|key| Some((key, facts.labels(key)?))).collect();
            let _ = add(Some(&labels));
        }
    }

    /// Returns `true` if a request that neither failed nor was slow is kept.
    pub(crate) fn selects(&self, identity: &Identity, trace: TraceId, now: u64) -> bool {
        self.shared.sampling.selects(identity.tenant(), trace.number(), now)
    }

    /// Keeps a span that was received for this cause.
    pub(crate) fn record_span(&self, identity: &Arc<Identity>, span: &SpanRecord, cause: Cause) {
        let trace_id = span.context.trace_id.number();
        if !span.is_request() {
            let Some(request) = span.request else {
                return self.shared.records().traces.drop_span();
            };
            let mut bytes = Vec::with_capacity(512);
            code::put_span(identity, span, &mut bytes);
            return self.shared.records().add_span(identity, trace_id, request, &bytes);
        }
        // The host has decided which requests are slow, for all of their readers.
        let class = match (&span.status, cause) {
            (SpanStatus::Error(_), _) => Class::Failed,
            _ if span.is_slow => Class::Slow,
            // It was kept for its outcome, and was not slow.
            (_, Cause::Outcome) => Class::Failed,
            _ => Class::Normal,
        };
        let is_sampled = class == Class::Normal && cause == Cause::Sampler;
        if is_sampled && !self.shared.sampling.selects(identity.tenant(), trace_id, span.end) {
            return self.shared.records().traces.reject(span.context.span_id.number());
        }
        let ended = Ended::new(identity, span, class);
        self.shared.records().end(identity, span, ended);
    }

    /// Answers a request.
    pub fn answer(&self, request: &Request<'_>) -> Answer {
        if !matches!(request.method, "GET" | "HEAD") {
            return Problem::method_not_allowed().answer();
        }
        if !request.path.starts_with("/api/") {
            return page::answer(request);
        }
        api::answer(self, request).unwrap_or_else(|problem| problem.answer())
    }
}

impl Shared {
    pub(crate) fn series(&self) -> MutexGuard<'_, SeriesStore> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn explainer(&self) -> MutexGuard<'_, Explainer> {
        self.explainer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what changed, newest first.
    pub(crate) fn latest_changes(&self) -> Vec<Change> {
        self.changes().latest.iter().rev().cloned().collect()
    }

    /// The components of the last snapshot, each with its tenant.
    pub(crate) fn served(&self) -> Vec<(String, String)> {
        self.changes().versions.keys().cloned().collect()
    }

    /// The number of changes that were dropped.
    pub(crate) fn dropped_changes(&self) -> u64 {
        self.changes().dropped
    }

    /// Returns the addresses of the services.
    pub(crate) fn services(&self) -> Vec<String> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The name of this process.
    pub(crate) fn epoch(&self) -> String {
        format!("{:x}", self.begin / 1000)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// The bytes of everything that is kept: of series, logs, traces, and of the rest.
    pub(crate) fn bytes(&self) -> [usize; 4] {
        let series = self.series().bytes();
        let [logs, traces, names] = self.records().bytes();
        let version = |((component, tenant), version): (&(String, String), &String)| {
            component.len() + tenant.len() + version.len() + limits::NAME_OVERHEAD
        };
        let changes = self.changes();
        let changes = changes.bytes + changes.versions.iter().map(version).sum::<usize>();
        [series, logs, traces, names + changes]
    }
}

/// Returns a time in nanoseconds since 1970-01-01 00:00 UTC.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the next multiple of 5 s.
fn next_step(now: SystemTime) -> SystemTime {
    let seconds = nanos(now) / 1_000_000_000 / limits::STEP_SECONDS * limits::STEP_SECONDS + limits::STEP_SECONDS;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
