//! URLs as span attributes, without the secrets in them.
//!
//! Source: OpenTelemetry, "Semantic conventions for HTTP spans", `url.full` and `url.query`.

use http::Uri;

/// The query parameters whose values are secret.
const SECRET_PARAMETERS: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// Returns the value of `url.full`.
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

/// Returns the value of `url.query`.
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
    fn secrets_in_urls_are_redacted() {
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
