//! Routing: a request's host and then its path choose the mount.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::serve::limits;

/// The hosts at which a component is mounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::serve) enum Host {
    /// One host, in lower case, without port and final dot.
    Exact(String),
    /// All hosts below a domain. The text begins with a dot, before which a host has at least one
    /// label.
    Below(String),
    /// All hosts.
    Any,
}

impl Host {
    /// Parses `shop.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`.
    pub(in crate::serve) fn parse(value: &str) -> Result<Self, String> {
        if !value.is_ascii() {
            return Err("write it in Punycode (`xn--…`), as browsers send it".to_owned());
        }
        let value = value.to_ascii_lowercase();
        if value.contains("://") || value.contains('/') {
            return Err("expected only a host, such as `shop.example.com`; write a path into `prefix`".to_owned());
        }
        if let Some(address) = value.strip_prefix('[') {
            let address = address.strip_suffix(']').and_then(|address| address.parse::<std::net::Ipv6Addr>().ok());
            let address = address.ok_or("expected an IPv6 address in brackets, such as `[2001:db8::1]`")?;
            return Ok(Self::Exact(format!("[{address}]")));
        }
        if value.contains(':') {
            return Err("remove the port: requests are not routed by it".to_owned());
        }
        let (is_wildcard, name) = match value.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, value.as_str()),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.contains('*') {
            return Err("a `*` may only stand for the first labels, as in `*.example.com`".to_owned());
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err("expected a host name, such as `shop.example.com` or `*.example.com`".to_owned());
        }
        Ok(if is_wildcard { Self::Below(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("any host"),
        }
    }
}

/// Returns the host of a request, in the form of [`Host::Exact`], or `None` if it names none or
/// several.
///
/// wasi:http gives every request an authority, so that one without cannot be passed on. RFC 9112,
/// section 3.2, refuses it too.
pub(in crate::serve) fn requested_host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let authority = match uri.authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = headers.get_all(HOST).iter();
            let host = hosts.next().filter(|_| hosts.next().is_none())?;
            Authority::try_from(host.as_bytes()).ok()?
        }
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let mut host = authority.host().to_ascii_lowercase();
    if host.ends_with('.') {
        host.pop();
    }
    // An IPv6 address can be written in several ways.
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        host = format!("[{}]", address.parse::<std::net::Ipv6Addr>().ok()?);
    }
    Some(host)
}

/// The path prefix at which a component is mounted: whole segments. Only the root ends with a
/// slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::serve) struct Prefix(String);

impl Prefix {
    /// The prefix of all paths.
    pub(in crate::serve) fn root() -> Self {
        Self("/".to_owned())
    }

    /// Parses `/` or `/shop/cart`, with or without a slash at its end.
    pub(in crate::serve) fn parse(value: &str) -> Result<Self, String> {
        if !value.starts_with('/') {
            return Err(format!("a prefix begins with a slash: `/{value}`"));
        }
        if value.len() > limits::MAX_PREFIX {
            return Err(format!("it must have at most {} bytes", limits::MAX_PREFIX));
        }
        if value == "/" {
            return Ok(Self::root());
        }
        let prefix = value.strip_suffix('/').unwrap_or(value);
        let decoded = normalize_escapes(prefix);
        if decoded[1..].split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("a segment must not be empty, `.` or `..`, encoded or not".to_owned());
        }
        // Unreserved characters, sub-delimiters, `:`, `@` and `%` of RFC 3986, section 3.3.
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
        match value.chars().find(|char| !u8::try_from(*char).is_ok_and(is_path)) {
            Some('?' | '#') => Err("a prefix has no query and no fragment".to_owned()),
            Some(char) => Err(format!("`{}` must be percent-encoded, as it is in a URL", char.escape_default())),
            None => Ok(Self(decoded.into_owned())),
        }
    }

    /// The value of the metrics' label `route`.
    pub(in crate::serve) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if a normalised path is this prefix or below it.
    fn matches(&self, path: &str) -> bool {
        // The root also has the paths without a slash: `*`, and the empty one of CONNECT.
        self.0 == "/" || path.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Normalises the path of a request for routing, as URLs are: escapes of unreserved characters are
/// decoded, other escapes get upper-case digits, and `.` and `..` segments are removed.
///
/// So all spellings of a path have one mount, and none leads around the mount of another component.
/// An encoded slash stays part of its segment. The guest gets the path as it was sent.
///
/// Source: RFC 3986, sections 6.2.2.1 to 6.2.2.3; dot segments by section 5.2.4.
fn normalize(path: &str) -> Cow<'_, str> {
    let path = normalize_escapes(path);
    let has_dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if has_dots && path.starts_with('/') { Cow::Owned(remove_dot_segments(&path)) } else { path }
}

