//! Content negotiation: chooses the exposition format for an `Accept` header.

use http::HeaderValue;
#[cfg(feature = "protobuf")]
use wasmetry_host::encode::protobuf;
use wasmetry_host::encode::{openmetrics, prometheus};

use crate::limits;

/// An exposition format that the endpoint can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The Prometheus text format 0.0.4, which is the default.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' Protocol Buffers, with native histograms.
    #[cfg(feature = "protobuf")]
    Protobuf,
}

impl Format {
    /// Every format, the one first that a client gets that likes two of them as much.
    const ALL: &[Self] = &[
        #[cfg(feature = "protobuf")]
        Self::Protobuf,
        Self::Text,
        Self::OpenMetrics,
    ];

    /// Chooses the format for the values of a request's `Accept` headers.
    ///
    /// Quality values and specificity count as in RFC 9110, section 12.5.1, with two deviations
    /// that keep every scraper served: OpenMetrics and Protocol Buffers are chosen only by a range
    /// that names them (a browser's `*/*` gets text), and a client that accepts no format gets text
    /// rather than a 406. Of two formats with the same quality, the one wins whose range is the
    /// more specific one; then Protocol Buffers, then text.
    pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        Negotiated::new(accept).format
    }

    /// The value of the answer's `Content-Type` header for a client that requests no escaping.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus::CONTENT_TYPE,
            Self::OpenMetrics => openmetrics::CONTENT_TYPE,
            #[cfg(feature = "protobuf")]
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }

    fn matched_by(self, range: &MediaRange<'_>) -> Option<Specificity> {
        match self {
            Self::Text => range.matches_text(),
            Self::OpenMetrics => range.matches_open_metrics(),
            #[cfg(feature = "protobuf")]
            Self::Protobuf => range.matches_protobuf(),
        }
    }
}

/// The format of an answer, with the parameters that its `Content-Type` repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    format: Format,
    parameters: Parameters,
}

/// Parameters of the range that was chosen, which change nothing but the `Content-Type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    /// The scheme by which the client wants names of other characters to be escaped. Our names
    /// consist of `[a-zA-Z0-9_:]`, which every scheme leaves unchanged.
    escaping: Option<&'static str>,
    /// Version 1.0.0 of the text format, which allows names of any characters.
    is_text_1: bool,
}

/// The escaping schemes of Prometheus 3.
const ESCAPING_SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

impl Negotiated {
    /// Chooses the format as [`Format::negotiate`] does.
    pub fn new<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut best = [Best::default(); Format::ALL.len()];
        let ranges = accept.into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| split(value, ','));
        for range in ranges.take(limits::MAX_MEDIA_RANGES).filter_map(MediaRange::parse) {
            for (format, best) in Format::ALL.iter().zip(&mut best) {
                if let Some(specificity) = format.matched_by(&range) {
                    best.offer(specificity, range.quality, range.parameters());
                }
            }
        }
        let wanted = |best: &Best| (best.quality, best.specificity);
        let mut formats = Format::ALL.iter().zip(&best).filter(|(_, best)| best.quality > 0);
        let first = formats.next();
        // The first of those that are wanted the most.
        let format = first.map(|first| formats.fold(first, |a, b| if wanted(b.1) > wanted(a.1) { b } else { a }));
        format.map_or(Self { format: Format::Text, parameters: Parameters::default() }, |(format, best)| Self {
            format: *format,
            parameters: best.parameters,
        })
    }

    /// Returns the format.
    pub fn format(self) -> Format {
        self.format
    }

    /// Returns the answer's `Content-Type` header, which repeats the client's `escaping`.
    pub fn content_type(self) -> HeaderValue {
        let media_type = match self.format {
            Format::Text if self.parameters.is_text_1 => "text/plain; version=1.0.0; charset=utf-8",
            format => format.content_type(),
        };
        match self.parameters.escaping {
            None => HeaderValue::from_static(media_type),
            Some(scheme) => HeaderValue::try_from(format!("{media_type}; escaping={scheme}"))
                .unwrap_or_else(|_| HeaderValue::from_static(media_type)),
        }
    }
}

/// The specificity of a media range for a format. The quality of a format is that of the most
/// specific range that matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    #[default]
    None,
    Any,
    Type,
    Subtype,
    Version,
}

/// The quality of one format, from the most specific range seen so far.
#[derive(Clone, Copy, Default)]
struct Best {
    specificity: Specificity,
    quality: u16,
    parameters: Parameters,
}

impl Best {
    fn offer(&mut self, specificity: Specificity, quality: u16, parameters: Parameters) {
        if specificity > self.specificity || (specificity == self.specificity && quality > self.quality) {
            *self = Self { specificity, quality, parameters };
        }
    }
}

