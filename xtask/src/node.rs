//! `cargo xtask node`: builds the npm package in `hosts/node`, ready to be used, tested or packed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    argument::Arguments,
    guests, process, step,
    toolchain::{self, Toolchain},
    workspace,
};

/// The package with the host crate as WebAssembly.
pub(crate) const CORE: &str = "wasmetry-node";

/// The oldest major version of Node that the package and jco run on.
const OLDEST_NODE: u32 = 20;

/// Builds the package, and installs its development dependencies.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    build(&toolchain::ensure()?)?;
    if ensure_packages()? { declare() } else { Ok(()) }
}

/// Returns the npm package's folder.
pub(crate) fn folder() -> PathBuf {
    workspace::root().join("hosts/node")
}

/// Returns the path of the core in the package.
pub(crate) fn core() -> PathBuf {
    folder().join("dist/core.wasm")
}

/// Builds the files that npm packs beside the sources: the core and the licences.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    let dist = folder().join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot create {}", dist.display()))?;
    let built = step::loud(&format!("build {CORE}"), || {
        guests::compile(toolchain, CORE, guests::MODULE_TARGET, &["-p", CORE])
    })?;
    let [wasm] = built.as_slice() else { bail!("`{CORE}` makes {} modules instead of one", built.len()) };
    guests::report(guests::install(wasm, &core())?, &core());
    embed_core(&dist)?;
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        guests::install(&workspace::root().join(licence), &dist.join(licence))?;
    }
    Ok(())
}

/// Writes the core as a JavaScript module, which every bundler finds: its text is base64.
fn embed_core(dist: &Path) -> Result<()> {
    let bytes = fs::read(core()).with_context(|| format!("cannot read {}", core().display()))?;
    let module =
        format!("// dist/core.wasm in base64, made by `cargo xtask node`.\nexport default '{}';\n", base64(&bytes));
    let declaration = "declare const base64: string;\nexport default base64;\n";
    for (name, text) in [("core-bytes.js", module.as_str()), ("core-bytes.d.ts", declaration)] {
        let path = dist.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Encodes bytes as base64 with padding, as RFC 4648 defines it in section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, index| word << 8 | u32::from(group.get(index).copied().unwrap_or_default()));
        for index in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Makes the package's type declarations from its sources.
pub(crate) fn declare() -> Result<()> {
    step::loud("types of hosts/node", || {
        process::run(Command::new(folder().join("node_modules/typescript/bin/tsc")).arg("--project").arg(folder()))
    })
}

/// Runs the package's tests after [`build`] and with every guest built. Without Node it skips them.
pub(crate) fn test() -> Result<()> {
    if !ensure_packages()? {
        return Ok(());
    }
    step::loud("test hosts/node", || process::run(Command::new("npm").args(["--silent", "test"]).current_dir(folder())))
}

/// Installs the package's development dependencies, such as jco; see [`install`].
pub(crate) fn ensure_packages() -> Result<bool> {
    install(&folder())
}

/// Installs the packages that validate generated manifests.
pub(crate) fn ensure_kubernetes_models() -> Result<()> {
    install(&workspace::root().join("tests/kubernetes-models")).map(drop)
}

/// Installs the packages of a lock file into `node_modules` beside it; returns `true` if they are
/// there.
///
/// Without Node it prints one line and returns `false`; with `CI=true` that is an error.
pub(crate) fn install(folder: &Path) -> Result<bool> {
    if step::optional(check_node())?.is_none() {
        return Ok(false);
    }
    let lock = folder.join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let modules = folder.join("node_modules");
    // A copy of the lock file that was installed, so that a change is noticed.
    let installed = modules.join(".installed-lock.json");
    if fs::read(&installed).ok().as_ref() == Some(&lock) {
        step::note("npm packages", &format!("already in {}", workspace::shown(&modules)));
        return Ok(true);
    }
    step::quiet("npm packages", &format!("installing into {}", workspace::shown(&modules)), || {
        // Not `npm ci`, which refuses a lock file that lacks other platforms' optional packages.
        let arguments = ["install", "--no-save", "--no-audit", "--no-fund"];
        process::capture(Command::new("npm").args(arguments).current_dir(folder))
    })
    .map_err(|error| {
        let missing = format!("no npm packages for {}", workspace::shown(folder));
        process::failed(&missing, &error, "see what npm says, and try again")
    })?;
    fs::write(&installed, lock).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(true)
}

/// Fails with a remedy if Node is missing or too old, or npm is missing.
fn check_node() -> Result<()> {
    let remedy = format!(
        "install Node {OLDEST_NODE} or newer (https://nodejs.org) for the tests of hosts/node and examples/js-guest"
    );
    let missing = |error: anyhow::Error| process::failed("no Node", &error, &remedy);
    let printed = process::capture(Command::new("node").arg("--version")).map_err(missing)?;
    process::capture(Command::new("npm").arg("--version")).map_err(missing)?;
    let version = printed.trim().trim_start_matches('v');
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        bail!("the Node on PATH is {version}: {remedy}");
    }
    step::note("node", &format!("already on PATH, version {version}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_test_vectors() {
        // Source: RFC 4648, section 10.
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xef, 0xff]), "++//");
    }
}
