//! Errors of the command: one line that names the thing, the cause and the remedy, an exit code,
//! and no backtrace.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use wasmetry_abi::{Descriptor, Kind};

/// The time after which a command that serves instead of failing is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary directory with the inputs.
struct Inputs(tempfile::TempDir);

impl Inputs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn wat(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, wat::parse_str(text).unwrap())
    }
}

fn wasmetry(args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wasmetry"))
        .args(args)
        // Errors have no backtrace even if the environment requests them.
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LIB_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = read(child.stdout.take().unwrap());
    let stderr = read(child.stderr.take().unwrap());
    let first = stderr.recv_timeout(PATIENCE);
    if first.is_err() {
        child.kill().unwrap();
    }
    let stderr = first.unwrap_or_else(|_| stderr.recv().unwrap());
    Output { status: child.wait().unwrap(), stdout: stdout.recv().unwrap(), stderr }
}

/// Reads a pipe to its end on a thread of its own.
fn read(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        sender.send(bytes).unwrap();
    });
    receiver
}

/// Runs the command and checks its error, which is a single line.
#[track_caller]
fn error(args: &[&str], parts: &[&str]) {
    let output = wasmetry(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{args:?}: `{part}` is missing in: {stderr}");
    }
    assert!(output.stdout.is_empty(), "{args:?}");
}

