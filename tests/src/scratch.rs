//! A user's project below `target/scratch`, built without the network with the dependencies of this
//! workspace's lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::server;

/// A project outside of this workspace.
#[derive(Debug)]
pub struct Project {
    /// Its folder.
    pub folder: PathBuf,
}

impl Project {
    /// Makes a project with this workspace's lock file. A project of this name that is there keeps
    /// its build.
    ///
    /// # Panics
    ///
    /// Panics if its folder cannot be written.
    pub fn new(name: &str) -> Self {
        let folder = crate::target().join("scratch").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(crate::root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        Self { folder }
    }

    /// Writes a file, in which `crates` is the path of this workspace's crates.
    ///
    /// # Panics
    ///
    /// Panics if the file cannot be written.
    pub fn write(&self, file: &str, text: &str, crates: &str) {
        let path = self.folder.join(file);
        let own = crate::root().join("crates");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace(crates, own.to_str().unwrap())).unwrap();
    }

    /// Returns the path of a file.
    pub fn file(&self, file: impl AsRef<Path>) -> PathBuf {
        self.folder.join(file)
    }

    /// Runs a command line in the project, with `wasmetry` on PATH.
    ///
    /// # Panics
    ///
    /// Panics with its output if it fails.
    pub fn run(&self, line: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.folder).stdin(Stdio::null());
        let mut paths = vec![server::command().parent().unwrap().to_owned()];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        for (key, value) in std::env::vars_os() {
            let key = key.to_str().unwrap_or_default();
            if let Some(key) = key.strip_prefix("WASMETRY_GUEST_").filter(|_| line.contains("--target")) {
                match key {
                    "PATH" => paths.extend(std::env::split_paths(&value)),
                    "CARGO_TARGET_DIR" => {}
                    key => {
                        shell.env(key, value);
                    }
                }
            }
        }
        // The variables that `cargo test` sets for this test do not belong to the project.
        for key in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            shell.env_remove(key);
        }
        shell.env("PATH", std::env::join_paths(paths).unwrap()).env("CARGO_NET_OFFLINE", "true");
        let output = shell.output().unwrap();
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{line}` failed in {}:\n{printed}", self.folder.display());
        output
    }
}
