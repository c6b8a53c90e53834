//! Paths of the endpoint that other crates answer, such as a page and its interface.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use super::response::Body;

/// The access that a path of the endpoint requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Shows telemetry: a client on a loopback address, or one that has a token or a session. The
    /// request's `Host` is checked.
    View,
    /// Changes the process: a client that sends the token of control with each request.
    Control,
}

/// The future of a response.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

/// Answers the requests to one path of the endpoint and to the paths below it.
///
/// The endpoint has checked access, `Host` and origin before, and has received the body whole, of
/// at most [`limits::MAX_BODY_BYTES`](crate::limits::MAX_BODY_BYTES). It runs on the endpoint's one
/// thread, so it must not block: work that takes more than a millisecond belongs to another thread.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request, whose path is the whole one.
    fn answer(&self, request: Request<Bytes>) -> Answer<'_>;
}

/// A handler at its path.
#[derive(Clone)]
pub(super) struct Mount {
    path: &'static str,
    pub(super) access: Access,
    pub(super) handler: Arc<dyn Handler>,
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("path", &self.path).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Mount {
    pub(super) fn new(path: &'static str, access: Access, handler: Arc<dyn Handler>) -> Self {
        Self { path, access, handler }
    }

    /// Returns `true` if `path` is the mount's own or below it. All paths are below `/`.
    fn contains(&self, path: &str) -> bool {
        let below = path.strip_prefix(self.path.trim_end_matches('/'));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the mount of a path, which is the longest that contains it.
    pub(super) fn find<'a>(mounts: &'a [Self], path: &str) -> Option<&'a Self> {
        mounts.iter().filter(|mount| mount.contains(path)).max_by_key(|mount| mount.path.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Handler for Nothing {
        fn answer(&self, _request: Request<Bytes>) -> Answer<'_> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn longest_mount_is_found() {
        let mount = |path| Mount::new(path, Access::View, Arc::new(Nothing));
        let found = |mounts: &[Mount], path: &str| Mount::find(mounts, path).map(|mount| mount.path);
        let mounts = [mount("/"), mount("/api"), mount("/api/live")];
        for (path, expected) in [
            ("/", "/"),
            ("/app.js", "/"),
            ("/apish", "/"),
            ("/api", "/api"),
            ("/api/v1", "/api"),
            ("/api/live/x", "/api/live"),
        ] {
            assert_eq!(found(&mounts, path), Some(expected), "{path}");
        }
        assert_eq!(found(&mounts[1..], "/"), None);
        assert_eq!(found(&mounts[1..], "*"), None);
    }
}
