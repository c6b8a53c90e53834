//! The cookie of the telemetry endpoint, which no guest gets.
//!
//! Browsers send the cookies of a host to each of its ports, so that of the endpoint's sessions
//! comes here too.

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use wasmetry_export::scrape::SESSION_COOKIE;

/// Removes the session of the telemetry endpoint from a request.
pub(super) fn remove_session(headers: &mut HeaderMap) {
    let name = SESSION_COOKIE.as_bytes();
    let has_name = |value: &HeaderValue| value.as_bytes().windows(name.len()).any(|part| part == name);
    if !headers.get_all(COOKIE).iter().any(has_name) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(COOKIE).iter().filter_map(without_session).collect();
    headers.remove(COOKIE);
    headers.extend(kept.into_iter().map(|value| (COOKIE, value)));
}

/// Returns the other cookies of a header, if there are any. One that is no text is dropped whole.
fn without_session(value: &HeaderValue) -> Option<HeaderValue> {
    let is_other = |pair: &&str| pair.split('=').next().is_none_or(|name| name.trim() != SESSION_COOKIE);
    let kept: Vec<&str> = value.to_str().ok()?.split(';').map(str::trim).filter(is_other).collect();
    if kept.is_empty() { None } else { HeaderValue::try_from(kept.join("; ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(cookies: &[&[u8]]) -> Vec<String> {
        let cookies = cookies.iter().map(|cookie| (COOKIE, HeaderValue::from_bytes(cookie).unwrap()));
        let mut headers: HeaderMap = cookies.collect();
        remove_session(&mut headers);
        headers.get_all(COOKIE).iter().map(|value| format!("{value:?}")).collect()
    }

    #[test]
    fn session_is_removed() {
        assert_eq!(left(&[b"a=1; wasmetry-telemetry=secret; b=2", b"c=3"]), ["\"a=1; b=2\"", "\"c=3\""]);
        assert_eq!(left(&[b"wasmetry-telemetry=secret"]), [""; 0]);
        assert_eq!(left(&[b" wasmetry-telemetry = secret;a=1"]), ["\"a=1\""]);
        assert_eq!(left(&[b"a=\xff; wasmetry-telemetry=secret"]), [""; 0]);
        assert_eq!(left(&[b"a=\xff;b=2"]), ["\"a=\\xff;b=2\""], "what has no session is not touched");
    }
}
