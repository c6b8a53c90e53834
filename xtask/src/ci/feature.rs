//! The features of the command's dependencies: equal in a build of the command and in a build of
//! everything.
//!
//! Cargo unites features over the selected packages. If `cargo build -p wasmetry-cli` enabled
//! others than the tests do, Wasmtime and its compiler would be compiled a second time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::{process, workspace};

/// The features of each package, by name and version.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Fails if a dependency of the command has other features in the tests; the error names them.
pub(crate) fn check() -> Result<()> {
    let command = features(&["-p", "wasmetry-cli", "-e", "no-dev,no-build,no-proc-macro"])?;
    let everything = features(&["-e", "no-proc-macro"])?;
    let different = differences(&command, &everything);
    if !different.is_empty() {
        bail!(
            "dependencies of the command have other features in the tests, so that Wasmtime is compiled twice: {}; \
             give them these features in crates/cli/Cargo.toml",
            different.join(", ")
        );
    }
    eprintln!("{} dependencies, with the same features in the tests", command.len());
    Ok(())
}

fn features(arguments: &[&str]) -> Result<Features> {
    let mut cargo = workspace::cargo();
    cargo.args(["tree", "--format", "{p}|{f}", "--prefix", "none"]).args(arguments);
    Ok(parse(&process::capture(&mut cargo)?))
}

/// Parses lines of `name v1.2.3 (path)|feature,feature`. Repeated lines end in ` (*)`.
fn parse(tree: &str) -> Features {
    let mut all = Features::new();
    for line in tree.lines() {
        let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') else { continue };
        let name: Vec<&str> = package.split(' ').take(2).collect();
        let features = features.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned);
        all.entry(name.join(" ")).or_default().extend(features);
    }
    all
}

/// Lists the packages of `command` with the features that only the other build gives them.
fn differences(command: &Features, everything: &Features) -> Vec<String> {
    let missing = |(package, features): (&String, &BTreeSet<String>)| {
        let missing: Vec<&str> = everything.get(package)?.difference(features).map(String::as_str).collect();
        (!missing.is_empty()).then(|| format!("{package} ({})", missing.join(", ")))
    };
    command.iter().filter_map(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_features_are_named() {
        let command = parse("a v1.0.0|std\nb v2.0.0 (/src/b)|\na v1.0.0|std (*)\n");
        let everything = parse("a v1.0.0|default,std\nb v2.0.0 (/src/b)|\nc v1.0.0|x\n");
        assert_eq!(differences(&command, &everything), ["a v1.0.0 (default)"]);
        assert!(differences(&command, &command).is_empty());
    }
}
