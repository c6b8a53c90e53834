//! The host's functions in which a guest is collected while it runs: those of WASI in which it
//! waits, and `flush`.
//!
//! A guest that waits runs no code, so it is collected before: a scrape then shows it with all that
//! it has recorded. The functions replace those of `wasmtime_wasi` and of `wasmetry_wasmtime`, to
//! which they delegate. Large guests are collected by [turns](large_read).

use std::pin::pin;

use wasmetry_wasmtime::{TelemetryView, collect_waiting, flush_batch};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable, WasmList};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wasmtime_wasi::p2::bindings::io::streams::{self, Host as _, HostInputStream as _, HostOutputStream as _};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamResult};
use wasmtime_wasi::runtime::poll_noop;

use super::{large_read, share};

/// The interfaces as `wasmtime_wasi` defines them.
const POLL: &str = "wasi:io/poll@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";

/// Replaces the functions in a linker that has all of WASI 0.2 and of wasmetry:telemetry.
pub(super) fn replace_in_linker<T>(linker: &mut Linker<T>) -> wasmtime::Result<()>
where
    T: WasiView + TelemetryView + 'static,
{
    linker.allow_shadowing(true);
    let mut interface = linker.instance(POLL)?;
    interface.func_wrap_async("poll", |store, arguments| Box::new(poll(store, arguments)))?;
    interface.func_wrap_async("[method]pollable.block", |store, arguments| Box::new(block(store, arguments)))?;
    let mut interface = linker.instance(STREAMS)?;
    interface.func_wrap_async("[method]input-stream.blocking-read", |mut store, (stream, len)| {
        Box::new(async move {
            collect(&mut store).await;
            let read = table(&mut store).blocking_read(stream, len).await;
            result(&mut store, read)
        })
    })?;
    interface.func_wrap_async("[method]input-stream.blocking-skip", |mut store, (stream, len)| {
        Box::new(async move {
            collect(&mut store).await;
            let skipped = table(&mut store).blocking_skip(stream, len).await;
            result(&mut store, skipped)
        })
    })?;
    interface.func_wrap_async("[method]output-stream.blocking-write-and-flush", |mut store, (stream, bytes)| {
        Box::new(async move {
            collect(&mut store).await;
            let written = table(&mut store).blocking_write_and_flush(stream, bytes).await;
            result(&mut store, written)
        })
    })?;
    interface.func_wrap_async(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        |mut store, (stream, len)| {
            Box::new(async move {
                collect(&mut store).await;
                let written = table(&mut store).blocking_write_zeroes_and_flush(stream, len).await;
                result(&mut store, written)
            })
        },
    )?;
    interface.func_wrap_async("[method]output-stream.blocking-flush", |mut store, (stream,)| {
        Box::new(async move {
            collect(&mut store).await;
            let flushed = table(&mut store).blocking_flush(stream).await;
            result(&mut store, flushed)
        })
    })?;
    interface.func_wrap_async(
        "[method]output-stream.blocking-splice",
        |mut store, (stream, source, len): (Resource<DynOutputStream>, Resource<DynInputStream>, u64)| {
            Box::new(async move {
                collect(&mut store).await;
                let spliced = table(&mut store).blocking_splice(stream, source, len).await;
                result(&mut store, spliced)
            })
        },
    )?;
    let mut interface = linker.instance(&wasmetry_wasmtime::interface("region"))?;
    interface.func_wrap_async("flush", |mut store, (batch,): (WasmList<u8>,)| {
        Box::new(async move {
            let Some(slot) = slot(&mut store) else { return Ok(flush_batch(store, &batch)) };
            let _slot = slot.await;
            Ok(tokio::task::block_in_place(|| flush_batch(store, &batch)))
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Waits until one of the pollables is ready. The guest is collected only if none is.
async fn poll<T>(
    mut store: StoreContextMut<'_, T>,
    (pollables,): (Vec<Resource<DynPollable>>,),
) -> wasmtime::Result<(Vec<u32>,)>
where
    T: WasiView + TelemetryView + 'static,
{
    let same = pollables.iter().map(|pollable| Resource::new_borrow(pollable.rep())).collect();
    let ready = poll_noop(pin!(table(&mut store).poll(same)));
    let ready = match ready {
        Some(ready) => ready?,
        None => {
            collect(&mut store).await;
            table(&mut store).poll(pollables).await?
        }
    };
    Ok((ready,))
}

/// Waits until a pollable is ready. The guest is collected only if it is not.
async fn block<T>(mut store: StoreContextMut<'_, T>, (pollable,): (Resource<DynPollable>,)) -> wasmtime::Result<()>
where
    T: WasiView + TelemetryView + 'static,
{
    let same = Resource::new_borrow(pollable.rep());
    if let Some(ready) = poll_noop(pin!(table(&mut store).block(same))) {
        return ready;
    }
    collect(&mut store).await;
    table(&mut store).block(pollable).await
}

/// Collects the guest. A large one is collected when it has a [slot](large_read::slot), and the
/// other tasks of this thread go on in another one.
async fn collect<T: TelemetryView + 'static>(store: &mut StoreContextMut<'_, T>) {
    let Some(slot) = slot(store) else { return collect_waiting(store) };
    let _slot = slot.await;
    tokio::task::block_in_place(|| collect_waiting(store));
}

/// Returns what a large guest waits for before it is collected.
fn slot<T: TelemetryView + 'static>(
    store: &mut StoreContextMut<'_, T>,
) -> Option<impl Future<Output = share::Slot> + Send + use<T>> {
    let telemetry = store.data_mut().telemetry();
    telemetry.is_large().then(|| large_read::slot(telemetry.identity()))
}

fn table<'a, T: WasiView + 'static>(store: &'a mut StoreContextMut<'_, T>) -> &'a mut ResourceTable {
    store.data_mut().ctx().table
}

/// Converts the result of a function of streams to that of its interface.
fn result<T: WasiView + 'static, R>(
    store: &mut StoreContextMut<'_, T>,
    result: StreamResult<R>,
) -> wasmtime::Result<(Result<R, streams::StreamError>,)> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(table(store).convert_stream_error(error)?),
    },))
}
