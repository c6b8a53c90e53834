//! The access log: a record for each request of the kinds that are selected, and for each failed
//! request of which the guest has logged nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::rate::RateKind;
use super::{Outcome, RequestTelemetry};
use crate::record::{Field, FieldValue, Level, LogRecord};
use crate::registry::drop_reason::HostDropReason;

/// The target of the access log.
const TARGET: &str = "access";

/// The requests that have a record in the access log.
///
/// ```
/// use wasmetry_host::AccessLog;
///
/// assert_eq!("failed,slow".parse(), Ok(AccessLog::default()));
/// assert!("off".parse::<AccessLog>().unwrap() == AccessLog::OFF);
/// assert!("sometimes".parse::<AccessLog>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Requests that failed: the guest ended early, the status is 500 or greater, or the response
    /// was aborted.
    pub failed: bool,
    /// Requests that took longer than [`Recording::slow`](super::Recording::slow).
    pub slow: bool,
    /// All other requests.
    pub others: bool,
}

impl AccessLog {
    /// No requests.
    pub const OFF: Self = Self { failed: false, slow: false, others: false };

    /// All requests.
    pub const ALL: Self = Self { failed: true, slow: true, others: true };
}

impl Default for AccessLog {
    /// Failed and slow requests.
    fn default() -> Self {
        Self { failed: true, slow: true, others: false }
    }
}

impl FromStr for AccessLog {
    type Err = InvalidAccessLog;

    fn from_str(text: &str) -> Result<Self, InvalidAccessLog> {
        match text {
            "off" => return Ok(Self::OFF),
            "all" => return Ok(Self::ALL),
            _ => {}
        }
        text.split(',').map(str::trim).try_fold(Self::OFF, |log, part| match part {
            "failed" => Ok(Self { failed: true, ..log }),
            "slow" => Ok(Self { slow: true, ..log }),
            _ => Err(InvalidAccessLog),
        })
    }
}

/// The error of a text that is no [`AccessLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAccessLog;

impl fmt::Display for InvalidAccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `off`, `failed`, `slow`, `failed,slow` or `all`")
    }
}

impl std::error::Error for InvalidAccessLog {}

/// The facts of an HTTP request that its adapter has at the request's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSummary {
    /// The method; `_OTHER` for one that is not known.
    pub method: &'static str,
    /// The route: a template or a mount's prefix, never the path.
    pub route: Arc<str>,
    /// The status that the client got; 499 if it has left before.
    pub status: u16,
    /// Bytes of the request's body that the guest has read, if they are counted.
    pub request_bytes: Option<u64>,
    /// Bytes of the response's body, if they are counted.
    pub response_bytes: Option<u64>,
    /// The reason for which the host has replaced or aborted the response, as a value of
    /// `error.type` and as a text.
    pub error: Option<(&'static str, &'static str)>,
}

impl RequestTelemetry {
    /// Sets the facts of the HTTP request, for the access log. Call it before
    /// [`finish`](Self::finish).
    pub fn set_http(&mut self, summary: HttpSummary) {
        self.http = Some(summary);
    }

    /// Exports the request's record if the access log has it, or if the request failed and the
    /// guest has logged no error.
    pub(super) fn log_access(&self, outcome: Outcome<'_>, took: Duration, now: u64) {
        let error = self.access_error(outcome);
        let selected = self.recording.access_log;
        let is_selected = match &error {
            Some(_) if selected.failed => true,
            _ if self.is_slow && selected.slow => true,
            Some(_) => false,
            None => selected.others,
        };
        let is_selected = is_selected && self.http.is_some();
        // A program is no request: the command that runs it reports its end.
        let is_request = self.http.is_some() || self.trace().is_some();
        let is_silent_failure = is_request && error.is_some() && !self.has_logged_error;
        // The access log has a switch of its own, so that a level does not select its records.
        if !(is_selected || is_silent_failure) || self.recording.export.level(TARGET) == Level::Off {
            return;
        }
        if !self.component.rates().of(RateKind::Access).take(now) {
            return self.component.count(HostDropReason::AccessLimit, 1);
        }
        let level = match (outcome, &error) {
            (Outcome::Ended(_), _) => Level::Error,
            (_, Some(_)) => Level::Warn,
            (_, None) => Level::Info,
        };
        let record = LogRecord {
            time: now,
            observed: now,
            level,
            target: TARGET.into(),
            message: self.access_message(error.as_ref()).into(),
            fields: self.access_fields(error.as_ref(), took),
            source: None,
            // By its id, the guest's logs of the request are found.
            trace: self.trace().or(self.guest_span),
            is_audit: false,
            stream: None,
        };
        self.sink.log(&self.identity, record);
    }

