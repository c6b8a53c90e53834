//! The collector of an adapted app: it takes the batches that the app pushes, writes a line for each request to standard
//! error, and shows the metrics to whoever asks for them.
//!
//! `wasmetry adapt` composes it with the app; see ARCHITECTURE.md. It has no state but in its memory, so on a host that
//! makes an instance for each request it knows of that request only.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wasmetry:adapter/collector",
        generate_all,
    });
}
mod clock;
mod collector;
mod stderr;

use std::cell::RefCell;

use bindings::exports::wasmetry::adapter::control::{Exposition, Guest as Control};
use bindings::exports::wasmetry::telemetry::region::{Guest as Region, Settings};
use collector::Collector;

thread_local! {
    static COLLECTOR: RefCell<Collector> = RefCell::new(Collector::new());
}

/// Does something with the one collector. Nothing that it calls comes back here.
fn with<T>(action: impl FnOnce(&mut Collector) -> T) -> T {
    COLLECTOR.with(|collector| action(&mut collector.borrow_mut()))
}

struct Exports;

impl Region for Exports {
    fn open(abi: u32) -> Settings {
        with(|collector| collector.open(abi))
    }

    fn attach(_window: Vec<u8>, _base: u64, _header: u64) {
        // Nobody was asked to.
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
