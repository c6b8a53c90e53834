use crate::region;

/// A request that is being handled: what [`handler`](macro@crate::handler) puts at the beginning of a function.
#[doc(hidden)]
#[must_use = "the request ends when this is dropped"]
#[derive(Debug)]
pub struct Request(());

impl Request {
    /// Begins a request.
    #[inline]
    pub const fn begin() -> Self {
        Self(())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        region::end_request();
    }
}
