//! The example guests in other languages, built by componentize-js and componentize-py.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{guests, node, process, python, step, workspace};

/// The guest in JavaScript.
const JS: &str = "js-guest";

/// The guest in Python.
const PYTHON: &str = "python-guest";

/// The version of WASI that the engine in componentize-js imports; its interfaces are those of
/// `wit/deps`.
const JS_WASI: &str = "@0.2.10";

/// The version of WASI in `wit/deps`.
const WASI: &str = "@0.2.0";

/// Builds the guests whose languages are installed; returns their paths.
///
/// A guest without its Node or Python is skipped with one line; with `CI=true` that is an error.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    let mut built = Vec::new();
    if node::install(&source(JS))? {
        built.push(build_js()?);
    }
    if let Some(componentize) = step::optional(python::componentize())? {
        built.push(build_python(componentize)?);
    }
    Ok(built)
}

/// Installs the tools that build them.
pub(crate) fn ensure() -> Result<()> {
    node::install(&source(JS))?;
    step::optional(python::componentize()).map(drop)
}

fn build_js() -> Result<PathBuf> {
    let (folder, to) = (source(JS), installed(JS));
    let wit = workspace::target().join("wit").join(JS);
    let inputs = ["service.js", "service.wit", "package-lock.json"].map(|name| folder.join(name));
    once(JS, &to, &inputs, || {
        gather_wit(&folder, &wit)?;
        let mut command = Command::new(folder.join("node_modules/.bin/componentize-js"));
        command.args(["service.js", "--world-name", "service", "--wit"]).arg(&wit).arg("--out").arg(&to);
        process::capture(command.current_dir(&folder)).map(drop)
    })
}

fn build_python(mut command: Command) -> Result<PathBuf> {
    let (folder, to) = (source(PYTHON), installed(PYTHON));
    let inputs = ["service.py", "service.wit"].map(|name| folder.join(name));
    once(PYTHON, &to, &inputs, || {
        command.arg("-d").arg(workspace::root().join("wit")).args(["-d", "service.wit"]);
        command.args(["-w", "wasmetry:python-guest/service", "componentize", "service", "-o"]).arg(&to);
        process::capture(command.current_dir(&folder)).map(drop)
    })
}

/// Returns the folder of an example's source.
fn source(name: &str) -> PathBuf {
    workspace::root().join("examples").join(name)
}

/// Returns the path of an example's component.
fn installed(name: &str) -> PathBuf {
    workspace::guests().join(format!("{name}.wasm"))
}

/// Builds a guest unless its inputs are unchanged: a build with an interpreter takes long.
fn once(name: &str, to: &Path, inputs: &[PathBuf], build: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let mut files = inputs.to_vec();
    files.extend(wit_files(&workspace::root().join("wit"))?);
    let mut bytes = python::COMPONENTIZE.as_bytes().to_vec();
    for file in &files {
        bytes.extend(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let stamp = workspace::target().join("wit").join(format!("{name}.inputs"));
    if to.exists() && fs::read(&stamp).ok().as_ref() == Some(&bytes) {
        step::note(name, &format!("already in {}", workspace::shown(to)));
        return Ok(to.to_owned());
    }
    let folder = stamp.parent().unwrap_or(&stamp);
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    step::quiet(name, "building", build).with_context(|| format!("`examples/{name}` does not build"))?;
    fs::write(&stamp, bytes).with_context(|| format!("cannot write {}", stamp.display()))?;
    let size = fs::metadata(to).with_context(|| format!("cannot read {}", to.display()))?.len();
    guests::report(size as usize, to);
    Ok(to.to_owned())
}

/// Copies the WIT for componentize-js into one folder: the example's own, and below `deps` this
/// project's and the packages that it uses.
fn gather_wit(example: &Path, to: &Path) -> Result<()> {
    let root = workspace::root().join("wit");
    // A file of an earlier build would declare its items twice.
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    copy_wit(example, to)?;
    copy_wit(&root, &to.join("deps/telemetry"))?;
    let deps = root.join("deps");
    for entry in deps.read_dir().with_context(|| format!("cannot list {}", deps.display()))? {
        let entry = entry?;
        copy_wit(&entry.path(), &to.join("deps").join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies the WIT files of a folder, with the engine's version of WASI.
fn copy_wit(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for file in wit_files(from)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let copy = to.join(file.file_name().unwrap_or_default());
        fs::write(&copy, text.replace(WASI, JS_WASI)).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(())
}

/// Returns the WIT files in a folder, sorted by name.
fn wit_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wit"));
    files.sort();
    Ok(files)
}
