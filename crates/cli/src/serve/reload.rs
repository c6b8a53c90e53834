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
use wasmetry_console::{ChangeKind, Console};
use wasmetry_export::scrape::ServerTls;
use wasmetry_host::{Gauge, GuestLimits, Identity, Registry};

use super::args::{Flags, Origin};
use super::config::plan::{self, ComponentSpec, Loaded, Plan};
use super::drill::DrillControl;
use super::handler::Service;
use super::limits;
use super::limits::service::ServiceLimits;
use super::output::Output;
use super::table::{Built, Failure, RouteTable, TableBuilder};
use crate::flag::telemetry::TelemetryArgs;
use crate::process::control::Components;
use crate::process::endpoint::Endpoint;
use crate::process::system_error;
use crate::process::watched_file::{FileVersion, WatchedFile};
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
    /// The settings of the telemetry endpoint in use, which a reload cannot change.
    pub(super) telemetry_settings: TelemetryArgs,
    /// The certificate of the telemetry endpoint, whose files each reload reads again.
    pub(super) tls: Option<ServerTls>,
    pub(super) metrics: ReloadMetrics,
    pub(super) registry: Registry,
    /// The limits of guests in force.
    pub(super) guest_limits: GuestLimits,
    /// The limits of the service in force.
    pub(super) service_limits: ServiceLimits,
    /// The console, which shows what changed.
    pub(super) console: Option<Console>,
    pub(super) stderr: Output,
    /// The addresses in use, which a reload cannot change.
    pub(super) addresses: [std::net::SocketAddr; 2],
    pub(super) files: Vec<WatchedFile>,
    pub(super) retry: Retry,
    pub(super) drills: Option<DrillControl>,
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

/// A reload that has replaced the table.
struct Reloaded {
    /// The names of the components that are served as the configuration has them, for a message.
    served: String,
    /// The other components.
    failures: Vec<Failure>,
}