/// Decodes the escapes of unreserved characters and writes the others in upper case. An invalid
/// escape stays as it is.
fn normalize_escapes(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        rest = &rest[at..];
        let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            normal.push('%');
            rest = &rest[1..];
            continue;
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&rest[..3].to_ascii_uppercase());
        }
        rest = &rest[3..];
    }
    normal.push_str(rest);
    Cow::Owned(normal)
}

/// Removes the `.` and `..` segments of an absolute path.
fn remove_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_slash = false;
    for segment in path[1..].split('/') {
        ends_in_slash = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_in_slash || normal.is_empty() {
        normal.push('/');
    }
    normal
}

/// The mounts of all hosts.
///
/// Of the mounts that match a request's host and path, an exact host precedes a wildcard, a longer
/// wildcard precedes a shorter one, and both precede a mount without a host. Among the mounts of
/// one host, the longest prefix wins.
#[derive(Debug)]
pub(in crate::serve) struct Routes<M> {
    by_host: HashMap<Host, Vec<(Prefix, M)>>,
}

impl<M> Default for Routes<M> {
    fn default() -> Self {
        Self { by_host: HashMap::new() }
    }
}

impl<M> Routes<M> {
    /// Adds a mount.
    ///
    /// # Errors
    ///
    /// Returns the mount that has this host and prefix already.
    pub(in crate::serve) fn add(&mut self, host: Host, prefix: Prefix, mount: M) -> Result<(), &M> {
        let mounts = self.by_host.entry(host).or_default();
        // The longest first. Two prefixes of one length match the same path only if they are equal.
        let at = mounts.partition_point(|(other, _)| (other.0.len(), &prefix) > (prefix.0.len(), other));
        if mounts.get(at).is_some_and(|(other, _)| *other == prefix) {
            return Err(&mounts[at].1);
        }
        mounts.insert(at, (prefix, mount));
        Ok(())
    }

    /// Finds the mount for a request to a host in the form of [`requested_host`]; without a host,
    /// only the mounts for any host match.
    pub(in crate::serve) fn find(&self, host: Option<&str>, path: &str) -> Option<&M> {
        let path = normalize(path);
        let exact = host.map(|host| Host::Exact(host.to_owned()));
        let dots = host.unwrap_or_default().match_indices('.').map(|(at, _)| at);
        let below = dots.take(limits::MAX_HOST_LABELS).map(|at| Host::Below(host.unwrap_or_default()[at..].to_owned()));
        exact.into_iter().chain(below).chain([Host::Any]).find_map(|host| self.find_at(&host, &path))
    }

