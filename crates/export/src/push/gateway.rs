//! The client of a Pushgateway, which keeps the last metrics of jobs that end before a scrape.
//!
//! Sources: the Pushgateway's README, sections "API" and "About the job and instance labels".

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Uri, uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use wasmetry_host::record::destination;
use wasmetry_host::{Snapshot, encode};

use super::config::{Retry, Tls};
use super::export_request::retry::{self, Backoff};
use super::transport::{Http, Response, Transport};
use crate::{Error, limits};

/// The path between the gateway's URL and the labels of a group.
const METRICS: &str = "/metrics/";

/// The characters to encode in a segment of a path: all but RFC 3986's unreserved ones.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A group of metrics on a Pushgateway. A push into a group replaces its metrics.
///
/// ```
/// use wasmetry_export::push::{Gateway, Group};
///
/// # fn main() -> Result<(), wasmetry_export::Error> {
/// let group = Group::new("nightly").with_label("instance", "eu/west");
/// let gateway = Gateway::new("http://127.0.0.1:9091", &group)?;
/// assert_eq!(gateway.endpoint, "http://127.0.0.1:9091/metrics/job/nightly/instance@base64/ZXUvd2VzdA");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    job: String,
    labels: Vec<(String, String)>,
}

impl Group {
    /// Creates the group of a job. All its series have the label `job`.
    pub fn new(job: impl Into<String>) -> Self {
        Self { job: job.into(), labels: Vec::new() }
    }

    /// Adds a label, which makes it another group of the job.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Returns `true` if the Pushgateway accepts a label of this name in addition to `job`.
    pub fn is_label(name: &str) -> bool {
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_word && name != "job" && !name.starts_with("__") && name.starts_with(|first: char| !first.is_ascii_digit())
    }

    /// Returns the path that follows [`METRICS`].
    fn path(&self) -> Result<String, String> {
        if self.job.is_empty() {
            return Err("the job has no name; set one".to_owned());
        }
        let mut path = String::new();
        segment("job", &self.job, &mut path);
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in &self.labels {
            if !Self::is_label(name) {
                return Err(format!(
                    "`{name}` cannot be a label of the group; use letters, digits and `_`, without a leading digit or `__`, and not `job`"
                ));
            }
            if names.contains(&name.as_str()) {
                return Err(format!("the group has two labels `{name}`; remove one of them"));
            }
            names.push(name);
            path.push('/');
            segment(name, value, &mut path);
        }
        Ok(path)
    }
}

/// Appends a label as two segments of a path.
fn segment(name: &str, value: &str, path: &mut String) {
    path.push_str(name);
    // A server may remove empty and dot segments, and may decode an encoded slash.
    if value.contains('/') || matches!(value, "" | "." | "..") {
        path.push_str("@base64/");
        // An empty value is written as its padding.
        path.push_str(&if value.is_empty() { "=".to_owned() } else { URL_SAFE_NO_PAD.encode(value) });
    } else {
        path.push('/');
        path.extend(utf8_percent_encode(value, SEGMENT));
    }
}

/// The metrics that a push replaces on the Pushgateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replaces {
    /// All metrics of the group.
    #[default]
    Group,
    /// The metrics of the pushed names; the others stay.
    Names,
}

/// A Pushgateway, or another server with its API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gateway {
    /// The URL of the group, without user and password.
    pub endpoint: Uri,
    /// Further headers of the request, such as `authorization`.
    pub headers: HeaderMap,
    /// The metrics that a push replaces.
    pub replaces: Replaces,
    /// The timeout of a push, including its retries.
    pub timeout: Duration,
    /// The certificates of an `https` endpoint.
    pub tls: Tls,
}

impl Gateway {
    /// Returns the gateway at a URL, with a group on it.
    ///
    /// The URL is that of the gateway itself, such as `http://127.0.0.1:9091`. It may have a path,
    /// which precedes `/metrics`. User and password, as in `http://user:password@host`, are sent as
    /// basic authentication.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL or the group is invalid.
    pub fn new(url: &str, group: &Group) -> Result<Self, Error> {
        let (base, authorization) = parse(url)?;
        let shown = base.to_string();
        if is_group(&base) {
            return Err(Error::Url {
                url: shown,
                cause: "it already names a group; remove `/metrics/job` and what follows it".to_owned(),
            });
        }
        let path = group.path().map_err(|cause| Error::Url { url: shown, cause })?;
        let path = format!("{}{METRICS}{path}", base.path().trim_end_matches('/'));
        Self::at(base, &path, authorization)
    }

