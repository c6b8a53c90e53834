//! The toolchain for hosts where rustup cannot download: Debian's `rustc`, and the standard library
//! of each wasm target built from Debian's own copy of its source.
//!
//! Debian packages a recent Rust for its browsers (`rustc-web`) and its source, but no wasm target
//! of it. The compiler can build its standard library as Cargo builds any crate, given
//! `RUSTC_BOOTSTRAP=1` for the unstable features in it; the C half of a WASI target is Debian's
//! `wasi-libc`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Apt;
use crate::{process, step, toolchain, workspace};

/// The oldest compiler that builds this workspace, as Cargo.toml says.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Debian's compiler, unpacked under `target/tools/debian-rust`.
#[derive(Debug)]
pub(crate) struct Prefix {
    root: PathBuf,
}

/// Returns `true` if the standard library of `target` has been built already.
pub(crate) fn is_ready(target: &str) -> bool {
    Prefix::new().stamp(target).exists()
}

/// Unpacks the compiler and builds the standard library of each of `targets`, unless that was done
/// before.
///
/// # Errors
///
/// When the packages are not to be had, are older than this workspace needs, or do not build.
pub(crate) fn ensure(targets: &[&str]) -> Result<Prefix> {
    let prefix = Prefix::new();
    let missing: Vec<&str> = targets.iter().copied().filter(|target| !prefix.stamp(target).exists()).collect();
    for target in targets.iter().filter(|target| !missing.contains(target)) {
        step::note(target, &format!("already built from Debian's packages in {}", workspace::shown(&prefix.root)));
    }
    if missing.is_empty() {
        return Ok(prefix);
    }
    if !prefix.stamp("unpacked").exists() {
        step::quiet("debian rust", "unpacking the compiler and its source", || prefix.unpack())?;
    }
    for target in missing {
        step::quiet(target, "building its standard library", || prefix.build_std(target))?;
    }
    Ok(prefix)
}

impl Prefix {
    /// The prefix's place, whether or not anything is there yet.
    fn new() -> Self {
        Self { root: workspace::tools().join("debian-rust") }
    }

