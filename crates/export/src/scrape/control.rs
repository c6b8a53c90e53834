//! Changes what is recorded and exported of logs and spans while guests run: `/recording`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use wasmetry_host::record::Level;
use wasmetry_host::{Filter, Identity, Recording};

use super::drill::{self, Drills};
use super::response::{Body, PLAIN, answer, method_not_allowed};

/// The recording settings of all components.
pub trait Recordings: Send + Sync + 'static {
    /// Returns every component with its settings.
    fn all(&self) -> Vec<(Identity, Recording)>;

    /// Replaces the settings of each component for which `change` returns some. They take effect at
    /// a guest's next request.
    fn update(&self, change: &dyn Fn(&Identity, &Recording) -> Option<Recording>);
}

/// The control of recording settings, for clients that have the token of control.
///
/// `GET /recording` returns a list of all components. `PUT /recording` changes the settings in its
/// body, which is JSON with optional members. `component`, `version` and `tenant` select
/// components; without them, all are changed:
///
/// ```json
/// {"component": "storefront", "export": "info,storefront::cart=debug", "record": "debug", "keep_failed": true, "keep_slow_seconds": 0.5}
/// ```
///
/// It returns the list of the changed components. Both need the header `Authorization: Bearer
/// TOKEN`.
#[derive(Clone)]
pub struct Control {
    recordings: Arc<dyn Recordings>,
    drills: Option<Arc<dyn Drills>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// Creates the control of `recordings`.
    pub fn new(recordings: Arc<dyn Recordings>) -> Self {
        Self { recordings, drills: None }
    }

    /// Allows clients that have the token to drill alerts: `GET /drill` lists them, `PUT /drill`
    /// starts the drill of an alert or renews its lease, and `DELETE /drill` ends it. The bodies
    /// are JSON:
    ///
    /// ```json
    /// {"alert": "StorefrontHighErrorRate", "seconds": 10, "share": 0.2, "route": "/"}
    /// ```
    ///
    /// Without this, `/drill` is answered with 403.
    #[must_use]
    pub fn with_drills(mut self, drills: Arc<dyn Drills>) -> Self {
        self.drills = Some(drills);
        self
    }

    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        if request.uri().path() == DRILL {
            return drill::answer_with(self.drills.as_deref(), request);
        }
        match *request.method() {
            Method::GET => self.list(|_| true),
            Method::PUT => self.change(request.body()),
            _ => method_not_allowed("GET, PUT", "only GET and PUT are answered here\n"),
        }
    }

    fn change(&self, body: &[u8]) -> Response<Body> {
        let parsed = serde_json::from_slice::<Change>(body).map_err(|error| error.to_string());
        let change = match parsed.and_then(Parsed::new) {
            Ok(change) => change,
            Err(cause) => {
                let text = format!(
                    "the body is no change of a recording: {cause}; an example: {{\"component\":\"storefront\",\"export\":\"info\"}}\n"
                );
                return answer(StatusCode::BAD_REQUEST, PLAIN, text);
            }
        };
        if !self.recordings.all().iter().any(|(identity, _)| change.is_for(identity)) {
            return answer(StatusCode::NOT_FOUND, PLAIN, "there is no such component; GET /recording lists all\n");
        }
        self.recordings.update(&|identity, recording| change.is_for(identity).then(|| change.apply(recording)));
        self.list(|identity| change.is_for(identity))
    }

    fn list(&self, is_wanted: impl Fn(&Identity) -> bool) -> Response<Body> {
        let all = self.recordings.all();
        let shown: Vec<Shown<'_>> =
            all.iter().filter(|(of, _)| is_wanted(of)).map(|(of, recording)| Shown::new(of, recording)).collect();
        match serde_json::to_vec(&shown) {
            Ok(mut json) => {
                json.push(b'\n');
                answer(StatusCode::OK, "application/json", json)
            }
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
        }
    }
}

/// The path of drills.
pub(super) const DRILL: &str = "/drill";

/// The body of a PUT.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    component: Option<String>,
    version: Option<String>,
    tenant: Option<String>,
    export: Option<String>,
    record: Option<String>,
    keep_failed: Option<bool>,
    /// Present and null where slow requests are no longer kept.
    #[serde(default, deserialize_with = "present")]
    keep_slow_seconds: Option<Option<f64>>,
}

/// A member that is there, if only as null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A [`Change`] that makes sense.
struct Parsed {
    change: Change,
    export: Option<Filter>,
    record: Option<Level>,
    keep_slow: Option<Option<Duration>>,
}

impl Parsed {
    fn new(change: Change) -> Result<Self, String> {
        let export = change.export.as_deref().map(str::parse::<Filter>).transpose();
        let level = |name: &String| {
            Level::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| {
                format!("`{name}` in `record` is none of `off`, `error`, `warn`, `info`, `debug` and `trace`")
            })
        };
        let duration = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|error| format!("{seconds} in `keep_slow_seconds`: {error}"))
        };
        Ok(Self {
            export: export.map_err(|error| error.to_string())?,
            record: change.record.as_ref().map(level).transpose()?,
            keep_slow: change.keep_slow_seconds.map(|seconds| seconds.map(duration).transpose()).transpose()?,
            change,
        })
    }

    fn is_for(&self, identity: &Identity) -> bool {
        let Change { component, version, tenant, .. } = &self.change;
        [component, version, tenant]
            .iter()
            .zip(identity.values())
            .all(|(asked, is)| asked.as_ref().is_none_or(|asked| asked == is))
    }

    fn apply(&self, to: &Recording) -> Recording {
        Recording {
            export: self.export.clone().unwrap_or_else(|| to.export.clone()),
            record: self.record.unwrap_or(to.record),
            keep_failed: self.change.keep_failed.unwrap_or(to.keep_failed),
            keep_slow: self.keep_slow.unwrap_or(to.keep_slow),
            redaction: to.redaction.clone(),
            access_log: to.access_log,
        }
    }
}

/// One component in an answer.
#[derive(Serialize)]
struct Shown<'a> {
    component: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tenant: &'a str,
    export: String,
    record: &'static str,
    keep_failed: bool,
    keep_slow_seconds: Option<f64>,
}

impl<'a> Shown<'a> {
    fn new(of: &'a Identity, recording: &Recording) -> Self {
        Self {
            component: of.component(),
            version: of.version(),
            tenant: of.tenant(),
            export: recording.export.to_string(),
            record: recording.record.name(),
            keep_failed: recording.keep_failed,
            keep_slow_seconds: recording.keep_slow.map(|limit| limit.as_secs_f64()),
        }
    }
}
