//! Sessions of browsers: a cookie with a random number stands for a token that was once sent.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use crate::limits;

/// The name of the cookie of a session.
///
/// Browsers send cookies to every port of a host. A service beside the endpoint must remove this
/// one from requests before other programs receive them.
pub const SESSION_COOKIE: &str = "wasmetry-telemetry";

/// The random bytes of a session's number.
const NUMBER_BYTES: usize = 32;

/// The open sessions, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Sessions(Vec<Session>);

#[derive(Debug)]
struct Session {
    number: [u8; NUMBER_BYTES],
    /// A cookie that another program has seen is of no use from another address.
    address: IpAddr,
    expires: Instant,
}

impl Sessions {
    /// Opens a session. Returns the value of `Set-Cookie`, or `None` if the system has no random
    /// bytes.
    pub(super) fn open(&mut self, address: IpAddr, is_tls: bool, now: Instant) -> Option<HeaderValue> {
        let mut number = [0; NUMBER_BYTES];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut number).ok()?;
        self.0.retain(|session| session.expires > now);
        if self.0.len() >= limits::MAX_SESSIONS {
            self.0.remove(0);
        }
        self.0.push(Session { number, address: address.to_canonical(), expires: now + limits::SESSION_LIFETIME });
        cookie(&hex(&number), limits::SESSION_LIFETIME.as_secs(), is_tls)
    }

    /// Returns `true` if a request is of an open session.
    pub(super) fn contain(&self, headers: &HeaderMap, address: IpAddr, now: Instant) -> bool {
        self.find(headers, address, now).is_some()
    }

    /// Ends the session of a request. Returns the value of `Set-Cookie` that removes the cookie.
    pub(super) fn close(&mut self, headers: &HeaderMap, address: IpAddr, is_tls: bool) -> Option<HeaderValue> {
        if let Some(index) = self.find(headers, address, Instant::now()) {
            self.0.remove(index);
        }
        cookie("", 0, is_tls)
    }

    fn find(&self, headers: &HeaderMap, address: IpAddr, now: Instant) -> Option<usize> {
        let number = session_number(headers)?;
        let is_found = |session: &Session| {
            let is_number: bool = hex(&session.number).as_bytes().ct_eq(number).into();
            is_number && session.address == address.to_canonical() && session.expires > now
        };
        self.0.iter().position(is_found)
    }
}

/// Returns the session's number in the cookies of a request.
fn session_number(headers: &HeaderMap) -> Option<&[u8]> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION_COOKIE).map(|(_, value)| value.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn cookie(value: &str, seconds: u64, is_tls: bool) -> Option<HeaderValue> {
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(cookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// The headers of a browser that has received a cookie.
    fn headers(set_cookie: &HeaderValue) -> HeaderMap {
        let cookie = set_cookie.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(format!("other=1; {cookie}; b=2")).unwrap())])
    }

    #[test]
    fn session_is_of_address_and_time() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let cookie = sessions.open(ADDRESS, false, now).unwrap();
        let browser = headers(&cookie);
        assert!(sessions.contain(&browser, ADDRESS, now));
        assert!(sessions.contain(&browser, "::ffff:192.0.2.1".parse().unwrap(), now));
        assert!(!sessions.contain(&browser, [192, 0, 2, 2].into(), now));
        assert!(!sessions.contain(&browser, ADDRESS, now + limits::SESSION_LIFETIME));
        assert!(!sessions.contain(&HeaderMap::new(), ADDRESS, now));
        sessions.close(&browser, ADDRESS, false);
        assert!(!sessions.contain(&browser, ADDRESS, now));
    }

    #[test]
    fn cookies_differ_and_are_strict() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let mut cookies = [false, true].map(|is_tls| sessions.open(ADDRESS, is_tls, now).unwrap());
        for (cookie, end) in cookies.iter().zip(["HttpOnly; SameSite=Strict", "HttpOnly; SameSite=Strict; Secure"]) {
            assert!(cookie.to_str().unwrap().ends_with(end), "{cookie:?}");
        }
        cookies.sort_unstable();
        assert_ne!(cookies[0], cookies[1]);
    }

    #[test]
    fn number_of_sessions_is_bounded() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let cookies: Vec<_> = (0..=limits::MAX_SESSIONS).map(|_| sessions.open(ADDRESS, false, now).unwrap()).collect();
        assert!(!sessions.contain(&headers(&cookies[0]), ADDRESS, now));
        assert!(sessions.contain(&headers(&cookies[1]), ADDRESS, now));
        sessions.open(ADDRESS, false, now + limits::SESSION_LIFETIME + Duration::from_secs(1)).unwrap();
        assert_eq!(sessions.0.len(), 1);
    }
}
