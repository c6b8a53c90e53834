//! What the end-to-end tests share: guests, servers, tools, and reading of an exposition.
//!
//! A test that needs a server starts it on a free loopback port and stops it when it is dropped. Where a tool is not
//! installed, the test says so on one line and how to install it; with `CI=true` its absence is a failure.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

pub mod adapted;
pub mod behaviour;
pub mod composition;
pub mod echo;
pub mod exposition;
pub mod jco;
pub mod otlp;
pub mod plain;
pub mod prometheus;
pub mod pushgateway;
pub mod reading;
pub mod rotel;
pub mod server;
pub mod store;
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

/// The path of a guest's component.
///
/// # Panics
///
/// Panics if the guests have not been built.
pub fn guest(name: &str) -> PathBuf {
    let path = target().join("guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `cargo xtask guests`", path.display());
    path
}

/// The path of a guest in another language; nothing, with a line on standard error, where what builds it is not installed.
///
/// # Panics
///
/// Panics where it was not built and `CI` is `true`.
pub fn foreign_guest(name: &str) -> Option<PathBuf> {
    let path = target().join("guests").join(format!("{name}.wasm"));
    if path.exists() {
        return Some(path);
    }
    let message = format!("{} was not built: `cargo xtask guests` says what it lacks", path.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    None
}
