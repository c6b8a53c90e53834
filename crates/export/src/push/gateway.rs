//! A Pushgateway, which keeps the last metrics of jobs that are too short to be scraped.
//!
//! Sources: the Pushgateway's README, sections "API" and "About the job and instance labels".

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Uri, uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use wasmetry_host::{Snapshot, encode};

use super::config::{Retry, Tls};
use super::export_request::retry::{self, Backoff};
use super::transport::{Http, Outcome, Transport};
use crate::{Error, limits};

/// Between the gateway's own path and a group's labels.
const METRICS: &str = "/metrics/";

/// What a segment of a path may hold as it is: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A group of metrics on a Pushgateway: what is pushed into it replaces what was there before.
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
    /// The group of a job, which all its series get as the label `job`.
    pub fn new(job: impl Into<String>) -> Self {
        Self { job: job.into(), labels: Vec::new() }
    }

    /// A group of its own within the job's, with one more label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Whether the Pushgateway takes a label of this name; `job` is not one of a group's further labels.
    pub fn is_label(name: &str) -> bool {
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_word && name != "job" && !name.starts_with("__") && name.starts_with(|first: char| !first.is_ascii_digit())
    }

    /// What follows [`METRICS`].
    fn path(&self) -> Result<String, String> {
        if self.job.is_empty() {
            return Err("the job has no name; give it one".to_owned());
        }
        let mut path = String::new();
        segment("job", &self.job, &mut path);
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in &self.labels {
            if !Self::is_label(name) {
                return Err(format!(
                    "`{name}` cannot be a label of the group; write letters, digits and `_`, no digit first, and neither `job` nor `__`"
                ));
            }
            if names.contains(&name.as_str()) {
                return Err(format!("the group has two labels `{name}`; leave one of them out"));
            }
            names.push(name);
            path.push('/');
            segment(name, value, &mut path);
        }
        Ok(path)
    }
}

/// Writes a label as two segments of a path.
fn segment(name: &str, value: &str, path: &mut String) {
    path.push_str(name);
    // A server may take out what is empty or dots, and what is an encoded slash for a slash.
    if value.contains('/') || matches!(value, "" | "." | "..") {
        path.push_str("@base64/");
        // The Pushgateway knows the empty text by its padding.
        path.push_str(&if value.is_empty() { "=".to_owned() } else { URL_SAFE_NO_PAD.encode(value) });
    } else {
        path.push('/');
        path.extend(utf8_percent_encode(value, SEGMENT));
    }
}

/// What a push replaces on the Pushgateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replaces {
    /// Everything in the group: what this push lacks is gone.
    #[default]
    Group,
    /// The metrics of the names that are pushed: what else is in the group stays.
    Names,
}

/// A Pushgateway, or what takes its pushes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gateway {
    /// Where to: the URL of the group, without user and password.
    pub endpoint: Uri,
    /// Further headers of the request, such as `authorization`.
    pub headers: HeaderMap,
    /// What a push replaces.
    pub replaces: Replaces,
    /// How long a push may take, with all that it is tried again.
    pub timeout: Duration,
    /// How an `https` endpoint and this process know each other.
    pub tls: Tls,
}

impl Gateway {
    /// The gateway at a URL, and a group on it.
    ///
    /// The URL is that of the gateway itself, as `http://127.0.0.1:9091`, perhaps with a path before `/metrics`; with user and
    /// password, `http://user:password@host`, these are sent as basic authentication.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL or the group makes no sense.
    pub fn new(url: &str, group: &Group) -> Result<Self, Error> {
        let (base, authorization) = parse(url)?;
        let shown = shown(&base);
        if is_group(&base) {
            return Err(Error::Url {
                url: shown,
                cause: "it names a group already; leave out what begins with `/metrics/job`".to_owned(),
            });
        }
        let path = group.path().map_err(|cause| Error::Url { url: shown, cause })?;
        let path = format!("{}{METRICS}{path}", base.path().trim_end_matches('/'));
        Self::at(base, &path, authorization)
    }

