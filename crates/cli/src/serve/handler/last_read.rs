//! The last reads of stores. Large ones do not take place on the service's threads.

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wasmetry_host::record::TraceContext;
use wasmetry_wasmtime::{ObservedStore, TelemetryView as _};

use crate::guest::large_read;
use crate::serve::component::State;
use crate::serve::limits;

/// Collects a store for the last time, and returns its request's span if it is exported.
///
/// A large store waits for a [slot](large_read::slot) until its request's deadline, and is
/// collected until then. A guest that has used all of its time gets [`limits::READ_GRACE`]. The
/// rest is counted as dropped. No store waits after `killed`.
pub(super) async fn end(
    mut store: ObservedStore<State>,
    deadline: Instant,
    killed: &CancellationToken,
) -> Option<TraceContext> {
    let telemetry = store.data_mut().telemetry();
    if !telemetry.is_large() {
        return store.end();
    }
    let deadline = deadline.max(Instant::now() + limits::READ_GRACE);
    let slot = tokio::time::timeout_at(deadline.into(), large_read::slot(telemetry.identity()));
    let Some(Ok(slot)) = killed.run_until_cancelled(slot).await else {
        // What takes no time is read, and everything is counted.
        return store.end_by(Instant::now());
    };
    let reading = tokio::task::spawn_blocking(move || {
        let exported = store.end_by(deadline);
        drop(slot);
        exported
    });
    // A panic would have been the host crate's own; the store was dropped in any case.
    reading.await.ok().flatten()
}
