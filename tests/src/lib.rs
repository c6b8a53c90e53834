//! The code that the end-to-end tests share: guests, the command under test, backends, embeddings
//! and tools.
//!
//! A server listens on a free loopback port and stops when it is dropped. If a tool is not
//! installed, the test prints one line with the remedy and is skipped; with `CI=true` it fails.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

pub mod adapted;
pub mod backend;
pub mod behaviour;
pub mod declaration;
pub mod embedding;
pub mod exposition;
pub mod memory_sink;
pub mod otlp;
pub mod scratch;
pub mod screen;
pub mod server;
pub mod tool;

use std::path::{Path, PathBuf};

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the root")
}

/// Cargo's target directory, in which this test was built.
pub fn target() -> PathBuf {
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().expect("a test has a path");
    test.ancestors().nth(3).expect("cargo builds tests three levels down").to_owned()
}

/// Returns the path of a guest's binary.
///
/// # Panics
///
/// Panics if the guests have not been built.
pub fn guest(name: &str) -> PathBuf {
    let path = target().join("guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `cargo xtask guests`", path.display());
    path
}

/// Returns the largest resident memory of a process so far, in bytes; 0 if it has ended.
pub fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}

/// Returns the path of a guest in another language. Prints a line and returns `None` if it could
/// not be built.
///
/// # Panics
///
/// Panics if it was not built and `CI` is `true`.
pub fn foreign_guest(name: &str) -> Option<PathBuf> {
    let path = target().join("guests").join(format!("{name}.wasm"));
    if path.exists() {
        return Some(path);
    }
    let message = format!("{} was not built: `cargo xtask guests` names the missing tool", path.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    None
}
