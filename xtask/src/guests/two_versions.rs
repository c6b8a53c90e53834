//! The package of the guest with two versions of the crate `wasmetry`: `tests/guests/two_versions`
//! with `crates/guest`, and with a copy of it under a version that Cargo takes for incompatible.
//!
//! The copy is made at each build, so it cannot fall behind.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The copy's version.
const VERSION: &str = "0.2.0";

/// The line of the crate's manifest that the copy replaces.
const INHERITED: &str = "\nversion.workspace = true\n";

/// Makes the package in `target/two-versions`, a workspace of its own; returns its manifest.
pub(super) fn prepare() -> Result<PathBuf> {
    let folder = workspace::target().join("two-versions");
    let copy = folder.join("next");
    let original = workspace::root().join("crates/guest");
    write(&copy.join("build.rs"), &read(&original.join("build.rs"))?)?;
    copy_folder(&original.join("src"), &copy.join("src"))?;
    let manifest = String::from_utf8(read(&original.join("Cargo.toml"))?).context("a manifest is UTF-8")?;
    if !manifest.contains(INHERITED) {
        bail!(
            "crates/guest/Cargo.toml has no line `{}`, which xtask/src/guests/two_versions.rs puts another one for",
            INHERITED.trim()
        );
    }
    let manifest = manifest.replace(INHERITED, &format!("\nversion = \"{VERSION}\"\n"));
    write(&copy.join("Cargo.toml"), manifest.as_bytes())?;

    let root = String::from_utf8(read(&workspace::root().join("Cargo.toml"))?).context("a manifest is UTF-8")?;
    let manifest = folder.join("Cargo.toml");
    write(&manifest, own_manifest(&root, workspace::root())?.as_bytes())?;
    // All other packages have the workspace's versions.
    write(&folder.join("Cargo.lock"), &read(&workspace::root().join("Cargo.lock"))?)?;
    Ok(manifest)
}

/// Returns the manifest of the guest and its workspace. Packages inherit the same values as in the
/// workspace at `root`, whose manifest is `text`.
fn own_manifest(text: &str, root: &Path) -> Result<String> {
    let start = text.find("[workspace.package]").context("Cargo.toml has no `[workspace.package]`")?;
    let root = root.display();
    let inherited = text[start..].replace("path = \"", &format!("path = \"{root}/"));
    Ok(format!(
        r#"[package]
name = "two-versions"
version = "0.0.0"
edition = "2024"
publish = false

[[bin]]
name = "two-versions"
path = "{root}/tests/guests/two_versions/main.rs"

[dependencies]
wasmetry.workspace = true
wasmetry-next = {{ package = "wasmetry", path = "next", version = "{VERSION}" }}
wit-bindgen = {{ version = "0.61", default-features = false, features = ["macros", "realloc"] }}

[workspace]
resolver = "3"

{inherited}"#
    ))
}

/// Copies a folder, and removes other files from the copy.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in list(to)?.iter().filter(|entry| !from.join(entry).exists()) {
        let stale = to.join(entry);
        let removed = if stale.is_dir() { fs::remove_dir_all(&stale) } else { fs::remove_file(&stale) };
        removed.with_context(|| format!("cannot remove {}", stale.display()))?;
    }
    for entry in list(from)? {
        let (from, to) = (from.join(&entry), to.join(&entry));
        if from.is_dir() { copy_folder(&from, &to)? } else { write(&to, &read(&from)?)? }
    }
    Ok(())
}

/// Returns the names of a folder's entries.
fn list(folder: &Path) -> Result<Vec<OsString>> {
    let entries = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file unless it has the same bytes, so that nothing is built again.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).ok().as_deref() == Some(bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_has_absolute_paths() -> Result<()> {
        let text =
            "[workspace]\nmembers = [\"a\"]\n[workspace.package]\n[workspace.dependencies]\na = { path = \"a\" }\n";
        let manifest = own_manifest(text, Path::new("/w"))?;
        assert!(manifest.contains("[workspace.package]\n[workspace.dependencies]\na = { path = \"/w/a\" }\n"));
        assert!(!manifest.contains("members"));
        assert!(own_manifest("[workspace]\n", Path::new("/w")).is_err());
        Ok(())
    }
}