/// Runs the command and checks clap's usage error.
#[track_caller]
fn usage(args: &[&str], parts: &[&str]) {
    let output = wasmetry(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    for part in parts.iter().chain(&["--help"]) {
        assert!(stderr.contains(part), "{args:?}: `{part}` is missing in: {stderr}");
    }
}

const FREE: [&str; 4] = ["--addr", "127.0.0.1:0", "--telemetry-addr", "127.0.0.1:0"];

/// Returns the arguments of `serve` on free ports.
fn serve(path: &str) -> Vec<&str> {
    [&["serve", path], &FREE[..]].concat()
}

#[test]
fn nothing_to_serve() {
    error(&["serve"], &["there is nothing to serve", "no wasmetry.toml", "APP.wasm", "--config FILE"]);
}

#[test]
fn unreadable_files() {
    let inputs = Inputs::new();
    let missing = inputs.path("missing.wasm");
    let missing = missing.to_str().unwrap();
    let directory = inputs.0.path().to_str().unwrap();
    for command in ["serve", "inspect"] {
        error(&[command, missing], &[missing, "No such file or directory", "check the path"]);
        error(&[command, directory], &[directory, "is a directory", "give the path of a .wasm file"]);
    }
}

#[test]
fn files_without_wasm() {
    let inputs = Inputs::new();
    let whole = wat::parse_str("(component (core module (memory 1) (func (export \"f\"))))").unwrap();
    let cases = [
        (inputs.write("empty.wasm", ""), "the file is empty", "build the service again"),
        (inputs.write("text.wasm", "hello"), "not a WebAssembly binary", "wasm32-wasip2"),
        (inputs.write("elf.wasm", b"\x7fELF\x02\x01\x01"), "not a WebAssembly binary", "wasm32-wasip2"),
        (inputs.write("module.wat", "(module)"), "WebAssembly text", "wasm-tools parse"),
        (inputs.write("cut.wasm", &whole[..whole.len() - 5]), "cut off or damaged at byte", "build or copy it again"),
        (inputs.write("head.wasm", &whole[..4]), "cut off or damaged at byte", "build or copy it again"),
        (inputs.write("version.wasm", b"\0asm\x63\0\0\0"), "cut off or damaged at byte", "build or copy it again"),
    ];
    for (path, cause, remedy) in &cases {
        let path = path.to_str().unwrap();
        for command in ["serve", "inspect"] {
            error(&[command, path], &[path, cause, remedy]);
        }
    }
}

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

/// A component that exports a handler, with an import.
fn handler_with(import: &str) -> String {
    // The handler's type is wrong, but imports are checked first.
    format!(
        "(component
            {import}
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (instance $handler (export \"handle\" (func $f)))
            (export \"wasi:http/incoming-handler@0.2.0\" (instance $handler)))"
    )
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

#[test]
fn unavailable_addresses() {
    let inputs = Inputs::new();
    let component = inputs.wat("component.wasm", "(component)");
    let path = component.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--addr", "--telemetry-addr"), ("--telemetry-addr", "--addr")] {
        let args = ["serve", path, flag, &taken, other, "127.0.0.1:0"];
        error(&args, &[&taken, "the address is in use", "choose another", &format!("with {flag}")]);
    }
    // 192.0.2.0/24 is for documentation; no machine has it.
    let args = ["serve", path, "--addr", "192.0.2.1:80", "--telemetry-addr", "127.0.0.1:0"];
    error(&args, &["192.0.2.1:80", "does not have that address", "with --addr"]);
}

#[test]
fn wrong_usage() {
    let nothing = wasmetry(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("Usage: wasmetry <COMMAND>"));
    usage(&["sevre"], &["unrecognized subcommand 'sevre'", "serve"]);
    // Only a program has arguments of its own.
    for command in ["serve", "inspect", "adapt", "run"] {
        let args = [command, "app.wasm", "--no-such-flag"];
        usage(&args, &["--no-such-flag"]);
        let stderr = String::from_utf8(wasmetry(&args).stderr).unwrap();
        assert_eq!(stderr.contains("to pass '--no-such-flag' as a value"), command == "run", "{stderr}");
    }
    let values = [
        ("--addr", "nonsense", "expected an IP address and a port"),
        ("--addr", "127.0.0.1", "expected an IP address and a port"),
        ("--telemetry-addr", "127.0.0.1:70000", "expected an IP address and a port"),
        ("--request-timeout", "abc", "such as `30s`"),
        ("--request-timeout", "30", "such as `30s`"),
        ("--request-timeout", "0s", "longer than zero"),
        ("--request-timeout", "1000h", "at most `24h`"),
        ("--shutdown-timeout", "0ms", "longer than zero"),
        ("--max-memory", "lots", "such as `64MiB`"),
        ("--max-memory", "0", "greater than zero"),
        ("--max-memory", "1KiB", "at least one page"),
        ("--max-memory", "5GiB", "at most `4GiB`"),
        ("--max-concurrent-requests", "0", "0 is not in 1..="),
        ("--max-concurrent-requests", "-1", "unexpected argument"),
        ("--max-waiting-requests", "x", "invalid digit"),
        ("--name", "", "must not be empty"),
        ("--tenant", "a\nb", "no control characters"),
        ("--env", "NAME", "expected `NAME=VALUE`"),
        ("--otlp", "127.0.0.1:4318", "such as `http://127.0.0.1:4318`"),
        ("--otlp", "grpc://127.0.0.1:4317", "such as `http://127.0.0.1:4318`"),
        ("--otlp", "http://user:password@127.0.0.1", "set OTEL_EXPORTER_OTLP_HEADERS"),
    ];
    for (flag, value, part) in values {
        usage(&["serve", "app.wasm", flag, value], &[part]);
    }
}

#[test]
fn help_and_version_succeed() {
    for args in [&["--help"][..], &["help", "serve"], &["serve", "--help"], &["inspect", "--help"], &["--version"]] {
        let output = wasmetry(args);
        assert!(output.status.success(), "{args:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn inspect_without_telemetry() {
    let inputs = Inputs::new();
    for (name, text, kind) in [("a.wasm", "(component)", "component"), ("b.wasm", "(module)", "core module")] {
        let path = inputs.wat(name, text);
        let path = path.to_str().unwrap();
        let output = wasmetry(&["inspect", path]);
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{path}: {kind}, 0 metrics\n"));
        let output = wasmetry(&["inspect", "--json", path]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = serde_json::json!({ "metrics": [], "logs": [], "spans": [], "problems": [], "conflicts": [] });
        assert_eq!(json, expected);
    }
}

const LOADS: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "classes_loaded_total", "Loads.");
const LOADED: Descriptor<'static> = Descriptor::new(Kind::GaugeI64, "classes_loaded", "Loaded now.");
static LOADS_RECORD: [u8; LOADS.record_len()] = LOADS.encode();
static LOADED_RECORD: [u8; LOADED.record_len()] = LOADED.encode();

/// A component that declares metrics.
fn declaring(inputs: &Inputs, name: &str, records: &[&[u8]]) -> PathBuf {
    let text: String = records.concat().iter().map(|byte| format!("\\{byte:02x}")).collect();
    inputs.wat(name, &format!("(component (core module (@custom \"{}\" \"{text}\")))", wasmetry_abi::SECTION))
}

#[test]
fn inspect_shows_conflicts() {
    let inputs = Inputs::new();
    let both = declaring(&inputs, "both.wasm", &[&LOADS_RECORD, &LOADED_RECORD]);
    let both = both.to_str().unwrap();
    declaring(&inputs, "loads.wasm", &[&LOADS_RECORD]);
    declaring(&inputs, "loaded.wasm", &[&LOADED_RECORD]);
    let conflict = "`classes_loaded_total` is refused: this component has `classes_loaded`, a gauge";

    let output = wasmetry(&["inspect", both]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("classes_loaded  ") && shown.contains(conflict), "{shown}");
    let output = wasmetry(&["inspect", "--json", both]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["conflicts"][0]["name"], "classes_loaded_total");

    let component = |name: &str, prefix: &str| {
        format!("[[component]]\npath = \"{name}.wasm\"\nprefix = \"{prefix}\"\ntenant = \"acme\"\n")
    };
    let config = inputs.write("conflict.toml", component("loads", "/a") + &component("loaded", "/b"));
    let config = config.to_str().unwrap();
    let output = wasmetry(&["inspect", "--config", config]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for part in [
        "conflict.toml:5:1: `loaded`: ",
        "`classes_loaded` is refused: the component `loads` of version `",
        "of the component `loaded` of version `",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let output = wasmetry(&["inspect", "--json", "--config", config]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["components"][1]["conflicts"][0]["name"], "classes_loaded");
    assert_eq!(
        (&json["components"][0]["component"], &json["components"][0]["tenant"]),
        (&"loads".into(), &"acme".into())
    );

    let sound = inputs.write("sound.toml", component("loads", "/a"));
    assert!(wasmetry(&["inspect", "--config", sound.to_str().unwrap()]).status.success());
    usage(&["inspect"], &["APP.wasm"]);
}

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
    usage(&with(&["--otlp", "http://me:secret@a"]), &["--otlp-header authorization="]);
    usage(&with(&["--otlp-header", "a=b"]), &["--otlp <URL>"]);
    usage(&with(&["--otlp", "http://a", "--otlp-header", "host=b"]), &["the header `host` cannot be set"]);
    usage(&with(&["--otlp", "http://a", "--otlp-header", "authorization"]), &["such as `authorization=Bearer 1234`"]);
}