/// Returns the names of the components of a table that are not among the failures.
fn served(table: &RouteTable, failures: &[Failure]) -> String {
    const SHOWN: usize = 8;
    let identities = table.components.iter().map(|component| &component.spec.identity);
    let names: Vec<&str> = identities
        .filter(|identity| !failures.iter().any(|failure| failure.is_of(identity)))
        .map(Identity::component)
        .collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    text::line(&names[..names.len().min(SHOWN)].join(", ")) + more
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
            if reason == Reason::Signal {
                // A person asks for it: binaries that took too long are tried again.
                this.builder.forget_late();
            }
            let outcome = this.try_reload();
            this.metrics.record(matches!(&outcome, Ok(reloaded) if reloaded.failures.is_empty()));
            match outcome {
                Ok(Reloaded { served, failures }) if !failures.is_empty() => {
                    this.report_failures(reason, &served, &failures);
                }
                Ok(Reloaded { served, .. }) => {
                    this.retry.succeed();
                    if let Some(console) = &this.console {
                        let text = format!("the configuration was read again on {}: {served}", reason.name());
                        console.changed(ChangeKind::Config, "", "", &text);
                    }
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

    /// Reports the components that are not served as the configuration has them.
    fn report_failures(&mut self, reason: Reason, served: &str, failures: &[Failure]) {
        let texts: Vec<String> = failures.iter().map(Failure::text).collect();
        let is_system_error = failures.iter().any(|failure| system_error::is_system_error(&failure.error));
        if !self.retry.fail(&texts.join("\n"), is_system_error, reason == Reason::Retry, Instant::now()) {
            return;
        }
        let (reason, retried) = (reason.name(), if is_system_error { "; it will be retried" } else { "" });
        for text in &texts {
            self.report(format!("error: not reloaded on {reason}: {text}{retried}"));
        }
        let (failed, of) = (failures.len(), if failures.len() == 1 { "component" } else { "components" });
        if let Some(console) = &self.console {
            let text = format!("the configuration was read again on {reason}: {served}; without {failed} {of}");
            console.changed(ChangeKind::Config, "", "", &text);
        }
        self.report(format!("reloaded on {reason}, without {failed} {of}: {served}"));
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

    /// Loads and builds the next table.
    fn try_reload(&mut self) -> Result<Reloaded> {
        // A renewed certificate does not wait for the plan.
        let reloaded = self.tls.as_ref().map_or(Ok(()), ServerTls::reload);
        if let Err(error) = reloaded {
            self.stderr.line(text::line(&format!("telemetry-tls-cert: {error}; the former certificate stays in use")));
        }
        let Loaded { plan, files } = plan::load(&self.origin, &self.flags);
        // Even if the plan is wrong, a corrected file causes a reload.
        self.files = files;
        let plan = plan?;
        // Components that are new get the new limits.
        self.registry.set_limits(plan.guest_limits.clone());
        let built = self.builder.build(&plan, &self.service.table());
        let built = built.inspect_err(|_| self.registry.set_limits(self.guest_limits.clone()))?;
        let Built { table, failures } = built;
        let known: Vec<_> = table.components.iter().map(|component| component.observed.clone()).collect();
        let served = served(&table, &failures);
        if let Some(drills) = &self.drills {
            // The table is in force from here on, whatever the alerts are.
            match super::drilled_service(&plan, &self.origin) {
                Ok(service) => drills.set(&service, &table),
                Err(error) => {
                    self.stderr.line(text::line(&format!("the drills stay as they were: {error:#}")));
                }
            }
        }
        self.note_changed_limits(&table);
        self.note_changed_guest_limits(&plan.guest_limits);
        self.guest_limits.clone_from(&plan.guest_limits);
        self.registry.set_exposition_limits(plan.exposition);
        self.set_service_limits(plan.service_limits);
        self.service.set_table(table);
        self.components.set(known);
        self.endpoint.set_targets(plan.targets(self.telemetry_addr));
        self.report_changed_addresses(&plan);
        if plan.telemetry != self.telemetry_settings {
            let line = "changed settings of the telemetry address (telemetry-*) take effect only after a restart";
            self.stderr.line(line.to_owned());
        }
        Ok(Reloaded { served, failures })
    }

    /// Notes the components whose limits differ from those in force, for the console.
    fn note_changed_limits(&self, next: &RouteTable) {
        let Some(console) = &self.console else { return };
        let table = self.service.table();
        for spec in next.components.iter().map(|component| &component.spec) {
            let (component, tenant) = (spec.identity.component(), spec.identity.tenant());
            let is_same =
                |known: &&ComponentSpec| (known.identity.component(), known.identity.tenant()) == (component, tenant);
            let Some(known) = table.components.iter().map(|component| &component.spec).find(is_same) else { continue };
            let changes = [
                ("the request timeout", format!("{:?}", known.request_timeout), format!("{:?}", spec.request_timeout)),
                ("the memory limit", format!("{} bytes", known.memory), format!("{} bytes", spec.memory)),
                ("the most instances", known.instances.to_string(), spec.instances.to_string()),
                ("the most waiting requests", known.waiting.to_string(), spec.waiting.to_string()),
            ];
            for (limit, before, after) in changes.iter().filter(|(_, before, after)| before != after) {
                let text = format!("`{component}`: {limit} changed from {before} to {after}");
                console.changed(ChangeKind::Limits, component, tenant, &text);
            }
        }
    }

    /// Notes the limits of guests that differ from those in force, for the console.
    fn note_changed_guest_limits(&self, next: &GuestLimits) {
        let Some(console) = &self.console else { return };
        for ((name, before), (_, after)) in self.guest_limits.values().zip(next.values()) {
            if before != after {
                let text = format!("the limit `{name}` of guests changed from {before} to {after}");
                console.changed(ChangeKind::Limits, "", "", &text);
            }
        }
    }

    /// Sets the limits of the service, and notes those that differ, for the console.
    fn set_service_limits(&mut self, next: ServiceLimits) {
        let former = std::mem::replace(&mut self.service_limits, next);
        self.service.set_limits(next);
        self.builder.network.connections.set_limits(next.outgoing());
        let Some(console) = &self.console else { return };
        for ((definition, before), (_, after)) in former.values().zip(next.values()) {
            if before != after {
                let [before, after] = [before, after].map(|value| definition.shown(value));
                let text = format!("the limit `{}` changed from {before} to {after}", definition.name);
                console.changed(ChangeKind::Limits, "", "", &text);
            }
        }
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
