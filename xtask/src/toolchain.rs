//! The compiler that builds the guests: the default one if it has the wasm targets, else Debian's.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    debian::rust::{self, Prefix},
    guests::TARGETS,
    process, step, workspace,
};

/// A compiler with the standard library of every target in [`TARGETS`].
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The `rustc` that `cargo` uses by itself.
    Default,
    /// Debian's `rustc`, unpacked under `target/tools`.
    Debian(Prefix),
}

impl Toolchain {
    /// Returns a command for a `cargo` in this workspace that builds with this toolchain.
    pub(crate) fn cargo(&self) -> Result<Command> {
        let mut command = workspace::cargo();
        if let Self::Debian(prefix) = self {
            prefix.configure(&mut command)?;
            command.env("PATH", path_with_linkers()?);
        }
        Ok(command)
    }

    /// Returns the compiler's version, a line.
    pub(crate) fn version(&self) -> Result<String> {
        let cargo = self.cargo()?;
        let variable = |name: &str| cargo.get_envs().find_map(|(key, value)| if key == name { value } else { None });
        let mut rustc = Command::new(variable("RUSTC").unwrap_or("rustc".as_ref()));
        if let Some(libraries) = variable("LD_LIBRARY_PATH") {
            rustc.env("LD_LIBRARY_PATH", libraries);
        }
        process::capture(rustc.arg("--version"))
    }
}

/// Returns a toolchain with every target, installing what is missing: by rustup, else from Debian's
/// packages.
pub(crate) fn ensure() -> Result<Toolchain> {
    for target in TARGETS {
        if default_has(target) {
            step::note(target, "already installed");
            continue;
        }
        if rust::is_ready(target) {
            continue;
        }
        let added = step::quiet(target, "installing with rustup", || {
            // A backtrace would hide the one line with the cause.
            process::capture(Command::new("rustup").args(["target", "add", target]).env("RUST_BACKTRACE", "0"))
        });
        if let Err(error) = added {
            let error = format!("{error:#}");
            let mut lines = error.lines().map(str::trim);
            let cause = lines.clone().find(|line| line.starts_with("error: ")).or_else(|| lines.next_back());
            let cause = cause.unwrap_or_default().trim_start_matches("error: ");
            step::note(target, &format!("rustup cannot ({cause}); building it from Debian's packages instead"));
            return ensure_from_debian();
        }
    }
    if TARGETS.iter().all(|target| default_has(target)) { Ok(Toolchain::Default) } else { ensure_from_debian() }
}

/// Returns Debian's toolchain with every target, without asking rustup.
pub(crate) fn ensure_from_debian() -> Result<Toolchain> {
    let prefix = rust::ensure(TARGETS).map_err(|error| {
        let remedy = format!("run `rustup target add {}` where rustup can download", TARGETS.join(" "));
        process::failed("no toolchain for the wasm targets", &error, &remedy)
    })?;
    Ok(Toolchain::Debian(prefix))
}

/// Returns `true` if the default compiler has the standard library of `target`.
fn default_has(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    let printed = process::capture(rustc.args(["--print", "target-libdir", "--target", target]));
    // A compiler that does not know the target has no library for it.
    printed.is_ok_and(|directory| has_std(Path::new(directory.trim())))
}

/// Returns `true` if a target's library folder holds a standard library.
pub(crate) fn has_std(directory: &Path) -> bool {
    let Ok(entries) = directory.read_dir() else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd") && !name.starts_with("libstd_") && name.ends_with(".rlib")
    })
}

/// Returns PATH with the default toolchain's own linkers first: Debian's compiler comes without
/// `rust-lld` and `wasm-component-ld`.
fn path_with_linkers() -> Result<OsString> {
    let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = process::capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` prints no host")?;
    let linkers = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    if !linkers.join("wasm-component-ld").exists() {
        bail!(
            "{} has no `wasm-component-ld`: guests need the linkers of a rustup toolchain; install one from https://rustup.rs",
            linkers.display()
        );
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(linkers).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("PATH cannot be extended")
}