/// One element of an `Accept` header.
struct MediaRange<'a> {
    main: &'a str,
    sub: &'a str,
    version: Option<&'a str>,
    escaping: Option<&'a str>,
    /// Parameters of Protocol Buffers: the message, and the framing.
    #[cfg(feature = "protobuf")]
    proto: Option<&'a str>,
    #[cfg(feature = "protobuf")]
    encoding: Option<&'a str>,
    /// In thousandths, 0 to 1000.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    /// Returns `None` for what is no media range, which then counts for nothing.
    fn parse(range: &'a str) -> Option<Self> {
        let mut parts = split(range, ';');
        let (main, sub) = parts.next()?.trim().split_once('/')?;
        let mut parsed = Self {
            main: main.trim(),
            sub: sub.trim(),
            version: None,
            escaping: None,
            #[cfg(feature = "protobuf")]
            proto: None,
            #[cfg(feature = "protobuf")]
            encoding: None,
            quality: 1000,
        };
        if parsed.main.is_empty() || parsed.sub.is_empty() {
            return None;
        }
        for parameter in parts {
            let Some((key, value)) = parameter.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            if key.eq_ignore_ascii_case("q") {
                parsed.quality = quality(value)?;
            } else if key.eq_ignore_ascii_case("version") {
                parsed.version = Some(unquoted);
            } else if key.eq_ignore_ascii_case("escaping") {
                parsed.escaping = Some(unquoted);
            }
            #[cfg(feature = "protobuf")]
            if key.eq_ignore_ascii_case("proto") {
                parsed.proto = Some(unquoted);
            } else if key.eq_ignore_ascii_case("encoding") {
                parsed.encoding = Some(unquoted);
            }
        }
        Some(parsed)
    }

    /// Returns the parameters that an answer repeats. A scheme that is not known is ignored.
    fn parameters(&self) -> Parameters {
        Parameters {
            escaping: ESCAPING_SCHEMES.into_iter().find(|scheme| Some(*scheme) == self.escaping),
            is_text_1: self.version == Some("1.0.0"),
        }
    }

    fn matches_text(&self) -> Option<Specificity> {
        if self.main == "*" && self.sub == "*" {
            return Some(Specificity::Any);
        }
        if !self.main.eq_ignore_ascii_case("text") {
            return None;
        }
        match (self.sub, self.version) {
            ("*", _) => Some(Specificity::Type),
            (sub, _) if !sub.eq_ignore_ascii_case("plain") => None,
            // Version 1.0.0 is the text format with names of any characters, a superset of ours.
            (_, Some("0.0.4" | "1.0.0")) => Some(Specificity::Version),
            _ => Some(Specificity::Subtype),
        }
    }

    fn matches_open_metrics(&self) -> Option<Specificity> {
        let named = self.main.eq_ignore_ascii_case("application") && self.sub.eq_ignore_ascii_case("openmetrics-text");
        match self.version {
            _ if !named => None,
            Some("1.0.0" | "0.0.1") => Some(Specificity::Version),
            Some(_) => None,
            None => Some(Specificity::Subtype),
        }
    }
}

#[cfg(feature = "protobuf")]
impl MediaRange<'_> {
    /// Only a range that names the message and the encoding is one that can be answered.
    fn matches_protobuf(&self) -> Option<Specificity> {
        let named = self.main.eq_ignore_ascii_case("application")
            && self.sub.eq_ignore_ascii_case("vnd.google.protobuf")
            && self.proto == Some("io.prometheus.client.MetricFamily")
            && self.encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("delimited"));
        named.then_some(Specificity::Version)
    }
}

/// Parses a quality value of RFC 9110, section 12.4.2: `0` to `1` with at most three decimals.
pub(crate) fn quality(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Splits at a separator outside quoted strings.
pub(crate) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.char_indices().find_map(|(i, c)| {
            if escaped {
                escaped = false;
            } else if quoted && c == '\\' {
                escaped = true;
            } else if c == '"' {
                quoted = !quoted;
            } else if c == separator && !quoted {
                return Some(i);
            }
            None
        });
        match end {
            Some(end) => {
                rest = Some(&text[end + separator.len_utf8()..]);
                Some(&text[..end])
            }
            None => rest.take(),
        }
    })
}

#[cfg(test)]
#[cfg(feature = "protobuf")]
mod tests {
    use super::*;

    fn negotiate(accept: &[&str]) -> Format {
        let values: Vec<HeaderValue> = accept.iter().map(|value| HeaderValue::from_str(value).unwrap()).collect();
        Format::negotiate(&values)
    }

