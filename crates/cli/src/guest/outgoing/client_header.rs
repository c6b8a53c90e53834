//! The headers of a guest's client that go to third parties only where the configuration allows it.

use http::HeaderMap;
use http::header::HeaderName;

/// `baggage` and `tracestate` of the guest's client, which the host adds to requests of the guest.
const OF_CLIENT: [HeaderName; 2] = [HeaderName::from_static("baggage"), HeaderName::from_static("tracestate")];

/// Returns the headers that the guest has not set: if they are there later, the host has added them
/// for the guest's client.
pub(super) fn unset(headers: &HeaderMap) -> Vec<HeaderName> {
    OF_CLIENT.into_iter().filter(|name| !headers.contains_key(name)).collect()
}

/// Removes the headers that the host has added for the guest's client. Those that the guest has set
/// are its own.
pub(super) fn remove(headers: &mut HeaderMap, of_client: &[HeaderName]) {
    for name in of_client {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn headers_of_guest_are_kept() {
        let value = HeaderValue::from_static("x=1");
        let mut headers = HeaderMap::new();
        headers.insert("baggage", value.clone());
        let of_client = unset(&headers);
        assert_eq!(of_client, ["tracestate"]);
        // The host adds these.
        headers.append("tracestate", value.clone());
        headers.append("tracestate", value.clone());
        headers.insert("traceparent", value);
        remove(&mut headers, &of_client);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["baggage", "traceparent"]);
    }

    #[test]
    fn all_of_client_are_removed() {
        let mut headers = HeaderMap::new();
        let of_client = unset(&headers);
        for name in OF_CLIENT {
            headers.insert(name, HeaderValue::from_static("x=1"));
        }
        remove(&mut headers, &of_client);
        assert!(headers.is_empty());
    }
}
