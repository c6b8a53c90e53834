use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmetry_host::record::TraceContext;
use wasmtime::{AsContextMut, Store, Trap, UpdateDeadline};

use crate::activity::Activity;
use crate::component::ObservedComponent;
use crate::state::{TelemetryView, collect, collect_last};
use crate::trap::{DeadlineExceeded, trap_reason};

/// Running guests are collected at least at every so many epochs, also if nobody asks.
const EPOCHS_BETWEEN_COLLECTIONS: u32 = 10;

/// A store whose guest is collected when this is dropped: at the end of a request, after a trap, and when the future
/// that owned it was dropped because a client went away.
///
/// It derefs to the [`Store`]. It sets the store's limiter and its epoch callback; if the engine has
/// `epoch_interruption` on, a running guest is collected at epochs and ended at its deadline.
pub struct ObservedStore<T: TelemetryView + 'static> {
    store: Store<T>,
    component: ObservedComponent,
}

/// How a store's guest is called.
#[derive(Clone, Copy, PartialEq)]
enum Guest {
    Sync,
    Async,
}

impl<T: TelemetryView + 'static> ObservedStore<T> {
    /// Observes a store whose guest is called by `*_async` functions; at each epoch it yields to other tasks.
    pub fn new(store: Store<T>) -> Self {
        Self::observe(store, Guest::Async)
    }

    /// Observes a store whose guest is called by blocking functions.
    pub fn new_sync(store: Store<T>) -> Self {
        Self::observe(store, Guest::Sync)
    }

    fn observe(mut store: Store<T>, guest: Guest) -> Self {
        let component = store.data_mut().telemetry().component.clone();
        store.limiter(|data| data.telemetry());
        let mut observed = Self { store, component };
        observed.set_callback(guest, None);
        observed
    }

    /// Ends the guest if it still runs `after` from now, with the error [`DeadlineExceeded`].
    ///
    /// It is looked at when the engine's epoch advances, so that something must advance it: see [`Ticker`](crate::Ticker).
    /// A guest that waits in a host call does not look; put the call under a timeout of your executor as well.
    pub fn set_deadline(&mut self, after: Duration) {
        self.set_callback(Guest::Async, Some(Instant::now() + after));
    }

    /// Ends the guest as [`set_deadline`](Self::set_deadline) does, for a store whose guest is called by blocking functions.
    pub fn set_deadline_sync(&mut self, after: Duration) {
        self.set_callback(Guest::Sync, Some(Instant::now() + after));
    }

    fn set_callback(&mut self, guest: Guest, deadline: Option<Instant>) {
        self.store.set_epoch_deadline(1);
        let mut epochs = 0;
        self.store.epoch_deadline_callback(move |mut store| {
            let state = store.data_mut().telemetry();
            epochs += 1;
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let activities = &state.component.shared.activities;
            if is_over || epochs >= EPOCHS_BETWEEN_COLLECTIONS || activities.is_asked(&state.activity) {
                epochs = 0;
                collect(store);
            }
            match guest {
                _ if is_over => Err(wasmtime::Error::new(DeadlineExceeded)),
                Guest::Async => Ok(UpdateDeadline::Yield(1)),
                Guest::Sync => Ok(UpdateDeadline::Continue(1)),
            }
        });
    }

    /// Collects what the guest has recorded up to now. It may be called any number of times.
    pub fn collect(&mut self) {
        collect(self.store.as_context_mut());
    }

    /// Counts the outcome of the guest's call in `wasm_traps_total{reason}`, and returns the reason if it failed.
    ///
    /// A trap after a growth of memory was denied has the reason `out_of_memory`; all others are those of
    /// [`trap_reason`].
    pub fn finish<R>(&mut self, result: &wasmtime::Result<R>) -> Option<&'static str> {
        let error = result.as_ref().err()?;
        let is_out_of_memory = error.is::<Trap>() && self.store.data_mut().telemetry().was_denied_memory();
        let reason = if is_out_of_memory { "out_of_memory" } else { trap_reason(error) };
        self.component.trapped(reason);
        self.store.data_mut().telemetry().set_ended(reason);
        Some(reason)
    }

    /// Collects the guest for the last time, as dropping this does. Returns the request's span, if it is exported: because it is
    /// sampled, or because the request was kept; see [`HttpRequest::set_trace`](crate::HttpRequest::set_trace).
    pub fn end(mut self) -> Option<TraceContext> {
        collect_last(&mut self.store)
    }

    /// What measures the time in which this store's guest runs.
    pub fn busy_timer(&mut self) -> BusyTimer {
        let activity = Arc::clone(&self.store.data_mut().telemetry().activity);
        BusyTimer { component: self.component.clone(), activity }
    }
}

impl<T: TelemetryView + 'static> Deref for ObservedStore<T> {
    type Target = Store<T>;

    fn deref(&self) -> &Store<T> {
        &self.store
    }
}

impl<T: TelemetryView + 'static> DerefMut for ObservedStore<T> {
    fn deref_mut(&mut self) -> &mut Store<T> {
        &mut self.store
    }
}

impl<T: TelemetryView + 'static> Drop for ObservedStore<T> {
    fn drop(&mut self) {
        collect_last(&mut self.store);
    }
}

/// Measures the time in which one store's guest runs, for `wasm_guest_busy_seconds_total`.
///
/// It also tells a scrape which guests run, so that it waits for those and for no others; without it, a scrape shows a
/// running guest as it was collected last.
pub struct BusyTimer {
    component: ObservedComponent,
    activity: Arc<Activity>,
}

impl BusyTimer {
    /// Runs a future that calls the guest, and adds up the time spent in its polls: two reads of the clock for each.
    pub async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            let _running = self.start();
            future.as_mut().poll(context)
        })
        .await
    }

    /// Runs a function that calls the guest, and adds the time it takes.
    pub fn measure_sync<R>(&self, f: impl FnOnce() -> R) -> R {
        let _running = self.start();
        f()
    }

    fn start(&self) -> Running<'_> {
        self.component.shared.activities.set_running(&self.activity, true);
        Running { busy_timer: self, start: Instant::now() }
    }
}

/// A guest runs until this is dropped.
struct Running<'a> {
    busy_timer: &'a BusyTimer,
    start: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_timer.component.own.busy.add_nanos(nanos);
        self.busy_timer.component.shared.activities.set_running(&self.busy_timer.activity, false);
    }
}
