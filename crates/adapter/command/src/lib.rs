//! Stands before an app that is a command: reports its start and return to the collector.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wasmetry:adapter/command",
        generate_all,
    });
}

use bindings::exports::wasi::cli::run::Guest;
use bindings::wasi::cli::run as app;
use bindings::wasmetry::adapter::control;

struct Before;

impl Guest for Before {
    fn run() -> Result<(), ()> {
        control::begin_run();
        let result = app::run();
        control::end_run(result.is_ok());
        result
    }
}

bindings::export!(Before with_types_in bindings);
