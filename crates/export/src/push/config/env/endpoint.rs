//! The URL of a destination.

use http::{Uri, uri};

use super::variable::{Variable, VariableError};

const REMEDY: &str = "it is no URL of http or https; an example is `http://127.0.0.1:4318`";

/// Parses a URL, and appends a path to its path.
///
/// A query is kept, as some destinations have their token there. A fragment would never be sent, so
/// it is an error.
pub(super) fn parse(variable: &Variable, path: &str) -> Result<Uri, VariableError> {
    if variable.value.contains('#') {
        return Err(variable.error("it has a fragment, which is never sent; remove `#` and what follows it"));
    }
    let uri: Uri = variable.value.parse().map_err(|_| variable.error(REMEDY))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(variable.error(REMEDY));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // Messages show the URL.
        return Err(variable.error("user and password are not accepted in a URL; set the header `authorization`"));
    }
    if path.is_empty() {
        return Ok(uri);
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.into_parts();
    let base = parts.path_and_query.as_ref().map_or("", uri::PathAndQuery::path).trim_end_matches('/');
    parts.path_and_query = Some(format!("{base}/{path}{query}").parse().map_err(|_| variable.error(REMEDY))?);
    Uri::from_parts(parts).map_err(|_| variable.error(REMEDY))
}
