//! The collector of an adapted app: it receives the app's batches, writes a line for each request
//! to standard error, and exposes the metrics.
//!
//! `wasmetry adapt` composes it with the app; see ARCHITECTURE.md. All of its state is in memory,
//! so on a host with an instance for each request it has the metrics of one request.

#[cfg(not(feature = "otlp"))]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wasmetry:adapter/collector",
        generate_all,
    });
}
#[cfg(feature = "otlp")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wasmetry:adapter/otlp-collector",
        generate_all,
    });
}
mod clock;
mod collector;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
mod otlp;
mod stderr;

use std::cell::RefCell;

use bindings::exports::wasmetry::adapter::control::{Exposition, Guest as Control};
use bindings::exports::wasmetry::telemetry::region::{Guest as Region, Settings};
use collector::Collector;

thread_local! {
    static COLLECTOR: RefCell<Collector> = RefCell::new(Collector::new());
}

/// Runs an action with the only collector. None of them calls this function again.
fn with<T>(action: impl FnOnce(&mut Collector) -> T) -> T {
    COLLECTOR.with(|collector| action(&mut collector.borrow_mut()))
}

struct Exports;

impl Region for Exports {
    fn open(abi: u32) -> Settings {
        with(|collector| collector.open(abi))
    }

    fn attach(_window: Vec<u8>, _base: u64, _header: u64) {
        // No guest attaches, since the settings never ask for it.
    }

    fn flush(batch: Vec<u8>) -> Settings {
        with(|collector| collector.flush(&batch))
    }

    fn refresh() -> Settings {
        with(|collector| collector.settings())
    }
}

impl Control for Exports {
    fn begin_request(method: String, path: String) -> bool {
        with(|collector| collector.begin_request(method, path))
    }

    fn end_request() {
        with(Collector::end);
    }

    fn begin_run() {
        with(Collector::begin_run);
    }

    fn end_run(succeeded: bool) {
        with(|collector| collector.end_run(succeeded));
    }

    fn expose(_accept: Vec<Vec<u8>>) -> Exposition {
        with(|collector| collector.expose())
    }
}

bindings::export!(Exports with_types_in bindings);