    /// The value of `error.type` and a reason, if the request failed.
    pub(super) fn access_error(&self, outcome: Outcome<'_>) -> Option<(String, String)> {
        let owned = |(kind, reason): (&str, String)| (kind.to_owned(), reason);
        let http = self.http.as_ref();
        match outcome {
            Outcome::Ended(reason) => {
                let ended = || (reason.to_owned(), format!("the guest ended: {reason}"));
                Some(self.panic().map_or_else(ended, owned))
            }
            Outcome::Failed | Outcome::Ok => {
                if let Some((kind, reason)) = http.and_then(|http| http.error) {
                    return Some((kind.to_owned(), reason.to_owned()));
                }
                if outcome == Outcome::Ok {
                    return None;
                }
                let failed = || match http {
                    Some(http) => (http.status.to_string(), "the guest has logged no error".to_owned()),
                    None => ("_OTHER".to_owned(), "the guest failed and has logged no error".to_owned()),
                };
                Some(self.error().map_or_else(failed, owned))
            }
        }
    }

    fn access_message(&self, error: Option<&(String, String)>) -> String {
        let reason = error.map(|(_, reason)| reason.as_str());
        match (&self.http, reason) {
            (Some(HttpSummary { method, route, status, .. }), Some(reason)) => {
                format!("{method} {route} {status}: {reason}")
            }
            (Some(HttpSummary { method, route, status, .. }), None) => format!("{method} {route} {status}"),
            (None, reason) => reason.unwrap_or_default().to_owned(),
        }
    }

    /// The fields have short names, which queries of logs can write without quotes.
    fn access_fields(&self, error: Option<&(String, String)>, took: Duration) -> Vec<Field> {
        let text = |text: &str| FieldValue::Text(text.into());
        let mut fields: Vec<Field> = Vec::new();
        if let Some(http) = &self.http {
            fields.push(("method".into(), text(http.method)));
            fields.push(("route".into(), text(&http.route)));
            fields.push(("status".into(), FieldValue::Unsigned(http.status.into())));
        }
        fields.push(("duration".into(), text(&go_duration(took))));
        fields.push(("duration_ms".into(), FieldValue::Float(took.as_micros() as f64 / 1000.0)));
        if let Some((kind, _)) = error {
            fields.push(("error_type".into(), text(kind)));
        }
        if let Some(http) = &self.http {
            for (key, bytes) in [("request_bytes", http.request_bytes), ("response_bytes", http.response_bytes)] {
                fields.extend(bytes.map(|bytes| (key.into(), FieldValue::Unsigned(bytes))));
            }
        }
        fields
    }
}

/// A duration as Go's `time.ParseDuration` reads it, and so LogQL: `1.2s`, `350ms`.
///
/// Rust's own form is a part of Go's. It is rounded to microseconds.
fn go_duration(duration: Duration) -> String {
    let micros = duration.as_micros().min(u64::MAX.into());
    format!("{:?}", Duration::from_micros(micros as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_parsed() {
        for (text, expected) in [
            ("failed", Some((true, false, false))),
            ("slow", Some((false, true, false))),
            ("slow, failed", Some((true, true, false))),
            ("all", Some((true, true, true))),
            ("off", Some((false, false, false))),
            ("off,failed", None),
            ("", None),
        ] {
            let parsed = text.parse::<AccessLog>().ok().map(|log| (log.failed, log.slow, log.others));
            assert_eq!(parsed, expected, "{text:?}");
        }
    }

    #[test]
    fn durations_are_in_gos_syntax() {
        for (nanos, expected) in [
            (0, "0ns"),
            (999, "0ns"),
            (17_000, "17µs"),
            (350_500_000, "350.5ms"),
            (1_200_000_000, "1.2s"),
            (90_000_000_000, "90s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), expected);
        }
    }
}
