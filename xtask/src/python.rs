//! The tests' own Python, with the packages that check wasmetry's output.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{debian::Apt, process, step, workspace};

/// The packages from PyPI, at the versions that the tests use.
const PACKAGES: &[(&str, &str)] = &[("prometheus-client", "0.26.0"), ("kubernetes-validate", "1.37.0")];

/// The version of componentize-py that builds the example in Python.
pub(crate) const COMPONENTIZE: &str = "0.25.1";

/// Installs every package of [`PACKAGES`] into `target/tools/venv`.
pub(crate) fn ensure() -> Result<()> {
    PACKAGES.iter().try_for_each(|(package, version)| install(package, version))
}

/// Returns a command for componentize-py, which is installed if it is missing.
pub(crate) fn componentize() -> Result<Command> {
    install("componentize-py", COMPONENTIZE)?;
    Ok(Command::new(workspace::tools().join("venv/bin/componentize-py")))
}

/// Installs a package into `target/tools/venv`.
fn install(package: &str, version: &str) -> Result<()> {
    let venv = workspace::tools().join("venv");
    if installed(&venv.join("bin/python"), package).as_deref() == Some(version) {
        step::note(package, &format!("already in {}, version {version}", workspace::shown(&venv)));
        return Ok(());
    }
    let doing = format!("installing version {version} into {}", workspace::shown(&venv));
    step::quiet(package, &doing, || {
        let requirement = format!("{package}=={version}");
        let mut command = pip()?;
        process::capture(command.args(["install", "--quiet", "--disable-pip-version-check"]).arg(requirement))
    })
    .with_context(|| format!("no `{package}` from PyPI"))?;
    Ok(())
}

/// Returns a command for the venv's pip; the venv is made if it is missing.
pub(crate) fn pip() -> Result<Command> {
    let venv = workspace::tools().join("venv");
    let arguments = make(&venv)?;
    let mut command = Command::new(venv.join("bin/python"));
    command.args(arguments);
    Ok(command)
}

/// Returns the version of `package` that `python` imports.
fn installed(python: &Path, package: &str) -> Option<String> {
    let program = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))";
    let printed = process::capture(Command::new(python).args(["-c", program, package])).ok()?;
    Some(printed.trim().to_owned())
}

/// Makes the venv unless it works already; returns the arguments by which its Python runs pip.
fn make(venv: &Path) -> Result<Vec<PathBuf>> {
    let python = venv.join("bin/python");
    let module = vec![PathBuf::from("-m"), PathBuf::from("pip")];
    if process::capture(Command::new(&python).args(&module).arg("--version")).is_ok() {
        return Ok(module);
    }
    let create = |extra: &[&str]| {
        let mut command = Command::new("python3");
        process::capture(command.args(["-m", "venv", "--clear"]).args(extra).arg(venv))
    };
    match create(&[]) {
        Ok(_) => Ok(module),
        Err(error) if !process::exists("python3") => {
            Err(process::failed("no Python", &error, "install Python 3.9 or newer"))
        }
        // Debian splits `ensurepip` off; pip's own wheel does instead.
        Err(error) => match pip_wheel() {
            Ok(wheel) => {
                create(&["--without-pip"])?;
                Ok(vec![wheel.join("pip")])
            }
            Err(_) => {
                let remedy = "on Debian or Ubuntu: apt-get install python3-venv";
                Err(process::failed("`python3 -m venv` does not work", &error, remedy))
            }
        },
    }
}

/// Fetches Debian's wheel of pip, which Python runs without installation.
fn pip_wheel() -> Result<PathBuf> {
    let prefix = workspace::tools().join("pip");
    Apt::open()?.unpack(&["python3-pip-whl".to_owned()], &prefix)?;
    let folder = prefix.join("usr/share/python-wheels");
    for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let is_pip = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pip-"));
        if is_pip {
            return Ok(path);
        }
    }
    bail!("Debian's python3-pip-whl holds no wheel of pip")
}
