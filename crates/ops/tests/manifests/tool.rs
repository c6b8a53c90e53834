//! The programs that judge manifests. Each that is missing is a line, and with `CI=true` a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn tools() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("tools")
}

/// Returns the path if it exists. Else prints a line.
///
/// # Panics
///
/// Panics if there is none and `CI` is `true`.
fn found(name: &str, path: PathBuf, remedy: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let message = format!("{name} is not installed: run `{remedy}`");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

/// Returns the program that reads files as Kubernetes, Compose and BuildKit do.
pub(crate) fn manifests() -> Option<PathBuf> {
    found("the reader of manifests", tools().join("backends/kubernetes/manifests"), "cargo xtask backends kubernetes")
}

pub(crate) fn kubernetes_validate() -> Option<PathBuf> {
    found("kubernetes-validate", tools().join("venv/bin/kubernetes-validate"), "cargo xtask setup")
}

/// Returns the script that validates manifests by their schemas.
pub(crate) fn kubernetes_models() -> Option<PathBuf> {
    let folder = root().join("tests/kubernetes-models");
    found("@kubernetes-models", folder.join("node_modules/.installed-lock.json"), "cargo xtask setup")?;
    Some(folder.join("validate.mjs"))
}

pub(crate) fn amtool() -> Option<PathBuf> {
    found("amtool", tools().join("backends/alertmanager/amtool"), "cargo xtask backends alertmanager")
}

/// Returns the promtool of Prometheus 3. Debian's has no discovery of Kubernetes.
pub(crate) fn promtool() -> Option<PathBuf> {
    found("promtool", tools().join("backends/prometheus/promtool"), "cargo xtask backends prometheus")
}

/// Returns the installed versions of promtool.
pub(crate) fn promtools() -> Vec<PathBuf> {
    let debian = found("promtool", tools().join("prometheus/usr/bin/promtool"), "cargo xtask setup");
    debian.into_iter().chain(promtool()).collect()
}

pub(crate) fn run(program: &Path, arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(program).args(arguments).args(files).output().unwrap()
}

pub(crate) fn assert_passes(program: &Path, arguments: &[&str], files: &[PathBuf]) -> String {
    let output = run(program, arguments, files);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{} {arguments:?}:\n{stdout}{stderr}", program.display());
    stdout
}
