//! Reloading the configuration and the components without a restart: on SIGHUP, when a file
//! changes, and again after an error of the system.
//!
//! Files are polled twice a second, which costs microseconds. Unlike file notifications this works
//! on every file system, for symbolic links that Kubernetes redirects, and for files that are
//! replaced.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use wasmetry_host::{Gauge, Registry};

use super::args::{Flags, Origin};
use super::config::plan::{self, Loaded, Plan};
use super::config::watched_file::{FileVersion, WatchedFile};
use super::handler::Service;
use super::limits;
use super::output::Output;
use super::table::TableBuilder;
use crate::process::control::Components;
use crate::process::endpoint::Endpoint;
use crate::process::system_error;
use crate::text;

/// Replaces the route table when there is a reason to.
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) flags: Flags,
    pub(super) builder: Arc<TableBuilder>,
    pub(super) service: Arc<Service>,
    pub(super) components: Components,
    pub(super) endpoint: Arc<Endpoint>,
    /// The address of the telemetry endpoint, with its actual port.
    pub(super) telemetry_addr: SocketAddr,
    pub(super) metrics: ReloadMetrics,
    pub(super) stderr: Output,
    /// The addresses in use, which a reload cannot change.
    pub(super) addresses: [std::net::SocketAddr; 2],
    pub(super) files: Vec<WatchedFile>,
    pub(super) retry: Retry,
}

/// Metrics of reloads, named like those of Prometheus itself.
pub(super) struct ReloadMetrics {
    is_successful: Gauge,
    success: Gauge,
}

impl ReloadMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| registry.gauge(name, help, &[]).with(&[]);
        let is_successful = gauge(
            "wasmetry_config_last_reload_successful",
            "1 if the last attempt to load the configuration was successful, otherwise 0.",
        );
        let success = gauge(
            "wasmetry_config_last_reload_success_timestamp_seconds",
            "Time of the last successful load of the configuration since the Unix epoch in seconds.",
        );
        let metrics = Self { is_successful, success };
        metrics.record(true);
        metrics
    }

    fn record(&self, is_successful: bool) {
        self.is_successful.set(f64::from(u8::from(is_successful)));
        if is_successful {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.success.set(now.as_secs_f64());
        }
    }
}

/// The retry of a reload that failed with an error of the system.
///
/// Such an error passes without a change of a file: a lack of file descriptors or addresses, or a
/// permission. Other errors wait until a file changes.
#[derive(Debug, Default)]
pub(super) struct Retry {
    next: Option<ScheduledRetry>,
    /// The last error, so that retries with the same one are not reported.
    error: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct ScheduledRetry {
    time: Instant,
    /// The delay from the last attempt.
    delay: Duration,
}

impl Retry {
    /// Returns `true` if the retry is due.
    fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next.time <= now)
    }

    /// Records a successful reload: no retry is scheduled any more.
    fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Records a failed reload, and schedules the next retry if `is_system_error`. Returns `true`
    /// if the error must be reported.
    fn fail(&mut self, error: &str, is_system_error: bool, is_retry: bool, now: Instant) -> bool {
        let delay = match self.next {
            Some(last) if is_retry => (last.delay * 2).min(limits::MAX_RETRY_DELAY),
            _ => limits::RELOAD_INTERVAL,
        };
        self.next = is_system_error.then_some(ScheduledRetry { time: now + delay, delay });
        let is_known = is_retry && self.error.as_deref() == Some(error);
        self.error = Some(error.to_owned());
        !is_known
    }
}

/// The reason for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Signal,
    Change,
    Retry,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Change => "a changed file",
            Self::Retry => "a retry",
        }
    }
}

impl Reloader {
    /// Reloads whenever there is a reason to. Never returns.
    pub(super) async fn run(mut self, mut hang_up: HangUp) {
        let mut last_polled: Vec<FileVersion> = Vec::new();
        let mut interval = tokio::time::interval(limits::RELOAD_INTERVAL);
        loop {
            let is_signalled = tokio::select! {
                () = hang_up.next() => true,
                _ = interval.tick() => false,
            };
            let polled: Vec<FileVersion> = self.files.iter().map(WatchedFile::current_version).collect();
            let reason = if is_signalled { Some(Reason::Signal) } else { self.reason(&polled, &last_polled) };
            if let Some(reason) = reason {
                self = self.reload(reason).await;
            }
            last_polled = polled;
        }
    }

