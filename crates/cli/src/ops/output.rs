//! The output directory: writing files, and comparing those that are there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wasmetry_ops::File;

use crate::adapt::output;

/// Writes files, each of which appears only when it is complete.
pub(super) fn write(directory: &Path, files: &[File]) -> Result<()> {
    for file in files {
        let path = directory.join(&file.path);
        let folder = path.parent().unwrap_or(directory);
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the directory {}; check its path", folder.display()))?;
        output::write(&path, file.contents.as_bytes())?;
    }
    Ok(())
}

/// Returns a line for each file that is missing or differs.
pub(super) fn differences(directory: &Path, files: &[File]) -> Vec<String> {
    let difference = |file: &File| {
        let path = directory.join(&file.path);
        match fs::read(&path) {
            Ok(bytes) if bytes == file.contents.as_bytes() => None,
            Ok(_) => Some(format!("{} differs; generate it again without --check", path.display())),
            Err(error) => Some(format!("cannot read {}: {error}; generate it again without --check", path.display())),
        }
    };
    files.iter().filter_map(difference).collect()
}
