//! Requests that a page of another site has caused: by DNS rebinding, or by a link to here.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderName, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Returns `true` if a request names this endpoint: by a name of loopback addresses, by the address
/// of its connection, or by one of `names`.
///
/// A page whose own name resolves to this address (DNS rebinding) sends that name. The port is not
/// compared, because it may be forwarded.
pub(super) fn is_own(head: &Parts, local: SocketAddr, names: &[String]) -> bool {
    let Some(authority) = authority(head) else { return false };
    let host = authority.host().trim_end_matches('.');
    let is_literal = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok_and(|address| {
            let address = address.to_canonical();
            address.is_loopback() || address == local.ip().to_canonical()
        })
    };
    // RFC 6761: names below `localhost` are loopback addresses too.
    let is_localhost = host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    is_localhost || is_literal(host) || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Returns the host that a request names. A second `Host` is none.
fn authority(head: &Parts) -> Option<Authority> {
    if let Some(authority) = head.uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?.parse::<Authority>().ok()?;
    (hosts.next().is_none() && !host.as_str().contains('@')).then_some(host)
}

/// Returns `true` if a browser reports that a page of another origin has caused a request.
///
/// A link to here, which a person follows, is none if `allows_links`. Clients that are no browser
/// report nothing.
///
/// Source: Fetch Metadata Request Headers, and RFC 6454 for `Origin`.
pub(super) fn is_cross_origin(head: &Parts, allows_links: bool) -> bool {
    let header = |name: HeaderName| head.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_foreign_origin = header(ORIGIN).is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_none_or(|host| authority(head).is_none_or(|own| !own.as_str().eq_ignore_ascii_case(host)))
    });
    let is_foreign_site = header(SEC_FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let is_link = allows_links
        && header(SEC_FETCH_MODE) == Some("navigate")
        && header(SEC_FETCH_DEST).is_none_or(|destination| destination == "document");
    (is_foreign_origin || is_foreign_site) && !is_link
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn own_names_are_accepted() {
        let local: SocketAddr = ([192, 0, 2, 1], 9464).into();
        let names = ["shop-1.example.org".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:1",
            "localhost.:9464",
            "console.localhost",
            "127.0.0.1:9464",
            "127.1.2.3",
            "[::1]:9464",
            "[::ffff:127.0.0.1]",
            "192.0.2.1",
            "[::ffff:192.0.2.1]:1",
            "Shop-1.example.org:80",
        ] {
            assert!(is_own(&head(&[("host", host)]), local, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "192.0.2.2",
            "shop-1.example.org.evil.example",
            "user@localhost",
            "localhost/",
            "[::1",
        ] {
            assert!(!is_own(&head(&[("host", host)]), local, &names), "{host}");
        }
        assert!(!is_own(&head(&[]), local, &names));
        assert!(!is_own(&head(&[("host", "localhost"), ("host", "evil.example")]), local, &names));
    }

    #[test]
    fn other_origins_are_recognised() {
        let host = ("host", "localhost:9464");
        for (headers, is_foreign, is_foreign_link) in [
            (&[][..], false, false),
            (&[("sec-fetch-site", "same-origin")], false, false),
            (&[("sec-fetch-site", "none")], false, false),
            (&[("sec-fetch-site", "same-site")], true, true),
            (&[("sec-fetch-site", "cross-site")], true, true),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true, false),
            (
                &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
                true,
                true,
            ),
            (&[("origin", "http://localhost:9464")], false, false),
            (&[("origin", "http://localhost:8080")], true, true),
            (&[("origin", "null")], true, true),
        ] {
            let head = head(&[&[host], headers].concat());
            assert_eq!(is_cross_origin(&head, false), is_foreign, "{headers:?}");
            assert_eq!(is_cross_origin(&head, true), is_foreign_link, "{headers:?}");
        }
    }
}
