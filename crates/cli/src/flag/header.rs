//! Files with headers, by which secrets need not be on a command line.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

/// Bytes of the largest file of headers.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a file with a header on each line, which `parse` takes apart. Empty lines, and those that
/// begin with `#`, are skipped. Errors do not show a line.
pub(crate) fn read<T>(path: &Path, flag: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>> {
    use std::io::Read as _;

    let shown = path.display();
    let mut text = String::new();
    // It may be a pipe: `<(pass show collector)`.
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .with_context(|| format!("{flag}: cannot read {shown}; check the path"))?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{flag}: {shown} has more than {MAX_BYTES} bytes; check that it has headers");
    }
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| parse(line).map_err(|cause| anyhow!("{flag}: {shown}:{number}: {cause}")))
        .collect()
}
