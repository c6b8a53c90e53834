//! The edges between crates: the list in ARCHITECTURE.md, compared with the manifests.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{process, workspace};

/// The line that opens the block of edges in ARCHITECTURE.md.
const OPENING: &str = "```edges";

/// One crate that uses another, each by the name of its folder in `crates/`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Edge {
    used: String,
    user: String,
}

impl fmt::Display for Edge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} <- {}", self.used, self.user)
    }
}

/// Fails and names the edges if ARCHITECTURE.md and the manifests disagree.
pub(crate) fn check() -> Result<()> {
    let path = workspace::root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let decided = decided(&text)?;
    let mut cargo = workspace::cargo();
    let metadata = process::capture(cargo.args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata = serde_json::from_str(&metadata).context("`cargo metadata` printed no JSON")?;
    let actual = actual(&metadata, &workspace::root().join("crates"));
    let undecided: Vec<String> = actual.difference(&decided).map(Edge::to_string).collect();
    let unused: Vec<String> = decided.difference(&actual).map(Edge::to_string).collect();
    if !undecided.is_empty() {
        bail!(
            "the manifests have edges that ARCHITECTURE.md lacks: {}; a new edge is a decision, so add it there or drop the dependency",
            undecided.join(", ")
        );
    }
    if !unused.is_empty() {
        bail!("ARCHITECTURE.md has edges that no manifest has: {}; remove them there", unused.join(", "));
    }
    eprintln!("{} edges, as decided", actual.len());
    Ok(())
}

/// Reads the block of edges: lines of `used <- user`, chained as `a <- b <- c`, several names as
/// `a, b <- c`.
fn decided(text: &str) -> Result<BTreeSet<Edge>> {
    let mut lines = text.lines().skip_while(|line| line.trim() != OPENING);
    if lines.next().is_none() {
        bail!("ARCHITECTURE.md has no block opened by {OPENING}; list the crates' edges in one");
    }
    let mut edges = BTreeSet::new();
    for line in lines.map(str::trim).take_while(|line| *line != "```") {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let groups: Vec<Vec<&str>> = line.split("<-").map(|group| group.split(',').map(str::trim).collect()).collect();
        if groups.len() < 2 || groups.iter().flatten().any(|name| !is_name(name)) {
            bail!("ARCHITECTURE.md has `{line}` among its edges; write `used <- user`");
        }
        for pair in groups.windows(2) {
            for (used, user) in pair[0].iter().flat_map(|used| pair[1].iter().map(move |user| (used, user))) {
                edges.insert(Edge { used: (*used).to_owned(), user: (*user).to_owned() });
            }
        }
    }
    Ok(edges)
}

/// Returns `true` if `name` can be the name of a folder.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Collects the normal dependencies between the packages in `folder`, whatever features or targets
/// they need.
fn actual(metadata: &Value, folder: &Path) -> BTreeSet<Edge> {
    let name = |path: &Value| -> Option<String> {
        let path = Path::new(path.as_str()?).strip_prefix(folder).ok()?;
        Some(path.components().next()?.as_os_str().to_string_lossy().into_owned())
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut edges = BTreeSet::new();
    for package in list(&metadata["packages"]) {
        let Some(user) = name(&package["manifest_path"]) else {
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let is_normal = dependency["kind"].is_null();
            if let (true, Some(used)) = (is_normal, name(&dependency["path"])) {
                edges.insert(Edge { used, user: user.clone() });
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(edges: &BTreeSet<Edge>) -> Vec<String> {
        edges.iter().map(Edge::to_string).collect()
    }

    #[test]
    fn reads_chains_lists_and_comments() -> Result<()> {
        let text = "# A\n\n```edges\nabi <- macros <- guest\n\n# the rest\nabi, host <- cli # all\n```\nx <- y\n";
        assert_eq!(shown(&decided(text)?), ["abi <- cli", "abi <- macros", "host <- cli", "macros <- guest"]);
        Ok(())
    }

    #[test]
    fn malformed_edges_are_refused() {
        for text in
            ["", "```\nabi <- host\n```", "```edges\nabi\n```", "```edges\nabi <-\n```", "```edges\na b <- c\n```"]
        {
            assert!(decided(text).is_err(), "{text}");
        }
    }

    #[test]
    fn collects_normal_dependencies_inside_the_folder() {
        let metadata = serde_json::json!({ "packages": [
            { "manifest_path": "/w/crates/host/Cargo.toml", "dependencies": [
                { "kind": null, "path": "/w/crates/abi" },
                { "kind": "dev", "path": "/w/crates/guest" },
                { "kind": null, "path": "/w/examples/embed" },
                { "kind": null },
            ]},
            { "manifest_path": "/w/tests/Cargo.toml", "dependencies": [{ "kind": null, "path": "/w/crates/host" }] },
        ]});
        assert_eq!(shown(&actual(&metadata, Path::new("/w/crates"))), ["abi <- host"]);
    }
}
