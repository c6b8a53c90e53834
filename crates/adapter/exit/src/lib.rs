//! Stands behind an app that is a command: reports an exit without a return to the collector.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wasmetry:adapter/exit",
        generate_all,
    });
}

use bindings::exports::wasi::cli::exit::Guest;
use bindings::wasi::cli::exit as host;
use bindings::wasmetry::adapter::control;

struct Behind;

impl Guest for Behind {
    fn exit(status: Result<(), ()>) {
        control::end_run(status.is_ok());
        host::exit(status);
    }
}

bindings::export!(Behind with_types_in bindings);
