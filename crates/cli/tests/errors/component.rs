//! Components that cannot be served or run: the wrong exports, unknown imports, too much memory.

use crate::{Inputs, error, handler_with, serve};

#[test]
fn components_that_cannot_serve() {
    let inputs = Inputs::new();
    let module = inputs.wat("module.wasm", "(module (func (export \"_start\")))");
    let invalid = inputs.wat("invalid.wasm", "(component (core module (func (result i32))))");
    let nothing = inputs.wat("nothing.wasm", "(component)");
    let command = inputs.wat(
        "command.wasm",
        "(component
            (core module $m (func (export \"run\") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i \"run\")))
            (instance $run-interface (export \"run\" (func $run)))
            (export \"wasi:cli/run@0.2.0\" (instance $run-interface)))",
    );
    let library = inputs.wat(
        "library.wasm",
        "(component
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (export \"greet\" (func $f)))",
    );
    let cases = [
        (&module, "is a core module, not a component", "wasm32-wasip2"),
        (&invalid, "cannot be compiled", "build it again"),
        (&nothing, "does not export wasi:http/incoming-handler", "export a handler"),
        (&command, "it is a command (it exports wasi:cli/run)", "run it with `wasmetry run`"),
        (&library, "it is a library (it exports `greet`)", "compose it into a service"),
    ];
    for (path, cause, remedy) in cases {
        let path = path.to_str().unwrap();
        error(&serve(path), &[path, cause, remedy]);
    }
}

/// A service has no `main`, or one that only panics, as `#[wstd::http_server]` adds it.
#[test]
fn services_cannot_run() {
    let inputs = Inputs::new();
    let service = inputs.wat("service.wasm", &handler_with(""));
    let both = handler_with(
        "(core module $main
            (memory 1)
            (data (i32.const 8) \"HTTP server components should be run with `handle` rather than `run`\")
            (func (export \"run\") (result i32) unreachable))
        (core instance $j (instantiate $main))
        (func $run (result (result)) (canon lift (core func $j \"run\")))
        (instance $run-interface (export \"run\" (func $run)))
        (export \"wasi:cli/run@0.2.0\" (instance $run-interface))",
    );
    let both = inputs.wat("both.wasm", &both);
    for path in [&service, &both] {
        let path = path.to_str().unwrap();
        error(&["run", path], &[path, "a service (it exports a wasi:http handler", "serve it with `wasmetry serve`"]);
    }
}

#[test]
fn unknown_imports() {
    let inputs = Inputs::new();
    let foreign = inputs.wat(
        "foreign.wasm",
        &handler_with("(import \"acme:shop/stock@1.2.0\" (instance (export \"count\" (func (result u32)))))"),
    );
    let path = foreign.to_str().unwrap();
    error(&serve(path), &[path, "`acme:shop/stock@1.2.0`", "this host does not offer", "wac plug"]);

    let newer = inputs.wat(
        "newer.wasm",
        &handler_with("(import \"wasmetry:telemetry/region@9.9.0\" (instance (export \"open\" (func (param \"abi\" u32) (result u32)))))"),
    );
    let path = newer.to_str().unwrap();
    error(&serve(path), &[path, "wasmetry:telemetry/region@9.9.0", "wasmetry:telemetry@0.1.0", "rebuild"]);

    // A function that a newer host may have.
    let more = inputs.wat(
        "more.wasm",
        &handler_with("(import \"wasmetry:telemetry/metrics@0.1.4\" (instance (export \"flush\" (func))))"),
    );
    let path = more.to_str().unwrap();
    error(&serve(path), &[path, "function `flush`", "wasmetry:telemetry/metrics@0.1.4", "newer host"]);

    let shape = inputs.wat("shape.wasm", &handler_with(""));
    let path = shape.to_str().unwrap();
    error(&serve(path), &[path, "of another shape", "rebuild"]);
}

#[test]
fn insufficient_memory() {
    let inputs = Inputs::new();
    let large = inputs.wat(
        "large.wasm",
        "(component
            (core module $m (memory 100) (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (instance $handler (export \"handle\" (func $f)))
            (export \"wasi:http/incoming-handler@0.2.0\" (instance $handler)))",
    );
    let path = large.to_str().unwrap();
    let args = [&serve(path)[..], &["--max-memory", "1MiB"]].concat();
    error(&args, &[path, "needs more memory to start", "1.0 MiB", "raise --max-memory"]);
}