    #[test]
    fn table() {
        use Format::{OpenMetrics, Protobuf, Text};
        let cases: &[(&[&str], Format)] = &[
            (&[], Text),
            (&[""], Text),
            (&["*/*"], Text),
            (&["text/plain"], Text),
            (&["text/plain;version=0.0.4"], Text),
            (&["text/*"], Text),
            (&["application/json"], Text),
            (&["nonsense"], Text),
            (&["application/*"], Text),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["application/openmetrics-text; version=1.0.0"], OpenMetrics),
            (&["application/openmetrics-text;version=0.0.1"], OpenMetrics),
            (&["application/openmetrics-text;version=\"1.0.0\""], OpenMetrics),
            (&["Application/OpenMetrics-Text;Version=1.0.0"], OpenMetrics),
            (&["application/openmetrics-text;version=2.0.0"], Text),
            (&["application/openmetrics-text;version=2.0.0", "*/*"], Text),
            // Quality values.
            (&["application/openmetrics-text;q=0"], Text),
            (&["application/openmetrics-text;q=0.0, text/plain;q=0"], Text),
            (&["application/openmetrics-text;q=0.5, text/plain"], Text),
            (&["application/openmetrics-text, text/plain;q=0.5"], OpenMetrics),
            (&["application/openmetrics-text;q=0.001, text/plain;q=0"], OpenMetrics),
            (&["application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.8"], Text),
            (&["application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.5"], OpenMetrics),
            (&["application/openmetrics-text, */*"], OpenMetrics),
            (&["text/plain, application/openmetrics-text"], Text),
            (&["text/plain, application/openmetrics-text;version=1.0.0"], OpenMetrics),
            // The narrowest range decides, not the greatest quality.
            (&["*/*, text/plain;q=0.1, application/openmetrics-text;q=0.2"], OpenMetrics),
            (&["application/openmetrics-text, application/openmetrics-text;version=1.0.0;q=0, text/plain;q=0.1"], Text),
            // Protocol Buffers.
            (&["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"], Protobuf),
            (
                &[
                    "application/vnd.google.protobuf; encoding=Delimited; proto=\"io.prometheus.client.MetricFamily\", */*",
                ],
                Protobuf,
            ),
            (
                &[
                    "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0",
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
                ],
                Protobuf,
            ),
            (
                &[
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
                    "text/plain;version=0.0.4;q=0.3",
                ],
                Protobuf,
            ),
            (
                &[
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
                    "application/openmetrics-text;q=0.8",
                ],
                OpenMetrics,
            ),
            (
                &[
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0, */*",
                ],
                Text,
            ),
            (&["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"], Text),
            (&["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"], Text),
            (&["application/vnd.google.protobuf;proto=another.Message;encoding=delimited"], Text),
            (&["application/vnd.google.protobuf"], Text),
            // Values that are no quality drop their range.
            (&["application/openmetrics-text;q=2"], Text),
            (&["application/openmetrics-text;q=1.5"], Text),
            (&["application/openmetrics-text;q=0.1234"], Text),
            (&["application/openmetrics-text;q=high"], Text),
            (&["application/openmetrics-text;q=-1"], Text),
            (&["application/openmetrics-text;q=1.000"], OpenMetrics),
            // Lists over several headers, and separators in quoted strings.
            (&["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0"], OpenMetrics),
            (&["text/html;x=\",application/openmetrics-text;version=1.0.0\""], Text),
            (&["text/html;x=\"a\\\",b\", application/openmetrics-text"], OpenMetrics),
            (&[",,;,/,application/openmetrics-text"], OpenMetrics),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(accept), *expected, "{accept:?}");
        }
    }

    #[test]
    fn accept_headers_of_real_clients() {
        // Prometheus 2.42.
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiate(&[prometheus_2]), Format::OpenMetrics);
        // Prometheus 2.42 with native histograms.
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiate(&[native]), Format::Protobuf);
        // Prometheus 3.
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(negotiate(&[prometheus_3]), Format::OpenMetrics);
        // Chromium, and curl.
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        assert_eq!(negotiate(&[chromium]), Format::Text);
        assert_eq!(negotiate(&["*/*"]), Format::Text);
    }

    /// The answer has the client's escaping scheme, and the version of text that it prefers.
    #[test]
    fn content_type_repeats_escaping() {
        let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        let (text, text_1) = ("text/plain; version=0.0.4; charset=utf-8", "text/plain; version=1.0.0; charset=utf-8");
        let cases: &[(&str, &str, &str)] = &[
            ("*/*", text, ""),
            ("text/plain;version=0.0.4", text, ""),
            ("text/plain;version=0.0.4;escaping=underscores", text, "underscores"),
            ("text/plain;version=1.0.0;escaping=allow-utf-8", text_1, "allow-utf-8"),
            ("text/plain;version=1.0.0;escaping=dots;q=0.5,text/plain;version=0.0.4;q=0.4", text_1, "dots"),
            ("text/plain;version=1.0.0;escaping=dots;q=0.4,text/plain;version=0.0.4;q=0.5", text, ""),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1",
                open_metrics,
                "allow-utf-8",
            ),
            ("application/openmetrics-text;version=1.0.0; Escaping=\"values\"", open_metrics, "values"),
            ("application/openmetrics-text;version=1.0.0;escaping=unheard-of", open_metrics, ""),
            ("application/openmetrics-text;version=0.0.1", open_metrics, ""),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=values",
                protobuf,
                "values",
            ),
        ];
        for (accept, media_type, escaping) in cases {
            let expected = match *escaping {
                "" => (*media_type).to_owned(),
                scheme => format!("{media_type}; escaping={scheme}"),
            };
            let accept = HeaderValue::from_str(accept).unwrap();
            assert_eq!(Negotiated::new([&accept]).content_type(), expected, "{accept:?}");
        }
    }

    #[test]
    fn overlong_lists_are_cut() {
        let long = format!("{}application/openmetrics-text", "a/b,".repeat(limits::MAX_MEDIA_RANGES));
        assert_eq!(negotiate(&[&long]), Format::Text);
    }
}
