//! `wasmetry adapt`: apps that cannot be adapted, and invalid collectors.

use std::path::PathBuf;

use crate::{Inputs, error, usage};

#[test]
fn apps_that_cannot_be_adapted() {
    let inputs = Inputs::new();
    let (missing, out) = (inputs.path("missing.wasm"), inputs.path("out.wasm"));
    let out = out.to_str().unwrap();
    let adapt = |path: &PathBuf, more: &[&'static str], parts: &[&str]| {
        error(&[&["adapt", path.to_str().unwrap(), "-o", out], more].concat(), parts);
        assert!(!inputs.path("out.wasm").exists());
    };
    adapt(&missing, &[], &["missing.wasm", "No such file or directory"]);
    let module = inputs.wat("module.wasm", "(module)");
    adapt(&module, &[], &["is a core module", "build the app for wasm32-wasip2"]);
    let newer = inputs.wat("newer.wasm", "(component (import \"wasmetry:telemetry/region@9.0.0\" (instance)))");
    adapt(&newer, &[], &["`wasmetry:telemetry/region@9.0.0`", "region@0.1.0 only"]);
    let adapted = inputs.wat("adapted.wasm", "(component (import \"wasmetry:adapter/control\" (instance)))");
    adapt(&adapted, &[], &["has been adapted already"]);
    let library = inputs.wat("library.wasm", "(component)");
    adapt(&library, &["--metrics-path", "/metrics"], &["serves no HTTP", "remove it"]);
    adapt(&library, &["--no-lines"], &["--metrics-path or --otlp"]);
    let own = library.to_str().unwrap();
    error(&["adapt", own, "-o", own], &["is the app itself", "give --output another name"]);
}

#[test]
fn invalid_collectors() {
    let adapt = ["adapt", "app.wasm", "-o", "out.wasm"];
    let with = |more: &[&'static str]| [&adapt[..], more].concat();
    usage(&with(&["--otlp", "collector:4318"]), &["--otlp", "such as `http://127.0.0.1:4318`"]);
    usage(&with(&["--otlp", "http://me:secret@a"]), &["`--otlp-header-file`"]);
    usage(&with(&["--otlp-header", "a=b"]), &["--otlp <URL>"]);
    usage(&with(&["--otlp", "http://a", "--otlp-header", "host=b"]), &["the header `host` cannot be set"]);
    usage(&with(&["--otlp", "http://a", "--otlp-header", "authorization"]), &["such as `x-scope-orgid=shop`"]);
}
