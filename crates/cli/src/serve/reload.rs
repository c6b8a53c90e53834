//! Reloading the configuration and the components without a restart: on SIGHUP, and when a file
//! changes.
//!
//! Files are polled twice a second, which costs microseconds. Unlike file notifications this works
//! on every file system, for symbolic links that Kubernetes redirects, and for files that are
//! replaced.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

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
use crate::text;

/// Replaces the route table when there is a reason to.
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) flags: Flags,
    pub(super) builder: Arc<TableBuilder>,
    pub(super) service: Arc<Service>,
    pub(super) components: Components,
    pub(super) metrics: ReloadMetrics,
    pub(super) stderr: Output,
    /// The addresses in use, which a reload cannot change.
    pub(super) addresses: [std::net::SocketAddr; 2],
    pub(super) files: Vec<WatchedFile>,
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

impl Reloader {
    /// Reloads whenever there is a reason to. Never returns.
    pub(super) async fn run(mut self, mut hang_up: HangUp) {
        let mut last: Vec<FileVersion> = Vec::new();
        let mut interval = tokio::time::interval(limits::RELOAD_INTERVAL);
        loop {
            let is_signalled = tokio::select! {
                () = hang_up.next() => true,
                _ = interval.tick() => false,
            };
            let now: Vec<FileVersion> = self.files.iter().map(WatchedFile::current_version).collect();
            let is_changed = self.files.iter().zip(&now).any(|(file, now)| file.version != *now);
            if is_signalled || (is_changed && now == last) {
                self = self.reload(if is_signalled { "SIGHUP" } else { "a changed file" }).await;
            }
            last = now;
        }
    }

    async fn reload(self, reason: &'static str) -> Self {
        let task = tokio::task::spawn_blocking(move || {
            let mut this = self;
            let outcome = this.try_reload();
            this.metrics.record(outcome.is_ok());
            let line = match outcome {
                Ok(served) => format!("reloaded on {reason}: {served}"),
                Err(error) => {
                    let error = text::line(&format!("{error:#}"));
                    format!("error: not reloaded on {reason}, the previous configuration stays in force: {error}")
                }
            };
            // The queue may be full; this thread can wait for stderr.
            if !this.stderr.line(line.clone()) {
                text::print_stderr(format_args!("{line}"));
            }
            this
        });
        match task.await {
            Ok(this) => this,
            // The task panicked, or the process is ending: no further reload is possible.
            Err(_) => std::future::pending().await,
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

    async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
