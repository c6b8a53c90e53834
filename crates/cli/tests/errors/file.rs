//! Files that are missing, special, cut off, or no WebAssembly at all.

#[cfg(unix)]
use std::process::Command;

use crate::{Inputs, error, serve};

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

// A pipe without a writer would be waited for, and a device may have no end.
#[cfg(unix)]
#[test]
fn special_files_are_refused() {
    let inputs = Inputs::new();
    let pipe = inputs.path("pipe.wasm");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = inputs.path("out.wasm");
    let (pipe, output) = (pipe.to_str().unwrap(), output.to_str().unwrap());
    for (path, kind) in [(pipe, "is a pipe, not a file"), ("/dev/zero", "is a device, not a file")] {
        for arguments in [
            &["inspect", path][..],
            &["inspect", "--config", path],
            &["serve", path],
            &["serve", "--config", path],
            &["run", path],
            &["adapt", path, "-o", output],
            &["ops", "all", path, "-o", output],
        ] {
            error(arguments, &[path, kind]);
        }
    }
}

// A component in a component in a component. Compiling it would take minutes.
#[test]
fn deep_nesting_is_bounded() {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..20_000 {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut length = bytes.len();
        while length >= 0x80 {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.append(&mut bytes);
        bytes = outer;
    }
    let inputs = Inputs::new();
    let path = inputs.write("nested.wasm", bytes);
    let path = path.to_str().unwrap();
    for arguments in [&["inspect", path][..], &serve(path), &["run", path], &["ops", "all", path, "-o", "out"]] {
        error(arguments, &[path, "nested more than 100 deep"]);
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
