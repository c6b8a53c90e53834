//! Requests to others.

use wasi::clocks::monotonic_clock::subscribe_duration;
use wasi::http::outgoing_handler;
use wasi::http::types::{Fields, FutureIncomingResponse, Method, OutgoingRequest, Scheme};

/// Sends a GET request; returns `None` if the host refuses it at once.
fn send(to: &str, path: &str) -> Option<FutureIncomingResponse> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&Method::Get).ok()?;
    request.set_scheme(Some(&Scheme::Http)).ok()?;
    request.set_authority(Some(to)).ok()?;
    request.set_path_with_query(Some(path)).ok()?;
    outgoing_handler::handle(request, None).ok()
}

/// Sends requests and keeps them for a time.
pub(crate) fn hold(to: &str, count: u64, milliseconds: u64) {
    let all: Vec<_> = (0..count).filter_map(|_| send(to, "/hang")).collect();
    subscribe_duration(milliseconds * 1_000_000).block();
    drop(all);
}

/// Returns the status and up to 1 MiB of the body, after following up to `redirects`; 502 with the
/// error's text if there is no response, and 403 if the host refuses the request at once.
pub(crate) fn get(to: &str, path: &str, redirects: u64) -> (u16, Vec<u8>) {
    let Some(response) = send(to, path) else { return (403, b"refused\n".to_vec()) };
    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => {
            if redirects > 0
                && let Some(location) = response.headers().get("location").pop()
                && let Ok(location) = String::from_utf8(location)
                && let Some((to, path)) = location.strip_prefix("http://").and_then(|rest| rest.split_once('/'))
            {
                return get(to, &format!("/{path}"), redirects - 1);
            }
            let mut all = Vec::new();
            if let Ok(body) = response.consume()
                && let Ok(stream) = body.stream()
            {
                while let Ok(bytes) = stream.blocking_read(1 << 16) {
                    all.extend(bytes);
                    if all.len() > 1 << 20 {
                        break;
                    }
                }
            }
            (response.status(), all)
        }
        other => (502, format!("{other:?}\n").into_bytes()),
    }
}