    /// Makes `command`, a Cargo, use this compiler.
    pub(crate) fn configure(&self, command: &mut Command) -> Result<()> {
        let libraries = self.library_folder()?;
        let path = match std::env::var_os("LD_LIBRARY_PATH") {
            None => libraries.into_os_string(),
            Some(others) => std::env::join_paths(std::iter::once(libraries).chain(std::env::split_paths(&others)))
                .context("LD_LIBRARY_PATH cannot be extended")?,
        };
        command.env("RUSTC", self.root.join("usr/bin/rustc")).env("LD_LIBRARY_PATH", path);
        for wrapper in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(wrapper);
        }
        Ok(())
    }

    /// Unpacks the compiler, what of its libraries the system lacks, its source, and the C library
    /// of WASI.
    fn unpack(&self) -> Result<()> {
        let apt = Apt::open()?;
        let mut packages: Vec<String> =
            ["rustc-web", "libstd-rust-web-dev", "rust-web-src", "wasi-libc"].map(str::to_owned).into();
        packages.extend(self.libraries(&apt)?);
        apt.unpack(&packages, &self.root)?;
        let version = self.version()?;
        if older(&version, OLDEST) {
            bail!(
                "Debian's rustc-web is {version}, and this workspace needs {OLDEST}; enable the distribution's security updates in apt's sources"
            );
        }
        for unused in ["compiler", "src"] {
            // The rest of the source tree is four fifths of it and not needed.
            let folder = self.source()?.join(unused);
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        self.write_stamp("unpacked")
    }

    /// The compiler's shared libraries: its own, and of their dependencies those that the system
    /// lacks.
    fn libraries(&self, apt: &Apt) -> Result<Vec<String>> {
        // `libstd-rust-web-dev` depends on the one named after the version, `libstd-rust-web-1.96`.
        let own = apt
            .dependencies("libstd-rust-web-dev", false)?
            .into_iter()
            .find(|name| is_versioned(name))
            .context("Debian's libstd-rust-web-dev names no libstd-rust-web-VERSION among its dependencies")?;
        let installed = apt.installed()?;
        let mut libraries = apt.dependencies(&own, true)?;
        // The compiler finds its sysroot by where its own library lies, so the system's would not
        // do.
        libraries.retain(|name| *name == own || !installed.contains(name));
        Ok(libraries.into_iter().collect())
    }

    /// Builds the standard library of `target` and puts it, with the C objects, where the compiler
    /// looks.
    fn build_std(&self, target: &str) -> Result<()> {
        let build = workspace::tools().join("debian-std");
        let mut cargo = workspace::cargo();
        self.configure(&mut cargo)?;
        cargo
            .current_dir(self.source()?.join("library"))
            .env("CARGO_TARGET_DIR", &build)
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS")
            .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes")
            .args(["build", "--release", "-p", "sysroot", "--target", target])
            .args(["--features", "compiler-builtins-mem,panic-unwind"]);
        process::capture(&mut cargo)?;

        let library = self.root.join("usr/lib/rustlib").join(target).join("lib");
        copy(&build.join(target).join("release/deps"), &library, &["rlib"])?;
        if !toolchain::has_std(&library) {
            bail!("the build of the standard library left no libstd in {}", library.display());
        }
        if target.contains("wasi") {
            copy(&self.wasi_libc()?, &library.join("self-contained"), &["o", "a"])?;
        }
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
        self.write_stamp(target)
    }

    /// The compiler's version, such as `1.96.0`.
    fn version(&self) -> Result<String> {
        let mut rustc = Command::new(self.root.join("usr/bin/rustc"));
        let printed = process::capture(rustc.arg("--version").env("LD_LIBRARY_PATH", self.library_folder()?))?;
        let version = printed.split_whitespace().nth(1);
        version.map(str::to_owned).with_context(|| format!("`rustc --version` printed {printed:?}"))
    }

    /// Returns the folder of the shared libraries: `usr/lib/x86_64-linux-gnu` or another machine's.
    fn library_folder(&self) -> Result<PathBuf> {
        find(&self.root.join("usr/lib"), |name| name.contains("-linux-gnu"))
    }

    /// Returns the folder of the compiler's source: `usr/src/rustc-1.96.0`.
    fn source(&self) -> Result<PathBuf> {
        find(&self.root.join("usr/src"), |name| name.starts_with("rustc-"))
    }

    /// Returns the folder of WASI's C library: `usr/lib/wasm32-wasi`.
    fn wasi_libc(&self) -> Result<PathBuf> {
        find(&self.root.join("usr/lib"), |name| name.starts_with("wasm32-wasi"))
    }

    /// The file whose presence says that a step was finished, not only begun.
    fn stamp(&self, step: &str) -> PathBuf {
        self.root.join(format!("{step}.done"))
    }

    /// Marks a step as finished.
    fn write_stamp(&self, step: &str) -> Result<()> {
        let stamp = self.stamp(step);
        fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// Returns `true` if a package's name is `libstd-rust-web-` and a version.
fn is_versioned(package: &str) -> bool {
    let version = package.strip_prefix("libstd-rust-web-");
    version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

/// Returns `true` if version `left` is older than `right`, compared number by number.
fn older(left: &str, right: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    numbers(left) < numbers(right)
}

/// The only entry of `folder` whose name satisfies `wanted`, or the last by name of several.
fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop().with_context(|| {
        format!(
            "{} lacks what Debian's packages should have put there; delete target/tools/debian-rust and try again",
            folder.display()
        )
    })
}

/// Copies the files of `from` with one of these extensions into `to`.
fn copy(from: &Path, to: &Path, extensions: &[&str]) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in from.read_dir().with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if let (true, Some(name)) = (extensions.contains(&&*extension), path.file_name()) {
            fs::copy(&path, to.join(name))
                .with_context(|| format!("cannot copy {} into {}", path.display(), to.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(older("1.85.0", "1.95"));
        assert!(older("1.9.0", "1.10"));
        assert!(!older("1.95.0", "1.95"));
        assert!(!older("1.96.0", "1.95"));
        assert!(!older("2.0.0", "1.95"));
    }

    #[test]
    fn versioned_library_is_recognised() {
        assert!(is_versioned("libstd-rust-web-1.96"));
        assert!(!is_versioned("libstd-rust-web-dev"));
        assert!(!is_versioned("libstd-rust-1.63"));
    }
}
