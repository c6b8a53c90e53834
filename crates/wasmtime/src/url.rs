//! URLs as attributes of spans, without the secrets that they may have.
//!
//! Source: OpenTelemetry, "Semantic conventions for HTTP spans", `url.full` and `url.query`.

use http::Uri;

/// Parameters of a query whose values are secrets.
const SECRET_PARAMETERS: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// A whole URL.
pub(crate) fn full(uri: &Uri) -> String {
    let mut url = String::new();
    if let Some(scheme) = uri.scheme_str() {
        url.extend([scheme, "://"]);
    }
    if let Some(authority) = uri.authority() {
        match authority.as_str().rsplit_once('@') {
            Some((_, host)) => url.extend(["REDACTED:REDACTED@", host]),
            None => url.push_str(authority.as_str()),
        }
    }
    url.push_str(uri.path());
    if let Some(text) = uri.query() {
        url.push('?');
        url.push_str(&query(text));
    }
    url
}

/// A query.
pub(crate) fn query(query: &str) -> String {
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((key, _)) if SECRET_PARAMETERS.contains(&key) => format!("{key}=REDACTED"),
            _ => parameter.to_owned(),
        })
        .collect();
    parameters.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_secrets() {
        for (url, shown) in [
            ("http://u:p@a:81/b?c=d&sig=e&f", "http://REDACTED:REDACTED@a:81/b?c=d&sig=REDACTED&f"),
            ("https://a/", "https://a/"),
            ("https://a/?", "https://a/?"),
            ("https://a/?X-Goog-Signature=1", "https://a/?X-Goog-Signature=REDACTED"),
        ] {
            assert_eq!(full(&Uri::from_static(url)), shown);
        }
    }
}
