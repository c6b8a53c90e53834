//! The paths of the API.
//!
//! In comes a request, out goes a JSON text; `API.md` describes both. The files of this folder read
//! the stores and know nothing of how those keep what they have.

pub(crate) mod explain;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod overview;
pub(crate) mod series;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod traces;
pub(crate) mod traps;

use std::time::SystemTime;

use crate::console::{Console, nanos};
use crate::event;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::request::{Answer, Request};

/// The paths, without those of single records.
const PATHS: [&str; 9] = ["status", "overview", "metrics", "series", "logs", "traces", "traps", "explain", "events"];

/// Answers a request.
pub(crate) fn answer(console: &Console, request: &Request<'_>) -> Result<Answer, Problem> {
    let shared = &console.shared;
    let query = Query::parse(request.query)?;
    let Some(path) = request.path.strip_prefix("/api/v1") else { return Err(unknown_path()) };
    let path = if path.is_empty() { path } else { path.strip_prefix('/').ok_or_else(unknown_path)? };
    let json = match path {
        "" => {
            query.end()?;
            index()
        }
        "status" => {
            query.end()?;
            status::answer(shared)
        }
        "overview" => overview::answer(shared, query)?,
        "metrics" => metrics::answer(shared, query)?,
        "series" => series::answer(shared, query)?,
        "logs" => logs::answer(shared, query)?,
        "traces" => traces::answer(shared, query)?,
        "traps" => traps::answer(shared, query)?,
        "explain" => explain::answer(shared, query)?,
        "events" => return event::open(console, request, query),
        other => match other.split_once('/') {
            Some(("logs", id)) => {
                query.end()?;
                logs::answer_one(shared, id)?
            }
            Some(("traces", id)) => {
                query.end()?;
                trace::answer(shared, id)?
            }
            _ => return Err(unknown_path()),
        },
    };
    Ok(Answer::json(json))
}

fn unknown_path() -> Problem {
    Problem::not_found("there is no such path; /api/v1/ lists the paths")
}

fn index() -> String {
    let mut json = Json::new();
    json.object(|json| {
        json.member("paths").array(|json| {
            for path in PATHS {
                json.text(&format!("/api/v1/{path}"));
            }
        });
    });
    json.finish()
}

/// The time, in nanoseconds since 1970-01-01 00:00 UTC.
fn now() -> u64 {
    nanos(SystemTime::now())
}

/// Takes the cursor of a page, which is a number.
fn take_cursor(query: &mut Query) -> Result<Option<u64>, Problem> {
    query.parse_as("cursor", "the `next` of the page before", |value| value.parse().ok())
}

/// Parses a trace's id: 32 hexadecimal digits.
fn trace_id(text: &str) -> Option<u128> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id).then(|| u128::from_str_radix(text, 16).ok())?.filter(|id| *id != 0)
}

/// Returns a trace's id as a text.
fn trace_text(id: u128) -> String {
    format!("{id:032x}")
}

/// Returns a span's id as a text.
fn span_text(id: u64) -> String {
    format!("{id:016x}")
}
