//! Where things are: the workspace's root and the folders under `target/` that xtask fills.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    // This crate's own folder is a member of the workspace, one level down.
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member)
}

/// `target/`, wherever the caller's own configuration would put it: tests and scripts look here.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// `target/tools`, the private prefix of everything that `setup` installs.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// `target/guests`, where built guests lie as `NAME.wasm`.
pub(crate) fn guests() -> PathBuf {
    target().join("guests")
}

/// `target/adapter`, where the components lie that `wasmetry adapt` puts around an app, as built last.
pub(crate) fn adapter() -> PathBuf {
    target().join("adapter")
}

/// The `wasmetry` command, once `cargo build --release -p wasmetry-cli` has run.
pub(crate) fn wasmetry() -> PathBuf {
    target().join("release").join("wasmetry")
}

/// A path as a reader at the root would write it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// A `cargo` that works in this workspace and builds into its `target/`.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).env("CARGO_TARGET_DIR", target());
    command
}
