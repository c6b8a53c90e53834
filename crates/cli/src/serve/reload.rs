//! Serving something else without a restart: on SIGHUP, and when a file has changed.
//!
//! Files are looked at twice a second rather than watched: that works on every file system, for symbolic links that are turned
//! to another file as Kubernetes does it, and for a file that is away for a moment; a look costs microseconds.

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

/// Takes changes of what is to be served.
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) flags: Flags,
    pub(super) builder: Arc<TableBuilder>,
    pub(super) service: Arc<Service>,
    pub(super) components: Components,
    pub(super) metrics: ReloadMetrics,
    pub(super) stderr: Output,
    /// What the addresses are, which cannot change.
    pub(super) addresses: [std::net::SocketAddr; 2],
    pub(super) files: Vec<WatchedFile>,
}

/// How the last reload went, with the names that Prometheus has for its own.
pub(super) struct ReloadMetrics {
    is_successful: Gauge,
    success: Gauge,
}

impl ReloadMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| registry.gauge(name, help, &[]).with(&[]);
        let is_successful = gauge(
            "wasmetry_config_last_reload_successful",
            "Whether the last attempt to read the configuration was successful.",
        );
        let success = gauge(
            "wasmetry_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read successfully, since the Unix epoch.",
        );
        let metrics = Self { is_successful, success };
        metrics.note(true);
        metrics
    }

    fn note(&self, is_successful: bool) {
        self.is_successful.set(f64::from(u8::from(is_successful)));
        if is_successful {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.success.set(now.as_secs_f64());
        }
    }
}

impl Reloader {
    /// Reloads whenever there is a reason to, for ever.
    pub(super) async fn run(mut self, mut hang_up: HangUp) {
        let mut last: Vec<FileVersion> = Vec::new();
        let mut interval = tokio::time::interval(limits::RELOAD_INTERVAL);
        loop {
            let is_asked = tokio::select! {
                () = hang_up.next() => true,
                _ = interval.tick() => false,
            };
            let now: Vec<FileVersion> = self.files.iter().map(WatchedFile::current_version).collect();
            let is_changed = self.files.iter().zip(&now).any(|(file, now)| file.version != *now);
            if is_asked || (is_changed && now == last) {
                self = self.reload(if is_asked { "SIGHUP" } else { "a changed file" }).await;
            }
            last = now;
        }
    }

    async fn reload(self, reason: &'static str) -> Self {
        let task = tokio::task::spawn_blocking(move || {
            let mut this = self;
            let outcome = this.try_reload();
            this.metrics.note(outcome.is_ok());
            let line = match outcome {
                Ok(served) => format!("reloaded on {reason}: {served}"),
                Err(error) => {
                    let error = text::line(&format!("{error:#}"));
                    format!("error: not reloaded on {reason}, what was served is served on: {error}")
                }
            };
            // Standard error may be full, and this can wait.
            if !this.stderr.line(line.clone()) {
                text::print_stderr(format_args!("{line}"));
            }
            this
        });
        match task.await {
            Ok(this) => this,
            // It has panicked or the process ends; there is nothing to reload with any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns what is served now, in words.
    fn try_reload(&mut self) -> Result<String> {
        let Loaded { plan, files } = plan::load(&self.origin, &self.flags);
        // Also those of a plan that is none: correcting one of them is a change too.
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
        self.mention_addresses(&plan);
        Ok(served)
    }

    fn mention_addresses(&self, plan: &Plan) {
        for (setting, old) in [&plan.addr, &plan.telemetry_addr].into_iter().zip(self.addresses) {
            if setting.addr != old
                && let Some(position) = &setting.position
            {
                self.stderr
                    .line(format!("{position}: another address is taken only after a restart; it is still {old}"));
            }
        }
    }
}

/// Waits for SIGHUP; from when it is made on, that does not end the process.
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