    /// Returns the group at a URL such as `http://127.0.0.1:9091/metrics/job/nightly/instance/a`,
    /// or `None` if the URL has no group.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL is invalid.
    pub fn of_group(url: &str) -> Result<Option<Self>, Error> {
        let (uri, authorization) = parse(url)?;
        if !is_group(&uri) {
            return Ok(None);
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Self::at(uri, &path, authorization).map(Some)
    }

    fn at(base: Uri, path: &str, authorization: Option<HeaderValue>) -> Result<Self, Error> {
        let shown = base.to_string();
        let wrong = |error: &dyn std::fmt::Display| Error::Url { url: shown.clone(), cause: error.to_string() };
        let mut parts = base.into_parts();
        parts.path_and_query = Some(path.parse().map_err(|error: uri::InvalidUri| wrong(&error))?);
        let endpoint = Uri::from_parts(parts).map_err(|error| wrong(&error))?;
        let headers = authorization.into_iter().map(|value| (AUTHORIZATION, value)).collect();
        Ok(Self {
            endpoint,
            headers,
            replaces: Replaces::default(),
            timeout: limits::GATEWAY_TIMEOUT,
            tls: Tls::default(),
        })
    }

    /// Checks the certificates, so that a wrong one is found before there is something to push.
    ///
    /// # Errors
    ///
    /// [`Error::Pem`] and [`Error::Tls`] if TLS cannot be set up.
    pub fn check(&self) -> Result<(), Error> {
        Http::gateway(self).map(drop)
    }

    /// Pushes a snapshot in the text format. It is retried while the gateway cannot be reached.
    ///
    /// It needs a Tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`Error::Push`] if the gateway did not accept it within the timeout, and those of
    /// [`check`](Self::check).
    pub async fn push(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let mut transport = Transport::Http(Http::gateway(self)?);
        let body = transport.prepare(encode::prometheus::encode(snapshot).into_bytes());
        let begin = Instant::now();
        let policy = Retry::new(limits::RETRY_INITIAL, limits::RETRY_MAX, self.timeout);
        let mut backoff = Backoff::new(policy);
        let mut last = None;
        loop {
            let left = self.timeout.saturating_sub(begin.elapsed());
            let Ok(response) = tokio::time::timeout(left, transport.send(body.clone(), None, Duration::MAX)).await
            else {
                return Err(self.gave_up(last));
            };
            match response {
                Response::Success { .. } => return Ok(()),
                Response::UnrecognizedSuccess { description } => {
                    return Err(
                        self.error(format!("the answer is none of a Pushgateway ({description}); check the URL"))
                    );
                }
                Response::NonRetryable { cause } | Response::InvalidContent { cause } => {
                    return Err(self.error(format!("{cause}{}", remedy(&cause))));
                }
                Response::Retryable { after, cause } | Response::Throttled { after, cause } => {
                    let delay = backoff.next_delay(begin.elapsed(), after, retry::random());
                    last = Some(cause);
                    match delay {
                        Some(delay) => tokio::time::sleep(delay).await,
                        None => return Err(self.gave_up(last)),
                    }
                }
            }
        }
    }

    fn gave_up(&self, last: Option<String>) -> Error {
        let cause = last.unwrap_or_else(|| "no answer".to_owned());
        self.error(format!(
            "{cause}; it was retried for {} s: is the gateway running, and is it reachable from here?",
            self.timeout.as_secs_f64()
        ))
    }

    fn error(&self, cause: String) -> Error {
        Error::Push { url: destination(&self.endpoint.to_string()), cause }
    }
}

/// Returns the remedy for an error whose cause begins with the status.
fn remedy(cause: &str) -> &'static str {
    match cause.strip_prefix("status ").and_then(|cause| cause.get(..3)) {
        Some("400") => {
            "; if another group has a metric of this name with another type, delete that group or rename the metric"
        }
        Some("401" | "403") => "; add user and password to the URL, or set an `authorization` header",
        Some("404" | "405") => "; is this the URL of a Pushgateway, without `/metrics`?",
        Some(status) if status.starts_with('3') => "; use that URL",
        _ => "",
    }
}

/// Returns a URL without user and password, and these as a header.
fn parse(url: &str) -> Result<(Uri, Option<HeaderValue>), Error> {
    let wrong = |cause: &str| Error::Url { url: destination(url), cause: cause.to_owned() };
    let uri: Uri = url.trim().parse().map_err(|_| wrong("it is no URL; an example is `http://127.0.0.1:9091`"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it does not begin with http:// or https://; an example is `http://127.0.0.1:9091`"));
    }
    if url.contains('#') {
        return Err(wrong("it has a fragment, which is never sent; remove `#` and what follows it"));
    }
    if uri.query().is_some() {
        return Err(wrong("it has a query, which a Pushgateway ignores; remove `?` and what follows it"));
    }
    let authority = uri.authority().map(uri::Authority::as_str).unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((uri, None));
    };
    let decoded = percent_decode_str(user).decode_utf8().map_err(|_| wrong("its user and password are not UTF-8"))?;
    // A user without a password has an empty one.
    let credentials = if user.contains(':') { decoded.into_owned() } else { format!("{decoded}:") };
    let mut header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials)))
        .map_err(|_| wrong("its user and password cannot be sent"))?;
    header.set_sensitive(true);
    let host = host.parse().map_err(|_| wrong("it has no host; an example is `http://127.0.0.1:9091`"))?;
    let mut parts = uri.into_parts();
    parts.authority = Some(host);
    let uri = Uri::from_parts(parts).map_err(|error| wrong(&error.to_string()))?;
    Ok((uri, Some(header)))
}

