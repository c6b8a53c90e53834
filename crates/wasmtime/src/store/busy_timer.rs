//! The time that guests run.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::activity::Activity;
use crate::component::ObservedComponent;

/// Measures the time in which one store's guest runs, for `wasm_guest_busy_seconds_total`.
///
/// It also marks the guest as running, so that a scrape waits for it. A guest that runs without a
/// timer is shown as of its last collection.
pub struct BusyTimer {
    component: ObservedComponent,
    activity: Arc<Activity>,
}

impl BusyTimer {
    pub(super) fn new(component: ObservedComponent, activity: Arc<Activity>) -> Self {
        Self { component, activity }
    }

    /// Runs a future that calls the guest, and adds the time spent in its polls. Each poll reads
    /// the clock twice.
    pub async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            let _running = self.start();
            future.as_mut().poll(context)
        })
        .await
    }

    /// Runs a function that calls the guest, and adds the time that it takes.
    pub fn measure_sync<R>(&self, f: impl FnOnce() -> R) -> R {
        let _running = self.start();
        f()
    }

    fn start(&self) -> Running<'_> {
        self.component.shared.activities.set_running(&self.activity, true);
        Running { timer: self, start: Instant::now() }
    }
}

/// The guest runs until this is dropped.
struct Running<'a> {
    timer: &'a BusyTimer,
    start: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.timer.component.own.busy.add_nanos(nanos);
        self.timer.component.shared.activities.set_running(&self.timer.activity, false);
    }
}
