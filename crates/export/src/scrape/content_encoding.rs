//! The encoding of an exposition: whether a client takes gzip, and gzip itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;

use super::negotiation::{quality, split};
use crate::limits;

/// Compresses a body with gzip if the client's `Accept-Encoding` headers prefer it and it is not
/// small. Returns the body, and `true` if it was compressed.
///
/// It takes a millisecond for a few 100 KB: call it where a [`Handler`](super::Handler) may block.
pub fn gzip<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>, body: Vec<u8>) -> (Vec<u8>, bool) {
    let (body, encoding) = Encoding::negotiate(accept).encode(body);
    (body, encoding == Encoding::Gzip)
}

/// The level of whole bodies: the page and its answers. A level of 1 makes them a quarter larger;
/// expositions, which are large and often read, have it.
const LEVEL: u32 = 3;

/// The content encoding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Chooses the encoding for the values of a request's `Accept-Encoding` headers.
    ///
    /// Source: RFC 9110, section 12.5.3. A client that accepts neither gets the body as it is
    /// rather than a 406. A `*` stands for gzip only where the body as it is was given a lower
    /// quality.
    pub(crate) fn negotiate<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        let codings = accept.into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| split(value, ','));
        for coding in codings.take(limits::MAX_CODINGS) {
            let (name, parameter) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let Some((key, value)) = parameter.split_once('=') else { continue };
            let Some(quality) = quality(value.trim()).filter(|_| key.trim().eq_ignore_ascii_case("q")) else {
                continue;
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(quality),
                "identity" => identity = Some(quality),
                "*" => any = Some(quality),
                _ => {}
            }
        }
        let is_wanted = match (gzip, any) {
            (Some(gzip), _) => gzip > 0 && gzip >= identity.unwrap_or(0),
            (None, Some(any)) => any > identity.unwrap_or(any),
            (None, None) => false,
        };
        if is_wanted { Self::Gzip } else { Self::Identity }
    }

    /// Encodes a body, and returns the encoding that was used.
    pub(crate) fn encode(self, body: Vec<u8>) -> (Vec<u8>, Self) {
        if self == Self::Identity || body.len() < limits::MIN_GZIP_BYTES {
            return (body, Self::Identity);
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::new(LEVEL));
        // Writing to memory does not fail; if it did, the body as it is would be as good.
        match encoder.write_all(&body).and_then(|()| encoder.finish()) {
            Ok(encoded) => (encoded, Self::Gzip),
            Err(_) => (body, Self::Identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use Encoding::{Gzip, Identity};
        let cases: &[(&[&str], Encoding)] = &[
            (&[], Identity),
            (&[""], Identity),
            (&["gzip"], Gzip),
            (&["x-gzip"], Gzip),
            (&["GZIP;Q=1"], Gzip),
            (&["deflate, br"], Identity),
            // curl, Go's and Prometheus' client, a browser.
            (&["deflate, gzip, br, zstd"], Gzip),
            (&["gzip, deflate, br"], Gzip),
            (&["deflate", "gzip"], Gzip),
            // Qualities.
            (&["gzip;q=0"], Identity),
            (&["gzip;q=0.0, identity"], Identity),
            (&["gzip;q=0.5"], Gzip),
            (&["gzip;q=0.5, identity"], Identity),
            (&["gzip;q=0.5, identity;q=0.4"], Gzip),
            (&["gzip, identity"], Gzip),
            (&["gzip;q=0.001,identity;q=0"], Gzip),
            (&["gzip ; q = 0.8"], Gzip),
            // The wildcard stands for what is not named.
            (&["*"], Identity),
            (&["*;q=0"], Identity),
            (&["*, identity;q=0.5"], Gzip),
            (&["identity;q=0, *"], Gzip),
            (&["gzip;q=0, *"], Identity),
            (&["gzip, *;q=0"], Gzip),
            // Whoever refuses everything is served all the same.
            (&["gzip;q=0, identity;q=0"], Identity),
            // An invalid quality drops its coding.
            (&["gzip;q=2"], Identity),
            (&["gzip;q=high"], Identity),
            (&["gzip;level=9"], Identity),
            (&["gzip;"], Identity),
            (&[",;,gzip"], Gzip),
        ];
        for (accept, expected) in cases {
            let values: Vec<HeaderValue> = accept.iter().map(|value| HeaderValue::from_str(value).unwrap()).collect();
            assert_eq!(Encoding::negotiate(&values), *expected, "{accept:?}");
        }
        let long = HeaderValue::from_str(&format!("{}gzip", "a,".repeat(limits::MAX_CODINGS))).unwrap();
        assert_eq!(Encoding::negotiate([&long]), Identity, "a list that is too long is cut");
    }

    #[test]
    fn small_body_is_not_compressed() {
        let small = vec![b'a'; limits::MIN_GZIP_BYTES - 1];
        assert_eq!(Encoding::Gzip.encode(small.clone()), (small, Encoding::Identity));
        let large = vec![b'a'; limits::MIN_GZIP_BYTES];
        let (encoded, encoding) = Encoding::Gzip.encode(large.clone());
        assert!(encoding == Encoding::Gzip && encoded.len() < large.len() / 4);
        assert_eq!(Encoding::Identity.encode(large.clone()), (large, Encoding::Identity));
    }
}
