//! `cargo xtask guests`: every example and test guest as `target/guests/NAME.wasm`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    argument::Arguments,
    step,
    toolchain::{self, Toolchain},
    workspace,
};

/// The packages whose programs are guests. Each is built by itself, so that a guest has the features, and the
/// size, that it would have in its author's own workspace.
pub(crate) const PACKAGES: &[&str] = &["storefront", "test-guests", "bare", "sampler"];

/// The target that components are built for.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// The target that core modules without imports are built for.
pub(crate) const MODULE_TARGET: &str = "wasm32-unknown-unknown";

/// The target that a package is built for.
pub(crate) fn target_of(package: &str) -> &'static str {
    if matches!(package, "bare" | "sampler") { MODULE_TARGET } else { COMPONENT_TARGET }
}

/// Installs the targets and builds every guest.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let from_debian = arguments.flag("--from-debian");
    arguments.finish()?;
    let toolchain = if from_debian { toolchain::ensure_from_debian()? } else { toolchain::ensure()? };
    build_all(&toolchain)
}

/// Builds every guest, and removes from `target/guests` what is none any more.
pub(crate) fn build_all(toolchain: &Toolchain) -> Result<()> {
    let built = build(toolchain, PACKAGES)?;
    let folder = workspace::guests();
    for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if !built.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Builds the guests of `packages`; returns where each now lies.
pub(crate) fn build(toolchain: &Toolchain, packages: &[&str]) -> Result<BTreeSet<PathBuf>> {
    let folder = workspace::guests();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut installed = BTreeSet::new();
    for package in packages {
        let built = step::loud(&format!("build {package}"), || compile(toolchain, package))?;
        for from in built {
            let name = from.file_name().context("a program without a name")?;
            let to = folder.join(name);
            let size = install(&from, &to)?;
            eprintln!("{:>9} B  {}", size, workspace::shown(&to));
            if !installed.insert(to) {
                bail!("two guests are named {}; rename one", name.display());
            }
        }
    }
    Ok(installed)
}

/// Compiles one package; returns the programs that Cargo says it made.
fn compile(toolchain: &Toolchain, package: &str) -> Result<Vec<PathBuf>> {
    let mut child = toolchain
        .cargo()?
        .args(["build", "--profile", "guest", "--target", target_of(package), "-p", package])
        .args(["--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()
        .context("`cargo` could not be started")?;
    let output = child.stdout.take().context("`cargo build` has no output to read")?;
    let mut programs = Vec::new();
    for line in BufReader::new(output).lines() {
        let message: Value = serde_json::from_str(&line?).context("`cargo build` printed a line that is not JSON")?;
        if let Some(program) = message["executable"].as_str() {
            programs.push(PathBuf::from(program));
        } else if message["target"]["crate_types"].as_array().is_some_and(|types| types.contains(&"cdylib".into())) {
            let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
            programs.extend(files.filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
        }
    }
    let status = child.wait().context("waiting for `cargo build`")?;
    if !status.success() {
        bail!("`{package}` does not build ({status}); its errors are above");
    }
    if programs.is_empty() {
        bail!("`{package}` has no program in it, so it makes no guest");
    }
    Ok(programs)
}

/// Copies a program unless the same bytes are there, so that what depends on the time of change stays fresh.
fn install(from: &Path, to: &Path) -> Result<usize> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).ok().as_ref() != Some(&bytes) {
        fs::write(to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(bytes.len())
}
