//! The output directory: writing files, and comparing those that are there.

use std::collections::BTreeSet;
use std::fs::{self, File as Opened};
use std::io::Read;
use std::path::{Path, PathBuf};

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

/// The bytes at the begin of a generated file in which it states what it was generated from, and
/// those of a dashboard's description.
const STATEMENT: u64 = 2048;

/// Returns a line for each file that states that it is generated, is in a folder of generated
/// files, and is not one of all `files`. Folders within may have the files of another service.
///
/// # Errors
///
/// Fails if a folder or a file of it cannot be read.
pub(super) fn left_over(directory: &Path, files: &[File]) -> Result<Vec<String>> {
    let known: BTreeSet<PathBuf> = files.iter().map(|file| directory.join(&file.path)).collect();
    let folders: BTreeSet<&Path> = known.iter().filter_map(|path| path.parent()).collect();
    let mut lines = Vec::new();
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        let cannot = || format!("cannot read the directory {}; check its permissions", folder.display());
        for entry in fs::read_dir(folder).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let path = entry.path();
            if entry.file_type().with_context(cannot)?.is_file() && !known.contains(&path) && is_generated(&path)? {
                lines.push(format!("{} is no longer generated; remove it", path.display()));
            }
        }
    }
    lines.sort();
    Ok(lines)
}

/// Returns `true` if a file states that `wasmetry ops` generates it.
fn is_generated(path: &Path) -> Result<bool> {
    let mut begin = Vec::new();
    let read = Opened::open(path).and_then(|file| file.take(STATEMENT).read_to_end(&mut begin));
    read.with_context(|| format!("cannot read {}; check its permissions", path.display()))?;
    let text = String::from_utf8_lossy(&begin);
    Ok(text.contains("Generated from ") && text.contains(" by `wasmetry ops`. Changes by hand are lost"))
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
