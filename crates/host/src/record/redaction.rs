//! Redaction: URLs without the secrets in them.
//!
//! Source: OpenTelemetry, semantic conventions, attribute registry, `url.full` and `url.query`
//! (August 2026).

use std::borrow::Cow;

/// The text that stands for a secret.
const REDACTED: &str = "REDACTED";

/// The query parameters of signed URLs whose values are redacted by default.
///
/// All but the last are the list of the semantic conventions. The last is Google's counterpart of
/// `X-Amz-Credential`.
const PARAMETERS: [&str; 8] = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Goog-Credential",
];

/// The query parameters whose values are exported as `REDACTED`.
///
/// Names are case-sensitive. A percent-encoded name matches too.
///
/// ```
/// use wasmetry_host::record::Redaction;
///
/// let redaction = Redaction::default().with_parameters(["token".to_owned()]);
/// assert_eq!(redaction.query("a=1&sig=x&token=y&b"), "a=1&sig=REDACTED&token=REDACTED&b");
/// assert_eq!(redaction.url("https://me:pw@a/b?c=d"), "https://REDACTED:REDACTED@a/b?c=d");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// Parameters beside the default ones.
    parameters: Vec<String>,
}

impl Redaction {
    /// Adds parameters to the default ones.
    #[must_use]
    pub fn with_parameters(mut self, parameters: impl IntoIterator<Item = String>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Returns a query with secret values redacted.
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        if query.split('&').any(|parameter| self.is_secret(parameter)) {
            let redacted = |parameter: &'a str| match parameter.split_once('=') {
                Some((key, _)) if self.is_secret(parameter) => format!("{key}={REDACTED}").into(),
                _ => Cow::Borrowed(parameter),
            };
            query.split('&').map(redacted).collect::<Vec<_>>().join("&").into()
        } else {
            query.into()
        }
    }

    /// Returns a URL with its user information and secret query values redacted.
    pub fn url(&self, url: &str) -> String {
        let Parts { scheme, has_user, host, path, query } = Parts::of(url);
        let user = if has_user { "REDACTED:REDACTED@" } else { "" };
        let mut url = [scheme, user, host, path].concat();
        if let Some(query) = query {
            // A fragment is not sent to a server, but a parser may leave it here.
            let (query, fragment) = query.split_at(query.find('#').unwrap_or(query.len()));
            url.extend(["?", &self.query(query), fragment]);
        }
        url
    }

    fn is_secret(&self, parameter: &str) -> bool {
        let Some((key, _)) = parameter.split_once('=') else { return false };
        let mut known = PARAMETERS.into_iter().chain(self.parameters.iter().map(String::as_str));
        known.any(|known| known.bytes().eq(decoded(key)))
    }
}

/// Returns the URL of a destination as messages show it: without user information and query.
///
/// Any query parameter may hold a key, and the destination is recognisable without the query. The
/// text need not be a valid URL.
///
/// ```
/// use wasmetry_host::record::destination;
///
/// let shown = destination("https://me:pw@a:1/push?key=x");
/// assert_eq!(shown, "https://REDACTED:REDACTED@a:1/push?REDACTED");
/// assert_eq!(destination("http://a:1/push"), "http://a:1/push");
/// ```
pub fn destination(url: &str) -> String {
    let Parts { scheme, has_user, host, path, query } = Parts::of(url);
    let user = if has_user { "REDACTED:REDACTED@" } else { "" };
    let query = if query.is_some() { "?REDACTED" } else { "" };
    [scheme, user, host, path, query].concat()
}

/// The parts of a URL, found without refusing anything.
struct Parts<'a> {
    /// The scheme with `://`, or empty.
    scheme: &'a str,
    has_user: bool,
    host: &'a str,
    path: &'a str,
    /// The text behind the `?`.
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (rest, query) = match url.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (url, None),
        };
        let (scheme, rest) = rest.split_at(rest.find("://").map_or(0, |at| at + 3));
        let (authority, path) = rest.split_at(rest.find(['/', '#']).unwrap_or(rest.len()));
        // A text behind the colon that is no port is a password with a `/` in it.
        let is_port = |text: &str| text.ends_with(']') || text.bytes().all(|byte| byte.is_ascii_digit());
        let is_cut = authority.rsplit_once(':').is_some_and(|(_, port)| !is_port(port));
        let (has_user, host, path) = match (authority.rsplit_once('@'), path.rsplit_once('@')) {
            (Some((_, host)), _) => (true, host, path),
            (None, Some((_, rest))) if is_cut => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (true, host, path)
            }
            (None, _) => (false, authority, path),
        };
        Self { scheme, has_user, host, path, query }
    }
}

/// The bytes of a text without its percent-encoding.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut ahead = bytes.clone();
        let digits = (ahead.next().and_then(digit), ahead.next().and_then(digit));
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                bytes = ahead;
                Some((high << 4 | low) as u8)
            }
            _ => Some(byte),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_urls_lose_their_secrets() {
        let redaction = Redaction::default();
        for key in PARAMETERS.into_iter().chain(["X%2DAmz-Signatur%65"]) {
            let query = redaction.query(&format!("a=1&{key}=secret&b=2")).into_owned();
            assert_eq!(query, format!("a=1&{key}=REDACTED&b=2"));
        }
        for query in ["", "&", "a", "sig", "Sig=1", "signature=1", "a=sig", "X-Amz-Date=1", "%zz=1", "a=%"] {
            assert_eq!(redaction.query(query), query);
        }
    }

    #[test]
    fn configured_parameters_are_redacted_too() {
        let redaction = Redaction::default().with_parameters(["token".to_owned(), "api key".to_owned()]);
        assert_eq!(redaction.query("token=1&api%20key=2&sig=3"), "token=REDACTED&api%20key=REDACTED&sig=REDACTED");
    }

    #[test]
    fn urls_keep_all_but_secrets() {
        for (url, shown) in [
            ("http://u:p@a:81/b?c=d&sig=e&f", "http://REDACTED:REDACTED@a:81/b?c=d&sig=REDACTED&f"),
            ("https://a/", "https://a/"),
            ("https://a/?", "https://a/?"),
            ("https://[::1]:1/@b?x=@", "https://[::1]:1/@b?x=@"),
            ("https://token@a", "https://REDACTED:REDACTED@a"),
            ("https://u:p@ss@a/b", "https://REDACTED:REDACTED@a/b"),
            ("https://u:p/w@a/b", "https://REDACTED:REDACTED@a/b"),
            ("/b?sig=1#c", "/b?sig=REDACTED#c"),
        ] {
            assert_eq!(Redaction::default().url(url), shown);
        }
    }

    #[test]
    fn destinations_lose_their_whole_query() {
        for (url, shown) in [
            ("http://u:p@a?b", "http://REDACTED:REDACTED@a?REDACTED"),
            ("u:p@a:1", "REDACTED:REDACTED@a:1"),
            ("localhost:4318", "localhost:4318"),
            ("ftp://a/b", "ftp://a/b"),
            ("", ""),
        ] {
            assert_eq!(destination(url), shown);
        }
    }
}
