//! Instances that a drill takes: they are made and held, without requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmetry_host::Counter;

use crate::serve::component::ServedComponent;

/// The time between two attempts to take an instance while none is free.
const RETRY: Duration = Duration::from_millis(50);

/// Instances that are held while a lease lasts. Dropping it frees them.
pub(super) struct Occupation {
    until: watch::Sender<Instant>,
}

impl Occupation {
    /// Starts to take instances of a component, as they become free.
    pub(super) fn start(
        runtime: &Handle,
        component: Arc<ServedComponent>,
        count: usize,
        until: Instant,
        injected: Counter,
    ) -> Self {
        let (sender, receiver) = watch::channel(until);
        runtime.spawn(hold(component, count, receiver, injected));
        Self { until: sender }
    }

    pub(super) fn renew(&self, until: Instant) {
        self.until.send_replace(until);
    }

    pub(super) fn end(&self) {
        self.until.send_replace(Instant::now());
    }
}

async fn hold(component: Arc<ServedComponent>, count: usize, mut until: watch::Receiver<Instant>, injected: Counter) {
    let mut held = Vec::new();
    loop {
        let end = *until.borrow_and_update();
        if end <= Instant::now() {
            return;
        }
        while held.len() < count
            && let Some(permit) = component.admission.try_admit()
        {
            let mut store = component.store(&Request::new(()), None);
            // An instance that cannot be made is counted as one that is alive all the same.
            let instance = component.pre.instantiate_async(&mut *store).await;
            injected.inc();
            held.push((store, instance, permit));
        }
        let wake = if held.len() < count { end.min(Instant::now() + RETRY) } else { end };
        tokio::select! {
            () = tokio::time::sleep_until(wake.into()) => {}
            changed = until.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
