//! The programs that `cargo xtask backends` builds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// The names of the backends that this process has requested, each with `true` if it was built.
static REQUESTED: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());

/// Returns the path of a backend's program, which is built first if it is missing or out of date.
/// Prints a line and returns `None` if there is no Go.
///
/// # Panics
///
/// Panics if it cannot be built and `CI` is `true`.
pub fn program(backend: &str, program: &str) -> Option<PathBuf> {
    // The lock makes other tests wait for the build.
    let mut requested = REQUESTED.lock().unwrap();
    if !requested.contains_key(backend) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut xtask = Command::new(cargo);
        xtask.args(["xtask", "backends", backend]).current_dir(crate::root());
        let is_built = xtask.status().expect("cargo can be started").success();
        requested.insert(backend.to_owned(), is_built);
    }
    let path = crate::target().join("tools/backends").join(backend).join(program);
    if requested[backend] && path.is_file() {
        return Some(path);
    }
    let message = format!("{program} was not built: `cargo xtask backends {backend}` names the cause");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    None
}