/// Returns `true` if a URL names a group.
fn is_group(uri: &Uri) -> bool {
    uri.path().contains("/metrics/job/") || uri.path().contains("/metrics/job@base64/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, group: &Group) -> String {
        Gateway::new(url, group).unwrap().endpoint.to_string()
    }

    #[test]
    fn group_becomes_path() {
        let group = Group::new("nightly");
        for url in ["http://a:9091", "http://a:9091/", " http://a:9091// "] {
            assert_eq!(endpoint(url, &group), "http://a:9091/metrics/job/nightly", "{url}");
        }
        assert_eq!(endpoint("https://a/push/", &group), "https://a/push/metrics/job/nightly");
        // The values of the Pushgateway's README, and values that a path cannot hold.
        for (value, path) in [
            ("titan", "x/titan"),
            ("Προμηθεύς", "x/%CE%A0%CF%81%CE%BF%CE%BC%CE%B7%CE%B8%CE%B5%CF%8D%CF%82"),
            ("/var/tmp", "x@base64/L3Zhci90bXA"),
            ("", "x@base64/="),
            ("..", "x@base64/Li4"),
            ("a b+c%d?e#f", "x/a%20b%2Bc%25d%3Fe%23f"),
            ("1.5~b", "x/1.5~b"),
        ] {
            let group = group.clone().with_label("x", value);
            assert_eq!(endpoint("http://a", &group), format!("http://a/metrics/job/nightly/{path}"));
        }
        assert_eq!(endpoint("http://a", &Group::new("a/b")), "http://a/metrics/job@base64/YS9i");
    }

    #[test]
    fn password_becomes_header_never_shown() {
        let gateway = Gateway::new("http://aladdin:open%20sesame@a:1/x", &Group::new("j")).unwrap();
        assert_eq!(gateway.endpoint, "http://a:1/x/metrics/job/j");
        // RFC 7617's own example.
        assert_eq!(gateway.headers[AUTHORIZATION], "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{gateway:?}").contains("sesame") && !format!("{gateway:?}").contains("YWxhZGRpb"));
        let user = Gateway::new("http://token@a", &Group::new("j")).unwrap();
        assert_eq!(user.headers[AUTHORIZATION], "Basic dG9rZW46");
        for wrong in ["http://u:secret@", "ftp://u:secret@a", "http://u:secret@a?b", "http://u:secret@a b"] {
            let error = Gateway::new(wrong, &Group::new("j")).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn invalid_url_or_group_is_explained() {
        let group = Group::new("j");
        for (url, group, cause) in [
            ("localhost:9091", group.clone(), "begin with http:// or https://"),
            ("/metrics", group.clone(), "begin with http:// or https://"),
            ("", group.clone(), "it is no URL"),
            ("http://a?x=1", group.clone(), "query"),
            ("http://a#x", group.clone(), "fragment"),
            ("http://a/metrics/job/x", group.clone(), "already names a group"),
            ("http://a", Group::new(""), "no name"),
            ("http://a", group.clone().with_label("job", "x"), "`job` cannot be"),
            ("http://a", group.clone().with_label("1x", "x"), "`1x` cannot be"),
            ("http://a", group.clone().with_label("", "x"), "`` cannot be"),
            ("http://a", group.clone().with_label("__a", "x"), "`__a` cannot be"),
            ("http://a", group.clone().with_label("a-b", "x"), "`a-b` cannot be"),
            ("http://a", group.with_label("a", "x").with_label("a", "y"), "two labels `a`"),
        ] {
            let error = Gateway::new(url, &group).unwrap_err().to_string();
            assert!(error.contains(cause), "{url}: {error}");
        }
    }

    #[test]
    fn url_may_name_group() {
        for (url, expected) in [
            ("http://a/metrics/job/x/y/z/", Some("http://a/metrics/job/x/y/z")),
            ("http://a/p/metrics/job@base64/YS9i", Some("http://a/p/metrics/job@base64/YS9i")),
            ("http://a/metrics", None),
            ("http://a", None),
        ] {
            let gateway = Gateway::of_group(url).unwrap();
            assert_eq!(gateway.map(|gateway| gateway.endpoint.to_string()).as_deref(), expected);
        }
    }
}
