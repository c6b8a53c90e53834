//! Errors of the API, as problem documents.

use crate::json::Json;
use crate::request::{Answer, Body};

/// An error of a request: its status, and one line with the cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: u16,
    detail: String,
}

impl Problem {
    /// A parameter that is unknown or cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: 400, detail: detail.into() }
    }

    /// A path or a record that is not there.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self { status: 404, detail: detail.into() }
    }

    /// A method that is neither `GET` nor `HEAD`.
    pub(crate) fn method_not_allowed() -> Self {
        Self { status: 405, detail: "only GET and HEAD are allowed here; use GET".to_owned() }
    }

    /// Too many event streams.
    pub(crate) fn too_many_streams(limit: usize) -> Self {
        let detail = format!("{limit} event streams are open, the most that may be; close one, or try again later");
        Self { status: 429, detail }
    }

    /// Returns the problem document.
    ///
    /// Source: RFC 9457, section 3.
    pub(crate) fn answer(&self) -> Answer {
        let title = match self.status {
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Too Many Requests",
        };
        let mut json = Json::new();
        json.object(|json| {
            json.member("type").text("about:blank");
            json.member("title").text(title);
            json.member("status").unsigned(self.status.into());
            json.member("detail").text(&self.detail);
        });
        let mut answer = Answer::new(self.status, "application/problem+json", Body::Bytes(json.finish().into_bytes()));
        if self.status == 405 {
            answer.headers.push(("allow", "GET, HEAD".to_owned()));
        }
        answer
    }
}
