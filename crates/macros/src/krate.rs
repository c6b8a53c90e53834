//! The path of the crate `wasmetry` in the crate that is compiled.

use std::path::Path as File;
use std::{env, fs};

use syn::{Ident, Path, parse_quote};

/// The package's name at its registry.
const PACKAGE: &str = "wasmetry";

/// Returns the path of the crate `wasmetry`: the name under which the manifest of the crate that is
/// compiled has it, so `::telemetry` for `telemetry = { package = "wasmetry", … }`.
///
/// Returns `::wasmetry` if the manifest has it under that name, or under no other. So a crate that
/// depends on two versions names the other one by the option `crate`.
pub(crate) fn path() -> Path {
    let name = env::var_os("CARGO_MANIFEST_DIR").and_then(|folder| {
        let package = fs::read_to_string(File::new(&folder).join("Cargo.toml")).ok()?;
        let own = dependencies(&package);
        if own.iter().any(Dependency::is_plain) {
            return None;
        }
        if let Some(renamed) = own.iter().find(|dependency| dependency.is_renamed()) {
            return Some(renamed.key.clone());
        }
        // A dependency that is inherited has its package in the workspace's manifest.
        let inherited: Vec<_> = own.into_iter().filter(|dependency| dependency.is_inherited).collect();
        let workspace = File::new(&folder).ancestors().skip(1).find_map(|folder| {
            let text = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
            text.lines().any(|line| line.trim().starts_with("[workspace")).then_some(text)
        })?;
        let renamed = dependencies(&workspace).into_iter().find(|dependency| dependency.is_renamed())?;
        inherited.iter().any(|dependency| dependency.key == renamed.key).then_some(renamed.key)
    });
    let ident = name.and_then(|name| syn::parse_str::<Ident>(&name.replace('-', "_")).ok());
    ident.map_or_else(|| parse_quote!(::wasmetry), |ident| parse_quote!(::#ident))
}

/// A dependency of a manifest.
#[derive(Debug, Default)]
struct Dependency {
    key: String,
    package: String,
    is_inherited: bool,
}

impl Dependency {
    fn is_renamed(&self) -> bool {
        self.package == PACKAGE && self.key != PACKAGE
    }

    /// Returns `true` if the crate has the package's name.
    fn is_plain(&self) -> bool {
        self.key == PACKAGE
    }

    /// Reads `package = "wasmetry"` and `workspace = true`.
    fn set(&mut self, key: &str, value: &str) {
        match key.trim() {
            "package" => self.package = value.trim().trim_matches(['"', '\'']).to_owned(),
            "workspace" => self.is_inherited = value.trim() == "true",
            _ => {}
        }
    }
}

/// The dependencies in a manifest's text, as people and Cargo write them: a line or a table each.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut table = String::new();
    for line in manifest.lines() {
        let line = line.split(" #").next().unwrap_or(line).trim();
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']').replace(['"', '\'', ' '], "");
            if let Some((_, key)) = table.rsplit_once("dependencies.") {
                found.push(Dependency { key: key.to_owned(), ..Dependency::default() });
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim().trim_matches(['"', '\'']);
        if table.ends_with("dependencies") {
            // `telemetry.workspace = true`, or `telemetry = { … }`.
            let (key, option) = key.split_once('.').unwrap_or((key, ""));
            let mut dependency = Dependency { key: key.to_owned(), ..Dependency::default() };
            dependency.set(option, value);
            let options = value.trim().trim_start_matches('{').trim_end_matches('}').split(',');
            for (option, value) in options.filter_map(|option| option.split_once('=')) {
                dependency.set(option, value);
            }
            found.push(dependency);
        } else if table.contains("dependencies.")
            && let Some(dependency) = found.last_mut()
        {
            dependency.set(key, value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the dependencies that are the package under another name.
    fn renamed(manifest: &str) -> Vec<String> {
        dependencies(manifest).into_iter().filter(Dependency::is_renamed).map(|dependency| dependency.key).collect()
    }

    #[test]
    fn renamed_dependency_is_found() {
        for manifest in [
            "[dependencies]\ntelemetry = { package = \"wasmetry\", version = \"0.1\", features = [\"http\"] } # ours",
            "[dependencies]\nlog = \"0.4\"\ntelemetry = { version = \"0.1\", package = \"wasmetry\" }",
            "[dependencies.telemetry]\nversion = \"0.1\"\npackage = 'wasmetry'\n",
            "[target.'cfg(target_family = \"wasm\")'.dependencies]\ntelemetry = {package=\"wasmetry\"}",
            "[workspace.dependencies.telemetry]\npackage = \"wasmetry\"",
        ] {
            assert_eq!(renamed(manifest), ["telemetry"], "{manifest}");
        }
        for manifest in [
            "[dependencies]\nwasmetry = \"0.1\"",
            "[package]\nname = \"telemetry\"\n[dependencies]\nwasmetry = { package = \"wasmetry\" }",
            "[features]\ntelemetry = []\n[dependencies]\nother = { package = \"wasmetry-abi\" }",
            "",
        ] {
            assert_eq!(renamed(manifest), [""; 0], "{manifest}");
        }
    }

    #[test]
    fn plain_name_of_two_counts() {
        let manifest = "[dependencies]\nwasmetry = \"0.1\"\nnext = { package = \"wasmetry\", version = \"0.2\" }";
        assert!(dependencies(manifest).iter().any(Dependency::is_plain));
        assert_eq!(renamed(manifest), ["next"]);
    }

    #[test]
    fn inherited_dependency_is_found() {
        for manifest in [
            "[dependencies]\ntelemetry.workspace = true",
            "[dependencies]\ntelemetry = { workspace = true, features = [\"http\"] }",
            "[dependencies.telemetry]\nworkspace = true",
        ] {
            let found = dependencies(manifest);
            assert!(found.len() == 1 && found[0].is_inherited && found[0].key == "telemetry", "{found:?}");
        }
    }
}
