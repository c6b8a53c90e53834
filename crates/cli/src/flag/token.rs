//! Tokens in files and variables: of the telemetry address, and of its clients.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use wasmetry_export::limits::MAX_TOKEN_BYTES;
use wasmetry_export::scrape::Token;

/// Reads a token from the file of a flag.
///
/// # Errors
///
/// If the file cannot be read or has no token. Errors name the flag and do not show the token.
pub(crate) fn read(flag: &str, path: &Path) -> Result<Token> {
    let text = read_text(path).with_context(|| format!("{flag}: cannot read {}", path.display()))?;
    text.parse().map_err(|error| anyhow!("{flag}: {}: {error}", path.display()))
}

/// Reads a token from a variable, if it is set.
///
/// # Errors
///
/// If the variable has no token. Errors name the variable and do not show the token.
pub(crate) fn from_variable(name: &str) -> Result<Option<Token>> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    // What is no UTF-8 has a character that no token may have.
    let token = value.to_string_lossy().parse().map_err(|error| anyhow!("{name}: {error}"))?;
    Ok(Some(token))
}

/// Reads the text of a token's file, of which no more is read than a token and some white space
/// has.
fn read_text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(2 * MAX_TOKEN_BYTES as u64).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| anyhow!("it is not text"))
}
