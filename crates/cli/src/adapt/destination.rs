//! The flags of the destination of an adapted app: the URL of a collector, and headers.

use http::{HeaderName, HeaderValue, Uri};

/// The path that is appended to the given address.
const PATH: &str = "/v1/metrics";

/// Bytes of a URL, and of a header's name and value together.
const MAX_BYTES: usize = 4096;

/// Headers that only the adapter or the host can set.
///
/// Source: wasi:http 0.2, `types.wit`, on forbidden headers; Wasmtime's list of them.
const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Parses the address of a collector. Returns the URL to post metrics to.
pub(super) fn url(value: &str) -> Result<String, String> {
    let remedy = "expected a collector's address, such as `http://127.0.0.1:4318`";
    let uri: Uri = value.parse().map_err(|_| remedy.to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(remedy.to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(
            "it must not have a user name; put the header `authorization` into a file for `--otlp-header-file` instead"
                .into(),
        );
    }
    if uri.query().is_some() || value.contains('#') || value.len() > MAX_BYTES {
        return Err(format!("it must be an address without a query, of at most {MAX_BYTES} bytes"));
    }
    Ok(format!("{}{PATH}", value.trim_end_matches('/')))
}

/// Parses a header, written as `key=value`.
pub(super) fn header(value: &str) -> Result<(String, String), String> {
    let remedy = || "expected a header, such as `x-scope-orgid=shop`".to_owned();
    let (key, value) = value.split_once('=').ok_or_else(remedy)?;
    let key = HeaderName::from_bytes(key.as_bytes()).map_err(|_| remedy())?;
    if RESERVED.contains(&key.as_str()) {
        return Err(format!("the header `{key}` cannot be set"));
    }
    let has_room = key.as_str().len() + value.len() <= MAX_BYTES;
    let text = HeaderValue::from_str(value).ok().filter(|_| has_room).ok_or_else(remedy)?;
    let text = text.to_str().map_err(|_| remedy())?;
    Ok((key.as_str().to_owned(), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(url("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/metrics"));
        assert_eq!(url("https://otlp.example/tenant/a/").as_deref(), Ok("https://otlp.example/tenant/a/v1/metrics"));
        let wrong =
            ["", "127.0.0.1:4318", "collector", "ftp://a", "http://", "http:///v1", "http://a b", "/v1/metrics"];
        for wrong in wrong.into_iter().chain(["http://me:secret@a", "http://a/?x", "http://a/#x"]) {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers() {
        let header = |text| header(text).map(|(key, value)| format!("{key}: {value}"));
        assert_eq!(header("Authorization=Bearer a=b").as_deref(), Ok("authorization: Bearer a=b"));
        assert_eq!(header("x-empty=").as_deref(), Ok("x-empty: "));
        for wrong in ["", "x", "=x", "a b=c", "x=two\nlines", "x=č", "Host=a", "content-type=text/plain", "upgrade=h2c"]
        {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
