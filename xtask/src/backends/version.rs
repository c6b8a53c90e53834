//! The versions of backends: read from their `go.mod`, and compared with what README states.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::{BACKENDS, Backend};
use crate::workspace;

impl Backend {
    /// Returns the version that `go.mod` requires.
    pub(super) fn version(&self) -> Result<String> {
        let path = self.folder().join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = required(&text, self.module);
        found.with_context(|| format!("{} does not require {}", workspace::shown(&path), self.module))
    }

    /// Returns the name of the release, of which the module's version can differ.
    pub(super) fn release(&self) -> Result<String> {
        let version = self.version()?;
        let number = version.trim_start_matches('v');
        Ok(match self.name {
            "prometheus" => {
                prometheus_release(number).with_context(|| format!("{version} is no Prometheus release"))?
            }
            "jaeger" => jaeger_release(number).with_context(|| format!("{version} is no Jaeger release"))?,
            "kubernetes" => {
                kubernetes_release(number).with_context(|| format!("{version} is no Kubernetes release"))?
            }
            _ => number.to_owned(),
        })
    }
}

/// Returns the version at which a `go.mod` requires a module.
fn required(text: &str, module: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next().unwrap_or_default().to_owned())
    })
}

/// Returns the release of a version of Prometheus' module: 0.316.0 is 3.16.0.
fn prometheus_release(number: &str) -> Option<String> {
    let (minor, patch) = number.strip_prefix("0.")?.split_once('.')?;
    let minor: u32 = minor.parse().ok()?;
    Some(format!("{}.{}.{patch}", minor / 100, minor % 100))
}

/// Returns the release of a version of Jaeger's module, whose commits have a version of 1 and one
/// of 2: 1.76.0 is 2.13.0.
fn jaeger_release(number: &str) -> Option<String> {
    let (minor, patch) = number.strip_prefix("1.")?.split_once('.')?;
    let minor: u32 = minor.parse().ok()?;
    Some(format!("2.{}.{patch}", minor.checked_sub(63)?))
}

/// Returns the release of a version of Kubernetes' library modules: 0.37.2 is 1.37.2.
fn kubernetes_release(number: &str) -> Option<String> {
    Some(format!("1.{}", number.strip_prefix("0.")?))
}

/// Compares the table of backends in README with the modules.
pub(super) fn check() -> Result<()> {
    let path = workspace::root().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for backend in BACKENDS {
        let (release, version) = (backend.release()?, backend.version()?);
        let cells = [format!(" {release} "), format!("`{}` {version} ", backend.module)];
        if !text.lines().any(|line| line.starts_with('|') && cells.iter().all(|cell| line.contains(cell))) {
            bail!(
                "README.md has no row with `{release}` and `{}` {version}, which tests/backends/{}/go.mod requires",
                backend.module,
                backend.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_modules() -> Result<()> {
        for backend in BACKENDS {
            let version = backend.version()?;
            assert!(version.starts_with('v'), "{}: {version}", backend.name);
        }
        let text = "module a\n\nrequire b v1.2.3\n\nrequire (\n\tc/d v0.4.0 // indirect\n)\n";
        assert_eq!(required(text, "b").as_deref(), Some("v1.2.3"));
        assert_eq!(required(text, "c/d").as_deref(), Some("v0.4.0"));
        assert_eq!(required(text, "c"), None);
        Ok(())
    }

    #[test]
    fn modules_versions_name_releases() {
        assert_eq!(prometheus_release("0.316.0").as_deref(), Some("3.16.0"));
        assert_eq!(prometheus_release("0.305.2").as_deref(), Some("3.5.2"));
        assert_eq!(prometheus_release("2.42.0"), None);
        assert_eq!(jaeger_release("1.76.0").as_deref(), Some("2.13.0"));
        assert_eq!(jaeger_release("2.0.0"), None);
        assert_eq!(kubernetes_release("0.37.2").as_deref(), Some("1.37.2"));
    }
}