    fn find_at(&self, host: &Host, path: &str) -> Option<&M> {
        let mounts = self.by_host.get(host)?;
        mounts.iter().find(|(prefix, _)| prefix.matches(path)).map(|(_, mount)| mount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(mounts: &[(&str, &str)]) -> Routes<String> {
        let mut routes = Routes::default();
        for (host, prefix) in mounts {
            let parsed = if *host == "any" { Host::Any } else { Host::parse(host).unwrap() };
            routes.add(parsed, Prefix::parse(prefix).unwrap(), format!("{host}{prefix}")).unwrap();
        }
        routes
    }

    #[test]
    fn most_specific_mount_wins() {
        let routes = routes(&[
            ("any", "/"),
            ("any", "/shop/cart"),
            ("any", "/shop"),
            ("any", "/ship"),
            ("*.example.com", "/"),
            ("*.eu.example.com", "/eu"),
            ("a.example.com", "/only"),
            ("127.0.0.1", "/ip"),
            ("[::1]", "/six"),
        ]);
        for (host, path, expected) in [
            (None, "/", "any/"),
            (None, "*", "any/"),
            (None, "", "any/"),
            (Some("other.org"), "/shop", "any/shop"),
            (Some("other.org"), "/shop/", "any/shop"),
            (Some("other.org"), "/shop/x", "any/shop"),
            (Some("other.org"), "/shopping", "any/"),
            (Some("other.org"), "/Shop", "any/"),
            (Some("other.org"), "/shop/cart/1", "any/shop/cart"),
            (Some("other.org"), "/shop/carts", "any/shop"),
            (Some("other.org"), "//shop", "any/"),
            (Some("a.example.com"), "/only/x", "a.example.com/only"),
            (Some("a.example.com"), "/shop", "*.example.com/"),
            (Some("b.example.com"), "/only", "*.example.com/"),
            (Some("x.y.example.com"), "/", "*.example.com/"),
            (Some("x.eu.example.com"), "/eu", "*.eu.example.com/eu"),
            (Some("x.eu.example.com"), "/us", "*.example.com/"),
            (Some("eu.example.com"), "/eu", "*.example.com/"),
            (Some("example.com"), "/", "any/"),
            (Some("notexample.com"), "/", "any/"),
            (Some("127.0.0.1"), "/ip", "127.0.0.1/ip"),
            (Some("[::1]"), "/six", "[::1]/six"),
        ] {
            assert_eq!(routes.find(host, path).map(String::as_str), Some(expected), "{host:?} {path}");
        }
    }

    #[test]
    fn spellings_of_a_path_agree() {
        let routes = routes(&[("any", "/"), ("any", "/a%2fb"), ("any", "/~shop"), ("any", "/c")]);
        for (path, expected) in [
            ("/a%2Fb", "any/a%2fb"),
            ("/a%2fb/x", "any/a%2fb"),
            ("/%61%2Fb", "any/a%2fb"),
            ("/a%2Fb/../c", "any/c"),
            ("/a%2Fb/%2e%2E/c", "any/c"),
            ("/x/../a%2Fb/./y", "any/a%2fb"),
            ("/a/b", "any/"),
            ("/a%252Fb", "any/"),
            ("/%7Eshop", "any/~shop"),
            ("/%7eshop/%", "any/~shop"),
            ("/c/..", "any/"),
            ("/c/.", "any/c"),
            ("/../../c", "any/c"),
            ("/c%2F..", "any/"),
            ("/c/%2", "any/c"),
            ("/c%ü", "any/"),
        ] {
            assert_eq!(routes.find(None, path).map(String::as_str), Some(expected), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_removed() {
        // The first is the example of RFC 3986, section 5.2.4.
        for (path, normal) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/..", "/"),
            ("/.", "/"),
            ("/a/", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("//..", "/"),
            ("//a", "//a"),
            ("/a//../b", "/a/b"),
            ("/...", "/..."),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normalize(path), normal, "{path}");
        }
    }

    #[test]
    fn no_match_finds_nothing() {
        let routes = routes(&[("a.example.com", "/x")]);
        for (host, path) in [(Some("a.example.com"), "/"), (Some("b.example.com"), "/x"), (None, "/x")] {
            assert_eq!(routes.find(host, path), None, "{host:?} {path}");
        }
    }

    #[test]
    fn equal_mounts_are_refused() {
        let mut routes = routes(&[("a.org", "/x"), ("a.org", "/xy"), ("a.org", "/y"), ("a.org", "/"), ("a.org", "/z")]);
        for prefix in ["/x", "/x/", "/y", "/z", "/"] {
            let found = routes.add(Host::parse("A.org.").unwrap(), Prefix::parse(prefix).unwrap(), String::new());
            let expected = format!("a.org{}", if prefix == "/x/" { "/x" } else { prefix });
            assert_eq!(found, Err(&expected), "{prefix}");
        }
    }

    #[test]
    fn hosts() {
        for (value, host) in [
            ("Shop.Example.COM", Host::Exact("shop.example.com".to_owned())),
            ("example.com.", Host::Exact("example.com".to_owned())),
            ("localhost", Host::Exact("localhost".to_owned())),
            ("my_host-1", Host::Exact("my_host-1".to_owned())),
            ("*.Example.com", Host::Below(".example.com".to_owned())),
            ("*.com", Host::Below(".com".to_owned())),
            ("[0:0::1]", Host::Exact("[::1]".to_owned())),
        ] {
            assert_eq!(Host::parse(value), Ok(host), "{value}");
        }
        let long = format!("{}.org", "x".repeat(64));
        for wrong in [
            "", ".", "*", "*.", "a..b", ".a", "a.*.b", "*a.b", "**.a", "a b", "a:80", "http://a", "a/b", "ü.de", "::1",
            "[::1", "[x]", "a@b", &long,
        ] {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prefixes() {
        for (value, prefix) in [
            ("/", "/"),
            ("/shop", "/shop"),
            ("/shop/", "/shop"),
            ("/a/b%20c", "/a/b%20c"),
            ("/a%2fb", "/a%2Fb"),
            ("/%73hop/", "/shop"),
        ] {
            assert_eq!(Prefix::parse(value).unwrap().as_str(), prefix);
        }
        let long = format!("/{}", "x".repeat(limits::MAX_PREFIX));
        for wrong in [
            "",
            "shop",
            "//",
            "/a//b",
            "/a//",
            "/a/../b",
            "/a/%2e%2E/b",
            "/./a",
            "/a?b",
            "/a#b",
            "/a b",
            "/ä",
            "/a\n",
            "/a\"",
            &long,
        ] {
            assert!(Prefix::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn requested_hosts() {
        let host = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, http::HeaderValue::from_bytes(host.as_bytes()).unwrap());
            }
            requested_host(&uri.parse().unwrap(), &headers)
        };
        for (value, expected) in [
            ("Shop.Example.com", "shop.example.com"),
            ("shop:8080", "shop"),
            ("shop.:8080", "shop"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[0::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host("/", &[value]).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(host("http://a.org/x", &["b.org"]).as_deref(), Some("a.org"));
        assert_eq!(host("a.org:443", &[]).as_deref(), Some("a.org"));
        for wrong in
            [&[][..], &[""], &["a", "b"], &["a", "a"], &["a b"], &["a/b"], &["u@a"], &["ä"], &["[x]"], &[":80"]]
        {
            assert_eq!(host("/", wrong), None, "{wrong:?}");
        }
    }
}
