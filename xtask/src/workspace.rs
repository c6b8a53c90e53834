//! The workspace's root and the folders under `target/` that xtask fills.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the workspace's root.
pub(crate) fn root() -> &'static Path {
    // This crate's own folder is a member of the workspace, one level down.
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member)
}

/// Returns `target/`, whatever the caller's own configuration sets: tests and scripts look here.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Returns `target/tools`, the private prefix of everything that `setup` installs.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// Returns `target/guests`, which holds the built guests as `NAME.wasm`.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// Returns `target/adapter`, which holds the latest build of the components of `wasmetry adapt`.
pub(crate) fn adapter() -> PathBuf {
    target().join("adapter")
}

/// Returns the path of the `wasmetry` command; see `build_command` in `test.rs`.
pub(crate) fn wasmetry() -> PathBuf {
    target().join("release").join("wasmetry")
}

/// Returns a path from the root, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Returns a command for a `cargo` that runs in this workspace and builds into its `target/`.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).env("CARGO_TARGET_DIR", target());
    command
}
