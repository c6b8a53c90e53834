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
pub(crate) const PACKAGES: &[&str] = &["storefront", "test-guests", "bare", "batch", "test-programs"];

/// The target that components are built for.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// The target that core modules without imports are built for.
pub(crate) const MODULE_TARGET: &str = "wasm32-unknown-unknown";

/// The target that core modules with WASI's first release are built for.
pub(crate) const WASIP1_TARGET: &str = "wasm32-wasip1";

/// Every target that a guest is built for.
pub(crate) const TARGETS: &[&str] = &[COMPONENT_TARGET, MODULE_TARGET, WASIP1_TARGET];

/// The targets that a package is built for. The guests of the first are named after its programs; of another, its name is
/// added: `batch.wasm`, `batch-wasip1.wasm`.
pub(crate) fn targets_of(package: &str) -> &'static [&'static str] {
    match package {
        "bare" => &[MODULE_TARGET, WASIP1_TARGET],
        "batch" | "test-programs" => &[COMPONENT_TARGET, WASIP1_TARGET],
        _ => &[COMPONENT_TARGET],
    }
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
        let targets = targets_of(package);
        for (target, suffix) in targets.iter().zip(suffixes(targets)) {
            let built =
                step::loud(&format!("build {package} for {target}"), || compile(toolchain, package, target))?;
            for from in built {
                let stem = from.file_stem().context("a program without a name")?.to_string_lossy();
                let to = folder.join(format!("{stem}{suffix}.wasm"));
                let size = install(&from, &to)?;
                eprintln!("{:>9} B  {}", size, workspace::shown(&to));
                if let Some(other) = installed.replace(to) {
                    bail!("two guests are named {}; rename one", workspace::shown(&other));
                }
            }
        }
    }
    Ok(installed)
}

/// What tells a package's guests for one of its targets from those for the others.
fn suffixes(targets: &[&str]) -> impl Iterator<Item = String> {
    targets.iter().enumerate().map(|(i, target)| match target.split_once('-') {
        Some((_, system)) if i > 0 => format!("-{system}"),
        _ => String::new(),
    })
}

/// Compiles one package for one target; returns the programs that Cargo says it made.
fn compile(toolchain: &Toolchain, package: &str, target: &str) -> Result<Vec<PathBuf>> {
    let mut child = toolchain
        .cargo()?
        .args(["build", "--profile", "guest", "--target", target, "-p", package])
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
