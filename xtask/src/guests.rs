//! `cargo xtask guests`: every example and test guest as `target/guests/NAME.wasm`.

pub(crate) mod opt_level;
mod two_versions;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    adapter,
    argument::Arguments,
    language, node, sizes, step,
    toolchain::{self, Toolchain},
    workspace,
};

/// The packages whose programs are guests. Each is built by itself, so that a guest has the same
/// features and size as in its author's own workspace.
pub(crate) const PACKAGES: &[&str] = &[
    "storefront",
    "trace-relay",
    "test-guests",
    "bare",
    "batch",
    "test-programs",
    "failing-module",
    "histogram-module",
    "facade-guests",
    "library-guests",
];

/// The facades for `log` and `tracing`, which run in guests. Their own tests run natively, apart
/// from the others: they need features of `log` and `tracing` with which Wasmtime would be compiled
/// again.
pub(crate) const FACADES: &[&str] = &["wasmetry-log", "wasmetry-tracing"];

/// The target that components are built for.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// The target that core modules without imports are built for.
pub(crate) const MODULE_TARGET: &str = "wasm32-unknown-unknown";

/// The target that core modules with WASI 0.1 are built for.
pub(crate) const WASIP1_TARGET: &str = "wasm32-wasip1";

/// Every target that a guest is built for.
pub(crate) const TARGETS: &[&str] = &[COMPONENT_TARGET, MODULE_TARGET, WASIP1_TARGET];

/// The targets that a package is built for. The guests of the first are named after its programs;
/// of another, its name is added: `batch.wasm`, `batch-wasip1.wasm`.
pub(crate) fn targets_of(package: &str) -> &'static [&'static str] {
    match package {
        "bare" | "failing-module" | "histogram-module" | opt_level::PACKAGE | node::CORE | sizes::PACKAGE => {
            &[MODULE_TARGET]
        }
        "batch" | "test-programs" => &[COMPONENT_TARGET, WASIP1_TARGET],
        _ => &[COMPONENT_TARGET],
    }
}

/// Programs that are also built in another form, and so under another name.
const FORMS: &[Form] = &[
    Form::new("recorder-module", "test-guests", "recorder-module", "module", MODULE_TARGET),
    Form::new("recorder-wasip1", "test-guests", "recorder-module", "module", WASIP1_TARGET),
    Form::new("recorder-embryo", "test-guests", "recorder", "component", MODULE_TARGET),
    Form::new("facade-module", "facade-guests", "facade-module", "module", MODULE_TARGET),
    Form::new("facade-wasip1", "facade-guests", "facade-module", "module", WASIP1_TARGET),
];

/// A program as a core module.
struct Form {
    /// The name of the file that it is installed as.
    name: &'static str,
    package: &'static str,
    program: &'static str,
    feature: &'static str,
    target: &'static str,
}

impl Form {
    const fn new(
        name: &'static str,
        package: &'static str,
        program: &'static str,
        feature: &'static str,
        target: &'static str,
    ) -> Self {
        Self { name, package, program, feature, target }
    }
}

/// Installs the targets and builds every guest.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let from_debian = arguments.flag("--from-debian");
    arguments.finish()?;
    let toolchain = if from_debian { toolchain::ensure_from_debian()? } else { toolchain::ensure()? };
    build_all(&toolchain)
}

/// Builds every guest and the adapter, and removes other files from `target/guests`.
pub(crate) fn build_all(toolchain: &Toolchain) -> Result<()> {
    adapter::build(toolchain)?;
    let mut built = build(toolchain, PACKAGES)?;
    let manifest = two_versions::prepare()?;
    for (name, target) in [
        ("two-versions", COMPONENT_TARGET),
        ("two-versions-module", MODULE_TARGET),
        ("two-versions-wasip1", WASIP1_TARGET),
    ] {
        let arguments = ["--manifest-path".into(), manifest.display().to_string()];
        built.insert(build_as(toolchain, name, target, &arguments)?);
    }
    for Form { name, package, program, feature, target } in FORMS {
        let arguments = ["-p", package, "--bin", program, "--features", feature];
        built.insert(build_as(toolchain, name, target, &arguments)?);
    }
    built.extend(opt_level::build(toolchain)?);
    built.extend(language::build()?);
    let folder = workspace::guests();
    for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if !built.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Builds the guests of `packages`; returns their paths.
pub(crate) fn build(toolchain: &Toolchain, packages: &[&str]) -> Result<BTreeSet<PathBuf>> {
    let folder = workspace::guests();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut installed = BTreeSet::new();
    for package in packages {
        for (i, target) in targets_of(package).iter().enumerate() {
            let built = step::loud(&format!("build {package} for {target}"), || {
                compile(toolchain, package, target, &["-p", package])
            })?;
            for from in built {
                let stem = from.file_stem().context("a program without a name")?.to_string_lossy();
                // The name of a library has underscores in place of hyphens.
                let to = folder.join(format!("{}{}.wasm", stem.replace('_', "-"), suffix(i, target)));
                report(install(&from, &to)?, &to);
                if let Some(other) = installed.replace(to) {
                    bail!("two guests are named {}; rename one", workspace::shown(&other));
                }
            }
        }
    }
    Ok(installed)
}

/// Returns the suffix that distinguishes a package's guests for its target at `index`.
fn suffix(index: usize, target: &str) -> String {
    match target.split_once('-') {
        Some((_, system)) if index > 0 => format!("-{system}"),
        _ => String::new(),
    }
}

/// Builds the one program that `arguments` select, and installs it as `name`; returns its path.
fn build_as(toolchain: &Toolchain, name: &str, target: &str, arguments: &[impl AsRef<OsStr>]) -> Result<PathBuf> {
    let built = step::loud(&format!("build {name}"), || compile(toolchain, name, target, arguments))?;
    let [from] = built.as_slice() else {
        bail!("`{name}` is one program, and Cargo made {}", built.len());
    };
    let to = workspace::guests().join(format!("{name}.wasm"));
    report(install(from, &to)?, &to);
    Ok(to)
}

/// Compiles what `arguments` select; returns the programs that Cargo reports.
pub(crate) fn compile(
    toolchain: &Toolchain,
    name: &str,
    target: &str,
    arguments: &[impl AsRef<OsStr>],
) -> Result<Vec<PathBuf>> {
    let mut child = toolchain
        .cargo()?
        .args(["build", "--profile", "guest", "--target", target])
        .args(arguments)
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
        bail!("`{name}` does not build ({status}); its errors are above");
    }
    if programs.is_empty() {
        bail!("`{name}` has no program in it, so it makes no guest");
    }
    Ok(programs)
}

/// Copies a program unless the same bytes are there, so that its time of change is kept; returns
/// its size.
pub(crate) fn install(from: &Path, to: &Path) -> Result<usize> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).ok().as_ref() != Some(&bytes) {
        fs::write(to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(bytes.len())
}

/// Prints the size of a program.
pub(crate) fn report(bytes: usize, program: &Path) {
    eprintln!("{bytes:>9} B  {}", workspace::shown(program));
}
