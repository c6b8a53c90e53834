//! Writing the result: completely or not at all, and never over the input.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Returns an error if the output is a directory or the input itself.
pub(super) fn check(input: &Path, output: &Path) -> Result<()> {
    let shown = output.display();
    if output.is_dir() {
        bail!("{shown} is a directory; give the name of a file in it");
    }
    let canonical = |path: &Path| fs::canonicalize(path).ok();
    if canonical(output).is_some_and(|output| Some(output) == canonical(input)) {
        bail!("{shown} is the app itself; give --output another name");
    }
    Ok(())
}

/// Writes a file, which appears only when it is complete.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = path.display();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wasmetry-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The mode of any new file, to which the process's mask applies.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .tempfile_in(directory)
        .with_context(|| format!("cannot write {shown}; check that its directory exists and can be written to"))?;
    file.write_all(bytes).with_context(|| format!("cannot write {shown}"))?;
    file.persist(path).with_context(|| format!("cannot write {shown}"))?;
    Ok(())
}