    /// Returns the reason to reload without a signal: a changed file, or a retry that is due.
    ///
    /// A file that is being written changes from poll to poll. So two polls must find the same
    /// versions.
    fn reason(&self, polled: &[FileVersion], last_polled: &[FileVersion]) -> Option<Reason> {
        let is_changed = self.files.iter().zip(polled).any(|(file, polled)| file.version != *polled);
        if is_changed {
            (polled == last_polled).then_some(Reason::Change)
        } else {
            self.retry.is_due(Instant::now()).then_some(Reason::Retry)
        }
    }

    /// Loads the configuration on another thread, and reports the result.
    async fn reload(self, reason: Reason) -> Self {
        let task = tokio::task::spawn_blocking(move || {
            let mut this = self;
            let outcome = this.try_reload();
            this.metrics.record(outcome.is_ok());
            match outcome {
                Ok(served) => {
                    this.retry.succeed();
                    this.report(format!("reloaded on {}: {served}", reason.name()));
                }
                Err(error) => this.report_failure(reason, &error),
            }
            this
        });
        match task.await {
            Ok(this) => this,
            // The task panicked, or the process is ending: no further reload is possible.
            Err(_) => std::future::pending().await,
        }
    }

    fn report_failure(&mut self, reason: Reason, error: &anyhow::Error) {
        let text = text::line(&format!("{error:#}"));
        let is_system_error = system_error::is_system_error(error);
        if self.retry.fail(&text, is_system_error, reason == Reason::Retry, Instant::now()) {
            let retried = if is_system_error { "; it will be retried" } else { "" };
            let reason = reason.name();
            self.report(format!(
                "error: not reloaded on {reason}, the previous configuration stays in force: {text}{retried}"
            ));
        }
    }

    fn report(&self, line: String) {
        // The queue may be full; this thread can wait for stderr.
        if !self.stderr.line(line.clone()) {
            text::print_stderr(format_args!("{line}"));
        }
    }

    /// Loads and builds the next table. Returns the names of the components, for a message.
    fn try_reload(&mut self) -> Result<String> {
        let Loaded { plan, files } = plan::load(&self.origin, &self.flags);
        // Even if the plan is wrong, a corrected file causes a reload.
        self.files = files;
        let plan = plan?;
        let table = self.builder.build(&plan, &self.service.table())?;
        let known: Vec<_> = table.components.iter().map(|component| component.observed.clone()).collect();
        let count = table.components.len();
        let names: Vec<&str> =
            table.components.iter().map(|component| component.spec.identity.component()).take(8).collect();
        let served = format!("{}{}", text::line(&names.join(", ")), if count > 8 { ", …" } else { "" });
        self.service.set_table(table);
        self.components.set(known);
        self.endpoint.set_targets(plan.targets(self.telemetry_addr));
        self.report_changed_addresses(&plan);
        Ok(served)
    }

    fn report_changed_addresses(&self, plan: &Plan) {
        for (setting, old) in [&plan.addr, &plan.telemetry_addr].into_iter().zip(self.addresses) {
            if setting.addr != old
                && let Some(position) = &setting.position
            {
                self.stderr.line(format!(
                    "{position}: a changed address takes effect only after a restart; it is still {old}"
                ));
            }
        }
    }
}

/// Receives SIGHUP, which no longer ends the process once this exists.
pub(super) struct HangUp {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl HangUp {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next SIGHUP.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_retried() {
        let (mut retry, begin) = (Retry::default(), Instant::now());
        assert!(!retry.is_due(begin + limits::MAX_RETRY_DELAY));
        assert!(retry.fail("no descriptors", true, false, begin));
        assert!(!retry.is_due(begin));
        assert!(retry.is_due(begin + limits::RELOAD_INTERVAL));
        // The same error again is not reported, and the delay grows to its maximum.
        for _ in 0..20 {
            assert!(!retry.fail("no descriptors", true, true, begin));
        }
        assert!(!retry.is_due(begin + limits::MAX_RETRY_DELAY / 2));
        assert!(retry.is_due(begin + limits::MAX_RETRY_DELAY));
        retry.succeed();
        assert!(!retry.is_due(begin + limits::MAX_RETRY_DELAY));
    }

    #[test]
    fn parse_errors_wait_for_changes() {
        let (mut retry, begin) = (Retry::default(), Instant::now());
        assert!(retry.fail("unknown key", false, false, begin));
        assert!(!retry.is_due(begin + limits::MAX_RETRY_DELAY));
        // A change with the same error is reported again.
        assert!(retry.fail("unknown key", false, false, begin));
        // A retry with another error is reported, and ends the retries.
        assert!(retry.fail("no descriptors", true, false, begin));
        assert!(retry.fail("unknown key", false, true, begin));
        assert!(!retry.is_due(begin + limits::MAX_RETRY_DELAY));
    }
}
