//! Flags and their values, addresses, files of secrets, and help.

use std::net::TcpListener;

use crate::{Inputs, error, serve, usage, wasmetry};

#[test]
fn secrets_are_not_shown() {
    let inputs = Inputs::new();
    let wasm = inputs.wat("a.wasm", "(component)");
    let headers = inputs.write("headers", "# a comment\n\nauthorization=Bearer s3cr3t\ns3cr3t s3cr3t\n");
    let token = inputs.write("token", "s3cr3t");
    let (wasm, headers, token) = (wasm.to_str().unwrap(), headers.to_str().unwrap(), token.to_str().unwrap());
    let output = inputs.path("out.wasm");
    let adapt = ["adapt", wasm, "-o", output.to_str().unwrap(), "--otlp", "http://127.0.0.1:1"];
    for (arguments, cause) in [
        ([&adapt[..], &["--otlp-header-file", headers]].concat(), "headers:4: expected a header"),
        (["run", wasm, "--push", "http://127.0.0.1:1", "--push-header-file", headers].to_vec(), "headers:3: expected"),
        ([&serve(wasm)[..], &["--telemetry-token-file", token]].concat(), "it needs at least 16"),
        (
            [&serve(wasm)[..], &["--telemetry-token-file", "/nowhere"]].concat(),
            "telemetry-token-file: cannot read /nowhere",
        ),
        ([&serve(wasm)[..], &["--telemetry-tls-cert", token, "--telemetry-tls-key", token]].concat(), "no certificate"),
    ] {
        let output = wasmetry(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(cause) && !stderr.contains("s3cr3t"), "{arguments:?}: {stderr}");
    }
    usage(&["run", wasm, "--telemetry-token-file", token], &["--telemetry-addr"]);
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
