//! Generated files as the program in `tests/backends/kubernetes` reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::tool;

/// Files as their users' programs read them.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Objects by their kinds, with the defaults of the API server.
    pub(crate) objects: BTreeMap<String, Value>,
    /// The rule file of the `PrometheusRule`.
    pub(crate) rules: String,
    /// A rule file with the queries of the Prometheus adapter.
    pub(crate) adapter: String,
    pub(crate) container: Container,
    pub(crate) compose: Value,
    /// The number of YAML files.
    pub(crate) files: usize,
}

/// The container file.
#[derive(Debug, Deserialize)]
pub(crate) struct Container {
    pub(crate) base: String,
    pub(crate) copies: Vec<Copied>,
    pub(crate) user: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Copied {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) mode: String,
}

#[derive(Deserialize)]
struct Found {
    objects: Vec<Object>,
    rules: String,
    adapter: String,
    container: Container,
    compose: Value,
    files: usize,
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    object: Value,
}

impl Checked {
    /// Reads the generated files in a directory; returns `None` without the program.
    ///
    /// # Panics
    ///
    /// Panics if a file is invalid.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        Self::read_all(&[directory.to_owned()])?.pop()
    }

    /// Reads the generated files in directories, as [`read`](Self::read) does.
    pub(crate) fn read_all(directories: &[PathBuf]) -> Option<Vec<Self>> {
        let printed = tool::assert_passes(&tool::manifests()?, &[], directories);
        let all: Vec<Found> = serde_json::from_str(&printed).unwrap();
        let checked = |found: Found| Self {
            objects: found.objects.into_iter().map(|object| (object.kind, object.object)).collect(),
            rules: found.rules,
            adapter: found.adapter,
            container: found.container,
            compose: found.compose,
            files: found.files,
        };
        Some(all.into_iter().map(checked).collect())
    }
}
