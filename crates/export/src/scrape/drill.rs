//! Drills by clients that have the control's token: `/drill`.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::response::{Body, PLAIN, answer, method_not_allowed};

/// The alerts of a process, and the faults that make them fire.
///
/// All calls are made on the endpoint's own thread and must not block.
pub trait Drills: Send + Sync + 'static {
    /// Returns every alert.
    fn all(&self) -> Vec<Drill>;

    /// Starts the drill of a lease, or renews it. It ends by itself when the lease is not renewed.
    ///
    /// # Errors
    ///
    /// Returns the reason why it is not started or renewed.
    fn renew(&self, lease: &Lease) -> Result<Drill, DrillRefusal>;

    /// Ends the drill of an alert, if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error if the alert is not known.
    fn end(&self, alert: &str) -> Result<Drill, DrillRefusal>;
}

/// An alert, and how it is drilled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// The alert's name.
    pub alert: String,
    /// The name of its runbook.
    pub issue: String,
    /// The label `severity`.
    pub severity: String,
    /// The seconds for which the alert's expression must hold, unless its rules are scaled.
    pub hold_seconds: u64,
    /// The label `component`; empty for an alert about processes.
    pub component: String,
    /// The label `tenant`, or an empty text.
    pub tenant: String,
    /// The route of the mount whose requests have the fault.
    pub route: String,
    /// The fault, or an empty text.
    pub fault: String,
    /// The share of requests that have the fault.
    pub share: f64,
    /// `true` if a lease cannot change the share.
    #[serde(default)]
    pub is_share_fixed: bool,
    /// The reason why the alert has no drill.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
    /// `true` while the fault is injected.
    pub is_active: bool,
    /// The faults that were injected since the process began.
    pub faults: u64,
}

/// The body of a `PUT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The alert's name.
    pub alert: String,
    /// The route of the mount; the component's first one by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub route: Option<String>,
    /// The share of requests that have the fault; the alert's own by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<f64>,
    /// The seconds until the drill ends, unless the lease is renewed.
    pub seconds: f64,
}

/// The body of a `DELETE`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    alert: String,
}

/// The reason why a drill is not started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrillRefusal {
    /// There is no such alert; the text names others.
    Unknown(String),
    /// The alert has no drill here and now.
    Impossible(String),
    /// The lease has a value that is not allowed.
    Invalid(String),
}

/// Answers a request of a client that has the token.
pub(super) fn answer_with(drills: Option<&dyn Drills>, request: &Request<Bytes>) -> Response<Body> {
    let Some(drills) = drills else {
        let text = "drills are not allowed here; start `wasmetry serve` with --allow-drills\n";
        return answer(StatusCode::FORBIDDEN, PLAIN, text);
    };
    match *request.method() {
        Method::GET => json(&drills.all()),
        Method::PUT => renew(drills, request.body()),
        Method::DELETE => end(drills, request.body()),
        _ => method_not_allowed("GET, PUT, DELETE", "only GET, PUT and DELETE are answered here\n"),
    }
}

/// Starts or renews a drill.
fn renew(drills: &dyn Drills, body: &[u8]) -> Response<Body> {
    match serde_json::from_slice::<Lease>(body) {
        Ok(lease) => result(drills.renew(&lease)),
        Err(error) => invalid(&error, "{\"alert\":\"ShopHighErrorRate\",\"seconds\":10}"),
    }
}

/// Ends a drill.
fn end(drills: &dyn Drills, body: &[u8]) -> Response<Body> {
    match serde_json::from_slice::<End>(body) {
        Ok(End { alert }) => result(drills.end(&alert)),
        Err(error) => invalid(&error, "{\"alert\":\"ShopHighErrorRate\"}"),
    }
}

fn invalid(error: &serde_json::Error, example: &str) -> Response<Body> {
    let text = format!("the body is no lease of a drill: {error}; an example: {example}\n");
    answer(StatusCode::BAD_REQUEST, PLAIN, text)
}

fn result(result: Result<Drill, DrillRefusal>) -> Response<Body> {
    let (status, text) = match result {
        Ok(drill) => return json(&drill),
        Err(DrillRefusal::Unknown(text)) => (StatusCode::NOT_FOUND, text),
        Err(DrillRefusal::Impossible(text)) => (StatusCode::CONFLICT, text),
        Err(DrillRefusal::Invalid(text)) => (StatusCode::BAD_REQUEST, text),
    };
    answer(status, PLAIN, text + "\n")
}

fn json(of: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(of) {
        Ok(mut json) => {
            json.push(b'\n');
            answer(StatusCode::OK, "application/json", json)
        }
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}