    /// The group at a URL such as `http://127.0.0.1:9091/metrics/job/nightly/instance/a`; nothing for a URL without a group.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL makes no sense.
    pub fn of_group(url: &str) -> Result<Option<Self>, Error> {
        let (uri, authorization) = parse(url)?;
        if !is_group(&uri) {
            return Ok(None);
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Self::at(uri, &path, authorization).map(Some)
    }

    fn at(base: Uri, path: &str, authorization: Option<HeaderValue>) -> Result<Self, Error> {
        let shown = shown(&base);
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

    /// Checks that a push can be tried, so that one learns of a wrong certificate before there is anything to push.
    ///
    /// # Errors
    ///
    /// [`Error::Pem`] and [`Error::Tls`] if TLS cannot be set up.
    pub fn check(&self) -> Result<(), Error> {
        Http::gateway(self).map(drop)
    }

    /// Pushes a snapshot, in the text format. It is tried again while the gateway cannot be reached, and until it has answered.
    ///
    /// It needs a Tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// [`Error::Push`] if the gateway has not taken it within the timeout, and those of [`check`](Self::check).
    pub async fn push(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let mut transport = Transport::Http(Http::gateway(self)?);
        let body = transport.prepare(encode::prometheus::encode(snapshot).into_bytes());
        let begin = Instant::now();
        let policy = Retry::new(limits::RETRY_INITIAL, limits::RETRY_MAX, self.timeout);
        let mut backoff = Backoff::new(policy);
        let mut last = None;
        loop {
            let left = self.timeout.saturating_sub(begin.elapsed());
            let Ok(outcome) = tokio::time::timeout(left, transport.send(body.clone(), None)).await else {
                return Err(self.gave_up(last));
            };
            match outcome {
                Outcome::Accepted { .. } => return Ok(()),
                Outcome::Refused { cause } => return Err(self.error(format!("{cause}{}", remedy(&cause)))),
                Outcome::Retry { after, cause } => {
                    let wait = backoff.wait(begin.elapsed(), after, retry::random());
                    last = Some(cause);
                    match wait {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(self.gave_up(last)),
                    }
                }
            }
        }
    }

    fn gave_up(&self, last: Option<String>) -> Error {
        let cause = last.unwrap_or_else(|| "no answer".to_owned());
        self.error(format!(
            "{cause}; that was tried for {} s: is the gateway there, and can it be reached from here?",
            self.timeout.as_secs_f64()
        ))
    }

    fn error(&self, cause: String) -> Error {
        Error::Push { url: self.endpoint.to_string(), cause }
    }
}

/// What can be done about a refusal that begins with the status.
fn remedy(cause: &str) -> &'static str {
    match cause.strip_prefix("status ").and_then(|cause| cause.get(..3)) {
        Some("400") => {
            "; a metric of this name that another group has pushed with another type is deleted with that group, or renamed here"
        }
        Some("401" | "403") => "; give the user and the password in the URL, or an `authorization` header",
        Some("404" | "405") => "; is this the URL of a Pushgateway, without `/metrics`?",
        Some(status) if status.starts_with('3') => "; give that URL",
        _ => "",
    }
}

/// A URL without user and password, and these as a header.
fn parse(url: &str) -> Result<(Uri, Option<HeaderValue>), Error> {
    // The password, if there is one, must not be told.
    let safe = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    };
    let wrong = |cause: &str| Error::Url { url: safe.clone(), cause: cause.to_owned() };
    let uri: Uri = url.trim().parse().map_err(|_| wrong("it is no URL; write one such as `http://127.0.0.1:9091`"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it does not begin with http:// or https://; write one such as `http://127.0.0.1:9091`"));
    }
    if uri.query().is_some() {
        return Err(wrong("it has a query, which a Pushgateway knows nothing of; leave out what begins with `?`"));
    }
    let authority = uri.authority().map(uri::Authority::as_str).unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((uri, None));
    };
    let decoded = percent_decode_str(user).decode_utf8().map_err(|_| wrong("its user and password are no UTF-8"))?;
    // A user without a password has an empty one.
    let credentials = if user.contains(':') { decoded.into_owned() } else { format!("{decoded}:") };
    let mut header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials)))
        .map_err(|_| wrong("its user and password cannot be sent"))?;
    header.set_sensitive(true);
    let host = host.parse().map_err(|_| wrong("it names no host; write one such as `http://127.0.0.1:9091`"))?;
    let mut parts = uri.into_parts();
    parts.authority = Some(host);
    let uri = Uri::from_parts(parts).map_err(|error| wrong(&error.to_string()))?;
    Ok((uri, Some(header)))
}

/// Whether a URL names a group.
fn is_group(uri: &Uri) -> bool {
    uri.path().contains("/metrics/job/") || uri.path().contains("/metrics/job@base64/")
}

/// A URL that has no password.
fn shown(uri: &Uri) -> String {
    uri.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, group: &Group) -> String {
        Gateway::new(url, group).unwrap().endpoint.to_string()
    }

    #[test]
    fn a_group_is_a_path() {
        let group = Group::new("nightly");
        for url in ["http://a:9091", "http://a:9091/", " http://a:9091// "] {
            assert_eq!(endpoint(url, &group), "http://a:9091/metrics/job/nightly", "{url}");
        }
        assert_eq!(endpoint("https://a/push/", &group), "https://a/push/metrics/job/nightly");
        // The values are those that the Pushgateway's README has, and such that a path cannot have.
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
    fn a_password_is_a_header_and_is_never_shown() {
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
    fn what_makes_no_sense_is_explained() {
        let group = Group::new("j");
        for (url, group, cause) in [
            ("localhost:9091", group.clone(), "begin with http:// or https://"),
            ("/metrics", group.clone(), "begin with http:// or https://"),
            ("", group.clone(), "it is no URL"),
            ("http://a?x=1", group.clone(), "query"),
            ("http://a/metrics/job/x", group.clone(), "names a group already"),
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
    fn a_url_may_name_its_group() {
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
