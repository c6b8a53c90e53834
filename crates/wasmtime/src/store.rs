//! A store whose guest is observed: when it is collected, and when it is ended.

mod activity;
mod busy_timer;
mod collection;
mod host_call;
mod limiter;
mod region;
mod request;
mod state;
mod trap;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmetry_host::record::TraceContext;
use wasmtime::{AsContextMut, Store, UpdateDeadline};

use crate::clock::monotonic;
use crate::component::ObservedComponent;
use crate::error::Error;
pub(crate) use activity::Activities;
pub use busy_timer::BusyTimer;
pub use collection::collect_waiting;
pub(crate) use collection::{attach_region, receive_batch, refresh_recording};
use collection::{collect, collect_last, collect_route};
pub(crate) use region::Window;
pub use state::{StoreState, TelemetryView};
pub(crate) use trap::EXPECTED_REASONS;
pub use trap::{DeadlineExceeded, Exited, Killed, trap_reason};

/// The epochs after which a running guest is collected, also without a scrape.
const EPOCHS_BETWEEN_COLLECTIONS: u32 = 10;

/// The time without a collection after one, as a multiple of the time that it has taken.
const PAUSE: u32 = 20;

/// A store whose guest is collected when this is dropped: at the end of a request, after a trap,
/// and when the future that owned it is dropped because the client has left.
///
/// It derefs to the [`Store`]. It sets the store's limiter, which counts memory, and its epoch
/// callback. If the engine has `epoch_interruption` on, a running guest is collected at epochs and
/// ended at its deadline.
pub struct ObservedStore<T: TelemetryView + 'static> {
    store: Store<T>,
    component: ObservedComponent,
}

/// The way in which a store's guest is called.
#[derive(Clone, Copy, PartialEq)]
enum Guest {
    Sync,
    Async,
}

impl<T: TelemetryView + 'static> ObservedStore<T> {
    /// Observes a store whose guest is called by `*_async` functions. The guest yields to other
    /// tasks at each epoch.
    pub fn new(store: Store<T>) -> Self {
        Self::observe(store, Guest::Async)
    }

    /// Observes a store whose guest is called by blocking functions.
    pub fn new_sync(store: Store<T>) -> Self {
        Self::observe(store, Guest::Sync)
    }

    fn observe(mut store: Store<T>, guest: Guest) -> Self {
        let component = store.data_mut().telemetry().component.clone();
        store.limiter(|data| &mut data.telemetry().limiter);
        let mut observed = Self { store, component };
        observed.set_callback(guest, None);
        observed
    }

    /// Ends the guest if it still runs `after` from now, with the error [`DeadlineExceeded`].
    ///
    /// The deadline is checked when the engine's epoch advances; a [`Ticker`](crate::Ticker)
    /// advances it. It is not checked while the guest waits in a host call, so run the call under a
    /// timeout of your executor as well.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoEpochInterruption`] if the engine would never check the deadline.
    pub fn set_deadline(&mut self, after: Duration) -> Result<(), Error> {
        self.set_checked_deadline(Guest::Async, after)
    }

    /// Ends the guest as [`set_deadline`](Self::set_deadline) does, for a store whose guest is
    /// called by blocking functions.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoEpochInterruption`] if the engine would never check the deadline.
    pub fn set_deadline_sync(&mut self, after: Duration) -> Result<(), Error> {
        self.set_checked_deadline(Guest::Sync, after)
    }

    fn set_checked_deadline(&mut self, guest: Guest, after: Duration) -> Result<(), Error> {
        if !self.store.engine().get_epoch_interruption() {
            return Err(Error::NoEpochInterruption);
        }
        self.set_callback(guest, Some(Instant::now() + after));
        Ok(())
    }

    fn set_callback(&mut self, guest: Guest, deadline: Option<Instant>) {
        self.store.set_epoch_deadline(1);
        let mut epochs = 0;
        // The time before which a running guest is not collected unless a scrape requests it.
        let mut pause_end = None;
        self.store.epoch_deadline_callback(move |mut store| {
            let state = store.data_mut().telemetry();
            epochs += 1;
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let activities = &state.component.shared.activities;
            let is_due = epochs >= EPOCHS_BETWEEN_COLLECTIONS && pause_end.is_none_or(|end| Instant::now() >= end);
            if is_over || is_due || activities.is_requested(&state.activity) {
                epochs = 0;
                let start = Instant::now();
                collect(store);
                pause_end = Some(start + PAUSE * start.elapsed());
            }
            match guest {
                _ if is_over => Err(wasmtime::Error::new(DeadlineExceeded)),
                Guest::Async => Ok(UpdateDeadline::Yield(1)),
                Guest::Sync => Ok(UpdateDeadline::Continue(1)),
            }
        });
    }

    /// Collects the guest at each host call as well, so that a scrape shows a guest that waits in a
    /// host call with all that it has recorded.
    ///
    /// Collection takes at most a twentieth of the time. A guest that makes host calls more often
    /// may be shown as of an earlier one. This sets the store's call hook. Use it for guests that
    /// run long; [`collect_waiting`] is the alternative for many short ones.
    pub fn collect_at_host_calls(&mut self) {
        host_call::collect_at_host_calls(&mut self.store);
    }

    /// Collects what the guest has recorded up to now. It may be called any number of times.
    pub fn collect(&mut self) {
        collect(self.store.as_context_mut());
    }

    /// Counts a failed call in `wasm_traps_total{reason}`, and returns its [`trap_reason`]; returns
    /// `None` if it succeeded.
    pub fn finish<R>(&mut self, result: &wasmtime::Result<R>) -> Option<&'static str> {
        let error = result.as_ref().err()?;
        collect_route(self.store.as_context_mut());
        Some(self.store.data_mut().telemetry().record_failure(error))
    }

    /// Returns the route that the guest has set for its request, also before a trap; `None` if it
    /// has set none.
    ///
    /// A route that the guest's binary does not declare is `other`. Read it before
    /// [`end`](Self::end), and pass it to
    /// [`HttpRequest::set_route`](crate::HttpRequest::set_route).
    pub fn route(&mut self) -> Option<Arc<str>> {
        collect_route(self.store.as_context_mut());
        self.store.data_mut().telemetry().request.route.clone()
    }

    /// Collects the guest for the last time, as dropping this does.
    ///
    /// Returns the request's span if it is exported: because it is sampled, or because the request
    /// was kept. Pass it to [`HttpRequest::set_trace`](crate::HttpRequest::set_trace).
    pub fn end(mut self) -> Option<TraceContext> {
        collect_last(&mut self.store, None)
    }

    /// Collects the guest for the last time, as [`end`](Self::end) does, until a deadline. The rest
    /// is counted as dropped.
    ///
    /// Call it for a [large](Self::is_large) store, on a thread that may be busy for a while.
    pub fn end_by(mut self, deadline: Instant) -> Option<TraceContext> {
        let rest = deadline.saturating_duration_since(Instant::now());
        collect_last(&mut self.store, Some(monotonic() + rest))
    }

    /// Returns `true` if collecting the guest may take more than a millisecond; see
    /// [`StoreState::is_large`].
    pub fn is_large(&mut self) -> bool {
        self.store.data_mut().telemetry().is_large()
    }

    /// Returns a timer for the calls of this store's guest.
    pub fn busy_timer(&mut self) -> BusyTimer {
        let activity = Arc::clone(&self.store.data_mut().telemetry().activity);
        BusyTimer::new(self.component.clone(), activity)
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
        collect_last(&mut self.store, None);
    }
}
